//! Multipart upload sessions: begun, signed for, completed to the byte, aborted, listed.

use futures::future::join_all;
use http::StatusCode;
use logferry_aws::presign::{Post, PutPart};
use logferry_domain::fault::FaultClass;
use logferry_domain::keys::{Filename, UploadKey};
use logferry_domain::time::rfc3339_ms;
use logferry_domain::upload::{
    ListedPart, MAX_SINGLE_BYTES, Session, SessionStatus, StoredPart, check_complete, part_size_bytes,
    total_bytes,
};
use logferry_ports::sessions::{OpenLimits, Opened};
use logferry_ports::{Multipart, Sessions};
use logferry_service::http::{ApiError, Request, Response};
use serde_json::{Map, Value, json};

use crate::companion::{NewUpload, Refusal};
use crate::uploader::Uploader;
use crate::{App, World, new_ulid};

/// How long a part's URL or a form works (s). Long enough for a part to begin after those before it.
pub(crate) const URL_SECS: u32 = 900;

/// The most user metadata of an object, names and values (bytes).
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html>
const MAX_METADATA_BYTES: usize = 2_048;

/// How many sessions `GET /uploads` shows at once.
const PAGE: u32 = 20;
const MAX_PAGE: u32 = 100;

/// The most that is kept of a file's name (bytes); its key has less.
const MAX_KEPT_FILENAME_BYTES: usize = 1_024;

/// The session, if it may still be added to.
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
    Refusal::new(StatusCode::NOT_FOUND, "there is no such upload")
}

impl<W: World> App<W> {
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

    /// `POST /s3/multipart`. The row comes after S3's upload, whose id it carries; an upload whose
    /// row could not be written is aborted again, or by the bucket's lifecycle.
    pub(crate) async fn create_upload(
        &self,
        new: NewUpload,
        uploader: &Uploader,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        self.check_new(&new, uploader)?;
        let metadata = s3_metadata(&new.metadata)?;
        let key = self.upload_key(&new.filename, uploader, now_ms)?;
        let upload_id = self.multipart.create(&key, &new.content_type, &metadata).await?;
        let session = Session {
            upload_id,
            app_id: uploader.app_id.clone(),
            subject: uploader.subject.clone(),
            bucket: self.presigner.bucket().to_owned(),
            key,
            filename: shortened(new.filename),
            content_type: new.content_type,
            size_bytes: new.size_bytes,
            max_bytes: uploader.max_bytes,
            status: SessionStatus::Open,
            created_ms: now_ms,
            expires_ms: now_ms + i64::from(self.limits.session_secs) * 1000,
        };
        let limits =
            OpenLimits { per_app: self.limits.open_per_app, per_subject: self.limits.open_per_subject };
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
        let message = format!("too many uploads of this {whose} are open; complete or abort some first");
        Err(Refusal::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(60))
    }

    /// Frees an upload whose session could not be opened. Its row may have been written all the same,
    /// with an answer that was lost: then it must not count as open.
    async fn take_back(&self, session: &Session, may_have_row: bool, now_ms: i64) {
        if let Err(fault) = self.multipart.abort(&session.key, &session.upload_id).await {
            tracing::warn!(error.message = %fault, "an upload without a session is left to the lifecycle");
        }
        if may_have_row && let Err(fault) = self.sessions.end(session, SessionStatus::Aborted, now_ms).await {
            tracing::warn!(error.message = %fault, "a session without an upload is left to expire");
        }
    }

    fn check_new(&self, new: &NewUpload, uploader: &Uploader) -> Result<(), Refusal> {
        if new.size_bytes.is_some_and(|size| size > uploader.max_bytes) {
            let message = format!("size must be at most {} bytes", uploader.max_bytes);
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        if !is_header_value(&new.content_type) {
            return Err(Refusal::bad_request("content type must be a content type"));
        }
        if !self.limits.takes_type(&new.content_type) {
            let message = "files of this content type are not taken";
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

    /// The uploader's session of this id and key; anybody else's, or another key, is unknown.
    async fn session(&self, uploader: &Uploader, upload_id: &str, key: &str) -> Result<Session, Refusal> {
        if upload_id.is_empty() || upload_id.len() > MAX_UPLOAD_ID_BYTES {
            return Err(unknown_upload());
        }
        let session = self.sessions.find(&uploader.app_id, upload_id).await?;
        session.filter(|session| uploader.may_use(session) && session.key == key).ok_or_else(unknown_upload)
    }

    /// As [`App::session`], and it must still take parts.
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
        match self.multipart.parts(&session.key, &session.upload_id).await {
            Ok(parts) => Ok(parts.iter().map(part_json).collect()),
            Err(fault) if fault.class == FaultClass::NotFound => Err(unknown_upload()),
            Err(fault) => Err(fault.into()),
        }
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
        let session = self.open_session(uploader, upload_id, key, now_ms).await?;
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
        let session = self.open_session(uploader, upload_id, key, now_ms).await?;
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
        let most = session.size_bytes.unwrap_or(session.max_bytes);
        if content_length.is_some_and(|length| length > most) {
            let message = format!("a part of this upload has at most {most} bytes");
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        let part = PutPart {
            key: &session.key,
            upload_id: &session.upload_id,
            part_number,
            content_length,
            expires_secs: URL_SECS,
        };
        Ok(self.presigner.put_part(&part, now_ms)?)
    }

    /// `POST /s3/multipart/{uploadId}/complete`. What S3 holds decides. Where S3 no longer knows the
    /// upload, the object tells whether an earlier complete, whose answer was lost, made it.
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
        // One look at the row: between two, another complete may have ended it.
        let session = takes_parts(session, now_ms)?;
        let stored = match self.multipart.parts(key, upload_id).await {
            Ok(stored) => stored,
            Err(fault) if fault.class == FaultClass::NotFound => {
                return self.gone(&session, now_ms).await;
            }
            Err(fault) => return Err(fault.into()),
        };
        let parts = check_complete(&session, listed, &stored).map_err(|incomplete| {
            Refusal::new(StatusCode::CONFLICT, format!("the upload is not complete: {incomplete}"))
                .with_details(&incomplete)
        })?;
        match self.multipart.complete(key, upload_id, &parts, total_bytes(&stored)).await {
            Ok(()) => {
                self.sessions.end(&session, SessionStatus::Completed, now_ms).await?;
                Ok(self.completed_json(&session))
            }
            Err(fault) if fault.class == FaultClass::NotFound => self.gone(&session, now_ms).await,
            Err(fault) if fault.class != FaultClass::Permanent => Err(fault.into()),
            Err(fault) => {
                // A part was replaced or aborted between our look and S3's.
                tracing::warn!(error.message = %fault, "S3 refused to complete an upload");
                let message = format!("the upload could not be completed: {}", fault.code);
                Err(Refusal::new(StatusCode::CONFLICT, message))
            }
        }
    }

    /// S3 knows the upload no more: it was completed or aborted, or is being completed just now. So
    /// without an object the row stays as it is, for that other request or for `sweep`.
    async fn gone(&self, session: &Session, now_ms: i64) -> Result<Value, Refusal> {
        // Nobody but this upload writes this key, so an object is its object.
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

    /// `DELETE /s3/multipart/{uploadId}`. Again is as good as once; what is completed stays.
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
        self.multipart.abort(key, upload_id).await?;
        // A complete may have been quicker.
        if self.multipart.object(key).await?.is_some() {
            self.sessions.end(&session, SessionStatus::Completed, now_ms).await?;
            return Err(completed());
        }
        self.sessions.end(&session, SessionStatus::Aborted, now_ms).await?;
        Ok(json!({}))
    }

    /// `GET /uploads`: the app's sessions, or the subject's own, with what S3 holds of the open ones.
    pub(crate) async fn list_uploads(&self, request: &Request, now_ms: i64) -> Result<Response, ApiError> {
        let uploader = self.uploader(request, None, now_ms).await?;
        let limit = match request.param("limit") {
            None => PAGE,
            Some(text) => {
                text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit)).ok_or_else(|| {
                    ApiError::bad_request("limit", format!("limit must be between 1 and {MAX_PAGE}"))
                })?
            }
        };
        let subject = (!uploader.whole_app).then_some(&uploader.subject);
        let after = request.param("cursor").filter(|cursor| !cursor.is_empty());
        if after.is_some_and(|cursor| cursor.len() > MAX_UPLOAD_ID_BYTES) {
            return Err(ApiError::bad_request("cursor", "cursor must be that of the answer before"));
        }
        let mut page = self.sessions.list(&uploader.app_id, subject, limit, after).await?;
        page.sessions.retain(|session| uploader.may_use(session));
        let shown = join_all(page.sessions.iter().map(|session| self.session_json(session))).await;
        let mut body = json!({"ok": true, "data": shown.into_iter().collect::<Result<Value, _>>()?});
        if let Some(next) = page.next {
            body["cursor"] = next.into();
        }
        Ok(Response::json(StatusCode::OK, &body))
    }

    async fn session_json(&self, session: &Session) -> Result<Value, ApiError> {
        let mut shown = json!({
            "uploadId": session.upload_id,
            "key": session.key,
            "filename": session.filename,
            "type": session.content_type,
            "subject": session.subject.as_str(),
            "status": session.status.as_str(),
            "size": session.size_bytes,
            "created_at": rfc3339_ms(session.created_ms),
            "expires_at": rfc3339_ms(session.expires_ms),
        });
        shown["uploaded_bytes"] = match session.status {
            SessionStatus::Open => {
                let parts = match self.multipart.parts(&session.key, &session.upload_id).await {
                    Ok(parts) => parts,
                    Err(fault) if fault.class == FaultClass::NotFound => Vec::new(),
                    Err(fault) => return Err(fault.into()),
                };
                shown["parts"] = parts.len().into();
                total_bytes(&parts)
            }
            SessionStatus::Completed => {
                self.multipart.object(&session.key).await?.map_or(0, |object| object.size_bytes)
            }
            SessionStatus::Aborted => 0,
        }
        .into();
        Ok(shown)
    }
}

/// No upload id of S3 is nearly as long (bytes).
const MAX_UPLOAD_ID_BYTES: usize = 900;

/// As much of the name as is kept: a row of the table holds no more than 400 KB.
fn shortened(mut name: String) -> String {
    name.truncate(name.floor_char_boundary(MAX_KEPT_FILENAME_BYTES));
    name
}

fn part_json(part: &StoredPart) -> Value {
    json!({"PartNumber": part.number, "ETag": format!("\"{}\"", part.etag), "Size": part.size_bytes})
}

fn is_header_value(text: &str) -> bool {
    text.len() <= 256 && text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim() == text
}

/// Metadata as S3 takes it: names in lower case, and what is not ASCII as RFC 2047 writes it.
fn s3_metadata(metadata: &[(String, String)]) -> Result<Vec<(String, String)>, Refusal> {
    let mut bytes = 0;
    let mut taken: Vec<(String, String)> = Vec::with_capacity(metadata.len());
    for (name, value) in metadata {
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(Refusal::bad_request("metadata names must be letters, digits, '-', '_' and '.'"));
        }
        let name = name.to_ascii_lowercase();
        if taken.iter().any(|(other, _)| *other == name) {
            return Err(Refusal::bad_request("metadata names must differ in more than capitals"));
        }
        let value = if is_plain(value) { value.clone() } else { rfc2047(value) };
        bytes += name.len() + value.len();
        taken.push((name, value));
    }
    if bytes > MAX_METADATA_BYTES {
        return Err(Refusal::bad_request(format!("metadata must be at most {MAX_METADATA_BYTES} bytes")));
    }
    Ok(taken)
}

fn is_plain(value: &str) -> bool {
    value.bytes().all(|b| (b' '..=b'~').contains(&b)) && value.trim() == value
}

fn rfc2047(value: &str) -> String {
    use base64::Engine as _;
    format!("=?UTF-8?B?{}?=", base64::prelude::BASE64_STANDARD.encode(value))
}
