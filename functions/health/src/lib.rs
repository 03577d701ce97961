//! `health`: handles one slot of the schedule. Probes every due check, records its result once, updates its
//! state and notifies of state changes.
//!
//! Handling the same event twice has no further effect. The slot comes from the event's time. A slot that a
//! state already includes is not due again. The first row of a slot is kept. States are written over the
//! version that they come from. If a run crashes between a state and its message, the change stays pending
//! and the next slot sends the message.

pub mod alerts;
mod body;
mod config;
pub mod due;
pub mod measure;
pub mod message;
pub mod probe;
pub mod turns;

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_health_checks::check::CheckKind;
use logferry_health_checks::condition::go_number::show_duration_ms;
use logferry_health_checks::notifier::Notifier;
use logferry_health_checks::rows::{CheckRow, CheckTable, Recorded, UrlState};
use logferry_health_checks::state::{after, published};
use logferry_health_checks::sums::close_day;
use logferry_service::metrics::{Emission, NOTIFICATIONS_FAILED};
use tokio::time::Instant;

pub use config::Config;
use due::DueCheck;
use measure::{Detail, Measured, is_down, is_up};
use probe::{Finding, Prober};
use turns::Turns;

/// Maximum number of running probes.
pub const CONCURRENCY: usize = 50;
/// Time reserved at the end of a run for recording skipped checks.
const RESERVE: Duration = Duration::from_secs(8);
/// Time reserved at the very end, in which nothing is written: checks skipped then are only counted.
const LAST_MOMENT: Duration = Duration::from_secs(1);
/// Maximum time of a job besides its probe, for planning.
const BOOKKEEPING: Duration = Duration::from_secs(2);

/// The function and its ports.
#[derive(Debug)]
pub struct Health<A, T, N, C> {
    pub apps: A,
    pub table: T,
    pub notifier: N,
    pub clock: C,
    pub prober: Prober,
    pub schedule_ms: i64,
    pub metrics_namespace: String,
    pub metrics_detail: Detail,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub up: u64,
    pub down: u64,
    pub skipped: u64,
    /// State changes that were notified.
    pub notified: u64,
    /// Messages that the topic rejected permanently. Their changes count as notified.
    pub refused: u64,
    /// Messages that could not be published now. A later run sends them.
    pub delayed: u64,
}

/// Until when work may start.
#[derive(Debug, Clone, Copy)]
struct Deadlines {
    start_by: Instant,
    write_by: Instant,
}

/// The result of a check in a slot.
#[derive(Debug)]
enum Verdict {
    /// A row to record.
    Found(CheckRow),
    /// A row that is only counted.
    Unrecorded(CheckRow),
    /// A job's own report, which is already a row; counted in this slot.
    Reported(CheckRow),
    /// A job whose first report is not expected yet.
    NotYet,
}

/// The result of publishing a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Message {
    #[default]
    None,
    Notified,
    Refused,
    Delayed,
}

/// The result of one job.
#[derive(Debug, Default)]
struct Done {
    row: Option<CheckRow>,
    message: Message,
}

impl<A: Apps, T: CheckTable, N: Notifier, C: Clock> Health<A, T, N, C> {
    /// Runs the slot of an event within `budget`.
    ///
    /// # Errors
    /// A table failed for some checks. The others are recorded; a retry of the event does what is missing.
    pub async fn run(&self, event_ms: i64, budget: Duration) -> Result<Summary, Fault> {
        let slot_ms = due::slot_of(event_ms, self.schedule_ms);
        let begun = Instant::now();
        let until = Deadlines {
            start_by: begun + budget.saturating_sub(RESERVE),
            write_by: begun + budget.saturating_sub(LAST_MOMENT),
        };
        let (mut turns, mut fault) = self.plan(slot_ms).await?;
        let (mut summary, mut measured) = (Summary::default(), Vec::new());
        let mut under_way = FuturesUnordered::new();
        loop {
            while under_way.len() < CONCURRENCY
                && let Some(job) = turns.begin()
            {
                under_way.push(async move {
                    let outcome = self.carry_out(&job, slot_ms, until).await;
                    (job, outcome)
                });
            }
            let Some((job, outcome)) = under_way.next().await else { break };
            turns.ended(&job.key.app_id);
            match outcome {
                Ok(done) => {
                    match done.message {
                        Message::None => {}
                        Message::Notified => summary.notified += 1,
                        Message::Refused => summary.refused += 1,
                        Message::Delayed => summary.delayed += 1,
                    }
                    measured.extend(done.row.map(|row| Measured { row, position: job.position }));
                }
                Err(error) => {
                    tracing::error!(error.chain = %chain(&error), "a check could not be recorded");
                    fault = Some(error);
                }
            }
        }
        let count = |wanted: fn(&CheckRow) -> bool| {
            measured.iter().map(|measured| u64::from(wanted(&measured.row))).sum::<u64>()
        };
        summary.up = count(is_up);
        summary.down = count(is_down);
        summary.skipped = count(|row| row.skipped);
        let now_ms = self.clock.now_ms();
        for emission in measure::emissions(&self.metrics_namespace, self.metrics_detail, &measured) {
            emission.emit(now_ms);
        }
        if summary.refused + summary.delayed > 0 {
            let failed = summary.refused + summary.delayed;
            Emission::new(&self.metrics_namespace).value(NOTIFICATIONS_FAILED, failed).emit(now_ms);
        }
        tracing::info!(
            run.slot_ms = slot_ms,
            run.up = summary.up,
            run.down = summary.down,
            run.skipped = summary.skipped,
            "slot finished"
        );
        fault.map_or(Ok(summary), Err)
    }

    /// Plans the due checks of all apps. An app whose states cannot be read does not stop the others.
    async fn plan(&self, slot_ms: i64) -> Result<(Turns, Option<Fault>), Fault> {
        let apps = self.apps.list().await?;
        let watched = apps.iter().filter(|app| due::is_watched(app));
        let planned: Vec<Result<Vec<DueCheck>, Fault>> = futures::stream::iter(watched)
            .map(|app| async move {
                let states = self.table.states(&app.app_id).await?;
                Ok(due::jobs(app, &states, &self.prober.policy, slot_ms))
            })
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let (mut jobs, mut fault) = (Vec::new(), None);
        for result in planned {
            match result {
                Ok(of_app) => jobs.extend(of_app),
                Err(error) => {
                    tracing::error!(error.chain = %chain(&error), "an app's states could not be read");
                    fault = Some(error);
                }
            }
        }
        Ok((Turns::of(jobs), fault))
    }

    async fn carry_out(&self, job: &DueCheck, slot_ms: i64, until: Deadlines) -> Result<Done, Fault> {
        if !job.due {
            return Ok(Done { row: None, message: self.notify(job, job.state.clone()).await? });
        }
        let row = match self.result_of(job, slot_ms, until).await? {
            Verdict::NotYet => return Ok(Done::default()),
            Verdict::Unrecorded(row) => return Ok(Done { row: Some(row), ..Done::default() }),
            Verdict::Reported(row) => row,
            Verdict::Found(row) => match self.table.record(&row).await? {
                Recorded::Stored => row,
                // The app was registered again meanwhile: this run's app does not exist any more.
                Recorded::Existing(first) if first.registered_ms != row.registered_ms => {
                    return Ok(Done::default());
                }
                Recorded::Existing(first) => first,
            },
        };
        self.count_in(job, row).await
    }

    /// Updates the state and notifies of a change, unless another run of this slot was first.
    async fn count_in(&self, job: &DueCheck, row: CheckRow) -> Result<Done, Fault> {
        let thresholds = job.check.check.as_ref().map(|check| check.thresholds).unwrap_or_default();
        let Some(state) = after(&job.state, &row, thresholds) else {
            return Ok(Done { row: Some(row), ..Done::default() });
        };
        if !self.table.save_state(&job.key.app_id, &state).await? {
            return Ok(Done { row: Some(row), ..Done::default() });
        }
        let message = self.notify(job, state).await?;
        if let Some(last_slot_ms) = job.state.last_slot_ms {
            let between = (last_slot_ms, row.slot_ms);
            let closed =
                close_day(&self.table, &job.key, job.registered_ms, between, self.clock.now_ms()).await;
            if let Err(fault) = closed {
                tracing::warn!(error.chain = %chain(&fault), "failed to sum a day; its first reader will");
            }
        }
        Ok(Done { row: Some(row), message })
    }

    /// Publishes a pending change. A message that the topic rejects permanently counts as sent, because it would
    /// block the next one. A message that fails now stays pending. Neither case ends the run.
    async fn notify(&self, job: &DueCheck, state: UrlState) -> Result<Message, Fault> {
        let Some(change) = &state.pending else { return Ok(Message::None) };
        let about = message::about(&job.key.app_id, job.check.name.as_deref(), &state, change);
        let message = match self.notifier.publish(&about).await {
            Ok(()) => Message::Notified,
            Err(fault) if fault.class == FaultClass::Permanent => {
                tracing::error!(app.id = %job.key.app_id, error.chain = %chain(&fault), "notification rejected");
                Message::Refused
            }
            Err(fault) => {
                tracing::warn!(app.id = %job.key.app_id, error.chain = %chain(&fault), "notification delayed");
                return Ok(Message::Delayed);
            }
        };
        tracing::info!(app.id = %job.key.app_id, change.to = change.to.as_str(), "notified of a state change");
        self.table.save_state(&job.key.app_id, &published(&state)).await?;
        Ok(message)
    }

    /// Returns the row of a due job.
    async fn result_of(&self, job: &DueCheck, slot_ms: i64, until: Deadlines) -> Result<Verdict, Fault> {
        let now = Instant::now();
        let kind = match &job.check.check {
            Ok(check) => &check.kind,
            Err(reason) => {
                let refused = Finding { error: Some(format!("refused: {reason}")), ..Finding::default() };
                return Ok(Verdict::Found(self.row(job, slot_ms, refused)));
            }
        };
        match kind {
            CheckKind::Probe(probe) => {
                let needed = Duration::from_millis(probe.timeout_ms) + BOOKKEEPING;
                if now + needed > until.start_by {
                    return Ok(self.skipped(job, slot_ms, now > until.write_by));
                }
                let finding = self.prober.probe(probe, self.clock.now_ms()).await;
                Ok(Verdict::Found(self.row(job, slot_ms, finding)))
            }
            CheckKind::Push { .. } if now > until.write_by => Ok(self.skipped(job, slot_ms, true)),
            CheckKind::Push { heartbeat_ms } => self.heartbeat(job, slot_ms, *heartbeat_ms).await,
        }
    }

    fn skipped(&self, job: &DueCheck, slot_ms: i64, too_late_to_write: bool) -> Verdict {
        let error = Some("skipped: the run had no time left for it".to_owned());
        let row = self.row(job, slot_ms, Finding { error, ..Finding::default() });
        let row = CheckRow { skipped: true, ..row };
        if too_late_to_write { Verdict::Unrecorded(row) } else { Verdict::Found(row) }
    }

    /// Handles a job that reports itself: good or bad like its newest report, bad without a report in time.
    /// Reports are already rows, so only a missing report gets a row.
    async fn heartbeat(&self, job: &DueCheck, slot_ms: i64, heartbeat_ms: u64) -> Result<Verdict, Fault> {
        let heartbeat_ms = i64::try_from(heartbeat_ms).unwrap_or(i64::MAX);
        let deadline_ms = slot_ms.saturating_sub(heartbeat_ms);
        // The newest row nearly always decides.
        for looked_at in [1, REPORTS_LOOKED_AT] {
            let rows = self.table.history(&job.key, deadline_ms, slot_ms, looked_at).await?;
            let report =
                rows.into_iter().find(|row| row.registered_ms == job.registered_ms && row.status != 0);
            if let Some(report) = report {
                // Counted in this slot, so that the state changes once per slot.
                return Ok(Verdict::Reported(CheckRow { slot_ms, ..report }));
            }
        }
        if job.state.health == logferry_health_checks::rows::Health::Unknown
            && job.state.since_ms >= deadline_ms
        {
            // Not expected yet: record since when it is checked.
            if job.state.since_ms == slot_ms {
                let watched = UrlState { version: job.state.version.saturating_add(1), ..job.state.clone() };
                self.table.save_state(&job.key.app_id, &watched).await?;
            }
            return Ok(Verdict::NotYet);
        }
        let error = format!("heartbeat: no report for {}", show_duration_ms(heartbeat_ms));
        Ok(Verdict::Found(self.row(job, slot_ms, Finding { error: Some(error), ..Finding::default() })))
    }

    fn row(&self, job: &DueCheck, slot_ms: i64, finding: Finding) -> CheckRow {
        CheckRow {
            key: job.key.clone(),
            slot_ms,
            registered_ms: job.registered_ms,
            status: finding.status,
            latency_ms: finding.latency_ms,
            ok: finding.ok,
            skipped: false,
            error: finding.error,
            failed_conditions: finding.failed_conditions,
            redirect_to: finding.redirect_to,
            certificate_expires_ms: finding.certificate_expires_ms,
            checked_at_ms: self.clock.now_ms(),
        }
    }
}

/// Number of newest rows in which a report is searched; the others are missed heartbeats.
const REPORTS_LOOKED_AT: usize = 1000;
