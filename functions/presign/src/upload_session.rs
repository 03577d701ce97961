//! Multipart upload sessions: create, sign, complete, abort.

use http::StatusCode;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::object_key::{Filename, UploadKey};
use logferry_core::uploads::session::{
    ListedPart, MAX_PARTS, MAX_SINGLE_BYTES, PartRefused, Session, SessionStatus, StoredPart, check_complete,
    part_size_bytes, total_bytes,
};
use logferry_core::uploads::table::{Multipart, OpenLimits, Opened, Sessions};
use logferry_presigner::{Post, PutPart};
use serde_json::{Map, Value, json};

use crate::companion::{NewUpload, Refusal};
use crate::metadata::s3_metadata;
use crate::uploader::Uploader;
use crate::{Presign, World, content_type, new_ulid};

/// Lifetime of a URL for a part, or of a form (s): long enough for a part to start after earlier ones.
pub(crate) const URL_SECS: u32 = 900;

/// Maximum bytes kept of a file's name; its key has fewer.
const MAX_KEPT_FILENAME_BYTES: usize = 1_024;

/// Returns the session if it accepts more parts.
fn takes_parts(session: Session, now_ms: i64) -> Result<Session, Refusal> {
    match session.status {
        SessionStatus::Open if now_ms < session.expires_ms => Ok(session),
        SessionStatus::Open => Err(Refusal::new(StatusCode::NOT_FOUND, "the upload has expired")),
        SessionStatus::Completed => {
            Err(Refusal::new(StatusCode::NOT_FOUND, "the upload is already completed"))
        }
        SessionStatus::Aborted => Err(unknown_upload()),
    }
}

fn unknown_upload() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no such upload")
}

impl<W: World> Presign<W> {
    /// `GET /s3/params`: a form for one file in one request.
    pub(crate) fn upload_form(
        &self,
        new: &NewUpload,
        uploader: &Uploader,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        self.check_new(new, uploader)?;
        let key = self.upload_key(&new.filename, uploader, now_ms)?;
        let metadata = s3_metadata(&new.metadata)?;
        let metadata: Vec<_> = metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let post = Post {
            key: &key,
            content_type: Some(new.content_type.as_str()).filter(|text| !text.is_empty()),
            metadata: &metadata,
            success_status: Some(201),
            length_bytes: (0, uploader.max_bytes.min(MAX_SINGLE_BYTES)),
            expires_secs: URL_SECS,
        };
        let form = self.presigner.post(&post, now_ms);
        let fields: Map<_, _> = form.fields.into_iter().map(|(name, value)| (name, value.into())).collect();
        Ok(json!({"method": "POST", "url": form.url, "fields": fields, "expires": URL_SECS}))
    }

    /// `POST /s3/multipart`. The row is written after S3's upload, because it holds the upload's id. An
    /// upload whose row could not be written is aborted, or expires by the bucket's lifecycle.
    pub(crate) async fn create_upload(
        &self,
        new: NewUpload,
        uploader: &Uploader,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        self.check_new(&new, uploader)?;
        if new.size_bytes.is_none() && self.log_limits.require_length {
            return Err(Refusal::bad_request("the \"size\" field is required"));
        }
        let metadata = s3_metadata(&new.metadata)?;
        let key = self.upload_key(&new.filename, uploader, now_ms)?;
        let upload_id = self.multipart.create(&key, &new.content_type, &metadata).await?;
        let session = Session {
            upload_id,
            app_id: uploader.app_id.clone(),
            registered_ms: uploader.since_ms,
            subject: uploader.subject.clone(),
            bucket: self.presigner.bucket().to_owned(),
            key,
            filename: shortened(new.filename),
            content_type: new.content_type,
            size_bytes: new.size_bytes,
            max_bytes: uploader.max_bytes,
            status: SessionStatus::Open,
            // Later than the registration, even with a wrong clock: older sessions do not belong to the
            // app.
            created_ms: now_ms.max(uploader.since_ms + 1),
            expires_ms: now_ms + i64::from(self.limits.session_secs) * 1000,
        };
        // A service is the app itself: its limit is the app's.
        let per_app = self.limits.open_per_app;
        let per_subject = if uploader.whole_app { per_app } else { self.limits.open_per_subject };
        let limits = OpenLimits { per_app, per_subject };
        let opened = self.sessions.open(&session, limits).await;
        let whose = match opened {
            Ok(Opened::Yes) => {
                return Ok(json!({
                    "key": session.key,
                    "uploadId": session.upload_id,
                    "bucket": session.bucket,
                    "partSize": part_size_bytes(session.size_bytes),
                }));
            }
            Ok(Opened::TooManyOfApp) => Ok("app"),
            Ok(Opened::TooManyOfSubject) => Ok("subject"),
            Err(fault) => Err(fault),
        };
        self.take_back(&session, whose.is_err(), now_ms).await;
        let whose = whose?;
        // web/browser (uploads/errors.ts) recognizes this text.
        let message = format!("too many uploads of this {whose} are open; complete or abort some first");
        Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(60))
    }

    /// Aborts an upload whose session could not be opened. Its row may have been written with the response
    /// lost; then it must not count as open.
    async fn take_back(&self, session: &Session, may_have_row: bool, now_ms: i64) {
        if let Err(fault) = self.multipart.abort(&session.key, &session.upload_id).await {
            tracing::warn!(error.message = %fault, "could not abort an upload without a session; the bucket's lifecycle rule will");
        }
        if may_have_row && let Err(fault) = self.sessions.end(session, SessionStatus::Aborted, now_ms).await {
            tracing::warn!(error.message = %fault, "could not close a session without an upload; it will expire");
        }
    }

    fn check_new(&self, new: &NewUpload, uploader: &Uploader) -> Result<(), Refusal> {
        if new.size_bytes.is_some_and(|size| size > uploader.max_bytes) {
            let message = format!("size must be at most {} bytes", uploader.max_bytes);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        // An empty content type cannot be misread.
        if !new.content_type.is_empty() && content_type::essence(&new.content_type).is_none() {
            let message = "content type must be type/subtype with optional parameters, without commas";
            return Err(Refusal::bad_request(message));
        }
        if !self.limits.takes_type(&new.content_type) {
            let message = "files of this content type are not accepted";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        Ok(())
    }

    fn upload_key(&self, filename: &str, uploader: &Uploader, now_ms: i64) -> Result<String, Refusal> {
        let key = UploadKey {
            app_id: uploader.app_id.clone(),
            subject: uploader.subject.clone(),
            ulid: new_ulid(now_ms)?,
            filename: Filename::nearest(filename),
        };
        Ok(key.to_string())
    }

    /// Returns the uploader's session with this id and key. Sessions of others, or with another key, are
    /// unknown.
    async fn session(&self, uploader: &Uploader, upload_id: &str, key: &str) -> Result<Session, Refusal> {
        if upload_id.is_empty() || upload_id.len() > MAX_UPLOAD_ID_BYTES {
            return Err(unknown_upload());
        }
        let session = self.sessions.find(&uploader.app_id, upload_id).await?;
        session.filter(|session| uploader.may_use(session) && session.key == key).ok_or_else(unknown_upload)
    }

    /// Like [`Presign::session`], and it must accept parts.
    async fn open_session(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<Session, Refusal> {
        takes_parts(self.session(uploader, upload_id, key).await?, now_ms)
    }

    /// `GET /s3/multipart/{uploadId}`
    pub(crate) async fn uploaded_parts(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        let session = self.open_session(uploader, upload_id, key, now_ms).await?;
        let parts = self.stored_parts(&session, now_ms).await?;
        Ok(parts.iter().map(part_json).collect())
    }

    /// Like [`Presign::open_session`], and what S3 holds is within its limit. S3 is not asked if every part's
    /// length is signed, or if all parts together cannot exceed the limit.
    async fn signable_session(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<Session, Refusal> {
        let session = self.open_session(uploader, upload_id, key, now_ms).await?;
        if session.size_bytes.is_none() && session.max_parts() < MAX_PARTS {
            self.stored_parts(&session, now_ms).await?;
        }
        Ok(session)
    }

    /// Returns what S3 holds of an open session. A session that exceeds its limit is aborted.
    async fn stored_parts(&self, session: &Session, now_ms: i64) -> Result<Vec<StoredPart>, Refusal> {
        let parts = match self.multipart.parts(&session.key, &session.upload_id).await {
            Ok(parts) => parts,
            Err(fault) if fault.class == FaultClass::NotFound => return Err(unknown_upload()),
            Err(fault) => return Err(fault.into()),
        };
        let (stored, limit) = (total_bytes(&parts), session.limit_bytes());
        if stored > limit {
            self.end_by_abort(session, now_ms).await?;
            let message = format!("upload aborted: {stored} bytes stored, {limit} allowed");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Ok(parts)
    }

    /// Aborts in S3 and ends the row. `Completed` if a complete request was first; the object stays.
    async fn end_by_abort(&self, session: &Session, now_ms: i64) -> Result<SessionStatus, Refusal> {
        self.multipart.abort(&session.key, &session.upload_id).await?;
        let status = match self.multipart.object(&session.key).await? {
            Some(_) => SessionStatus::Completed,
            None => SessionStatus::Aborted,
        };
        self.sessions.end(session, status, now_ms).await?;
        Ok(status)
    }

    /// `GET /s3/multipart/{uploadId}/{partNumber}`
    pub(crate) async fn sign_part(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        part: u32,
        size_bytes: Option<u64>,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        let session = self.signable_session(uploader, upload_id, key, now_ms).await?;
        Ok(json!({"url": self.part_url(&session, part, size_bytes, now_ms)?, "expires": URL_SECS}))
    }

    /// `GET /s3/multipart/{uploadId}/batch`
    pub(crate) async fn sign_parts(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        parts: &[(u32, Option<u64>)],
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        let session = self.signable_session(uploader, upload_id, key, now_ms).await?;
        let mut urls = Map::new();
        for (part, size_bytes) in parts {
            let url = self.part_url(&session, *part, *size_bytes, now_ms)?;
            urls.insert(part.to_string(), Value::from(url));
        }
        Ok(json!({"presignedUrls": urls}))
    }

    fn part_url(
        &self,
        session: &Session,
        part_number: u32,
        content_length: Option<u64>,
        now_ms: i64,
    ) -> Result<String, Refusal> {
        let content_length =
            session.part_length(part_number, content_length).map_err(|refused| match refused {
                PartRefused::LargerThanWhole { .. } => {
                    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, refused.to_string())
                }
                PartRefused::Number { .. } | PartRefused::Length { .. } | PartRefused::BeyondPlan { .. } => {
                    Refusal::bad_request(refused.to_string())
                }
            })?;
        let part = PutPart {
            key: &session.key,
            upload_id: &session.upload_id,
            part_number,
            content_length,
            expires_secs: URL_SECS,
        };
        Ok(self.presigner.put_part(&part, now_ms)?)
    }

    /// `POST /s3/multipart/{uploadId}/complete`. The parts in S3 decide. If S3 does not know the upload any
    /// more, the object shows whether an earlier complete request, whose response was lost, created it.
    pub(crate) async fn complete_upload(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        listed: &[ListedPart],
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        let session = self.session(uploader, upload_id, key).await?;
        if session.status == SessionStatus::Completed {
            return Ok(self.completed_json(&session));
        }
        // Read the row once: between two reads, another request may have completed the upload.
        let session = takes_parts(session, now_ms)?;
        let stored = match self.multipart.parts(key, upload_id).await {
            Ok(stored) => stored,
            Err(fault) if fault.class == FaultClass::NotFound => {
                return self.gone(&session, now_ms).await;
            }
            Err(fault) => return Err(fault.into()),
        };
        let parts = match check_complete(&session, listed, &stored) {
            Ok(parts) => parts,
            Err(incomplete) => {
                let mut message = format!("the upload is not complete: {incomplete}");
                if incomplete.stored_bytes > session.limit_bytes() {
                    self.end_by_abort(&session, now_ms).await?;
                    message.push_str("; it is aborted");
                }
                return Err(Refusal::new(StatusCode::CONFLICT, message).with_details(&incomplete));
            }
        };
        match self.multipart.complete(key, upload_id, &parts, total_bytes(&stored)).await {
            Ok(()) => {
                self.sessions.end(&session, SessionStatus::Completed, now_ms).await?;
                Ok(self.completed_json(&session))
            }
            Err(fault) if fault.class == FaultClass::NotFound => self.gone(&session, now_ms).await,
            Err(fault) if fault.class != FaultClass::Permanent => Err(fault.into()),
            Err(fault) => {
                // A part was replaced or aborted between our read and S3's.
                tracing::warn!(error.message = %fault, "S3 refused to complete an upload");
                let message = format!("the upload could not be completed: {}", fault.code);
                Err(Refusal::new(StatusCode::CONFLICT, message))
            }
        }
    }

    /// S3 does not know the upload any more: it was completed or aborted, or is being completed. Without an
    /// object, the row is left to that other request or to `sweep`.
    async fn gone(&self, session: &Session, now_ms: i64) -> Result<Value, Refusal> {
        // Only this upload writes this key, so an existing object is its object.
        if self.multipart.object(&session.key).await?.is_some() {
            self.sessions.end(session, SessionStatus::Completed, now_ms).await?;
            Ok(self.completed_json(session))
        } else {
            Err(unknown_upload())
        }
    }

    fn completed_json(&self, session: &Session) -> Value {
        json!({
            "location": self.presigner.location(&session.key),
            "key": session.key,
            "bucket": session.bucket,
        })
    }

    /// `DELETE /s3/multipart/{uploadId}`. Idempotent; a completed upload stays.
    pub(crate) async fn abort_upload(
        &self,
        uploader: &Uploader,
        upload_id: &str,
        key: &str,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        let completed = || Refusal::new(StatusCode::CONFLICT, "the upload is already completed");
        let session = self.session(uploader, upload_id, key).await?;
        match session.status {
            SessionStatus::Aborted => return Ok(json!({})),
            SessionStatus::Completed => return Err(completed()),
            SessionStatus::Open => {}
        }
        match self.end_by_abort(&session, now_ms).await? {
            SessionStatus::Completed => Err(completed()),
            SessionStatus::Open | SessionStatus::Aborted => Ok(json!({})),
        }
    }
}

/// Maximum length of an upload id; S3's are far shorter (bytes).
pub(crate) const MAX_UPLOAD_ID_BYTES: usize = 900;

/// Truncates the name: a table row has at most 400 KB.
fn shortened(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_KEPT_FILENAME_BYTES));
    name
}

fn part_json(part: &StoredPart) -> Value {
    json!({"PartNumber": part.number, "ETag": format!("\"{}\"", part.etag), "Size": part.size_bytes})
}
