//! Determines which object version an event is about, and its size and ETag, before it is claimed.

use logferry_core::ledger::claim::Ledger;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;

use crate::App;
use crate::events::Arrival;
use crate::refusal::unreadable;

/// An object version, with what is known of it before it is read.
pub(crate) struct Identified {
    pub(crate) object: ObjectRef,
    /// The size, or the fault if the object cannot be read.
    pub(crate) size: Result<u64, Fault>,
    pub(crate) etag: Option<String>,
    /// LastModified (ms), if S3 was asked.
    pub(crate) last_modified_ms: Option<i64>,
}

impl<O: ObjectStore, B: BlockTable, L: Ledger, A: Apps, C: Clock> App<O, B, L, A, C> {
    /// Returns the object version with size and ETag, from the event or from S3. `look` forces a request to
    /// S3. `None` if the version cannot be determined any more.
    pub(crate) async fn identify(&self, arrival: &Arrival, look: bool) -> Result<Option<Identified>, Fault> {
        let identified = |version: &ObjectVersion, size, meta: Option<&ObjectMeta>| Identified {
            object: ObjectRef {
                bucket: arrival.bucket.clone(),
                key: arrival.key.clone(),
                version: version.clone(),
            },
            size,
            etag: meta.map(|meta| meta.etag.clone()).or_else(|| arrival.etag.clone()),
            last_modified_ms: meta.map(|meta| meta.last_modified_ms),
        };
        if let (Some(version), Some(size), false) = (&arrival.version, arrival.size_bytes, look) {
            return Ok(Some(identified(version, Ok(size), None)));
        }
        let id = match &arrival.version {
            Some(ObjectVersion::Id(id)) => Some(id.as_str()),
            Some(ObjectVersion::ETag(_)) | None => None,
        };
        let meta = match self.objects.head(&arrival.bucket, &arrival.key, id).await {
            Ok(meta) => meta,
            Err(fault) if unreadable(&fault).is_none() => return Err(fault),
            Err(fault) => {
                return Ok(arrival.version.as_ref().map(|version| match fault.class {
                    // The answer to a HEAD request has no body with the reason. Reading the object will
                    // return reason and size.
                    FaultClass::Permanent => identified(version, Ok(0), None),
                    _ => identified(version, Err(fault), None),
                }));
            }
        };
        let version = match (&arrival.version, &meta.version_id) {
            (Some(version), _) => version.clone(),
            (None, Some(id)) => ObjectVersion::Id(id.clone()),
            (None, None) => ObjectVersion::ETag(meta.etag.clone()),
        };
        Ok(Some(identified(&version, Ok(meta.size_bytes), Some(&meta))))
    }
}
