//! The pipeline of the `ingest` function between an object in memory or on disk and a table that accepts
//! everything: its threads, channels and batches, without a network.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::Lease;
use logferry_core::logfile::fingerprint::fingerprint;
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_core::model::redact::Redactor;
use logferry_core::ports::objects::ByteStream;
use logferry_corpus::ARRIVED_MS;
use logferry_ingest::Ending;
use logferry_ingest::pipeline::{self, Job, Schedule};
use tokio::time::Instant;

use crate::accepting::Accepting;
use crate::race::Failure;

/// Bytes of a body's chunk, as hyper hands them over.
const CHUNK_BYTES: usize = 64 * 1024;
/// More than any run takes.
const LONG: Duration = Duration::from_secs(3_600);

/// The bytes of an object.
pub(crate) struct Object(Bytes);

impl Object {
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    fn body(&self) -> ByteStream {
        let whole = self.0.clone();
        let starts = (0..whole.len()).step_by(CHUNK_BYTES);
        let chunks: Vec<Bytes> =
            starts.map(|start| whole.slice(start..whole.len().min(start + CHUNK_BYTES))).collect();
        stream::iter(chunks.into_iter().map(Ok)).boxed()
    }
}

/// A stream of a file, which does not hold it in memory.
fn file_body(file: File) -> ByteStream {
    stream::unfold(file, |mut file| async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        match file.read(&mut chunk) {
            Ok(0) => None,
            Ok(count) => {
                chunk.truncate(count);
                Some((Ok(Bytes::from(chunk)), file))
            }
            Err(error) => {
                let fault = Fault::new(FaultClass::Permanent, "read", "file").with_source(error);
                Some((Err(fault), file))
            }
        }
    })
    .boxed()
}

pub(crate) fn app() -> Result<App, Failure> {
    Ok(App::new("bench".parse()?, "bench", 1))
}

fn job(size_bytes: u64, redactor: &Redactor) -> Result<Job, Failure> {
    let object = ObjectRef {
        bucket: "bench".to_owned(),
        key: "logs/bench/pino.ndjson.gz".to_owned(),
        version: ObjectVersion::Id("1".to_owned()),
    };
    let limits = IntakeLimits::default();
    let app = app()?;
    Ok(Job {
        lease: Lease {
            object: object.clone(),
            app_id: Some(app.app_id.clone()),
            registered_ms: app.registered_ms,
            pruned_before_ms: None,
            fence: 1,
            claimed_ms: ARRIVED_MS,
            checkpoint: Checkpoint::default(),
        },
        packing: fingerprint(&limits, redactor, app.registered_ms, 30),
        object,
        app,
        meta: ObjectMeta { size_bytes, last_modified_ms: ARRIVED_MS, etag: "e".to_owned(), version_id: None },
        limits,
        redactor: Arc::new(redactor.clone().into()),
        retention_days: 30,
        checkpoint: Checkpoint::default(),
    })
}

fn ingest(body: ByteStream, size_bytes: u64, redactor: &Redactor) -> Result<Outcome, Failure> {
    let job = job(size_bytes, redactor)?;
    // As `#[tokio::main]` in the function.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let schedule = Schedule { stop_at: Instant::now() + LONG, settle: LONG };
        match pipeline::run(body, &job, &Accepting, &Accepting, schedule).await.0 {
            Ending::Read(outcome, _) => Ok(outcome),
            Ending::Refused(outcome) => Err(format!("the object is refused: {:?}", outcome.reason).into()),
            Ending::Stopped { fault, .. } => Err(format!("the pipeline stopped: {fault:?}").into()),
        }
    })
}

/// Ingests an object in memory.
pub(crate) fn run(object: &Object, redactor: &Redactor) -> Result<Outcome, Failure> {
    ingest(object.body(), object.0.len() as u64, redactor)
}

/// Ingests a file.
pub(crate) fn run_file(path: &Path, redactor: &Redactor) -> Result<Outcome, Failure> {
    let file = File::open(path)?;
    let size_bytes = file.metadata()?.len();
    ingest(file_body(file), size_bytes, redactor)
}
