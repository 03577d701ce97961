//! Multipart upload sessions: the `uploads` table, and the uploads in the bucket.

use std::collections::BTreeMap;

use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::ObjectMeta;
use logferry_core::model::object_key::Subject;
use logferry_core::uploads::session::{ListedPart, Session, SessionStatus, StoredPart};
use logferry_core::uploads::table::{
    Multipart, OpenLimits, Opened, OverduePage, Rate, SessionPage, Sessions,
};

use super::{SimCloud, State};

/// An upload that is neither completed nor aborted.
#[derive(Debug)]
pub(super) struct Upload {
    key: String,
    parts: BTreeMap<u32, StoredPart>,
}

/// Requests of an app in a minute.
pub(super) type RateKey = (AppId, Rate, i64);

const MINUTE_MS: i64 = 60_000;
/// Overdue sessions per page: few, as if they were of 1 MB.
const OVERDUE_PAGE: usize = 3;

impl SimCloud {
    /// Uploads a part of an open upload, as its presigned URL does. Returns the part's ETag.
    pub fn put_part(&self, upload_id: &str, number: u32, size_bytes: u64) -> String {
        let etag = format!("etag-{number}-{size_bytes}");
        let part = StoredPart { number, etag: etag.clone(), size_bytes };
        if let Some(upload) = self.state().uploads.get_mut(upload_id) {
            upload.parts.insert(number, part);
        }
        etag
    }

    /// Stores a file in one request, as a presigned URL for it does.
    pub fn put_whole(&self, key: &str, size_bytes: u64) {
        self.state().uploaded.insert(key.to_owned(), size_bytes);
    }

    /// Returns the number of uploads that are neither completed nor aborted.
    #[must_use]
    pub fn open_uploads(&self) -> usize {
        self.state().uploads.len()
    }

    /// The sizes of the objects that uploads have made.
    #[must_use]
    pub fn uploaded_sizes(&self) -> Vec<u64> {
        self.state().uploaded.values().copied().collect()
    }

    /// The status of every session.
    #[must_use]
    pub fn session_statuses(&self) -> Vec<SessionStatus> {
        self.state().sessions.values().map(|session| session.status).collect()
    }
}

impl State {
    fn open_sessions(&self, like: &Session, subject: Option<&Subject>) -> usize {
        let open = self.sessions.values().filter(|session| {
            (&session.app_id, session.registered_ms) == (&like.app_id, like.registered_ms)
                && session.status == SessionStatus::Open
                && subject.is_none_or(|subject| *subject == session.subject)
        });
        open.count()
    }
}

impl Sessions for SimCloud {
    async fn open(&self, session: &Session, limits: OpenLimits) -> Result<Opened, Fault> {
        self.call("TransactWriteItems", |state| {
            if state.open_sessions(session, None) >= limits.per_app as usize {
                return Ok(Opened::TooManyOfApp);
            }
            if state.open_sessions(session, Some(&session.subject)) >= limits.per_subject as usize {
                return Ok(Opened::TooManyOfSubject);
            }
            state.sessions.insert(session.upload_id.clone(), session.clone());
            Ok(Opened::Yes)
        })
        .await
    }

    async fn find(&self, app_id: &AppId, upload_id: &str) -> Result<Option<Session>, Fault> {
        self.call("GetItem", |state| {
            Ok(state.sessions.get(upload_id).filter(|session| session.app_id == *app_id).cloned())
        })
        .await
    }

    async fn end(&self, session: &Session, status: SessionStatus, _: i64) -> Result<bool, Fault> {
        self.call("TransactWriteItems", |state| {
            let Some(known) = state.sessions.get_mut(&session.upload_id) else { return Ok(false) };
            let was_open = known.status == SessionStatus::Open;
            if was_open || status == SessionStatus::Completed {
                known.status = status;
            }
            Ok(was_open)
        })
        .await
    }

    async fn list(
        &self,
        app_id: &AppId,
        subject: Option<&Subject>,
        limit: u32,
        after: Option<&str>,
    ) -> Result<SessionPage, Fault> {
        self.call("Query", |state| {
            let mut sessions: Vec<_> = state
                .sessions
                .values()
                .filter(|session| session.app_id == *app_id)
                .filter(|session| subject.is_none_or(|subject| *subject == session.subject))
                .filter(|session| after.is_none_or(|after| session.upload_id.as_str() > after))
                .cloned()
                .collect();
            let more = sessions.len() > limit as usize;
            sessions.truncate(limit as usize);
            let next = sessions.last().filter(|_| more).map(|last| last.upload_id.clone());
            Ok(SessionPage { sessions, next })
        })
        .await
    }

    async fn overdue(&self, now_ms: i64, limit: u32, after: Option<&Session>) -> Result<OverduePage, Fault> {
        let place =
            |session: &Session| (session.expires_ms, session.app_id.clone(), session.upload_id.clone());
        self.call("Query", |state| {
            let due = |row: &&Session| row.status == SessionStatus::Open && row.expires_ms <= now_ms;
            let left = |row: &&Session| after.is_none_or(|after| place(row) > place(after));
            let mut sessions: Vec<_> = state.sessions.values().filter(due).filter(left).cloned().collect();
            sessions.sort_by_cached_key(place);
            let size = (limit as usize).min(OVERDUE_PAGE);
            let more = sessions.len() > size;
            sessions.truncate(size);
            Ok(OverduePage { sessions, more })
        })
        .await
    }

    async fn count(
        &self,
        app_id: &AppId,
        rate: &Rate,
        requests: u32,
        limit: u32,
        now_ms: i64,
    ) -> Result<bool, Fault> {
        self.call("UpdateItem", |state| {
            let key = (app_id.clone(), rate.clone(), now_ms.div_euclid(MINUTE_MS));
            let counted = state.requests.entry(key).or_default();
            let fits = *counted + requests <= limit;
            *counted += if fits { requests } else { 0 };
            Ok(fits)
        })
        .await
    }
}

fn no_such_upload(operation: &'static str) -> Fault {
    Fault::new(FaultClass::NotFound, operation, "NoSuchUpload")
}

impl Multipart for SimCloud {
    async fn create(&self, key: &str, _: &str, _: &[(String, String)]) -> Result<String, Fault> {
        self.call("CreateMultipartUpload", |state| {
            state.uploads_created += 1;
            let upload_id = format!("upload-{:04}", state.uploads_created);
            let upload = Upload { key: key.to_owned(), parts: BTreeMap::new() };
            state.uploads.insert(upload_id.clone(), upload);
            Ok(upload_id)
        })
        .await
    }

    async fn parts(&self, key: &str, upload_id: &str) -> Result<Vec<StoredPart>, Fault> {
        const OPERATION: &str = "ListParts";
        self.call(OPERATION, |state| {
            let upload = state.uploads.get(upload_id).filter(|upload| upload.key == key);
            let upload = upload.ok_or_else(|| no_such_upload(OPERATION))?;
            Ok(upload.parts.values().cloned().collect())
        })
        .await
    }

    async fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[ListedPart],
        size_bytes: u64,
    ) -> Result<(), Fault> {
        const OPERATION: &str = "CompleteMultipartUpload";
        // Lets other requests run between the caller's listing of the parts and this.
        tokio::task::yield_now().await;
        self.call(OPERATION, |state| {
            let upload = state.uploads.get(upload_id).filter(|upload| upload.key == key);
            let upload = upload.ok_or_else(|| no_such_upload(OPERATION))?;
            let invalid = |code| Fault::new(FaultClass::Permanent, OPERATION, code);
            let mut total = 0;
            for part in parts {
                let stored = upload.parts.get(&part.number).filter(|stored| stored.etag == part.etag);
                total += stored.ok_or_else(|| invalid("InvalidPart"))?.size_bytes;
            }
            if total != size_bytes {
                return Err(invalid("InvalidRequest"));
            }
            state.uploads.remove(upload_id);
            let made = state.uploaded.insert(key.to_owned(), total);
            assert_eq!(made, None, "{key} was made twice");
            Ok(())
        })
        .await
    }

    async fn abort(&self, _: &str, upload_id: &str) -> Result<(), Fault> {
        self.call("AbortMultipartUpload", |state| {
            state.uploads.remove(upload_id);
            Ok(())
        })
        .await
    }

    async fn object(&self, key: &str) -> Result<Option<ObjectMeta>, Fault> {
        self.call("HeadObject", |state| {
            Ok(state.uploaded.get(key).map(|size_bytes| ObjectMeta {
                size_bytes: *size_bytes,
                last_modified_ms: 0,
                etag: "etag".to_owned(),
                version_id: None,
            }))
        })
        .await
    }
}
