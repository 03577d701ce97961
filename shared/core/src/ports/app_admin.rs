//! Registering, changing and deleting apps, their keys, and the jobs that remove their records.

use crate::ledger::row::FileStatus;
use crate::logfile::outcome::ReasonCode;
use crate::model::alert::AlertRule;
use crate::model::app::{App, AppId, FlushSetting};
use crate::model::fault::Fault;
use serde_json::Value;

use crate::ports::apps::{Apps, KeyRow};

/// The result of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    Yes,
    /// The id is taken.
    Taken,
    /// An app with this id and the same registration time is still being removed: choose another time.
    EpochInUse,
}

/// The result of adding a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdded {
    Yes,
    /// The app has the maximum number of keys.
    TooMany,
    NoApp,
    /// A key with this id exists.
    IdTaken,
}

/// New settings; `None` keeps a setting.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppChange {
    pub name: Option<String>,
    /// `Some(None)` selects the deployment's default.
    pub retention_days: Option<Option<u32>>,
    pub flush: Option<FlushSetting>,
    pub health_checks: Option<Value>,
}

/// What a job removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    /// Everything that the app of this epoch stored.
    Delete,
    /// The records that the app's watermark hides.
    Prune,
}

impl JobKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Prune => "prune",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Delete, Self::Prune].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A removal in progress; `sweep` resumes it until it completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub app_id: AppId,
    pub registered_ms: i64,
    pub kind: JobKind,
    /// Records before this time are removed (ms). A deletion removes all records.
    pub before_ms: i64,
    /// The bound of a prune with a bound in the future (ms): existing records before it are also removed.
    /// The watermark stays at `before_ms`, so records written later are kept.
    pub future_bound_ms: Option<i64>,
    /// When the job may be worked on again (ms): it is held by a worker, or resting, until then.
    pub due_ms: i64,
    /// Records removed so far.
    pub deleted: u64,
    /// The previous pass found nothing. One more pass removes what was being written meanwhile.
    pub last_pass: bool,
}

impl Job {
    /// Returns the bound in the future before which records are left to remove. There are none if a pass was
    /// complete: what was written later stays.
    #[must_use]
    pub fn open_bound_ms(&self) -> Option<i64> {
        self.future_bound_ms.filter(|_| !self.last_pass)
    }

    /// Returns the job that replaces one with this open bound: the larger bound holds.
    #[must_use]
    pub fn in_place_of(self, open_bound_ms: Option<i64>) -> Self {
        let bound_ms = self.future_bound_ms.max(open_bound_ms);
        Self { future_bound_ms: bound_ms.filter(|bound_ms| *bound_ms > self.before_ms), ..self }
    }
}

/// A redrive in progress: which files, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveJob {
    /// `None` selects files of all apps, and files without owner.
    pub app_id: Option<AppId>,
    /// When the app was registered (ms). Files from before do not belong to the app.
    pub registered_ms: i64,
    /// Only files with this key.
    pub key: Option<String>,
    /// Only files in this terminal state, with this reason or any.
    pub status: FileStatus,
    pub reason: Option<ReasonCode>,
    /// The position in the list of files; see [`Files`](crate::ledger::files::Files).
    pub after: Option<String>,
    /// When the job may be worked on again (ms): a worker holds it until then.
    pub due_ms: i64,
}

/// Changes apps. Writes are visible to the next read.
pub trait AppAdmin: Apps {
    /// Registers an app with its first key.
    ///
    /// # Errors
    /// The write failed.
    fn register(&self, app: &App, key: &KeyRow) -> impl Future<Output = Result<Registered, Fault>> + Send;

    /// Returns the key as it is now, even if `find_key` has just not found its id.
    ///
    /// # Errors
    /// The read failed.
    fn find_key_now(&self, key_id: &str) -> impl Future<Output = Result<Option<KeyRow>, Fault>> + Send;

    /// Returns an app's live keys, sorted by id.
    ///
    /// # Errors
    /// A read failed.
    fn keys(&self, app_id: &AppId) -> impl Future<Output = Result<Vec<KeyRow>, Fault>> + Send;

    /// Changes the settings of the app of this epoch; `None` if there is no such app.
    ///
    /// # Errors
    /// The write failed.
    fn change(
        &self,
        app_id: &AppId,
        registered_ms: i64,
        change: &AppChange,
    ) -> impl Future<Output = Result<Option<App>, Fault>> + Send;

    /// Replaces the alert rules that the app had when it was read; `false` if it has others by now, or if
    /// there is no such app.
    ///
    /// # Errors
    /// The write failed.
    fn set_alerts(&self, app: &App, alerts: &[AlertRule])
    -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Adds a key to its app, unless the app would then have more than `most` keys.
    ///
    /// # Errors
    /// The write failed.
    fn add_key(
        &self,
        key: &KeyRow,
        registered_ms: i64,
        most: usize,
    ) -> impl Future<Output = Result<KeyAdded, Fault>> + Send;

    /// Revokes a key of this app; `false` if it has no such key.
    ///
    /// # Errors
    /// The write failed.
    fn revoke_key(&self, app_id: &AppId, key_id: &str) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Removes the app and its keys, and stores a job for its records; `false` if the app does not exist.
    ///
    /// # Errors
    /// The write failed.
    fn delete(&self, app: &App, job: &Job) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Raises the app's watermark (never lowers it) and stores a job, which replaces an unfinished one (see
    /// [`Job::in_place_of`]). A job whose watermark is lower and that has no bound in the future changes
    /// nothing. Returns the job with the resulting watermark; `None` if there is no such app.
    ///
    /// # Errors
    /// The write failed.
    fn prune(&self, job: &Job) -> impl Future<Output = Result<Option<Job>, Fault>> + Send;

    /// Returns all jobs.
    ///
    /// # Errors
    /// The read failed.
    fn jobs(&self) -> impl Future<Output = Result<Vec<Job>, Fault>> + Send;

    /// Replaces the job that was due at `was_due_ms`; `false` if another worker has it.
    ///
    /// # Errors
    /// The write failed.
    fn save_job(&self, job: &Job, was_due_ms: i64) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Removes a finished job, if it is still the one that was due at `was_due_ms`.
    ///
    /// # Errors
    /// The write failed.
    fn end_job(&self, job: &Job, was_due_ms: i64) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Stores a redrive to be resumed, replacing one with the same selection.
    ///
    /// # Errors
    /// The write failed.
    fn leave_redrive(&self, job: &RedriveJob) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns all redrives in progress.
    ///
    /// # Errors
    /// The read failed.
    fn redrives(&self) -> impl Future<Output = Result<Vec<RedriveJob>, Fault>> + Send;

    /// Replaces the redrive that was due at `was_due_ms`; `false` if another worker has it.
    ///
    /// # Errors
    /// The write failed.
    fn save_redrive(
        &self,
        job: &RedriveJob,
        was_due_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Removes a finished redrive, if it is still the one that was due at `was_due_ms`.
    ///
    /// # Errors
    /// The write failed.
    fn end_redrive(
        &self,
        job: &RedriveJob,
        was_due_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
