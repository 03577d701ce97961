//! Multipart upload sessions: the `uploads` table, and the uploads themselves in S3.

use crate::model::app::AppId;
use crate::model::fault::Fault;
use crate::model::object::ObjectMeta;
use crate::model::object_key::Subject;
use crate::uploads::session::{ListedPart, Session, SessionStatus, StoredPart};

/// How many sessions may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenLimits {
    pub per_app: u32,
    pub per_subject: u32,
}

/// What became of a new session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    Yes,
    TooManyOfApp,
    TooManyOfSubject,
}

/// Some of an app's sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionPage {
    pub sessions: Vec<Session>,
    /// The upload id to go on after; `None`: that was all.
    pub next: Option<String>,
}

/// What is counted by the minute, of an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Requests about upload sessions.
    Uploads,
    /// URLs for log files.
    LogUrls,
    /// URLs for log files of one holder: an API key, or an attendee of a meeting.
    LogUrlsOf(String),
    /// Join tokens that Amazon Chime is asked about, genuine or not.
    Joins,
    /// Those of one meeting.
    JoinsOf(String),
}

/// The sessions' rows. How many are open is counted exactly: in the transaction that opens or ends.
pub trait Sessions: Send + Sync {
    /// Writes a new session down, unless there are too many.
    ///
    /// # Errors
    /// The write failed; it may have been carried out.
    fn open(
        &self,
        session: &Session,
        limits: OpenLimits,
    ) -> impl Future<Output = Result<Opened, Fault>> + Send;

    /// The app's session of this upload id; another app's is `None`.
    ///
    /// # Errors
    /// The read failed.
    fn find(
        &self,
        app_id: &AppId,
        upload_id: &str,
    ) -> impl Future<Output = Result<Option<Session>, Fault>> + Send;

    /// Ends an open session. `false`: it had ended before, and stays as it ended, except that
    /// completed outdoes aborted: an abort that came too late aborted nothing.
    ///
    /// # Errors
    /// The write failed; repeat it.
    fn end(
        &self,
        session: &Session,
        status: SessionStatus,
        now_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// The app's sessions, in the order of their upload ids; of one subject where one is named, and
    /// then no session of another one is read. A subject's may be a moment behind.
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

    /// Open sessions whose time was over at `now_ms`, the longest overdue first.
    ///
    /// # Errors
    /// The read failed.
    fn overdue(&self, now_ms: i64, limit: u32) -> impl Future<Output = Result<Vec<Session>, Fault>> + Send;

    /// Counts requests in this minute. `false`: with them there would be more than `limit`, and they
    /// are not counted.
    ///
    /// # Errors
    /// The write failed; it may have been carried out.
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
    /// Begins an upload and returns its id.
    ///
    /// # Errors
    /// The call failed; an upload may have begun that nobody knows of.
    fn create(
        &self,
        key: &str,
        content_type: &str,
        metadata: &[(String, String)],
    ) -> impl Future<Output = Result<String, Fault>> + Send;

    /// All parts that S3 holds, in order.
    ///
    /// # Errors
    /// `NotFound`: completed or aborted.
    fn parts(
        &self,
        key: &str,
        upload_id: &str,
    ) -> impl Future<Output = Result<Vec<StoredPart>, Fault>> + Send;

    /// Makes the object of these parts; S3 is told how large it must become.
    ///
    /// # Errors
    /// `NotFound`: completed or aborted. An error inside of a 200 is an error.
    fn complete(
        &self,
        key: &str,
        upload_id: &str,
        parts: &[ListedPart],
        size_bytes: u64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Ends the upload and frees its parts. One that is no more counts as ended.
    ///
    /// # Errors
    /// The call failed; repeat it.
    fn abort(&self, key: &str, upload_id: &str) -> impl Future<Output = Result<(), Fault>> + Send;

    /// The object, where it has come to be.
    ///
    /// # Errors
    /// The read failed.
    fn object(&self, key: &str) -> impl Future<Output = Result<Option<ObjectMeta>, Fault>> + Send;
}
