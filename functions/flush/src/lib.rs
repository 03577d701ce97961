//! `flush`: sends blocks from the table's stream to CloudWatch Logs.
//!
//! An invocation groups the stream's records by partition of the table. Each group is a lane. A lane is
//! sent in order, with one request in flight. Lanes run concurrently, so a slow lane does not delay others.
//! A lane's blocks are decoded to events, and the events fill requests. Before its next request, and at its
//! end, a lane stores marks of the blocks that were sent. If an invocation dies, at most the in-flight
//! requests are sent twice, one per running lane. A block that cannot be decoded goes to the failure
//! bucket. Unconfirmed records are reported in the response, and the stream delivers them again.

pub mod alerts;
pub mod app_cache;
pub mod arrivals;
pub mod config;
pub mod dead_letters;
pub mod groups;
mod lane;
mod lane_sender;
pub mod once;
pub mod stream;
mod tally;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batch_buffer::limits::MAX_AGE_MS;
use batch_buffer::{Limits, RetryPolicy, Sender};
use futures::StreamExt as _;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::chain;
use logferry_core::model::level::LevelCounts;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_core::ports::flush_marks::{FlushMark, FlushMarks, Insertion};
use logferry_core::ports::log_groups::LogGroups;
use logferry_service::metrics::{ARRIVALS_FAILED, Emission, RECORDS, RETENTIONS_FAILED};
use tokio::time::Instant;

use crate::app_cache::AppCache;
use crate::groups::Groups;
use crate::lane::{Lane, State, failures, lanes};
use crate::lane_sender::LaneSender;
use crate::stream::{Response, StreamEvent, StreamRecord};
pub use crate::tally::Tally;

/// Maximum number of running lanes. It bounds the memory of an invocation (requests of up to 1 MiB each,
/// besides the event) and the duplicates if it dies.
pub const LANES_AT_ONCE: usize = 16;

/// How long before its deadline an invocation starts no further request and cancels the one in flight (ms):
/// time for marks and response.
pub const STOP_BEFORE_DEADLINE_MS: i64 = 8_000;

/// How long after that a lane may wait for a table or the failure bucket before it is abandoned.
const LANES_GRACE: Duration = Duration::from_secs(2);

/// How long after that marks and undecodable blocks may still be written.
const END_GRACE: Duration = Duration::from_secs(5);

/// Minimum duration of an invocation that returns failures. The event source mapping retries at most 10,000
/// times. At this pace, even immediate failures do not use up the retries within the 12 hours that a record
/// may wait. `template.yaml` has both numbers.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html>
const FAILING_LASTS: Duration = Duration::from_secs(5);

/// Pauses before the retries of reading marks.
const MARK_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];

const DAY_MS: i64 = 24 * 3_600_000;

/// The app cache for sending events.
#[derive(Debug, Clone)]
pub struct Sending {
    pub group_prefix: String,
    /// Retention of the groups. Older events would be rejected, so their timestamps are adjusted.
    pub retention_days: Option<u32>,
    pub retry: RetryPolicy,
}

/// The function with its ports.
#[derive(Debug)]
pub struct Flush<B, A, S, D, M, C> {
    blocks: B,
    apps: AppCache<A>,
    groups: Groups<S>,
    dead_letters: D,
    marks: M,
    clock: C,
    sending: Sending,
}

/// The response of an invocation, with its counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    pub response: Response,
    pub tally: Tally,
    /// Records that are through now, by app and level.
    pub levels: BTreeMap<AppId, LevelCounts>,
    /// Log groups whose retention could not be set. A later invocation retries them.
    pub retentions_failed: u64,
    /// Apps whose arrivals could not be stored.
    pub arrivals_failed: u64,
}

/// The outcome of what runs beside sending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beside<'e> {
    /// Sequence numbers of the records that have to be delivered again.
    pub left: Vec<&'e str>,
    pub arrivals_failed: u64,
}

impl Handled {
    /// Returns the metrics of the invocation.
    #[must_use]
    pub fn emission(&self, namespace: &str) -> Emission {
        let failed = [(RETENTIONS_FAILED, self.retentions_failed), (ARRIVALS_FAILED, self.arrivals_failed)];
        let failed = failed.into_iter().filter(|(_, count)| *count > 0);
        failed.fold(self.tally.emission(namespace), |emission, (metric, count)| emission.value(metric, count))
    }
}

impl Handled {
    /// Returns the metrics of records by app and level.
    pub fn record_emissions(&self, namespace: &str) -> impl Iterator<Item = Emission> {
        self.levels.iter().flat_map(move |(app_id, levels)| {
            levels.iter().filter(|(_, count)| *count > 0).map(move |(level, count)| {
                Emission::new(namespace)
                    .dimension("App", app_id.as_str())
                    .dimension("Level", level.as_str())
                    .value(RECORDS, count.unsigned_abs())
            })
        })
    }
}

/// Adds up the levels of the blocks that are through, except those that an earlier run had sent.
fn levels_by_app(lanes: &[Lane<'_>]) -> BTreeMap<AppId, LevelCounts> {
    let mut apps: BTreeMap<AppId, LevelCounts> = BTreeMap::new();
    for lane in lanes {
        let Some(partition) = &lane.partition else { continue };
        let new = |record: &&lane::Record<'_>| {
            record.state == State::Through && record.mark != Some(FlushMark::Through) && !record.ownerless
        };
        for record in lane.records.iter().filter(new) {
            *apps.entry(partition.app_id.clone()).or_default() += record.levels;
        }
    }
    apps
}

impl Sending {
    /// Returns the request limits for groups of this retention.
    fn limits(&self) -> Limits {
        let retention_ms = self.retention_days.map_or(MAX_AGE_MS, |days| i64::from(days) * DAY_MS);
        Limits { max_age_ms: retention_ms.min(MAX_AGE_MS), ..Limits::default() }
    }
}

impl<B, A, S, D, M, C> Flush<B, A, S, D, M, C>
where
    B: BlockTable,
    A: Apps,
    S: Sender + LogGroups,
    D: DeadLetters,
    M: FlushMarks,
    C: Clock,
{
    pub fn new(blocks: B, apps: A, sender: S, dead_letters: D, marks: M, clock: C, sending: Sending) -> Self {
        let (apps, groups) = (AppCache::new(apps), Groups::new(sender));
        Self { blocks, apps, groups, dead_letters, marks, clock, sending }
    }

    pub fn apps(&self) -> &AppCache<A> {
        &self.apps
    }

    pub fn blocks(&self) -> &B {
        &self.blocks
    }

    /// Sends a batch of the stream, in an invocation that Lambda ends at `context_deadline_ms` (since the
    /// epoch).
    pub async fn handle(&self, event: &StreamEvent, context_deadline_ms: i64) -> Handled {
        self.handle_beside(event, context_deadline_ms, async { Beside::default() }).await
    }

    /// Sends a batch while something else is done with it. If `beside` does not end in time, all records have
    /// to be delivered again.
    pub async fn handle_beside<'e>(
        &self,
        event: &'e StreamEvent,
        context_deadline_ms: i64,
        beside: impl Future<Output = Beside<'e>>,
    ) -> Handled {
        let (begin, now_ms) = (Instant::now(), self.clock.now_ms());
        let left_ms = context_deadline_ms.saturating_sub(STOP_BEFORE_DEADLINE_MS + now_ms).max(0);
        let deadline = begin + Duration::from_millis(left_ms.unsigned_abs());
        let mut lanes = lanes(event, now_ms);
        let beside = before(Some(deadline + LANES_GRACE), beside);
        let ((), beside) = futures::future::join(self.send_lanes(&mut lanes, Some(deadline)), beside).await;
        let all = || event.records.iter().map(StreamRecord::sequence).collect();
        let Beside { left, arrivals_failed } =
            beside.unwrap_or_else(|| Beside { left: all(), ..Beside::default() });
        let ends = Some(deadline + END_GRACE);
        before(ends, self.set_aside(&mut lanes)).await;
        let failures = failures(event, &lanes, &left);
        if !failures.is_empty() {
            // These records will be delivered again, together with some that are through. Their marks are
            // known now.
            let mut unmarked = lanes.iter_mut().flat_map(|lane| lane.unmarked.drain(..)).collect();
            before(ends, self.keep_marks(&mut unmarked)).await;
        }
        let is_late = Instant::now() >= deadline;
        let retentions_failed = if is_late { 0 } else { self.groups.set_retentions(now_ms).await };
        if !failures.is_empty() {
            tokio::time::sleep_until(deadline.min(begin + FAILING_LASTS)).await;
        }
        let tally = lanes.iter().flat_map(|lane| &lane.records).map(lane::Record::tally).sum();
        let levels = levels_by_app(&lanes);
        let response = Response { batch_item_failures: failures };
        Handled { response, tally, levels, retentions_failed, arrivals_failed }
    }

    /// Runs all lanes concurrently, each as far as it gets.
    async fn send_lanes(&self, lanes: &mut [Lane<'_>], deadline: Option<Instant>) {
        self.find_marks(lanes, deadline).await;
        let under_way = AtomicUsize::new(lanes.len());
        let ends = deadline.map(|deadline| deadline + LANES_GRACE);
        let each: Vec<_> =
            lanes.iter_mut().map(|lane| self.run_lane(lane, deadline, ends, &under_way)).collect();
        futures::stream::iter(each).buffer_unordered(LANES_AT_ONCE).collect::<()>().await;
    }

    async fn run_lane(
        &self,
        lane: &mut Lane<'_>,
        deadline: Option<Instant>,
        ends: Option<Instant>,
        under_way: &AtomicUsize,
    ) {
        let whole = async {
            if let Some(sender) = LaneSender::of(self, lane, deadline) {
                sender.run().await;
            }
            // Store the end of this lane while other lanes could still crash the invocation. For the last
            // lane, store it only if records will be delivered again.
            if under_way.fetch_sub(1, Ordering::SeqCst) > 1 {
                self.keep_marks(&mut lane.unmarked).await;
            }
        };
        if before(ends, whole).await.is_none() {
            lane.stopped.get_or_insert_with(|| "the deadline came before an answer".to_owned());
        }
    }

    async fn find_marks(&self, lanes: &mut [Lane<'_>], deadline: Option<Instant>) {
        let insertions: Vec<Insertion> = lanes
            .iter()
            .flat_map(|lane| &lane.records)
            .filter_map(|record| record.insertion.clone())
            .collect();
        if insertions.is_empty() {
            return;
        }
        let mut found = self.marks.find(&insertions).await;
        // A mark that cannot be read costs a block of duplicates.
        for pause in MARK_PAUSES {
            let again = matches!(&found, Err(fault) if fault.retryable());
            if !again || deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
                break;
            }
            tokio::time::sleep(pause).await;
            found = self.marks.find(&insertions).await;
        }
        match found {
            Ok(found) => {
                let found: HashMap<Insertion, FlushMark> = found.into_iter().collect();
                for record in lanes.iter_mut().flat_map(|lane| &mut lane.records) {
                    record.mark =
                        record.insertion.as_ref().and_then(|insertion| found.get(insertion)).copied();
                }
            }
            // Without marks, events may be sent twice, which is better than not sending them.
            Err(fault) => tracing::warn!(error.message = chain(&fault), "failed to read flush marks"),
        }
    }

    async fn keep_marks(&self, unmarked: &mut Vec<(Insertion, FlushMark)>) {
        if unmarked.is_empty() {
            return;
        }
        if let Err(fault) = self.marks.set(unmarked, self.clock.now_ms()).await {
            tracing::warn!(error.message = chain(&fault), "failed to write flush marks");
        }
        unmarked.clear();
    }

    /// Puts blocks that cannot be decoded into the failure bucket, as the stream delivered them. A block
    /// stays open if that fails.
    async fn set_aside(&self, lanes: &mut [Lane<'_>]) {
        for lane in lanes {
            for record in &mut lane.records {
                let State::Bad(reason) = record.state else { continue };
                let sequence = record.sequence();
                let name = dead_letters::undecodable_name(lane.partition.as_ref(), sequence);
                tracing::error!(sequence, reason, file = name, "undecodable block");
                let kept = match dead_letters::undecodable(record.change, reason) {
                    Ok(content) => self.dead_letters.put(&name, content).await,
                    Err(fault) => Err(fault),
                };
                match kept {
                    Ok(()) => record.set_aside(),
                    Err(fault) => tracing::error!(
                        error.message = chain(&fault),
                        "failed to write an undecodable block to the failure bucket"
                    ),
                }
            }
        }
    }
}

/// Returns the output if it is ready before `ends`; `None` if the time was over.
async fn before<T>(ends: Option<Instant>, what: impl Future<Output = T>) -> Option<T> {
    match ends {
        Some(ends) => tokio::time::timeout_at(ends, what).await.ok(),
        None => Some(what.await),
    }
}
