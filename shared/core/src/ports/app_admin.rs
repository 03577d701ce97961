//! Registering, changing and removing apps, their keys, and the jobs that removals leave behind.

use crate::ledger::row::FileStatus;
use crate::logfile::outcome::ReasonCode;
use crate::model::app::{App, AppId, FlushSetting};
use crate::model::fault::Fault;
use serde_json::Value;

use crate::ports::apps::{Apps, KeyRow};

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    Yes,
    /// The id is taken.
    Taken,
    /// An app of this id that was registered at the same moment is still being removed: take another.
    EpochInUse,
}

/// What became of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAdded {
    Yes,
    /// The app has as many as it may.
    TooMany,
    NoApp,
    /// There is a key of this id.
    IdTaken,
}

/// New settings; `None` leaves one as it is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AppChange {
    pub name: Option<String>,
    /// `Some(None)`: the deployment's default.
    pub retention_days: Option<Option<u32>>,
    pub flush: Option<FlushSetting>,
    pub health_checks: Option<Value>,
}

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobKind {
    /// Everything that the app of this epoch stored.
    Delete,
    /// What the app's watermark has made invisible.
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

/// A removal that is to be gone on with until it is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    pub app_id: AppId,
    pub epoch_ms: i64,
    pub kind: JobKind,
    /// Records before this time go (ms); of a deletion everything does.
    pub before_ms: i64,
    /// Of a prune whose bound was ahead: records before that bound which are there go, too (ms). The
    /// watermark stays at `before_ms`: what is written from now on is not meant.
    pub future_bound_ms: Option<i64>,
    /// Whoever works on it holds it until then, or it rests until then (ms).
    pub due_ms: i64,
    /// Records removed so far.
    pub deleted: u64,
    /// Nothing was left the last time; one more pass catches what was being written meanwhile.
    pub last_pass: bool,
}

/// Files that are being started over: what is asked, and how far that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedriveJob {
    /// `None`: those of all apps, and those that nobody owns.
    pub app_id: Option<AppId>,
    /// Files that were first heard of before are not the app's (ms).
    pub epoch_ms: i64,
    /// Those of this key alone.
    pub key: Option<String>,
    /// Those that are in this state, which is a terminal one, for this reason or any.
    pub status: FileStatus,
    pub reason: Option<ReasonCode>,
    /// Where their list is gone on with; see [`Files`](crate::ledger::files::Files).
    pub after: Option<String>,
    /// Whoever works on it holds it until then (ms).
    pub due_ms: i64,
}

/// Changes apps. What is written is in the next read.
pub trait AppAdmin: Apps {
    /// Registers an app with its first key.
    ///
    /// # Errors
    /// The write failed.
    fn register(&self, app: &App, key: &KeyRow) -> impl Future<Output = Result<Registered, Fault>> + Send;

    /// An app's live keys, sorted by id.
    ///
    /// # Errors
    /// A read failed.
    fn keys(&self, app_id: &AppId) -> impl Future<Output = Result<Vec<KeyRow>, Fault>> + Send;

    /// Changes the settings of the app of this epoch; `None` when there is none (any more).
    ///
    /// # Errors
    /// The write failed.
    fn change(
        &self,
        app_id: &AppId,
        epoch_ms: i64,
        change: &AppChange,
    ) -> impl Future<Output = Result<Option<App>, Fault>> + Send;

    /// Adds a key to its app, which has at most `most` then.
    ///
    /// # Errors
    /// The write failed.
    fn add_key(
        &self,
        key: &KeyRow,
        epoch_ms: i64,
        most: usize,
    ) -> impl Future<Output = Result<KeyAdded, Fault>> + Send;

    /// Revokes a key of this app. `false`: it has no such key.
    ///
    /// # Errors
    /// The write failed.
    fn revoke_key(&self, app_id: &AppId, key_id: &str) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Removes the app and its keys and leaves a job for its records. `false`: it is gone already.
    ///
    /// # Errors
    /// The write failed.
    fn delete(&self, app: &App, job: &Job) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Raises the app's watermark, never lowers it, and leaves a job. `None`: no such app; else the
    /// watermark that holds now (ms).
    ///
    /// # Errors
    /// The write failed.
    fn prune(&self, job: &Job) -> impl Future<Output = Result<Option<i64>, Fault>> + Send;

    /// All jobs.
    ///
    /// # Errors
    /// The read failed.
    fn jobs(&self) -> impl Future<Output = Result<Vec<Job>, Fault>> + Send;

    /// Writes a job over the one that was due at `was_due_ms`. `false`: somebody else has it.
    ///
    /// # Errors
    /// The write failed.
    fn save_job(&self, job: &Job, was_due_ms: i64) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Forgets a job that is finished, if it is still the one that was due at `was_due_ms`.
    ///
    /// # Errors
    /// The write failed.
    fn end_job(&self, job: &Job, was_due_ms: i64) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Leaves a redrive to be gone on with, in the place of one that asks for the same.
    ///
    /// # Errors
    /// The write failed.
    fn leave_redrive(&self, job: &RedriveJob) -> impl Future<Output = Result<(), Fault>> + Send;

    /// All redrives that are to be gone on with.
    ///
    /// # Errors
    /// The read failed.
    fn redrives(&self) -> impl Future<Output = Result<Vec<RedriveJob>, Fault>> + Send;

    /// Writes a redrive over the one that was due at `was_due_ms`. `false`: somebody else has it.
    ///
    /// # Errors
    /// The write failed.
    fn save_redrive(
        &self,
        job: &RedriveJob,
        was_due_ms: i64,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Forgets a redrive that is through, if it is still the one that was due at `was_due_ms`.
    ///
    /// # Errors
    /// The write failed.
    fn end_redrive(
        &self,
        job: &RedriveJob,
        was_due_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
