//! Subscription filters of CloudWatch Logs that send straight to `ingest`: the events of a log group become
//! records of the app that the group is assigned to.
//!
//! A delivery is stored once, however often it comes: it is recognised by the ids of its events. What cannot be
//! stored is an error, so that Lambda retries the delivery twice and then keeps it in the dead-letter queue.

use std::collections::HashSet;
use std::io::Read;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use logferry_core::logbook::carried::{Carried, Identity};
use logferry_core::logbook::records::Records;
use logferry_core::logbook::subscription::{self, LogGroupEvents, MAX_EVENTS};
use logferry_core::logbook::write::{WriteError, WriteRequest, carry};
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::usage::Usage;
use serde_json::Value;
use tokio::time::Instant;

use crate::log_groups::{Assigned, LogGroups};
use crate::{Settings, retry};

/// Maximum size of a delivery after decompression (bytes). An event of Lambda is at most 1 MB, of base64.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// How long calls that fail for a passing reason are retried before Lambda retries the delivery. Each attempt
/// may charge the app's quota.
const RETRY_FOR: Duration = Duration::from_secs(30);

/// Stores deliveries.
#[derive(Debug)]
pub struct Subscriptions<R, A, C> {
    pub records: R,
    pub apps: A,
    pub clock: C,
    pub groups: LogGroups,
    pub settings: Settings,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Delivered {
    /// Events that are stored, by this delivery or by an earlier one with the same events.
    pub stored: usize,
    /// Events that are not stored: too large, older than the app's prune watermark, or of a log group that would grow
    /// by it.
    pub refused: usize,
}

/// The data of an event that comes from CloudWatch Logs; `None` for other events.
#[must_use]
pub fn data_of(event: &Value) -> Option<&Value> {
    event.get("awslogs")
}

impl<R: Records + Usage, A: Apps, C: Clock> Subscriptions<R, A, C> {
    /// Stores the events of a delivery.
    ///
    /// # Errors
    /// The delivery cannot be read, its log group has no app, the app's quota is used up, or a call failed.
    pub async fn deliver(&self, data: &Value) -> Result<Delivered, Fault> {
        let delivery = delivery_of(data)?;
        let LogGroupEvents { log_group, events, .. } = &delivery;
        if events.is_empty() {
            return Ok(Delivered::default());
        }
        let app_id = match self.groups.of(log_group) {
            Assigned::To(app_id) => app_id,
            Assigned::Loop => {
                // An error would make Lambda retry, and each attempt writes to the group.
                tracing::warn!(log.group = %log_group, "the log group must not be subscribed: ingest writes to it");
                return Ok(Delivered { stored: 0, refused: events.len() });
            }
            Assigned::Nothing => {
                let what = format!("no app is assigned to the log group {log_group}: see LogGroupApps");
                return Err(Fault::new(FaultClass::Permanent, "subscription", what));
            }
        };
        let stop_at = Instant::now() + RETRY_FOR;
        let app = retry::until(stop_at, || self.apps.find(app_id)).await?;
        let app = app.ok_or_else(|| {
            let what =
                format!("the log group {log_group} is assigned to app {app_id}, which is not registered");
            Fault::new(FaultClass::Permanent, "subscription", what)
        })?;
        let mut seen = HashSet::new();
        let mut identity = String::new();
        let mut entries = Vec::with_capacity(events.len());
        for event in events {
            if !seen.insert(event.id.as_str()) {
                continue;
            }
            identity.push_str(&format!("{}:{}", event.id.len(), event.id));
            entries.push(delivery.carried(event));
        }
        let refused = self.store(&app, &entries, &identity, stop_at).await?;
        let delivered = Delivered { stored: entries.len() - refused, refused };
        tracing::info!(
            log.group = %log_group, records.stored = delivered.stored, records.refused = delivered.refused,
            "delivery stored"
        );
        Ok(delivered)
    }

    /// Returns the number of events that were refused.
    async fn store(
        &self,
        app: &App,
        entries: &[Carried<'_>],
        identity: &str,
        stop_at: Instant,
    ) -> Result<usize, Fault> {
        let settings = &self.settings;
        let (retention_days, redactor) = (settings.default_retention_days, &settings.redactor);
        // The unique bytes are for requests without an identity.
        let request =
            WriteRequest::new(app, self.clock.now_ms(), [0; 16], retention_days, redactor, &settings.quota);
        let request = WriteRequest { format: "cloudwatch", ..request };
        let write = || async {
            match carry(&self.records, &request, entries, Identity::Key(identity)).await {
                Ok(refused) => Ok(Ok(refused.len())),
                Err(WriteError::Fault(fault)) => Err(fault),
                Err(error) => Ok(Err(error)),
            }
        };
        let written = retry::until(stop_at, write).await?;
        written.map_err(|error| {
            Fault::new(FaultClass::Permanent, "subscription", "the events were not stored").with_source(error)
        })
    }
}

fn delivery_of(data: &Value) -> Result<LogGroupEvents, Fault> {
    let bad = |what: &str| Fault::new(FaultClass::Permanent, "subscription", what.to_owned());
    let data = data["data"].as_str().ok_or_else(|| bad("awslogs.data is missing or no string"))?;
    let data = BASE64_STANDARD.decode(data).map_err(|_| bad("awslogs.data is not base64"))?;
    let mut text = String::new();
    let read = MultiGzDecoder::new(&*data).take(MAX_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| bad("awslogs.data is not valid gzip of UTF-8").with_source(error))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(bad("awslogs.data is too large after decompression"));
    }
    let delivery = subscription::read(&text);
    let delivery = delivery.ok_or_else(|| bad("awslogs.data is no delivery of CloudWatch Logs"))?;
    match delivery.events.len() > MAX_EVENTS {
        true => Err(bad("awslogs.data has too many events")),
        false => Ok(delivery),
    }
}
