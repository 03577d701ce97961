//! A lane: the records of one partition of the table. They are sent in stream order, with one request in
//! flight.

use std::collections::HashSet;

use logferry_core::model::block::{Block, Partition};
use logferry_core::model::level::LevelCounts;
use logferry_core::ports::flush_marks::{FlushMark, Insertion};

use crate::Tally;
use crate::stream::{Image, ItemFailure, StreamEvent, StreamRecord};

/// The state of a stream record in this invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not sent yet, or left to the stream.
    Open,
    /// Every event of it was confirmed, skipped or dead-lettered, or the record itself was.
    Through,
    /// It cannot be decoded, with the reason.
    Bad(&'static str),
}

#[derive(Debug)]
pub(crate) struct Record<'e> {
    pub(crate) change: &'e StreamRecord,
    /// When the block was inserted into the table (ms).
    pub(crate) arrived_ms: i64,
    pub(crate) state: State,
    /// `None` if the record does not identify its block.
    pub(crate) insertion: Option<Insertion>,
    pub(crate) registered_ms: Option<i64>,
    /// The block until it is sent, with the number of its extents.
    pub(crate) block: Option<(Block, u8)>,
    /// What an earlier invocation sent of it.
    pub(crate) mark: Option<FlushMark>,
    /// Its app is deleted.
    pub(crate) ownerless: bool,
    /// Of the block according to its header.
    pub(crate) levels: LevelCounts,
    /// Number of entries in the block according to its header; 1 without a header.
    pub(crate) count: u32,
    pub(crate) before: u32,
    pub(crate) narrowed: u32,
    pub(crate) sent: u32,
    pub(crate) dead: u32,
}

impl Record<'_> {
    pub(crate) fn sequence(&self) -> &str {
        self.change.sequence()
    }

    pub(crate) fn tally(&self) -> Tally {
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

    /// The whole record is in the failure bucket.
    pub(crate) fn set_aside(&mut self) {
        self.dead += self.count.saturating_sub(self.sent + self.narrowed + self.dead + self.before);
        self.state = State::Through;
    }
}

/// The records of one partition in stream order. `None` as partition: records whose partition cannot be
/// read.
#[derive(Debug)]
pub(crate) struct Lane<'e> {
    pub(crate) partition: Option<Partition>,
    pub(crate) records: Vec<Record<'e>>,
    /// Marks of sent records that are not yet stored.
    pub(crate) unmarked: Vec<(Insertion, FlushMark)>,
    /// Why the lane stopped before its end.
    pub(crate) stopped: Option<String>,
    /// Records and entries with a dead-lettered piece.
    dead: HashSet<(usize, u32)>,
}

impl Lane<'_> {
    /// Counts these events as sent, or as stored dead letters. An entry is counted with its last piece.
    pub(crate) fn confirm(&mut self, slots: &[Slot], dead: &[(usize, u32)]) {
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

    /// Adds the marks of these events: the blocks that end in them, and the position of the last event.
    pub(crate) fn mark(&mut self, slots: &[Slot]) {
        let through = slots.iter().filter(|slot| slot.ends).map(|slot| (slot.record, FlushMark::Through));
        let part = slots.last().filter(|last| !last.ends).map(|last| {
            let (entry, piece) = match last.piece + 1 == last.pieces {
                true => (last.entry + 1, 0),
                false => (last.entry, last.piece + 1),
            };
            (last.record, FlushMark::Part { entry, piece, pieces: last.pieces })
        });
        let marks = through.chain(part).filter_map(|(record, mark)| {
            let insertion = self.records[record].insertion.clone()?;
            Some((insertion, mark))
        });
        self.unmarked.extend(marks);
    }
}

/// The origin of an event. Its index is the event's tag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// Index into the lane's records.
    pub(crate) record: usize,
    /// Position of the entry in its block.
    pub(crate) entry: u32,
    pub(crate) piece: u32,
    pub(crate) pieces: u32,
    /// Whether it is the last event of its record.
    pub(crate) ends: bool,
}

/// Groups the event's records by partition, in order of first occurrence. `now_ms` is used as the arrival
/// of records without one.
pub(crate) fn lanes(event: &StreamEvent, now_ms: i64) -> Vec<Lane<'_>> {
    let mut lanes: Vec<Lane<'_>> = Vec::new();
    for change in &event.records {
        let mut record = Record {
            change,
            arrived_ms: change.dynamodb.arrived_ms().unwrap_or(now_ms),
            state: State::Open,
            insertion: None,
            registered_ms: None,
            block: None,
            mark: None,
            ownerless: false,
            levels: LevelCounts::default(),
            count: 1,
            before: 0,
            narrowed: 0,
            sent: 0,
            dead: 0,
        };
        let partition = match change.image() {
            Image::Nothing => continue,
            Image::Block { block, extents } => {
                let partition = block.header.partition();
                record.count = block.header.count;
                record.levels = block.header.levels;
                record.registered_ms = Some(block.header.registered_ms);
                record.insertion = Some(Insertion {
                    partition: partition.clone(),
                    block_id: block.header.block_id,
                    sequence: change.dynamodb.sequence.as_str().to_owned(),
                });
                record.block = Some((block, extents));
                Some(partition)
            }
            Image::Bad { partition, reason } => {
                record.state = State::Bad(reason);
                partition
            }
        };
        match lanes.iter_mut().find(|lane| lane.partition == partition) {
            Some(lane) => lane.records.push(record),
            None => lanes.push(Lane {
                partition,
                records: vec![record],
                unmarked: Vec::new(),
                stopped: None,
                dead: HashSet::new(),
            }),
        }
    }
    lanes
}

/// Returns the first record in stream order that is not through or is in `left`, if any.
pub(crate) fn failures(event: &StreamEvent, lanes: &[Lane<'_>], left: &[&str]) -> Vec<ItemFailure> {
    let records = lanes.iter().flat_map(|lane| &lane.records);
    let open = records.filter(|record| record.state != State::Through);
    let open: HashSet<&str> = open.map(Record::sequence).chain(left.iter().copied()).collect();
    let mut sequences = event.records.iter().map(|record| &record.dynamodb.sequence);
    let first = sequences.find(|sequence| open.contains(sequence.as_str()));
    first.map(|number| ItemFailure { item_identifier: number.clone() }).into_iter().collect()
}
