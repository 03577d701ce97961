//! Health: one slot of the schedule. Every due check is probed, its result recorded once, its state
//! brought up to date, and a change told to people.
//!
//! The same event twice: the slot comes from the event's time, a slot that a state has counted is not
//! due again, the first row of a slot stays, and states are written over the version they came from.
//! A crash between a state and its message leaves the change pending; the next slot tells it.

pub mod measure;
pub mod message;
pub mod plan;
pub mod probe;

use std::time::{Duration, Instant};

use futures::StreamExt;
use logferry_domain::fault::{Fault, chain};
use logferry_health_checks::check::CheckKind;
use logferry_health_checks::guard::Ports;
use logferry_health_checks::number::show_duration_ms;
use logferry_health_checks::state::{after, published};
use logferry_health_checks::sums::close_day;
use logferry_ports::checks::{CheckRow, Recorded, UrlState};
use logferry_ports::{Apps, CheckTable, Clock, Notifier};
use logferry_service::config::{BadConfig, Reader};

use measure::{Detail, is_down, is_up};
use plan::Job;
use probe::{Finding, Prober};

/// Probes under way at a time.
pub const CONCURRENCY: usize = 50;
/// Time kept at the end of a run for writing down what it had no time for.
const RESERVE: Duration = Duration::from_secs(8);
/// The longest a job takes besides its probe, for planning.
const BOOKKEEPING: Duration = Duration::from_secs(2);

/// What the environment says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub table_apps: String,
    pub table_checks: String,
    pub alerts_topic_arn: String,
    pub metrics_namespace: String,
    pub metrics_detail: Detail,
    pub schedule_ms: i64,
    pub policy: logferry_health_checks::guard::Policy,
}

impl Config {
    /// # Errors
    /// Everything that is missing or wrong.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Config, BadConfig> {
        let mut read = Reader::new(lookup);
        let ports = match read.optional("HEALTH_PORTS").map(|text| Ports::parse(&text)) {
            None => Ports::default(),
            Some(Ok(ports)) => ports,
            Some(Err(reason)) => {
                read.problem(format!("HEALTH_PORTS: {reason}"));
                Ports::default()
            }
        };
        let metrics_detail = match read.optional("HEALTH_METRICS").map(|text| text.parse()) {
            None => Detail::default(),
            Some(Ok(detail)) => detail,
            Some(Err(reason)) => {
                read.problem(format!("HEALTH_METRICS {reason}"));
                Detail::default()
            }
        };
        let minutes: i64 = read.parsed_or("HEALTH_SCHEDULE_MINUTES", 5);
        if !(1..=1440).contains(&minutes) {
            read.problem("HEALTH_SCHEDULE_MINUTES is not from 1 to 1440");
        }
        let config = Config {
            table_apps: read.required("TABLE_APPS"),
            table_checks: read.required("TABLE_CHECKS"),
            alerts_topic_arn: read.required("ALERTS_TOPIC_ARN"),
            metrics_namespace: read.optional("METRICS_NAMESPACE").unwrap_or_else(|| "Logferry".to_owned()),
            metrics_detail,
            schedule_ms: minutes.saturating_mul(60_000),
            policy: logferry_health_checks::guard::Policy {
                allow_private: read.parsed_or("ALLOW_PRIVATE_HEALTH_TARGETS", false),
                ports,
            },
        };
        read.finish(config)
    }
}

/// What a run needs.
#[derive(Debug)]
pub struct App<A, T, N, C> {
    pub apps: A,
    pub table: T,
    pub notifier: N,
    pub clock: C,
    pub prober: Prober,
    pub schedule_ms: i64,
    pub metrics_namespace: String,
    pub metrics_detail: Detail,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub up: u64,
    pub down: u64,
    pub skipped: u64,
    pub told: u64,
}

/// What a slot says about a check.
#[derive(Debug)]
enum Verdict {
    /// To be recorded.
    Found(CheckRow),
    /// A job's own report, which is a row already; counted under this slot.
    Reported(CheckRow),
    /// A job whose first report is not expected yet.
    NotYet,
}

/// What became of one job.
#[derive(Debug, Default)]
struct Done {
    row: Option<CheckRow>,
    told: bool,
}

impl<A: Apps, T: CheckTable, N: Notifier, C: Clock> App<A, T, N, C> {
    /// Runs the slot of an event, within `budget`.
    ///
    /// # Errors
    /// A table or the topic failed for some checks. The rest is done and recorded; the same event
    /// again does what is missing.
    pub async fn run(&self, event_ms: i64, budget: Duration) -> Result<Summary, Fault> {
        let slot_ms = plan::slot_of(event_ms, self.schedule_ms);
        let start_by = Instant::now() + budget.saturating_sub(RESERVE);
        let (jobs, unplanned) = self.plan(slot_ms).await?;
        let outcomes: Vec<Result<Done, Fault>> = futures::stream::iter(&jobs)
            .map(|job| self.carry_out(job, slot_ms, start_by))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        let (mut rows, mut told, mut fault) = (Vec::new(), 0, unplanned);
        for outcome in outcomes {
            match outcome {
                Ok(done) => {
                    told += u64::from(done.told);
                    rows.extend(done.row);
                }
                Err(error) => {
                    tracing::error!(error.chain = %chain(&error), "a check could not be recorded");
                    fault = Some(error);
                }
            }
        }
        let count =
            |wanted: fn(&CheckRow) -> bool| rows.iter().map(|row| u64::from(wanted(row))).sum::<u64>();
        let summary =
            Summary { up: count(is_up), down: count(is_down), skipped: count(|row| row.skipped), told };
        let now_ms = self.clock.now_ms();
        for emission in measure::emissions(&self.metrics_namespace, self.metrics_detail, &rows) {
            emission.emit(now_ms);
        }
        tracing::info!(
            run.slot_ms = slot_ms,
            run.up = summary.up,
            run.down = summary.down,
            run.skipped = summary.skipped,
            "ran a slot"
        );
        fault.map_or(Ok(summary), Err)
    }

    /// All apps' due checks, the most overdue first. An app whose states cannot be read stops no other.
    async fn plan(&self, slot_ms: i64) -> Result<(Vec<Job>, Option<Fault>), Fault> {
        let apps = self.apps.list().await?;
        let watched = apps.iter().filter(|app| plan::is_watched(app));
        let planned: Vec<Result<Vec<Job>, Fault>> = futures::stream::iter(watched)
            .map(|app| async move {
                let states = self.table.states(&app.app_id).await?;
                Ok(plan::jobs(app, &states, &self.prober.policy, slot_ms))
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
        Ok((plan::in_order(jobs), fault))
    }

    async fn carry_out(&self, job: &Job, slot_ms: i64, start_by: Instant) -> Result<Done, Fault> {
        if !job.due {
            return Ok(Done { row: None, told: self.tell(job, job.state.clone()).await? });
        }
        let row = match self.result_of(job, slot_ms, start_by).await? {
            Verdict::NotYet => return Ok(Done::default()),
            Verdict::Reported(row) => row,
            Verdict::Found(row) => match self.table.record(&row).await? {
                Recorded::Stored => row,
                Recorded::Existing(first) => first,
            },
        };
        self.count_in(job, row).await
    }

    /// Brings the state up to date and tells a change, unless another run of this slot was first.
    async fn count_in(&self, job: &Job, row: CheckRow) -> Result<Done, Fault> {
        let thresholds = job.check.check.as_ref().map(|check| check.thresholds).unwrap_or_default();
        let Some(state) = after(&job.state, &row, thresholds) else {
            return Ok(Done { row: Some(row), told: false });
        };
        if !self.table.save_state(&job.key.app_id, &state).await? {
            return Ok(Done { row: Some(row), told: false });
        }
        let told = self.tell(job, state).await?;
        if let Some(last_slot_ms) = job.state.last_slot_ms {
            let between = (last_slot_ms, row.slot_ms);
            let closed = close_day(&self.table, &job.key, job.epoch_ms, between, self.clock.now_ms()).await;
            if let Err(fault) = closed {
                tracing::warn!(error.chain = %chain(&fault), "a day's sums are left to their first reader");
            }
        }
        Ok(Done { row: Some(row), told })
    }

    async fn tell(&self, job: &Job, state: UrlState) -> Result<bool, Fault> {
        let Some(change) = &state.pending else { return Ok(false) };
        self.notifier
            .publish(&message::about(&job.key.app_id, job.check.name.as_deref(), &state, change))
            .await?;
        tracing::info!(app.id = %job.key.app_id, change.to = change.to.as_str(), "told a change");
        self.table.save_state(&job.key.app_id, &published(&state)).await?;
        Ok(true)
    }

    /// The row of a due job.
    async fn result_of(&self, job: &Job, slot_ms: i64, start_by: Instant) -> Result<Verdict, Fault> {
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
                if Instant::now() + needed > start_by {
                    let skipped = Finding {
                        error: Some("skipped: the run had no time left for it".to_owned()),
                        ..Finding::default()
                    };
                    return Ok(Verdict::Found(CheckRow { skipped: true, ..self.row(job, slot_ms, skipped) }));
                }
                let finding = self.prober.probe(probe, self.clock.now_ms()).await;
                Ok(Verdict::Found(self.row(job, slot_ms, finding)))
            }
            CheckKind::Push { heartbeat_ms } => self.heartbeat(job, slot_ms, *heartbeat_ms).await,
        }
    }

    /// A job that reports itself: good or bad as its newest report says, bad without one in time.
    /// Reports are rows already, so only a missing one gets a row of its own.
    async fn heartbeat(&self, job: &Job, slot_ms: i64, heartbeat_ms: u64) -> Result<Verdict, Fault> {
        let heartbeat_ms = i64::try_from(heartbeat_ms).unwrap_or(i64::MAX);
        let deadline_ms = slot_ms.saturating_sub(heartbeat_ms);
        // the newest row is nearly always the answer
        for looked_at in [1, REPORTS_LOOKED_AT] {
            let rows = self.table.history(&job.key, deadline_ms, slot_ms, looked_at).await?;
            let report = rows.into_iter().find(|row| row.epoch_ms == job.epoch_ms && row.status != 0);
            if let Some(report) = report {
                // counted under the slot, so that the state moves once a slot
                return Ok(Verdict::Reported(CheckRow { slot_ms, ..report }));
            }
        }
        if job.state.health == logferry_ports::checks::Health::Unknown && job.state.since_ms >= deadline_ms {
            // not yet expected: remember since when it is watched
            if job.state.since_ms == slot_ms {
                let watched = UrlState { version: job.state.version.saturating_add(1), ..job.state.clone() };
                self.table.save_state(&job.key.app_id, &watched).await?;
            }
            return Ok(Verdict::NotYet);
        }
        let error = format!("heartbeat: no report for {}", show_duration_ms(heartbeat_ms));
        Ok(Verdict::Found(self.row(job, slot_ms, Finding { error: Some(error), ..Finding::default() })))
    }

    fn row(&self, job: &Job, slot_ms: i64, finding: Finding) -> CheckRow {
        CheckRow {
            key: job.key.clone(),
            slot_ms,
            epoch_ms: job.epoch_ms,
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

/// Newest rows in which a report is looked for; the others are heartbeats that were missed.
const REPORTS_LOOKED_AT: usize = 1000;
