//! Determines which object version an event is about, and its size and ETag, before it is claimed.

use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{FileRow, Grant};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::Reason;
use logferry_core::model::app::{App, AppId};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::ports::usage::Usage;
use tokio::time::Instant;

use crate::events::Arrival;
use crate::owner::{Named, Owner, is_older_than, named, of_an_earlier_app, unregistered};
use crate::refusal::{in_another_bucket, unreadable};
use crate::{Ingest, retry};

/// For apps younger than this, S3 is asked for an object's LastModified before the object is claimed (ms).
/// Lambda delivers no event later than that.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>
const YOUNG_APP_MS: i64 = 24 * 3_600_000;

/// An object to be claimed.
pub(crate) struct Candidate {
    pub(crate) object: ObjectRef,
    /// The size, or the fault if the object cannot be read.
    pub(crate) size: Result<u64, Fault>,
    pub(crate) etag: Option<String>,
    pub(crate) owner: Owner,
    pub(crate) grant: Option<Grant>,
    /// The quota of the owner that does not allow it today.
    pub(crate) over_quota: Option<Reason>,
}

/// An object, as far as the event and S3 describe it.
pub(crate) struct Identified {
    object: ObjectRef,
    /// The size, or the fault if the object cannot be read.
    size: Result<u64, Fault>,
    etag: Option<String>,
    /// When it was put (ms); `None` if S3 was not asked.
    last_modified_ms: Option<i64>,
}

impl<O: ObjectStore, B: BlockTable, L: Ledger + Usage, A: Apps, C: Clock> Ingest<O, B, L, A, C> {
    /// Identifies the object and determines its owner. `None` if it is not a log, or no longer exists.
    pub(crate) async fn candidate(
        &self,
        arrival: &Arrival,
        stop_at: Instant,
    ) -> Result<Option<Candidate>, Fault> {
        let (bucket, key) = (&arrival.bucket, &arrival.key);
        let grant = retry::until(stop_at, || self.ledger.find_grant(bucket, key)).await?;
        let mut named = named(key, grant.as_ref(), self.settings.chime_app.as_ref());
        // Without its grant, which expires, the key of a browser's file does not name the app: its row does. The
        // row's packing says for which registration.
        if grant.is_none()
            && matches!(named, Named::Refused(_) | Named::App { presigned: true, .. })
            && let Some((_, FileRow { app_id: Some(app_id), .. })) = self.row_of(arrival, stop_at).await?
        {
            named = Named::App { app_id, presigned: true };
        }
        let owner = match named {
            Named::NoLog => return Ok(None),
            Named::Refused(reason) => Owner::Refused(reason),
            Named::App { app_id, presigned } => self.registered(&app_id, presigned, stop_at).await?,
        };
        let ask_s3 = match &grant {
            Some(_) => arrival.etag.is_none(),
            None => owner.app().is_some_and(|app| self.clock.now_ms() - app.registered_ms < YOUNG_APP_MS),
        };
        let Some(found) = retry::until(stop_at, || self.identify(arrival, ask_s3)).await? else {
            return Ok(None);
        };
        let is_of_another = |app: &App| match &grant {
            Some(grant) => grant.registered_ms != app.registered_ms,
            None => found.last_modified_ms.is_some_and(|put_ms| self.is_older(put_ms, app)),
        };
        let owner = match owner {
            Owner::App { app, .. } if is_of_another(&app) => Owner::Refused(of_an_earlier_app(&app.app_id)),
            owner => owner,
        };
        let over_quota = match (owner.app(), &found.size) {
            (Some(app), Ok(size_bytes)) => self.over_quota(app, *size_bytes).await?,
            (None, _) | (_, Err(_)) => None,
        };
        let Identified { object, size, etag, .. } = found;
        Ok(Some(Candidate { object, size, etag, owner, grant, over_quota }))
    }

    /// Returns an object of another bucket, with the owner that its row names. `None` without a row.
    pub(crate) async fn known_elsewhere(
        &self,
        arrival: &Arrival,
        stop_at: Instant,
    ) -> Result<Option<Candidate>, Fault> {
        let Some((object, row)) = self.row_of(arrival, stop_at).await? else {
            tracing::warn!(file.bucket = %arrival.bucket, "object in an unexpected bucket");
            return Ok(None);
        };
        let owner = match row.app_id {
            Some(app_id) => self.registered(&app_id, false, stop_at).await?,
            None => Owner::Refused(in_another_bucket(&arrival.bucket)),
        };
        let size = Ok(row.size_bytes.unwrap_or(0));
        Ok(Some(Candidate { object, size, etag: None, owner, grant: None, over_quota: None }))
    }

    /// Returns the version that an event names and its row, if there is one.
    async fn row_of(
        &self,
        arrival: &Arrival,
        stop_at: Instant,
    ) -> Result<Option<(ObjectRef, FileRow)>, Fault> {
        let Some(version) = arrival.version.clone() else { return Ok(None) };
        let object = ObjectRef { bucket: arrival.bucket.clone(), key: arrival.key.clone(), version };
        let row = retry::until(stop_at, || self.ledger.find(&object)).await?;
        Ok(row.map(|row| (object, row)))
    }

    async fn registered(&self, app_id: &AppId, presigned: bool, stop_at: Instant) -> Result<Owner, Fault> {
        Ok(match retry::until(stop_at, || self.apps.find(app_id)).await? {
            Some(app) => Owner::App { app, presigned },
            None => Owner::Refused(unregistered(app_id)),
        })
    }

    /// Whether an object that was put at `put_ms` is older than the app.
    pub(crate) fn is_older(&self, put_ms: i64, app: &App) -> bool {
        !self.settings.takes_older_objects && is_older_than(put_ms, app.registered_ms)
    }

    /// Returns the object version with size and ETag, from the event or from S3. `ask_s3` forces a request to
    /// S3. `None` if the version cannot be determined any more.
    async fn identify(&self, arrival: &Arrival, ask_s3: bool) -> Result<Option<Identified>, Fault> {
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
        if let (Some(version), Some(size), false) = (&arrival.version, arrival.size_bytes, ask_s3) {
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
