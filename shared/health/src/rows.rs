//! The `checks` table: one row per check and slot, hourly sums of finished days, and the current state of
//! each check.

use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR};
use serde::{Deserialize, Serialize};

/// How long after the end of its day a row may be written (ms). Later rows are late: they invalidate the
/// sums of the day.
pub const LATE_AFTER_MS: i64 = MS_PER_HOUR / 2;
/// How long after the end of a day its sums may be stored at the earliest (ms). The difference allows for
/// rows in flight and for clock skew.
pub const SETTLED_AFTER_MS: i64 = MS_PER_HOUR;
pub const HOURS_PER_DAY: usize = 24;
/// How long results of probes are kept after their slot (ms).
const KEPT_MS: i64 = 30 * MS_PER_DAY;
/// How long reports of jobs, and states, are kept (ms): some days longer than the longest heartbeat, since a
/// run reads the last report within it, or since when the first one is awaited.
pub const REPORTS_KEPT_MS: i64 = 33 * MS_PER_DAY;

/// Before the name of a job that reports itself, in its target.
pub(crate) const JOB_PREFIX: &str = "push:";

/// Identifies a check by app and target; the partition key of its rows. The target is a URL, or
/// `push:{name}` for a job that reports itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CheckKey {
    pub app_id: AppId,
    pub target: String,
}

/// The result of one check in one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRow {
    pub key: CheckKey,
    /// Start of the slot; for a pushed report, its arrival (ms since the epoch).
    pub slot_ms: i64,
    /// The app's `registered_ms`: rows of an earlier app with the same id do not belong to this app.
    pub registered_ms: i64,
    /// 0 if there was no response.
    pub status: u16,
    pub latency_ms: u32,
    pub ok: bool,
    /// The run had no time for it; says nothing about the URL.
    pub skipped: bool,
    pub error: Option<String>,
    /// Conditions that failed, with the actual values.
    pub failed_conditions: Vec<String>,
    /// Target of a redirect; it is not followed.
    pub redirect_to: Option<String>,
    pub certificate_expires_ms: Option<i64>,
    pub checked_at_ms: i64,
}

impl CheckRow {
    /// Returns when the row expires (ms since the epoch).
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        let of_job = self.key.target.starts_with(JOB_PREFIX);
        self.slot_ms.saturating_add(if of_job { REPORTS_KEPT_MS } else { KEPT_MS })
    }

    /// Whether the sums of the row's day may have been stored before this row.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.checked_at_ms > Day::of_ms(self.slot_ms).end_ms().saturating_add(LATE_AFTER_MS)
    }
}

/// The sum of rows. Skipped rows add nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub checks: u64,
    pub ok: u64,
    /// Checks with a response, and their latencies.
    pub answered: u64,
    pub total_ms: u64,
    pub min_ms: Option<u32>,
    pub max_ms: Option<u32>,
}

impl Tally {
    pub fn add(&mut self, row: &CheckRow) {
        if row.skipped {
            return;
        }
        self.checks += 1;
        self.ok += u64::from(row.ok);
        if row.status != 0 {
            self.merge(&Tally {
                answered: 1,
                total_ms: row.latency_ms.into(),
                min_ms: Some(row.latency_ms),
                max_ms: Some(row.latency_ms),
                ..Tally::default()
            });
        }
    }

    pub fn merge(&mut self, other: &Tally) {
        self.checks += other.checks;
        self.ok += other.ok;
        self.answered += other.answered;
        self.total_ms += other.total_ms;
        self.min_ms = [self.min_ms, other.min_ms].into_iter().flatten().min();
        self.max_ms = self.max_ms.max(other.max_ms);
    }

    /// Rounded to the nearest millisecond; `None` without any response.
    #[must_use]
    pub fn average_ms(&self) -> Option<u64> {
        (self.answered > 0).then(|| (self.total_ms + self.answered / 2) / self.answered)
    }
}

/// The hourly sums of a finished day of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySums {
    pub day: Day,
    /// Increased by every late row; 0 without late rows.
    pub revision: u64,
    /// `None` if a late row invalidated the sums and they have not been recomputed yet.
    pub hours: Option<[Tally; HOURS_PER_DAY]>,
}

/// The result of recording a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    Stored,
    /// The slot already has a result, which is kept. It is of this app, or of a later one with the same id.
    Existing(CheckRow),
}

/// State of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    Unknown,
    Up,
    Down,
}

impl Health {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// A recent result, as shown in a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentResult {
    pub slot_ms: i64,
    pub ok: bool,
    pub status: u16,
    pub latency_ms: u32,
    pub error: Option<String>,
    pub failed_conditions: Vec<String>,
}

/// A state change that was not published yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    pub from: Health,
    pub to: Health,
    pub slot_ms: i64,
}

/// The current state of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlState {
    pub target: String,
    pub registered_ms: i64,
    pub health: Health,
    /// Since when the state holds; for `Unknown`, since when it is checked.
    pub since_ms: i64,
    pub ok_streak: u32,
    pub failure_streak: u32,
    /// The newest slot that is included.
    pub last_slot_ms: Option<i64>,
    /// Oldest first.
    pub recent: Vec<RecentResult>,
    pub pending: Option<HealthChange>,
    /// Increased by one with every write; 0 if it was never written.
    pub version: u64,
}

impl UrlState {
    /// Returns when the state expires (ms since the epoch).
    #[must_use]
    pub fn expires_ms(&self) -> i64 {
        self.last_slot_ms.unwrap_or(self.since_ms).saturating_add(REPORTS_KEPT_MS)
    }
}

/// Maximum number of job reports per minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportLimits {
    pub of_job: u32,
    pub of_app: u32,
}

/// Stores and reads results and states until they expire.
pub trait CheckTable: Send + Sync {
    /// Records a result. The first result of a slot is kept, except that a skipped one is replaced, and
    /// that a result of a later app with the same id replaces any other. A result of an earlier app, whose
    /// run may still be in progress, never replaces one. A late row invalidates the sums of its day in the
    /// same write.
    ///
    /// # Errors
    /// The write failed; the row may have been stored.
    fn record(&self, row: &CheckRow) -> impl Future<Output = Result<Recorded, Fault>> + Send;

    /// Returns rows with `from_ms <= slot_ms <= to_ms`, newest first, at most `limit`, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn history(
        &self,
        key: &CheckKey,
        from_ms: i64,
        to_ms: i64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<CheckRow>, Fault>> + Send;

    /// Returns the stored sums of the days from `first` to `last`, oldest first, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn days(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        first: Day,
        last: Day,
    ) -> impl Future<Output = Result<Vec<DaySums>, Fault>> + Send;

    /// Stores the sums of a day, whose rows were read after its revision. `false` if a late row arrived in
    /// between; nothing is stored then.
    ///
    /// # Errors
    /// The write failed; the sums may have been stored.
    fn save_day(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        sums: &DaySums,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Counts a job report in a minute since the epoch, for the app of this epoch. `false` if the job or
    /// the app has reached its limit; nothing is counted then.
    ///
    /// # Errors
    /// The write failed; the report may have been counted.
    fn count_report(
        &self,
        key: &CheckKey,
        registered_ms: i64,
        minute: i64,
        most: ReportLimits,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Returns the states of an app's checks, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn states(&self, app_id: &AppId) -> impl Future<Output = Result<Vec<UrlState>, Fault>> + Send;

    /// Replaces the state of the previous version; `false` if another writer was first.
    ///
    /// # Errors
    /// The write failed; the state may have been stored.
    fn save_state(
        &self,
        app_id: &AppId,
        state: &UrlState,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
}
