//! The `checks` table: one row per probed URL and slot, hourly sums of finished days, and what is known
//! of each URL now.

use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::model::time::{Day, MS_PER_HOUR};
use serde::{Deserialize, Serialize};

/// A row that is written later than this after the end of its day is late: it makes the day's sums void.
pub const LATE_AFTER_MS: i64 = MS_PER_HOUR / 2;
/// Sums of a day are stored only from here on after its end. What lies between the two is room for a
/// row that is on its way, and for clocks that differ.
pub const SETTLED_AFTER_MS: i64 = MS_PER_HOUR;
pub const HOURS_PER_DAY: usize = 24;

/// Whose check of what: the partition of its rows. The target is a URL, or `push:{name}` for a job
/// that reports itself.
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
    /// The app's `created_ms`: rows of an earlier app of the same id are not this app's.
    pub epoch_ms: i64,
    /// 0 when nothing answered.
    pub status: u16,
    pub latency_ms: u32,
    pub ok: bool,
    /// The run had no time for it; says nothing about the URL.
    pub skipped: bool,
    pub error: Option<String>,
    /// Conditions that did not hold, with what was found.
    pub failed_conditions: Vec<String>,
    /// Where the answer would have sent us; not followed.
    pub redirect_to: Option<String>,
    pub certificate_expires_ms: Option<i64>,
    pub checked_at_ms: i64,
}

impl CheckRow {
    /// Whether the sums of the row's day may have been stored before it came.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.checked_at_ms > Day::of_ms(self.slot_ms).end_ms().saturating_add(LATE_AFTER_MS)
    }
}

/// What rows add up to. Skipped rows add nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub checks: u64,
    pub ok: u64,
    /// Checks with a status, and their latencies.
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

    /// Rounded to the nearest millisecond; `None` where nothing was answered.
    #[must_use]
    pub fn average_ms(&self) -> Option<u64> {
        (self.answered > 0).then(|| (self.total_ms + self.answered / 2) / self.answered)
    }
}

/// The hourly sums of one check's finished day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySums {
    pub day: Day,
    /// Raised by every late row; 0 where none came.
    pub revision: u64,
    /// `None`: a late row made them void, and nobody has added the rows up since.
    pub hours: Option<[Tally; HOURS_PER_DAY]>,
}

/// What became of a row that was to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    Stored,
    /// The slot has a result already, which stays; of this app, or of a later one of its id.
    Existing(CheckRow),
}

/// Whether a URL answers as it should.
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

/// A recent result, as a notification shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentResult {
    pub slot_ms: i64,
    pub ok: bool,
    pub status: u16,
    pub latency_ms: u32,
    pub error: Option<String>,
    pub failed_conditions: Vec<String>,
}

/// A change of state that has not been published yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthChange {
    pub from: Health,
    pub to: Health,
    pub slot_ms: i64,
}

/// What is known of a URL now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UrlState {
    pub target: String,
    pub epoch_ms: i64,
    pub health: Health,
    /// Since when it is so; for `Unknown`, since when it is watched.
    pub since_ms: i64,
    pub ok_streak: u32,
    pub failure_streak: u32,
    /// The newest slot counted in.
    pub last_slot_ms: Option<i64>,
    /// Oldest first.
    pub recent: Vec<RecentResult>,
    pub pending: Option<HealthChange>,
    /// Raised by one with every write; 0 was never written.
    pub version: u64,
}

/// How many reports of jobs are taken in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportLimits {
    pub of_job: u32,
    pub of_app: u32,
}

/// Stores and reads results and states. Rows expire 30 days after their slot.
pub trait CheckTable: Send + Sync {
    /// Records a result: the first of a slot stays, but gives way to one where it was skipped, and to any of
    /// a later app of this id; never to one of an earlier app, whose run may still be under way. A late row
    /// makes the sums of its day void in the same write.
    ///
    /// # Errors
    /// The write failed; the row may have been stored.
    fn record(&self, row: &CheckRow) -> impl Future<Output = Result<Recorded, Fault>> + Send;

    /// Rows with `from_ms <= slot_ms <= to_ms`, newest first, at most `limit`, strongly consistent.
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

    /// What is stored of the days from `first` to `last`, oldest first, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn days(
        &self,
        key: &CheckKey,
        epoch_ms: i64,
        first: Day,
        last: Day,
    ) -> impl Future<Output = Result<Vec<DaySums>, Fault>> + Send;

    /// Stores the sums of a day, read from its rows after its revision was. `false`: a late row came
    /// between, nothing is stored.
    ///
    /// # Errors
    /// The write failed; the sums may have been stored.
    fn save_day(
        &self,
        key: &CheckKey,
        epoch_ms: i64,
        sums: &DaySums,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// Counts a report of a job in a minute since the epoch, for the app of this epoch. `false`: the job or
    /// the app has reported as often as it may; nothing is counted.
    ///
    /// # Errors
    /// The write failed; the report may have been counted.
    fn count_report(
        &self,
        key: &CheckKey,
        epoch_ms: i64,
        minute: i64,
        most: ReportLimits,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;

    /// The states of an app's URLs, strongly consistent.
    ///
    /// # Errors
    /// The read failed.
    fn states(&self, app_id: &AppId) -> impl Future<Output = Result<Vec<UrlState>, Fault>> + Send;

    /// Writes a state over the one with the version before it. `false`: somebody else was first.
    ///
    /// # Errors
    /// The write failed; the state may have been stored.
    fn save_state(
        &self,
        app_id: &AppId,
        state: &UrlState,
    ) -> impl Future<Output = Result<bool, Fault>> + Send;
}
