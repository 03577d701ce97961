//! An object's bytes into blocks, streaming: the body is read and the blocks are written here,
//! while a thread of its own runs the pure path between them. The channels and the bytes in flight
//! are bounded, so memory does not grow with the object. When this returns, nothing of it runs on.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use logferry_domain::app::App;
use logferry_domain::block::{Block, FileBlock};
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::intake::{IntakeError, IntakeLimits, Sink, Stopped, take_in_redacted};
use logferry_domain::ledger::{Checkpoint, Outcome, Quarantined};
use logferry_domain::object::{ObjectMeta, ObjectRef};
use logferry_domain::pack::{PackSource, Packed};
use logferry_domain::packing::Packing;
use logferry_domain::redact::Redactor;
use logferry_domain::time::hour_of_ms;
use logferry_ports::ledger::Lease;
use logferry_ports::objects::ByteStream;
use logferry_ports::{BlockTable, Ledger};
use tokio::sync::mpsc;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::low_water::LowWater;
use crate::retry::{self, Backoff};

/// Chunks of the body that wait to be decompressed.
const BODY_CHUNKS: usize = 16;
/// Blocks and rows of bad records that wait to be written.
const MADE: usize = 16;
/// Requests in flight: at a few milliseconds each, they decide the speed more than any codec.
const MAX_REQUESTS: usize = 16;
/// Block bytes in flight, and in one request.
const MAX_IN_FLIGHT_BYTES: usize = 12 * 1024 * 1024;
const REQUEST_BYTES: usize = 768 * 1024;
/// Items of a BatchWriteItem request.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html>
const REQUEST_ITEMS: usize = 25;

/// What is done with which object.
#[derive(Debug, Clone)]
pub struct Job {
    pub object: ObjectRef,
    pub app: App,
    pub meta: ObjectMeta,
    pub limits: IntakeLimits,
    pub redactor: Arc<Redactor>,
    pub retention_days: u32,
    pub lease: Lease,
    /// How this run packs.
    pub packing: Packing,
    /// What earlier runs have stored.
    pub checkpoint: Checkpoint,
}

/// How a run ended.
#[derive(Debug)]
pub enum End {
    /// The whole object was gone through, and all of it is stored: so much.
    Whole(Outcome, Checkpoint),
    /// Time ran out; so much is stored.
    OutOfTime(Checkpoint),
    /// Something outside failed; so much is stored.
    Failed(Fault, Checkpoint),
}

/// What a run wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    pub blocks: u64,
    /// Rows of bad records.
    pub quarantined: u64,
}

/// When a run is over.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// From here on nothing is begun.
    pub stop_at: Instant,
    /// So long may then take what had been begun.
    pub settle: Duration,
}

/// Goes through an object until its end or `stop_at`.
pub async fn run<B: BlockTable, L: Ledger>(
    body: ByteStream,
    job: &Job,
    blocks: &B,
    ledger: &L,
    schedule: Schedule,
) -> (End, Written) {
    let (body_in, body_out) = mpsc::channel(BODY_CHUNKS);
    let (made_in, made_out) = mpsc::channel(MADE);
    let worker = {
        let (job, skip) = (job.clone(), job.checkpoint);
        spawn_blocking(move || {
            work(&job, BodyReader::new(body_out), ChannelSink { made: made_in, skip, seen: 0 })
        })
    };
    let mut writer = Writer::new(job, blocks, ledger, schedule);
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
        // Here `feed` and its end of the channel are dropped, and so the worker stops.
    };
    let worked = worker.await;
    let (checkpoint, written) = (writer.checkpoint(), writer.written);
    let end = match (stored, fed, worked) {
        (Err(Halt::Fault(fault)), ..) | (Ok(()), Some(Err(fault)), _) => End::Failed(fault, checkpoint),
        (Err(Halt::OutOfTime), ..) => End::OutOfTime(checkpoint),
        (Ok(()), _, Ok(Ok(outcome))) => End::Whole(outcome, checkpoint),
        (Ok(()), _, worked) => End::Failed(broken(worked), checkpoint),
    };
    (end, written)
}

/// The fault of a worker that ended without an outcome though nobody stopped it.
fn broken(worked: Result<Result<Outcome, IntakeError>, JoinError>) -> Fault {
    let fault = |code| Fault::new(FaultClass::Transient, "ingest", code);
    match worked {
        Ok(Ok(_)) => fault("ended twice"),
        Ok(Err(error)) => fault("the pipeline broke off").with_source(error),
        Err(error) => fault("the pipeline panicked").with_source(error),
    }
}

fn work(job: &Job, reader: impl Read, mut sink: ChannelSink) -> Result<Outcome, IntakeError> {
    let seed = job.object.seed();
    let name = format!("s3://{}/{}", job.object.bucket, job.object.key);
    let source = PackSource {
        app_id: &job.app.app_id,
        seed: &seed,
        source: &name,
        epoch_ms: job.app.created_ms,
        arrived_ms: job.meta.last_modified_ms,
        retention_days: job.retention_days,
        pruned_before_ms: job.app.pruned_before_ms,
    };
    take_in_redacted(reader, source, &job.limits, &job.redactor, &mut sink)
}

/// Hands the body to the worker. A body of another length than S3 said is a fault of the
/// connection and says nothing about the file.
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
        let text = format!("{fed} bytes came of {size_bytes}");
        return Err(Fault::new(FaultClass::Transient, "GetObject", text));
    }
    // An error means that the worker has seen enough.
    let _ = worker.send(BodyPart::End).await;
    Ok(())
}

enum BodyPart {
    Bytes(Bytes),
    /// All have come. A channel closed without it was broken off.
    End,
}

/// The body as the worker reads it.
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

/// Hands on what earlier runs have not stored.
struct ChannelSink {
    made: mpsc::Sender<Made>,
    skip: Checkpoint,
    /// Rows of bad records so far.
    seen: u64,
}

impl Sink for ChannelSink {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        if packed.sequence < self.skip.blocks {
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
    OutOfTime,
    Fault(Fault),
}

struct Writer<'a, B, L> {
    job: &'a Job,
    blocks: &'a B,
    ledger: &'a L,
    schedule: Schedule,
    low_water: LowWater,
    quarantined: u64,
    batch: Vec<(u64, Block)>,
    batch_bytes: usize,
    in_flight_bytes: usize,
    bad: Vec<Quarantined>,
    /// Hours that the ledger knows of.
    noted: BTreeSet<i64>,
    written: Written,
}

/// The numbers and bytes of a request that was carried out.
struct Stored {
    sequences: Vec<u64>,
    bytes: usize,
}

impl<'a, B: BlockTable, L: Ledger> Writer<'a, B, L> {
    fn new(job: &'a Job, blocks: &'a B, ledger: &'a L, schedule: Schedule) -> Self {
        Self {
            job,
            blocks,
            ledger,
            schedule,
            low_water: LowWater::from(job.checkpoint.blocks),
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
        Checkpoint { blocks: self.low_water.mark(), quarantined: self.quarantined }
    }

    /// Writes what the worker makes, until it is done, the time is over or a write fails.
    async fn store(&mut self, mut made: mpsc::Receiver<Made>) -> Result<(), Halt> {
        let mut requests = FuturesUnordered::new();
        let mut time_is_over = std::pin::pin!(sleep_until(self.schedule.stop_at));
        let mut making = true;
        let halt = loop {
            if !making && self.batch.is_empty() && requests.is_empty() {
                break self.store_bad().await.err();
            }
            let room = requests.len() < MAX_REQUESTS && self.in_flight_bytes < MAX_IN_FLIGHT_BYTES;
            if room && self.batch_is_full(!making) {
                if let Err(halt) = self.note_hours().await {
                    break Some(halt);
                }
                requests.push(put(self.blocks, self.next_batch(), self.schedule.stop_at));
                continue;
            }
            tokio::select! {
                biased;
                () = &mut time_is_over => break Some(Halt::OutOfTime),
                Some(stored) = requests.next(), if !requests.is_empty() => match stored {
                    Ok(stored) => self.note(&stored),
                    Err(fault) => break Some(Halt::Fault(fault)),
                },
                next = made.recv(), if making && room => match next {
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
        // What has not settled by then counts as not stored; storing it again is no harm.
        while let Ok(Some(stored)) = timeout_at(settled_at, requests.next()).await {
            if let Ok(stored) = stored {
                self.note(&stored);
            }
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

    fn next_batch(&mut self) -> Vec<(u64, Block)> {
        self.in_flight_bytes += std::mem::take(&mut self.batch_bytes);
        std::mem::take(&mut self.batch)
    }

    fn note(&mut self, stored: &Stored) {
        self.in_flight_bytes -= stored.bytes;
        self.written.blocks += stored.sequences.len() as u64;
        stored.sequences.iter().for_each(|&sequence| self.low_water.done(sequence));
    }

    /// Tells the ledger of the batch's hours before any of its blocks is stored.
    async fn note_hours(&mut self) -> Result<(), Halt> {
        let hours = self.batch.iter().map(|(_, block)| hour_of_ms(block.header.last_ms));
        let new: BTreeSet<i64> = hours.filter(|hour| !self.noted.contains(hour)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (ledger, lease) = (self.ledger, &self.job.lease);
        retry::until(self.schedule.stop_at, || ledger.note_hours(lease, &new)).await.map_err(Halt::Fault)?;
        self.noted.extend(new);
        Ok(())
    }

    async fn store_bad(&mut self) -> Result<(), Halt> {
        if self.bad.is_empty() {
            return Ok(());
        }
        let (ledger, lease, bad) = (self.ledger, &self.job.lease, &self.bad);
        retry::until(self.schedule.stop_at, || ledger.quarantine(lease, bad)).await.map_err(Halt::Fault)?;
        self.quarantined += self.bad.len() as u64;
        self.written.quarantined += self.bad.len() as u64;
        self.bad.clear();
        Ok(())
    }
}

/// Stores a batch whole: what was not taken is repeated after a pause, and so is a call that failed
/// in passing. No attempt begins after `stop_at`.
async fn put<B: BlockTable>(table: &B, batch: Vec<(u64, Block)>, stop_at: Instant) -> Result<Stored, Fault> {
    let bytes = batch.iter().map(|(_, block)| block.data.len()).sum();
    let (sequences, mut left): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let mut backoff = Backoff::default();
    loop {
        let fault = match table.put(left.clone()).await {
            Ok(unprocessed) if unprocessed.is_empty() => return Ok(Stored { sequences, bytes }),
            Ok(unprocessed) => {
                left = unprocessed;
                Fault::new(FaultClass::RateLimited, "BatchWriteItem", "UnprocessedItems")
            }
            Err(fault) if fault.retryable() => fault,
            Err(fault) => return Err(fault),
        };
        backoff.pause(stop_at, fault).await?;
    }
}
