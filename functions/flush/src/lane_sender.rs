//! Sends a lane: its blocks become events, the events fill requests, one request in flight at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use batch_buffer::plan::prepare;
use batch_buffer::split::Label;
use batch_buffer::{Batcher, DeadLetter, Event, Limits, RetryPolicy, Sender, deliver};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::block::{Block, BlockHeader, Partition, Payload};
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::level::Level;
use logferry_core::model::record_view::LogRecord;
use logferry_core::model::time::Day;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_core::ports::flush_marks::{FlushMark, FlushMarks};
use logferry_core::ports::log_groups::LogGroups;
use tokio::time::Instant;

use crate::app_cache::{Wanted, is_sent, wanted};
use crate::lane::{Lane, Slot, State};
use crate::{Flush, dead_letters};

/// Number of the log stream per day that receives an app's events. CloudWatch Logs limits requests per
/// account, not per stream, so one stream is enough for any rate.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
const STREAM_SHARD: u8 = 0;

/// Sends the records of one lane, in order.
pub(crate) struct LaneSender<'a, 'e, B, A, S, D, M, C> {
    flush: &'a Flush<B, A, S, D, M, C>,
    lane: &'a mut Lane<'e>,
    partition: Partition,
    group: Arc<str>,
    stream: Arc<str>,
    limits: Limits,
    retry: RetryPolicy,
    token: Option<String>,
    /// The events of the next request.
    batcher: Batcher,
    /// The origin of each event.
    slots: Vec<Slot>,
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

impl<'a, 'e, B, A, S, D, M, C> LaneSender<'a, 'e, B, A, S, D, M, C>
where
    B: BlockTable,
    A: Apps,
    S: Sender + LogGroups,
    D: DeadLetters,
    M: FlushMarks,
    C: Clock,
{
    /// `None` if the partition of the lane's records is not known.
    pub(crate) fn of(
        flush: &'a Flush<B, A, S, D, M, C>,
        lane: &'a mut Lane<'e>,
        deadline: Option<Instant>,
    ) -> Option<Self> {
        let partition = lane.partition.clone()?;
        let limits = flush.sending.limits();
        Some(Self {
            group: format!("{}/{}", flush.sending.group_prefix, partition.app_id).into(),
            stream: "".into(),
            retry: RetryPolicy { deadline, ..flush.sending.retry.clone() },
            token: None,
            batcher: Batcher::new(limits.clone()),
            limits,
            slots: Vec::new(),
            flush,
            lane,
            partition,
        })
    }

    /// Sends record by record. Stops at the first request that is not confirmed.
    pub(crate) async fn run(mut self) {
        if let Err(why) = self.send_records().await {
            self.lane.stopped = Some(why);
        }
    }

    async fn send_records(&mut self) -> Result<(), String> {
        for index in 0..self.lane.records.len() {
            let record = &mut self.lane.records[index];
            let Some((block, extents)) = record.block.take() else { continue };
            if record.mark == Some(FlushMark::Through) {
                record.state = State::Through;
                record.before = record.count;
                continue;
            }
            match self.send_block(index, block, extents).await {
                Ok(()) => {}
                Err(Stop::Bad(reason)) => self.lane.records[index].state = State::Bad(reason),
                Err(Stop::NotNow(why)) => return Err(why),
            }
        }
        // Unconfirmed records stay open; this was the lane's last request.
        match self.send_request().await {
            Err(Stop::NotNow(why)) => Err(why),
            Ok(()) | Err(Stop::Bad(_)) => Ok(()),
        }
    }

    async fn send_block(&mut self, index: usize, block: Block, extents: u8) -> Result<(), Stop> {
        let Block { header, data } = block;
        let Some(wanted) = self.wanted(index, &header).await? else {
            self.lane.records[index].narrowed = header.count;
            self.end_record(index);
            return Ok(());
        };
        let data = match extents {
            0 => data,
            _ => {
                let whole = self.flush.blocks.with_extents(&header, data, extents).await;
                whole.map_err(|fault| match fault.class {
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
        let stream = log_stream(self.lane.records[index].arrived_ms);
        if *self.stream != *stream {
            // A request goes to one log stream.
            self.send_request().await?;
            (self.stream, self.token) = (stream.into(), None);
        }
        let (first, first_piece, first_pieces) = match self.lane.records[index].mark {
            Some(FlushMark::Part { entry, piece, pieces }) => (entry, piece, pieces),
            _ => (0, 0, 0),
        };
        self.lane.records[index].before = first;
        for (position, at) in (0u32..).zip(0..payload.len()).skip(first as usize) {
            let now_ms = self.flush.clock.now_ms();
            let event = || {
                let stored = is_sent(&payload.entry(at), wanted).then(|| payload.record(at))?;
                let line = LogRecord::read(&stored).to_line();
                let label = Label { key: "logId", value: stored.id.to_string().into() };
                let mut pieces = Vec::with_capacity(1);
                let event = Event::new(stored.entry.timestamp_ms, line);
                let prepared = prepare(event, Some(&label), now_ms, &self.limits, |piece| pieces.push(piece));
                // Only empty messages are rejected, and no message is empty here.
                prepared.ok().map(|()| pieces)
            };
            let Some(pieces) = unwinding(event)? else {
                self.lane.records[index].narrowed += 1;
                continue;
            };
            let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
            // If the entry is split differently than last time, the pieces sent then cannot be used.
            let sent = if (position, of) == (first, first_pieces) { first_piece } else { 0 };
            for (number, piece) in (0u32..).zip(pieces).skip(sent as usize) {
                if !self.batcher.fits(&piece) {
                    self.send_request().await?;
                }
                self.batcher.push(piece.tagged(self.slots.len() as u64));
                self.slots.push(Slot {
                    record: index,
                    entry: position,
                    piece: number,
                    pieces: of,
                    ends: false,
                });
            }
        }
        self.end_record(index);
        Ok(())
    }

    /// The lowest level that the block's app wants forwarded. `None` if nothing of the block is, or if the
    /// app is deleted.
    async fn wanted(&mut self, index: usize, header: &BlockHeader) -> Result<Option<Level>, Stop> {
        let flush = self.flush;
        let setting = flush.apps.of(&header.app_id, header.registered_ms, flush.clock.now_ms()).await;
        let Some(setting) = setting.map_err(Stop::of)? else {
            // The group may belong to another app by now.
            let app_id = header.app_id.as_str();
            tracing::info!(app_id, records = header.count, "records skipped: their app is deleted");
            self.lane.records[index].ownerless = true;
            return Ok(None);
        };
        flush.groups.keep(&self.group, setting.retention_days.or(flush.sending.retention_days));
        Ok(match wanted(setting.flush, header) {
            Wanted::AtLeast(level) => Some(level),
            Wanted::Nothing => None,
        })
    }

    /// The record has no more events: it is done after its last event, or now.
    fn end_record(&mut self, index: usize) {
        match self.slots.last_mut() {
            Some(last) if last.record == index => last.ends = true,
            _ => self.lane.records[index].state = State::Through,
        }
    }

    /// Sends the collected events and waits for the answer.
    async fn send_request(&mut self) -> Result<(), Stop> {
        if self.batcher.is_empty() {
            return Ok(());
        }
        let flush = self.flush;
        flush.keep_marks(&mut self.lane.unmarked).await;
        let (batch, slots) = (self.batcher.take(), std::mem::take(&mut self.slots));
        let (group, stream) = (&self.group, &self.stream);
        let clock = || flush.clock.now_ms();
        let delivery =
            deliver(&flush.groups, group, stream, batch, &mut self.token, &self.retry, &clock).await;
        let dead = self.keep_dead(&slots, &delivery.dead).await?;
        if let Some(error) = delivery.error {
            let (group, stream, unsent) = (&*self.group, &*self.stream, delivery.unsent.len());
            tracing::warn!(group, stream, unsent, error.message = %error, "events not accepted; retried later");
            return Err(Stop::NotNow(error.to_string()));
        }
        self.lane.confirm(&slots, &dead);
        self.lane.mark(&slots);
        Ok(())
    }

    /// Writes dead letters to the failure bucket. Returns their records and entries.
    async fn keep_dead(&self, slots: &[Slot], letters: &[DeadLetter]) -> Result<Vec<(usize, u32)>, Stop> {
        let slot_of = |event: &Event| usize::try_from(event.tag).ok().and_then(|tag| slots.get(tag));
        let mut dead: Vec<(&Slot, &DeadLetter)> =
            letters.iter().filter_map(|letter| slot_of(&letter.event).map(|slot| (slot, letter))).collect();
        dead.sort_by_key(|(slot, _)| (slot.record, slot.entry, slot.piece));
        if let Some((first, letter)) = dead.first() {
            let (group, stream) = (&*self.group, &*self.stream);
            let lines: Vec<_> = dead
                .iter()
                .map(|(slot, letter)| {
                    dead_letters::line(group, stream, letter, &self.lane.records[slot.record])
                })
                .collect();
            let sequence = self.lane.records[first.record].sequence();
            let name = dead_letters::name(&self.partition, sequence, first.entry);
            tracing::error!(
                group,
                stream,
                file = name,
                events = dead.len(),
                reason = letter.reason.code(),
                "events dead-lettered"
            );
            let lines = dead_letters::lines(&lines).map_err(Stop::of)?;
            self.flush.dead_letters.put(&name, lines).await.map_err(Stop::of)?;
        }
        Ok(dead.iter().map(|(slot, _)| (slot.record, slot.entry)).collect())
    }
}

/// Turns a panic while decoding into a bad block. Otherwise the stream would deliver the block again and
/// again, and nothing after it. The panic message is not logged, because it may contain a record.
fn unwinding<T>(read: impl FnOnce() -> T) -> Result<T, Stop> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| Stop::Bad("decoding panicked"))
}

/// Returns the log stream for a block that arrived at this time: `{yyyy-mm-dd}/{shard}`. The time of the
/// insertion is the same at each delivery, so a block always has the same log stream. The time of its
/// records is not used: a file with records of a thousand days goes to one log stream, not to a thousand.
fn log_stream(arrived_ms: i64) -> String {
    format!("{}/{STREAM_SHARD}", Day::of_ms(arrived_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_stream_is_named_after_the_day_of_arrival() {
        assert_eq!(log_stream(1_709_294_400_000), "2024-03-01/0");
    }
}
