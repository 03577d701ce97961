//! Blocks from the table's stream into CloudWatch Logs.
//!
//! The story of an invocation: the stream's records are told apart by partition, which is one log
//! stream each. A partition's blocks become events in order, the events fill requests, and one
//! request is under way at a time. Before the next one starts, a mark says durably how far the one
//! before got: whenever an invocation dies, at most the request in its hands is sent twice.
//! What could not be confirmed is named in the answer, and the stream brings it again.

pub mod config;
pub mod dead_letters;
pub mod progress;
pub mod redrive;
pub mod settings;
pub mod stream;
mod tally;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use batch_buffer::limits::MAX_AGE_MS;
use batch_buffer::plan::prepare;
use batch_buffer::split::Label;
use batch_buffer::{Batcher, Event, Limits, RetryPolicy, Sender, deliver};
use logferry_domain::block::{Block, Partition, Payload};
use logferry_domain::fault::{Fault, FaultClass, chain};
use logferry_domain::log_record::LogRecord;
use logferry_ports::flush_marks::{FlushMark, PartMark};
use logferry_ports::{Apps, BlockTable, Clock, DeadLetters, FlushMarks, Retentions};
use tokio::time::Instant;

use crate::progress::State;
use crate::settings::{Settings, Wanted, wanted};
use crate::stream::{Image, ItemFailure, Response, SequenceNumber, StreamEvent};
pub use crate::tally::Tally;

/// The pauses before marks that could not be read are read again.
const MARK_PAUSES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(400), Duration::from_millis(1600)];

const DAY_MS: i64 = 24 * 3_600_000;

/// How flush sends.
#[derive(Debug, Clone)]
pub struct Sending {
    pub group_prefix: String,
    /// The groups' retention: older events would be rejected, so they are re-stamped.
    pub retention_days: Option<u32>,
    pub retry: RetryPolicy,
}

/// The function.
#[derive(Debug)]
pub struct Flush<B, A, S, D, M, C> {
    blocks: B,
    settings: Settings<A>,
    sender: S,
    dead_letters: D,
    marks: M,
    clock: C,
    sending: Sending,
    retentions: Retentions,
}

/// What an invocation answers, and what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handled {
    pub response: Response,
    pub tally: Tally,
}

impl Sending {
    /// What a request may hold for groups of this retention.
    fn limits(&self) -> Limits {
        let retention_ms = self.retention_days.map_or(MAX_AGE_MS, |days| i64::from(days) * DAY_MS);
        Limits { max_age_ms: retention_ms.min(MAX_AGE_MS), ..Limits::default() }
    }
}

impl<B, A, S, D, M, C> Flush<B, A, S, D, M, C>
where
    B: BlockTable,
    A: Apps,
    S: Sender,
    D: DeadLetters,
    M: FlushMarks,
    C: Clock,
{
    pub fn new(blocks: B, apps: A, sender: S, dead_letters: D, marks: M, clock: C, sending: Sending) -> Self {
        Self {
            blocks,
            settings: Settings::new(apps),
            sender,
            dead_letters,
            marks,
            clock,
            sending,
            retentions: Retentions::default(),
        }
    }

    /// Tells what apps say of their retention, before anything of theirs is sent.
    #[must_use]
    pub fn with_retentions(mut self, retentions: Retentions) -> Self {
        self.retentions = retentions;
        self
    }

    /// Sends what a batch of the stream brings. No request starts after `deadline`.
    pub async fn handle(&self, event: &StreamEvent, deadline: Option<Instant>) -> Handled {
        let mut lanes = lanes(event);
        let unmarked = self.send_lanes(&mut lanes, deadline).await;
        let failures = failures(event, &lanes);
        if !failures.is_empty() {
            // These records come again, and with them some that are through: now is known which.
            self.keep_mark(unmarked).await;
        }
        let tally = lanes.iter().flat_map(|lane| &lane.records).map(Record::tally).sum();
        Handled { response: Response { batch_item_failures: failures }, tally }
    }

    /// Every lane as far as it goes. Returns the mark that is yet to be kept.
    async fn send_lanes(
        &self,
        lanes: &mut [Lane],
        deadline: Option<Instant>,
    ) -> Option<(Partition, FlushMark)> {
        self.find_marks(lanes, deadline).await;
        let mut unmarked = None;
        for lane in lanes {
            self.send_lane(lane, deadline, &mut unmarked).await;
        }
        unmarked
    }

    async fn find_marks(&self, lanes: &mut [Lane], deadline: Option<Instant>) {
        let partitions: Vec<Partition> = lanes.iter().filter_map(|lane| lane.partition.clone()).collect();
        if partitions.is_empty() {
            return;
        }
        let mut found = self.marks.find(&partitions).await;
        // A mark that is not read costs a request's worth of duplicates in each partition.
        for pause in MARK_PAUSES {
            let again = matches!(&found, Err(fault) if fault.retryable());
            if !again || deadline.is_some_and(|deadline| Instant::now() + pause >= deadline) {
                break;
            }
            tokio::time::sleep(pause).await;
            found = self.marks.find(&partitions).await;
        }
        match found {
            Ok(found) => {
                let mut found: HashMap<Partition, FlushMark> = found.into_iter().collect();
                for lane in lanes {
                    lane.before = lane.partition.as_ref().and_then(|partition| found.remove(partition));
                }
            }
            // Without marks events may be sent twice, which is better than not at all.
            Err(fault) => tracing::warn!(error.message = chain(&fault), "marks could not be read"),
        }
    }

    async fn keep_mark(&self, mark: Option<(Partition, FlushMark)>) {
        if let Some((partition, mark)) = mark
            && let Err(fault) = self.marks.set(&partition, &mark, self.clock.now_ms()).await
        {
            tracing::warn!(error.message = chain(&fault), "a mark could not be written");
        }
    }

    /// One partition, record by record; stops at the first request that is not confirmed.
    async fn send_lane(
        &self,
        lane: &mut Lane,
        deadline: Option<Instant>,
        unmarked: &mut Option<(Partition, FlushMark)>,
    ) {
        let Some(partition) = lane.partition.clone() else { return };
        let mut out = Outbox::new(&self.sending, &partition, deadline);
        for index in 0..lane.records.len() {
            let record = &mut lane.records[index];
            if lane.before.as_ref().is_some_and(|mark| progress::covers(mark, &record.sequence)) {
                record.state = State::Through;
                record.before = record.count;
                continue;
            }
            let Some((block, extents)) = record.block.take() else { continue };
            match self.send_block(lane, index, block, extents, &mut out, unmarked).await {
                Ok(()) => {}
                Err(Stop::Bad(reason)) => {
                    let sequence = lane.records[index].sequence.as_str();
                    let partition = partition.key();
                    tracing::error!(partition, sequence, reason, "a block cannot be decoded");
                    lane.records[index].state = State::Bad;
                }
                Err(Stop::NotNow(why)) => {
                    lane.stopped = Some(why);
                    return;
                }
            }
        }
        // What is not confirmed stays open; there is nothing behind it.
        if let Err(Stop::NotNow(why)) = self.send_request(lane, &mut out, unmarked).await {
            lane.stopped = Some(why);
        }
    }

    async fn send_block(
        &self,
        lane: &mut Lane,
        index: usize,
        block: Block,
        extents: u8,
        out: &mut Outbox,
        unmarked: &mut Option<(Partition, FlushMark)>,
    ) -> Result<(), Stop> {
        let Block { header, data } = block;
        let setting = self.settings.of(&header.app_id, self.clock.now_ms()).await.map_err(Stop::of)?;
        self.retentions.set(&out.group, setting.retention_days);
        let Wanted::AtLeast(min_level) = wanted(setting.flush, &header) else {
            let record = &mut lane.records[index];
            record.narrowed = header.count;
            lane.end_record(index, out);
            return Ok(());
        };
        let data = match extents {
            0 => data,
            _ => {
                self.blocks.with_extents(&header, data, extents).await.map_err(|fault| match fault.class {
                    FaultClass::NotFound => Stop::Bad("the rest of it is gone"),
                    _ => Stop::of(fault),
                })?
            }
        };
        let payload = Payload::decode(&data).map_err(|_| Stop::Bad("its data is no payload"))?;
        drop(data);
        if payload.len() as u64 != u64::from(header.count) {
            return Err(Stop::Bad("it does not hold as many records as it says"));
        }
        let part = lane.part_of(index).cloned();
        let first = part.as_ref().map_or(0, |part| part.entry);
        lane.records[index].before = first;
        for (position, at) in (0u32..).zip(0..payload.len()).skip(first as usize) {
            if payload.entry(at).level < min_level {
                lane.records[index].narrowed += 1;
                continue;
            }
            let stored = payload.record(at);
            let line = LogRecord::read(&stored).to_line();
            let label = Label { key: "logId", value: stored.id.to_string().into() };
            let mut pieces = Vec::with_capacity(1);
            let event = Event::new(stored.entry.timestamp_ms, line);
            if prepare(event, Some(&label), self.clock.now_ms(), &out.limits, |piece| pieces.push(piece))
                .is_err()
            {
                return Err(Stop::Bad("a record makes an empty line"));
            }
            let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            // Cut otherwise than last time, the pieces sent then are no use.
            let sent = part.as_ref().filter(|part| part.entry == position && part.pieces == of);
            let sent = sent.map_or(0, |part| part.piece);
            for (number, piece) in (0u32..).zip(pieces).skip(sent as usize) {
                if !out.batcher.fits(&piece) {
                    self.send_request(lane, out, unmarked).await?;
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

    /// Sends what the outbox holds and waits for the answer.
    async fn send_request(
        &self,
        lane: &mut Lane,
        out: &mut Outbox,
        unmarked: &mut Option<(Partition, FlushMark)>,
    ) -> Result<(), Stop> {
        if out.batcher.is_empty() {
            return Ok(());
        }
        self.keep_mark(unmarked.take()).await;
        let (batch, slots) = (out.batcher.take(), std::mem::take(&mut out.slots));
        let (group, stream) = (&out.group, &out.stream);
        let clock = || self.clock.now_ms();
        let delivery = deliver(&self.sender, group, stream, batch, &mut out.token, &out.retry, &clock).await;

        let slot_of = |event: &Event| usize::try_from(event.tag).ok().and_then(|tag| slots.get(tag));
        let mut dead: Vec<(&Slot, _)> = delivery
            .dead
            .iter()
            .filter_map(|letter| slot_of(&letter.event).map(|slot| (slot, letter)))
            .collect();
        dead.sort_by_key(|(slot, _)| (slot.record, slot.entry, slot.piece));
        if let Some((first, _)) = dead.first() {
            let sequence = |slot: &Slot| &lane.records[slot.record].sequence;
            let lines: Vec<_> = dead
                .iter()
                .map(|(slot, letter)| dead_letters::line(group, stream, letter, sequence(slot)))
                .collect();
            let name = dead_letters::name(&out.partition, sequence(first), first.entry);
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
            tracing::warn!(group = &**group, stream = &**stream, unsent, error.message = %error, "not sent now");
            return Err(Stop::NotNow(error.to_string()));
        }
        let dead: Vec<(usize, u32)> = dead.iter().map(|(slot, _)| (slot.record, slot.entry)).collect();
        lane.confirm(&slots, &dead);
        *unmarked = lane.mark(&slots).map(|mark| (out.partition.clone(), mark));
        Ok(())
    }
}

/// Why a lane does not go on.
#[derive(Debug)]
enum Stop {
    /// This block is no good; the next may be.
    Bad(&'static str),
    /// Try again later, from here: why.
    NotNow(String),
}

impl Stop {
    fn of(fault: Fault) -> Self {
        let why = chain(&fault);
        tracing::warn!(error.message = why, "a call failed");
        Self::NotNow(why)
    }
}

/// The request in the making: events, and for each where it comes from.
struct Outbox {
    partition: Partition,
    group: Arc<str>,
    stream: Arc<str>,
    limits: Limits,
    retry: RetryPolicy,
    token: Option<String>,
    batcher: Batcher,
    slots: Vec<Slot>,
}

/// Where an event comes from. Its index is the event's tag.
#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Index into the lane's records.
    record: usize,
    /// Position of the entry in its block.
    entry: u32,
    piece: u32,
    pieces: u32,
    /// It is the last event of its record.
    ends: bool,
}

impl Outbox {
    fn new(sending: &Sending, partition: &Partition, deadline: Option<Instant>) -> Self {
        let limits = sending.limits();
        Self {
            partition: partition.clone(),
            group: format!("{}/{}", sending.group_prefix, partition.app_id).into(),
            stream: format!("{}/{}", partition.day, partition.shard).into(),
            retry: RetryPolicy { deadline, ..sending.retry.clone() },
            token: None,
            batcher: Batcher::new(limits.clone()),
            limits,
            slots: Vec::new(),
        }
    }

    fn push(&mut self, event: Event, slot: Slot) {
        self.batcher.push(event.tagged(self.slots.len() as u64));
        self.slots.push(slot);
    }
}

/// The records of one partition in the stream's order. Without a partition: records that are not
/// even that far legible.
#[derive(Debug)]
struct Lane {
    partition: Option<Partition>,
    records: Vec<Record>,
    before: Option<FlushMark>,
    /// What stopped it before its end.
    stopped: Option<String>,
    /// Records and entries of which a piece is dead.
    dead: HashSet<(usize, u32)>,
}

impl Lane {
    /// No event of the record comes any more: it is through with its last one, or now.
    fn end_record(&mut self, index: usize, out: &mut Outbox) {
        match out.slots.last_mut() {
            Some(last) if last.record == index => last.ends = true,
            _ => self.records[index].state = State::Through,
        }
    }

    /// What an earlier invocation sent of this record.
    fn part_of(&self, index: usize) -> Option<&PartMark> {
        let part = self.before.as_ref()?.part.as_ref()?;
        (part.sequence == self.records[index].sequence.as_str()).then_some(part)
    }

    /// These events are sent, or dead and kept. An entry counts with its last piece.
    fn confirm(&mut self, slots: &[Slot], dead: &[(usize, u32)]) {
        self.dead.extend(dead);
        for slot in slots {
            let record = &mut self.records[slot.record];
            if slot.piece + 1 == slot.pieces {
                match self.dead.contains(&(slot.record, slot.entry)) {
                    true => record.dead += 1,
                    false => record.sent += 1,
                }
            }
            if slot.ends {
                record.state = State::Through;
            }
        }
    }

    /// How far the lane is after these events.
    fn mark(&self, slots: &[Slot]) -> Option<FlushMark> {
        let part = slots.last().filter(|last| !last.ends).map(|last| {
            let (entry, piece) = match last.piece + 1 == last.pieces {
                true => (last.entry + 1, 0),
                false => (last.entry, last.piece + 1),
            };
            let sequence = self.records[last.record].sequence.as_str().to_owned();
            PartMark { sequence, entry, piece, pieces: last.pieces }
        });
        let records: Vec<_> =
            self.records.iter().map(|record| (record.sequence.clone(), record.state)).collect();
        progress::mark(&records, part, self.before.as_ref())
    }
}

#[derive(Debug)]
struct Record {
    sequence: SequenceNumber,
    state: State,
    block: Option<(Block, u8)>,
    /// Entries in the block, by its header.
    count: u32,
    before: u32,
    narrowed: u32,
    sent: u32,
    dead: u32,
}

impl Record {
    fn tally(&self) -> Tally {
        let [records_in, before, narrowed, sent, dead] =
            [self.count, self.before, self.narrowed, self.sent, self.dead].map(u64::from);
        Tally {
            records_in,
            sent,
            narrowed,
            dead_lettered: dead,
            sent_before: before,
            left: records_in.saturating_sub(sent + narrowed + dead + before),
        }
    }
}

/// Told apart by partition, in the order in which they first occur.
fn lanes(event: &StreamEvent) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    for change in &event.records {
        let sequence = change.dynamodb.sequence.clone();
        let mut record = Record {
            sequence,
            state: State::Open,
            block: None,
            count: 0,
            before: 0,
            narrowed: 0,
            sent: 0,
            dead: 0,
        };
        let partition = match change.image() {
            Image::Nothing => continue,
            Image::Block { block, extents } => {
                record.count = block.header.count;
                let partition = block.header.partition();
                record.block = Some((block, extents));
                Some(partition)
            }
            Image::Bad { partition, reason } => {
                tracing::error!(sequence = record.sequence.as_str(), reason, "a block cannot be decoded");
                record.state = State::Bad;
                partition
            }
        };
        match lanes.iter_mut().find(|lane| lane.partition == partition) {
            Some(lane) => lane.records.push(record),
            None => lanes.push(Lane {
                partition,
                records: vec![record],
                before: None,
                stopped: None,
                dead: HashSet::new(),
            }),
        }
    }
    lanes
}

/// The first record in the stream's order that is not through, if there is one.
fn failures(event: &StreamEvent, lanes: &[Lane]) -> Vec<ItemFailure> {
    let open: HashSet<&SequenceNumber> = lanes
        .iter()
        .flat_map(|lane| &lane.records)
        .filter(|record| record.state != State::Through)
        .map(|record| &record.sequence)
        .collect();
    let first =
        event.records.iter().map(|record| &record.dynamodb.sequence).find(|number| open.contains(number));
    first.map(|number| ItemFailure { item_identifier: number.clone() }).into_iter().collect()
}
