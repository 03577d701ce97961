//! The ingest function on the simulated cloud.

use std::sync::Arc;

use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::object::ObjectRef;
use logferry_core::model::quota::Quota;
use logferry_ingest::{Ingest, Settings};
use logferry_service::redaction::RedactionRules;
use serde_json::{Value, json};

use logferry_sim::{SimClock, SimCloud};

/// The bucket of the log files.
pub const BUCKET: &str = "logs-bucket";

pub type SimIngest = Ingest<SimCloud, SimCloud, SimCloud, SimCloud, SimClock>;

/// The function on this cloud, with this clock.
#[must_use]
pub fn ingest(cloud: &SimCloud, clock: SimClock, limits: IntakeLimits) -> SimIngest {
    Ingest {
        objects: cloud.clone(),
        blocks: cloud.clone(),
        ledger: cloud.clone(),
        apps: cloud.clone(),
        clock,
        settings: Settings {
            bucket: BUCKET.to_owned(),
            chime_app: None,
            max_presigned_bytes: 1_000_000,
            max_object_bytes: 10_000_000,
            limits,
            max_presigned_decompressed_bytes: 2_000_000,
            takes_older_objects: false,
            quota: Quota::NONE,
            redactor: Arc::new(RedactionRules::Standard),
            default_retention_days: 30,
            metrics_namespace: "Test".to_owned(),
        },
    }
}

/// The event with which `sweep` starts ingest on an object.
#[must_use]
pub fn event(object: &ObjectRef) -> Value {
    json!({"bucket": object.bucket, "key": object.key, "versionId": object.version.as_str()})
}
