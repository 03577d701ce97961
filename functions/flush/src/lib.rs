//! `flush`: sends blocks from the table's stream to CloudWatch Logs.
//!
//! An invocation groups the stream's records by partition of the table. Each group is a lane. A lane is
//! sent in order, with one request in flight. Lanes run concurrently, so a slow lane does not delay others.
//! A lane's blocks are decoded to events, and the events fill requests. Before its next request, and at its
//! end, a lane stores marks of the blocks that were sent. If an invocation dies, at most the in-flight
//! requests are sent twice, one per running lane. A block that cannot be decoded goes to the failure
//! bucket. Unconfirmed records are reported in the response, and the stream delivers them again.

pub mod config;
pub mod dead_letters;
pub mod groups;
mod lane;
pub mod redrive;
pub mod settings;
pub mod stream;
mod tally;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use batch_buffer::limits::MAX_AGE_MS;
use batch_buffer::plan::prepare;
use batch_buffer::split::Label;
use batch_buffer::{Event, Limits, RetryPolicy, Sender, deliver};
use futures::StreamExt as _;
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::block::{Block, Payload};
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::record_view::LogRecord;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_core::ports::flush_marks::{FlushMark, FlushMarks, Insertion};
use logferry_core::ports::log_groups::LogGroups;
use logferry_service::metrics::{Emission, RETENTIONS_FAILED};
use tokio::time::Instant;

use crate::groups::Groups;
use crate::lane::{Lane, Outbox, Slot, State, failures, lanes, log_stream};
use crate::settings::{Settings, Wanted, wanted};
use crate::stream::{Response, StreamEvent};
pub use crate::tally::Tally;

/// Maximum number of running lanes. It bounds the memory of an invocation (requests of up to 1 MiB each,
/// besides the event) and the duplicates if it dies.
pub const LANES_AT_ONCE: usize = 16;

/// How long after the deadline a lane may wait for a table or the failure bucket before it is abandoned.
const LANES_GRACE: Duration = Duration::from_secs(2);

/// How long after the deadline marks and undecodable blocks may still be written.
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

/// Settings for sending events.
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
    settings: Settings<A>,
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
    /// Log groups whose retention could not be set. A later invocation retries them.
    pub retentions_failed: u64,
}

impl Handled {
    /// Returns the metrics of the invocation.
    #[must_use]
    pub fn emission(&self, namespace: &str) -> Emission {
        let emission = self.tally.emission(namespace);
        match self.retentions_failed {
            0 => emission,
            failed => emission.value(RETENTIONS_FAILED, failed),
        }
    }
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
        let (settings, groups) = (Settings::new(apps), Groups::new(sender));
        Self { blocks, settings, groups, dead_letters, marks, clock, sending }
    }

    /// Sends a batch of the stream. No request starts after `deadline`; the response follows soon after it.
    pub async fn handle(&self, event: &StreamEvent, deadline: Option<Instant>) -> Handled {
        let (begin, now_ms) = (Instant::now(), self.clock.now_ms());
        let mut lanes = lanes(event, now_ms);
        self.send_lanes(&mut lanes, deadline).await;
        let ends = deadline.map(|deadline| deadline + END_GRACE);
        before(ends, self.set_aside(&mut lanes)).await;
        let failures = failures(event, &lanes);
        if !failures.is_empty() {
            // These records will be delivered again, together with some that are through. Their marks are
            // known now.
            let mut unmarked = lanes.iter_mut().flat_map(|lane| lane.unmarked.drain(..)).collect();
            before(ends, self.keep_marks(&mut unmarked)).await;
        }
        let is_late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        let retentions_failed = if is_late { 0 } else { self.groups.set_retentions(now_ms).await };
        if !failures.is_empty() {
            let lasts = begin + FAILING_LASTS;
            tokio::time::sleep_until(deadline.map_or(lasts, |deadline| deadline.min(lasts))).await;
        }
        let tally = lanes.iter().flat_map(|lane| &lane.records).map(lane::Record::tally).sum();
        let response = Response { batch_item_failures: failures };
        Handled { response, tally, retentions_failed }
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
            self.send_lane(lane, deadline).await;
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

    /// Sends one partition, record by record. Stops at the first unconfirmed request.
    async fn send_lane(&self, lane: &mut Lane<'_>, deadline: Option<Instant>) {
        let Some(partition) = lane.partition.clone() else { return };
        let mut out = Outbox::new(&self.sending, &partition, deadline);
        for index in 0..lane.records.len() {
            let record = &mut lane.records[index];
            let Some((block, extents)) = record.block.take() else { continue };
            if record.mark == Some(FlushMark::Through) {
                record.state = State::Through;
                record.before = record.count;
                continue;
            }
            match self.send_block(lane, index, block, extents, &mut out).await {
                Ok(()) => {}
                Err(Stop::Bad(reason)) => lane.records[index].state = State::Bad(reason),
                Err(Stop::NotNow(why)) => {
                    lane.stopped = Some(why);
                    return;
                }
            }
        }
        // Unconfirmed records stay open; this was the lane's last request.
        if let Err(Stop::NotNow(why)) = self.send_request(lane, &mut out).await {
            lane.stopped = Some(why);
        }
    }

    async fn send_block(
        &self,
        lane: &mut Lane<'_>,
        index: usize,
        block: Block,
        extents: u8,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let Block { header, data } = block;
        let setting = self.settings.of(&header.app_id, header.epoch_ms, self.clock.now_ms()).await;
        let Some(setting) = setting.map_err(Stop::of)? else {
            // The group may belong to another app by now.
            let app_id = header.app_id.as_str();
            tracing::info!(app_id, records = header.count, "records skipped: their app is deleted");
            lane.records[index].ownerless = true;
            lane.records[index].narrowed = header.count;
            lane.end_record(index, out);
            return Ok(());
        };
        self.groups.keep(&out.group, setting.retention_days.or(self.sending.retention_days));
        let Wanted::AtLeast(min_level) = wanted(setting.flush, &header) else {
            lane.records[index].narrowed = header.count;
            lane.end_record(index, out);
            return Ok(());
        };
        let data = match extents {
            0 => data,
            _ => {
                self.blocks.with_extents(&header, data, extents).await.map_err(|fault| match fault.class {
                    FaultClass::NotFound => Stop::Bad("an extent of the block is missing"),
                    _ => Stop::of(fault),
                })?
            }
        };
        let payload = unwinding(|| Payload::decode(&data))?
            .map_err(|_| Stop::Bad("the data is not a valid payload"))?;
        drop(data);
        if payload.len() as u64 != u64::from(header.count) {
            return Err(Stop::Bad("the payload has fewer records than the header says"));
        }
        let stream = log_stream(lane.records[index].arrived_ms);
        if *out.stream != *stream {
            // A request goes to one log stream.
            self.send_request(lane, out).await?;
            (out.stream, out.token) = (stream.into(), None);
        }
        let (first, first_piece, first_pieces) = match lane.records[index].mark {
            Some(FlushMark::Part { entry, piece, pieces }) => (entry, piece, pieces),
            _ => (0, 0, 0),
        };
        lane.records[index].before = first;
        for (position, at) in (0u32..).zip(0..payload.len()).skip(first as usize) {
            let now_ms = self.clock.now_ms();
            let event = || {
                let stored = (payload.entry(at).level >= min_level).then(|| payload.record(at))?;
                let line = LogRecord::read(&stored).to_line();
                let label = Label { key: "logId", value: stored.id.to_string().into() };
                let mut pieces = Vec::with_capacity(1);
                let event = Event::new(stored.entry.timestamp_ms, line);
                let prepared = prepare(event, Some(&label), now_ms, &out.limits, |piece| pieces.push(piece));
                // Only empty messages are rejected, and no message is empty here.
                prepared.ok().map(|()| pieces)
            };
            let Some(pieces) = unwinding(event)? else {
                lane.records[index].narrowed += 1;
                continue;
            };
            let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            // If the entry is split differently than last time, the pieces sent then cannot be used.
            let sent = if (position, of) == (first, first_pieces) { first_piece } else { 0 };
            for (number, piece) in (0u32..).zip(pieces).skip(sent as usize) {
                if !out.batcher.fits(&piece) {
                    self.send_request(lane, out).await?;
                }
                out.push(
                    piece,
                    Slot { record: index, entry: position, piece: number, pieces: of, ends: false },
                );
            }
        }
        lane.end_record(index, out);
        Ok(())
    }

    /// Sends the outbox and waits for the response.
    async fn send_request(&self, lane: &mut Lane<'_>, out: &mut Outbox) -> Result<(), Stop> {
        if out.batcher.is_empty() {
            return Ok(());
        }
        self.keep_marks(&mut lane.unmarked).await;
        let (batch, slots) = (out.batcher.take(), std::mem::take(&mut out.slots));
        let (group, stream) = (&out.group, &out.stream);
        let clock = || self.clock.now_ms();
        let delivery = deliver(&self.groups, group, stream, batch, &mut out.token, &out.retry, &clock).await;

        let slot_of = |event: &Event| usize::try_from(event.tag).ok().and_then(|tag| slots.get(tag));
        let mut dead: Vec<(&Slot, _)> = delivery
            .dead
            .iter()
            .filter_map(|letter| slot_of(&letter.event).map(|slot| (slot, letter)))
            .collect();
        dead.sort_by_key(|(slot, _)| (slot.record, slot.entry, slot.piece));
        if let Some((first, _)) = dead.first() {
            let lines: Vec<_> = dead
                .iter()
                .map(|(slot, letter)| dead_letters::line(group, stream, letter, &lane.records[slot.record]))
                .collect();
            let sequence = lane.records[first.record].sequence();
            let name = dead_letters::name(&out.partition, sequence, first.entry);
            tracing::error!(
                group = &**group,
                stream = &**stream,
                file = name,
                events = dead.len(),
                reason = dead[0].1.reason.code(),
                "events dead-lettered"
            );
            let lines = dead_letters::lines(&lines).map_err(Stop::of)?;
            self.dead_letters.put(&name, lines).await.map_err(Stop::of)?;
        }
        if let Some(error) = delivery.error {
            let unsent = delivery.unsent.len();
            tracing::warn!(group = &**group, stream = &**stream, unsent, error.message = %error, "events not accepted; retried later");
            return Err(Stop::NotNow(error.to_string()));
        }
        let dead: Vec<(usize, u32)> = dead.iter().map(|(slot, _)| (slot.record, slot.entry)).collect();
        lane.confirm(&slots, &dead);
        lane.mark(&slots);
        Ok(())
    }
}

/// Why a lane stops.
#[derive(Debug)]
enum Stop {
    /// This block cannot be decoded; the next one may be fine.
    Bad(&'static str),
    /// Try again later from here, with the reason.
    NotNow(String),
}

impl Stop {
    fn of(fault: Fault) -> Self {
        let why = chain(&fault);
        tracing::warn!(error.message = why, "a call failed");
        Self::NotNow(why)
    }
}

/// Returns the output if it is ready before `ends`; `None` if the time was over.
async fn before<T>(ends: Option<Instant>, what: impl Future<Output = T>) -> Option<T> {
    match ends {
        Some(ends) => tokio::time::timeout_at(ends, what).await.ok(),
        None => Some(what.await),
    }
}

/// Turns a panic while decoding into a bad block. Otherwise the stream would deliver the block again and
/// again, and nothing after it. The panic message is not logged, because it may contain a record.
fn unwinding<T>(read: impl FnOnce() -> T) -> Result<T, Stop> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| Stop::Bad("decoding panicked"))
}
