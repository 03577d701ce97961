//! Streams an object's bytes into blocks. This task reads the body and writes the blocks; separate threads run
//! the pure parsing between them: one, or two where there is a second core. Channels and bytes in flight are
//! bounded, so memory does not grow with the object. No task or thread outlives the call.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use logferry_core::ledger::checkpoint::{Beyond, Checkpoint};
use logferry_core::ledger::claim::{EndedBy, Lease, Ledger};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{
    IntakeError, IntakeLimits, Sink, Stopped, read_log_file_on_two_threads, read_log_file_redacted,
};
use logferry_core::model::app::App;
use logferry_core::model::block::{Block, FileBlock};
use logferry_core::model::expiry;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::{ObjectMeta, ObjectRef};
use logferry_core::model::time::hour_of_ms;
use logferry_core::ports::objects::ByteStream;
use logferry_service::redaction::RedactionRules;
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::conclude::Ending;
use crate::low_water::LowWater;
use crate::pace::Pace;
use crate::retry::{self, Backoff};

/// Body chunks that may wait for decompression.
const BODY_CHUNKS: usize = 16;
/// Blocks and quarantine rows that may wait to be written.
const MADE: usize = 16;
/// Maximum block bytes in flight, and per request.
const MAX_IN_FLIGHT_BYTES: usize = 12 * 1024 * 1024;
const REQUEST_BYTES: usize = 768 * 1024;
/// Maximum items per BatchWriteItem request.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const REQUEST_ITEMS: usize = 25;

/// An object to ingest, with its app, limits and lease.
#[derive(Debug, Clone)]
pub struct Job {
    pub object: ObjectRef,
    pub app: App,
    pub meta: ObjectMeta,
    pub limits: IntakeLimits,
    pub redactor: Arc<RedactionRules>,
    pub retention_days: u32,
    pub lease: Lease,
    /// Packing fingerprint of this run.
    pub packing: PackFingerprint,
    /// Progress of earlier runs.
    pub checkpoint: Checkpoint,
}

/// Counts of what a run wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub blocks: u64,
    /// Rows of bad records.
    pub quarantined: u64,
}

/// When a run has to end.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// No new work is started after this time.
    pub stop_at: Instant,
    /// How long in-flight writes may take after the deadline.
    pub settle: Duration,
}

/// Reads an object until its end or `stop_at`.
pub async fn run<B: BlockTable, L: Ledger>(
    body: ByteStream,
    job: &Job,
    blocks: &B,
    ledger: &L,
    schedule: Schedule,
) -> (Ending, Written) {
    let (body_in, body_out) = mpsc::channel(BODY_CHUNKS);
    let (made_in, made_out) = mpsc::channel(MADE);
    let worker = {
        let (job, skip) = (job.clone(), job.checkpoint);
        spawn_blocking(move || {
            work(&job, BodyReader::new(body_out), ChannelSink { made: made_in, skip, seen: 0 })
        })
    };
    let pace = Pace::default();
    let mut writer = Writer::new(job, blocks, ledger, &pace, schedule);
    let (fed, stored) = {
        let mut feed = std::pin::pin!(feed(body, job.meta.size_bytes, body_in));
        let mut store = std::pin::pin!(writer.store(made_out));
        let mut fed = None;
        let stored = loop {
            tokio::select! {
                result = &mut feed, if fed.is_none() => fed = Some(result),
                stored = &mut store => break stored,
            }
        };
        (fed, stored)
        // `feed` and its end of the channel are dropped here, which stops the worker.
    };
    let worked = worker.await;
    let (checkpoint, written) = (writer.checkpoint(), writer.written);
    let stopped = |by, fault| Ending::Stopped { checkpoint, by, fault };
    let ending = match (stored, fed, worked) {
        (Err(Halt::Fault(fault)), ..) | (Ok(()), Some(Err(fault)), _) => {
            stopped(EndedBy::of(&fault), Some(fault))
        }
        (Err(Halt::OutOfTime(by)), ..) => stopped(by, None),
        (Ok(()), _, Ok(Ok(outcome))) => Ending::Read(outcome, checkpoint),
        (Ok(()), _, worked) => stopped(EndedBy::Itself, Some(broken(worked))),
    };
    (ending, written)
}

/// The fault of a worker that ended without an outcome although it was not stopped.
fn broken(worked: Result<Result<Outcome, IntakeError>, JoinError>) -> Fault {
    let fault = |code| Fault::new(FaultClass::Transient, "ingest", code);
    match worked {
        Ok(Ok(_)) => fault("ended twice"),
        Ok(Err(error)) => fault("the pipeline ended early").with_source(error),
        Err(error) => fault("the pipeline panicked").with_source(error),
    }
}

fn work(job: &Job, reader: impl Read + Send, mut sink: ChannelSink) -> Result<Outcome, IntakeError> {
    let seed = job.object.seed();
    let name = format!("s3://{}/{}", job.object.bucket, job.object.key);
    let source = PackSource {
        app_id: &job.app.app_id,
        seed: &seed,
        source: &name,
        registered_ms: job.app.registered_ms,
        arrived_ms: job.meta.last_modified_ms,
        retention_days: job.retention_days,
        pruned_before_ms: job.app.pruned_before_ms,
    };
    let (limits, redactor) = (&job.limits, &job.redactor);
    if thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
        read_log_file_on_two_threads(reader, source, limits, redactor, &mut sink)
    } else {
        read_log_file_redacted(reader, source, limits, redactor, &mut sink)
    }
}

/// Sends the body to the worker. If the body's length differs from the size that S3 reported, the
/// connection is at fault, not the file.
async fn feed(mut body: ByteStream, size_bytes: u64, worker: mpsc::Sender<BodyPart>) -> Result<(), Fault> {
    let mut fed = 0;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        fed += chunk.len() as u64;
        if worker.send(BodyPart::Bytes(chunk)).await.is_err() {
            return Ok(());
        }
    }
    if fed != size_bytes {
        let text = format!("received {fed} of {size_bytes} bytes");
        return Err(Fault::new(FaultClass::Transient, "GetObject", text));
    }
    // An error means that the worker stopped reading.
    let _ = worker.send(BodyPart::End).await;
    Ok(())
}

enum BodyPart {
    Bytes(Bytes),
    /// All parts were sent. If the channel closes without it, the body is incomplete.
    End,
}

/// The body as a reader for the worker.
struct BodyReader {
    parts: mpsc::Receiver<BodyPart>,
    current: Bytes,
    ended: bool,
}

impl BodyReader {
    fn new(parts: mpsc::Receiver<BodyPart>) -> Self {
        Self { parts, current: Bytes::new(), ended: false }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(BodyPart::Bytes(bytes)) => self.current = bytes,
                Some(BodyPart::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let count = self.current.len().min(out.len());
        self.current.copy_to_slice(&mut out[..count]);
        Ok(count)
    }
}

enum Made {
    Packed(Packed),
    Quarantined(Quarantined),
}

/// Passes on the blocks and rows that earlier runs have not stored.
struct ChannelSink {
    made: mpsc::Sender<Made>,
    skip: Checkpoint,
    /// Number of rows of bad records so far.
    seen: u64,
}

impl Sink for ChannelSink {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        if self.skip.has(packed.sequence) {
            return Ok(());
        }
        self.made.blocking_send(Made::Packed(packed)).map_err(|_| Stopped)
    }

    fn quarantined(&mut self, row: Quarantined) -> Result<(), Stopped> {
        self.seen += 1;
        if self.seen <= self.skip.quarantined {
            return Ok(());
        }
        self.made.blocking_send(Made::Quarantined(row)).map_err(|_| Stopped)
    }
}

enum Halt {
    OutOfTime(EndedBy),
    Fault(Fault),
}

impl From<Fault> for Halt {
    /// A retryable fault was retried until the deadline.
    fn from(fault: Fault) -> Self {
        if fault.retryable() { Self::OutOfTime(EndedBy::Outside) } else { Self::Fault(fault) }
    }
}

struct Writer<'a, B, L> {
    job: &'a Job,
    blocks: &'a B,
    ledger: &'a L,
    schedule: Schedule,
    pace: &'a Pace,
    low_water: LowWater,
    quarantined: u64,
    batch: Vec<(u64, Block)>,
    batch_bytes: usize,
    in_flight_bytes: usize,
    bad: Vec<Quarantined>,
    /// Hours that are recorded in the ledger.
    noted: BTreeSet<i64>,
    written: Written,
}

/// The result of writing a batch.
struct Stored {
    /// Sequence numbers of the stored blocks.
    sequences: Vec<u64>,
    /// Hours that were recorded in the ledger.
    hours: BTreeSet<i64>,
    /// Bytes of all blocks of the batch.
    bytes: usize,
}

impl<'a, B: BlockTable, L: Ledger> Writer<'a, B, L> {
    fn new(job: &'a Job, blocks: &'a B, ledger: &'a L, pace: &'a Pace, schedule: Schedule) -> Self {
        Self {
            job,
            blocks,
            ledger,
            schedule,
            pace,
            low_water: LowWater::from(&job.checkpoint),
            quarantined: job.checkpoint.quarantined,
            batch: Vec::new(),
            batch_bytes: 0,
            in_flight_bytes: 0,
            bad: Vec::new(),
            noted: BTreeSet::new(),
            written: Written::default(),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            blocks: self.low_water.mark(),
            quarantined: self.quarantined,
            beyond: self.low_water.beyond(),
        }
    }

    /// Writes what the worker produces, until the worker ends, the time is over or a write fails.
    async fn store(&mut self, mut made: mpsc::Receiver<Made>) -> Result<(), Halt> {
        let mut requests = FuturesUnordered::new();
        let mut time_is_over = std::pin::pin!(sleep_until(self.schedule.stop_at));
        let mut making = true;
        let halt = loop {
            if !making && self.batch.is_empty() && requests.is_empty() {
                break self.store_bad().await.err();
            }
            let room = requests.is_empty()
                || requests.len() < self.pace.window()
                    && self.in_flight_bytes < MAX_IN_FLIGHT_BYTES
                    && self.within_reach();
            if room && self.batch_is_full(!making) {
                let (new_hours, batch) = self.next_batch();
                requests.push(write(
                    (self.ledger, &self.job.lease, new_hours),
                    (self.blocks, batch),
                    self.pace,
                    self.schedule.stop_at,
                ));
                continue;
            }
            tokio::select! {
                biased;
                () = &mut time_is_over => {
                    // A request in flight is what the run waited for, throttled, being retried or unanswered.
                    let by = if requests.is_empty() { EndedBy::Itself } else { EndedBy::Outside };
                    break Some(Halt::OutOfTime(by));
                }
                Some((stored, ended)) = requests.next(), if !requests.is_empty() => {
                    self.note(stored);
                    if let Err(fault) = ended {
                        break Some(fault.into());
                    }
                }
                next = made.recv(), if making && !self.batch_is_full(false) => match next {
                    Some(Made::Packed(packed)) => self.add(packed),
                    Some(Made::Quarantined(row)) => {
                        self.bad.push(row);
                        if self.bad.len() == REQUEST_ITEMS
                            && let Err(halt) = self.store_bad().await
                        {
                            break Some(halt);
                        }
                    }
                    None => making = false,
                },
            }
        };
        let Some(halt) = halt else { return Ok(()) };
        drop(made);
        let settled_at = Instant::now() + self.schedule.settle;
        // Writes that have not finished by then count as not stored. Storing them again does no harm.
        while let Ok(Some((stored, _))) = timeout_at(settled_at, requests.next()).await {
            self.note(stored);
        }
        Err(halt)
    }

    fn add(&mut self, packed: Packed) {
        match packed.block {
            Some(mut block) => {
                let (object, packing) = (self.job.object.clone(), self.job.packing.clone());
                block.header.file = Some(Box::new(FileBlock { object, packing }));
                self.batch_bytes += block.data.len();
                self.batch.push((packed.sequence, block));
            }
            None => self.low_water.done(packed.sequence),
        }
    }

    fn batch_is_full(&self, last: bool) -> bool {
        let full = self.batch.len() >= REQUEST_ITEMS || self.batch_bytes >= REQUEST_BYTES;
        full || (last && !self.batch.is_empty())
    }

    /// Whether a checkpoint could still include the last block of the batch if the first missing block were
    /// never stored.
    fn within_reach(&self) -> bool {
        self.batch.last().is_none_or(|(last, _)| last - self.low_water.mark() < Beyond::REACH)
    }

    /// Returns the batch, and its hours that are not yet recorded in the ledger.
    fn next_batch(&mut self) -> (BTreeSet<i64>, Vec<(u64, Block)>) {
        self.in_flight_bytes += std::mem::take(&mut self.batch_bytes);
        let hours = self.batch.iter().map(|(_, block)| hour_of_ms(block.header.last_ms));
        let new = hours.filter(|hour| !self.noted.contains(hour)).collect();
        (new, std::mem::take(&mut self.batch))
    }

    fn note(&mut self, stored: Stored) {
        self.in_flight_bytes -= stored.bytes;
        self.written.blocks += stored.sequences.len() as u64;
        stored.sequences.iter().for_each(|&sequence| self.low_water.done(sequence));
        self.noted.extend(stored.hours);
    }

    async fn store_bad(&mut self) -> Result<(), Halt> {
        if self.bad.is_empty() {
            return Ok(());
        }
        let (ledger, lease, bad) = (self.ledger, &self.job.lease, &self.bad);
        retry::until(self.schedule.stop_at, || ledger.quarantine(lease, bad)).await?;
        self.quarantined += self.bad.len() as u64;
        self.written.quarantined += self.bad.len() as u64;
        self.bad.clear();
        Ok(())
    }
}

/// Stores a batch after recording its hours in the ledger, so that its blocks are found even if this worker
/// dies. Returns what was stored, also after a fault.
async fn write<L: Ledger, B: BlockTable>(
    (ledger, lease, hours): (&L, &Lease, BTreeSet<i64>),
    (table, batch): (&B, Vec<(u64, Block)>),
    pace: &Pace,
    stop_at: Instant,
) -> (Stored, Result<(), Fault>) {
    let bytes = batch.iter().map(|(_, block)| block.data.len()).sum();
    let mut stored = Stored { sequences: Vec::new(), hours: BTreeSet::new(), bytes };
    let expires_on = batch.iter().map(|(_, block)| block.header.expires_on()).max().unwrap_or(expiry::NEVER);
    if !hours.is_empty()
        && let Err(fault) = retry::until(stop_at, || ledger.note_hours(lease, &hours, expires_on)).await
    {
        return (stored, Err(fault));
    }
    stored.hours = hours;
    let put = put(table, batch, pace, stop_at, &mut stored.sequences).await;
    (stored, put)
}

/// Stores blocks and adds their numbers to `stored`. Unprocessed blocks and transient failures are retried
/// after a pause. Throttling is not a failure: it is retried until all blocks are stored. No attempt starts
/// after `stop_at`.
async fn put<B: BlockTable>(
    table: &B,
    mut left: Vec<(u64, Block)>,
    pace: &Pace,
    stop_at: Instant,
    stored: &mut Vec<u64>,
) -> Result<(), Fault> {
    let mut backoff = Backoff::default();
    loop {
        let sent = Instant::now();
        let fault = match table.put(left.iter().map(|(_, block)| block.clone()).collect()).await {
            Ok(unprocessed) if unprocessed.is_empty() => {
                stored.extend(left.iter().map(|(sequence, _)| sequence));
                pace.faster();
                return Ok(());
            }
            Ok(unprocessed) => {
                let missing: BTreeSet<_> = unprocessed.iter().map(|block| block.header.block_id).collect();
                let (missing, taken): (Vec<_>, Vec<_>) =
                    left.into_iter().partition(|(_, block)| missing.contains(&block.header.block_id));
                if !taken.is_empty() {
                    backoff.got_somewhere();
                }
                stored.extend(taken.iter().map(|(sequence, _)| sequence));
                left = missing;
                Fault::new(FaultClass::RateLimited, "BatchWriteItem", "UnprocessedItems")
            }
            Err(fault) if fault.retryable() => fault,
            Err(fault) => return Err(fault),
        };
        if fault.class == FaultClass::RateLimited {
            pace.slower(sent);
        }
        backoff.pause(stop_at, fault).await?;
    }
}
