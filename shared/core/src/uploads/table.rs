//! Multipart upload sessions: the `uploads` table, and the uploads in S3.

use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::object::ObjectMeta;
use crate::model::object_key::Subject;
use crate::uploads::session::{ListedPart, Session, SessionStatus, StoredPart};

/// Maximum number of open sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenLimits {
    pub per_app: u32,
    pub per_subject: u32,
}

/// The result of opening a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    Yes,
    TooManyOfApp,
    TooManyOfSubject,
}

/// A page of an app's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionPage {
    pub sessions: Vec<Session>,
    /// The upload id after which the next page starts; `None` on the last page.
    pub next: Option<String>,
}

/// A page of overdue sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverduePage {
    pub sessions: Vec<Session>,
    /// Whether others may follow the last one.
    pub more: bool,
}

/// What is counted per minute for an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Requests about upload sessions.
    Uploads,
    /// URLs for log files.
    LogUrls,
    /// URLs for log files of one holder: an API key, or an attendee of a meeting.
    LogUrlsOf(String),
    /// Join tokens that are verified with Amazon Chime, valid or not.
    Joins,
    /// Join tokens of one meeting.
    JoinsOf(String),
}

/// The rows of sessions. Open sessions of an app and its registration are counted exactly, in the transactions that open and end them.
pub trait Sessions: Send + Sync {
    /// Stores a new session, unless there are too many.
    ///
    /// # Errors
    /// The write failed; it may have been processed.
    fn open(
        &self,
        session: &Session,
        limits: OpenLimits,
    ) -> impl Future<Output = Result<Opened, Fault>> + Send;

    /// Returns the app's session with this upload id; `None` for a session of another app.
    ///
    /// # Errors
    /// The read failed.
    fn find(
        &self,
        app_id: &AppId,
        upload_id: &str,
    ) -> impl Future<Output = Result<Option<Session>, Fault>> + Send;

    /// Ends an open session. `false` if it had already ended; it keeps its state then. Exception:
    /// `completed` wins over `aborted`, because a late abort had no effect.
    ///
    /// # Errors
    /// The write failed; retry.
    fn end(
        &self,
        session: &Session,
        status: SessionStatus,
        now_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Returns the app's sessions in order of their upload ids. With a subject, only sessions of that
    /// subject are read; that list is eventually consistent.
    ///
    /// # Errors
    /// The read failed.
    fn list(
        &self,
        app_id: &AppId,
        subject: Option<&Subject>,
        limit: u32,
        after: Option<&str>,
    ) -> impl Future<Output = Result<SessionPage, Fault>> + Send;

    /// Returns open sessions that had expired at `now_ms`, the longest overdue first: at most `limit` of those
    /// after a session. Eventually consistent.
    ///
    /// # Errors
    /// The read failed.
    fn overdue(
        &self,
        now_ms: i64,
        limit: u32,
        after: Option<&Session>,
    ) -> impl Future<Output = Result<OverduePage, Fault>> + Send;

    /// Counts requests in this minute. `false` if they would exceed `limit`; they are not counted then.
    ///
    /// # Errors
    /// The write failed; it may have been processed.
    fn count(
        &self,
        app_id: &AppId,
        rate: &Rate,
        requests: u32,
        limit: u32,
        now_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// Multipart uploads of one bucket.
pub trait Multipart: Send + Sync {
    /// Starts an upload and returns its id.
    ///
    /// # Errors
    /// The call failed. An upload with unknown id may have been started.
    fn create(
        &self,
        key: &str,
        content_type: &str,
        metadata: &[(String, String)],
    ) -> impl Future<Output = Result<String, Fault>> + Send;

    /// Returns all parts that S3 holds, in order.
    ///
    /// # Errors
    /// `NotFound` if the upload was completed or aborted.
    fn parts(
        &self,
        key: &str,
        upload_id: &str,
    ) -> impl Future<Output = Result<Vec<StoredPart>, Fault>> + Send;

    /// Assembles the object from these parts. S3 checks its total size.
    ///
    /// # Errors
    /// `NotFound` if the upload was completed or aborted. An error inside a 200 response is an error.
    fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[ListedPart],
        size_bytes: u64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Aborts the upload and frees its parts. A missing upload counts as aborted.
    ///
    /// # Errors
    /// The call failed; retry.
    fn abort(&self, key: &str, upload_id: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns the object, if it exists.
    ///
    /// # Errors
    /// The read failed.
    fn object(&self, key: &str) -> impl Future<Output = Result<Option<ObjectMeta>, Fault>> + Send;
}
