//! A piece of work for each function, carried on until it is done as AWS would: events come again
//! after a failure, `sweep` comes round, the stream repeats what was not confirmed, a client repeats
//! its request. And what holds then, whatever went wrong on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use logferry_core::ledger::claim::{Claim, Ledger as _};
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileRow, FileStatus, Grant};
use logferry_core::logbook::blocks::BlockTable as _;
use logferry_core::logbook::records::{Records as _, Write};
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::model::block::{BlockBuilder, BlockSource, MAX_ITEM_DATA_BYTES};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::{Expiring, NEVER};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::ids::Seed;
use logferry_core::model::level::{Level, LevelCounts};
use logferry_core::model::object::ObjectRef;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_core::model::time::{Day, MS_PER_DAY, MS_PER_HOUR, rfc3339_ms};
use logferry_core::ports::app_admin::{AppAdmin as _, Job, JobKind};
use logferry_core::ports::clock::Clock as _;
use logferry_core::uploads::session::{Session, SessionStatus};
use logferry_core::uploads::table::{Multipart as _, OpenLimits, Sessions as _};
use logferry_service::clock::SystemClock;
use logferry_sweep::policy::UPLOAD_GRACE_MS;
use logferry_tests::stack::gzip;
use serde_json::{Value, json};

use super::relay::Planned;
use super::sandbox::{Harm, Ran, Registration, Sandbox, Stored};
use logferry_tests::process::Invoked;

/// Number of rounds without harm after which all work is finished.
const SWEEPS: usize = 3;

/// Deliveries of an event in total while the function fails, as configured in the template.
const DELIVERIES: usize = 3;

/// How large the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    /// One call of each kind, or little more.
    Small,
    /// Several requests of each kind, so that there is a middle.
    Large,
}

/// What became of the work.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// How often something went wrong.
    pub(super) fired: u32,
    /// The names of the calls of the first invocation.
    pub(super) calls: Vec<String>,
    /// What was planned and did not come about.
    pub(super) unfired: Vec<Planned>,
}

/// The harms that are left, one for each of the next invocations of a function.
#[derive(Debug)]
pub(super) struct Harms {
    function: &'static str,
    left: Vec<Harm>,
    /// Something is to go wrong.
    planned: bool,
    done: Done,
}

impl Harms {
    pub(super) fn new(function: &'static str, harms: impl IntoIterator<Item = Harm>) -> Self {
        let mut left: Vec<_> = harms.into_iter().collect();
        left.reverse();
        Self { function, planned: !left.is_empty(), left, done: Done::default() }
    }

    async fn invoke(&mut self, sandbox: &mut Sandbox, function: &'static str, event: &Value) -> Ran {
        let harm = if function == self.function { self.left.pop() } else { None };
        let mut ran = sandbox.invoke(function, event, harm).await;
        self.done.fired += ran.fired;
        if function == self.function && self.done.calls.is_empty() {
            self.done.calls = std::mem::take(&mut ran.calls);
        }
        ran
    }

    /// `sweep`, after the time has gone by that it waits for, and what it starts. Returns whether it
    /// got through, and the ledger after it.
    async fn sweep(&mut self, sandbox: &mut Sandbox) -> (bool, Vec<FileRow>) {
        sandbox.let_leases_end().await;
        let Ran { end, mut rows, .. } = self.invoke(sandbox, "sweep", &json!({})).await;
        for started in sandbox.relay.take_started() {
            rows = self.invoke(sandbox, "ingest", &started).await.rows;
        }
        (matches!(end, Invoked::Answered(_)), rows)
    }
}

/// Does a function's work under these harms, and checks what holds in the end.
pub(super) async fn work(sandbox: &mut Sandbox, size: Size, mut harms: Harms) -> Done {
    let registration = sandbox.register().await;
    match harms.function {
        "ingest" => ingest(sandbox, &registration, size, &mut harms).await,
        "flush" => flush(sandbox, &registration, size, &mut harms).await,
        "sweep" => sweep(sandbox, &registration, &mut harms).await,
        "api" => api(sandbox, &registration, size, &mut harms).await,
        other => panic!("no scene for {other}"),
    }
    harms.done.unfired = sandbox.end_of_harm();
    harms.done
}

/// The expected content of a file.
#[derive(Debug)]
struct File {
    object: ObjectRef,
    good: Vec<Stored>,
    bad: BTreeSet<u64>,
    days: BTreeMap<Day, LevelCounts>,
}

/// The start of an hour, this many hours ago.
fn hour_ms(hours_ago: i64) -> i64 {
    (SystemClock.now_ms() / MS_PER_HOUR - hours_ago) * MS_PER_HOUR
}

fn noise(length: usize, seed: u64) -> String {
    let mut state = seed;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(35 + ((state >> 33) % 56) as u8)
    };
    (0..length).map(next).collect()
}

/// A line, and its time and level unless it is a bad record.
type Line = (String, Option<(i64, Level)>);

/// NDJSON with some bad records, over this many hours.
fn ndjson(hours: i64, per_hour: i64, padding: usize) -> Vec<Line> {
    let line = |i: i64| {
        let (hour, second) = (i / per_hour, i % per_hour);
        let time = hour_ms(hours + 2 - hour) + second * 1000;
        match i % 97 {
            5 => ("{broken".to_owned(), None),
            11 => (format!("[{i}]"), None),
            _ => {
                let pino = i % 6 * 10 + 10;
                let pad = noise(padding, i.unsigned_abs());
                let text = format!("{{\"level\":{pino},\"time\":{time},\"msg\":\"entry {i} {pad}\"}}");
                (text, Some((time, Level::from_pino(pino as f64))))
            }
        }
    };
    (0..hours * per_hour).map(line).collect()
}

/// What the browser's worker writes.
fn worker_text(lines: i64) -> Vec<Line> {
    let line = |i: i64| {
        let (time, level) = (hour_ms(3) + i * 10, Level::ALL[usize::try_from(i % 4).unwrap()]);
        (format!("{} [{level}] line {i}", rfc3339_ms(time)), Some((time, level)))
    };
    (0..lines).map(line).collect()
}

async fn put(sandbox: &Sandbox, key: &str, lines: &[Line], packed: bool) -> File {
    let mut text = String::new();
    for (line, _) in lines {
        writeln!(text, "{line}").unwrap();
    }
    let body = if packed { gzip(text.as_bytes()) } else { text.into_bytes() };
    let object = sandbox.put(key, body).await;
    let source = format!("s3://{}/{}", object.bucket, object.key);
    let mut file = File { object, good: Vec::new(), bad: BTreeSet::new(), days: BTreeMap::new() };
    for (ordinal, (line, good)) in (0..).zip(lines) {
        match good {
            Some((time, level)) => {
                file.good.push((source.clone(), ordinal, line.clone()));
                file.days.entry(Day::of_ms(*time)).or_default().count(*level);
            }
            None => drop(file.bad.insert(ordinal)),
        }
    }
    file
}

fn s3_event(files: &[File]) -> Value {
    let record = |file: &File| {
        json!({"eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
               "s3": {"bucket": {"name": file.object.bucket},
                      "object": {"key": file.object.key, "versionId": file.object.version.as_str()}}})
    };
    json!({"Records": files.iter().map(record).collect::<Vec<_>>()})
}

fn row_of<'a>(rows: &'a [FileRow], file: &File) -> Option<&'a FileRow> {
    rows.iter().find(|row| row.object.as_ref() == Some(&file.object))
}

fn over(rows: &[FileRow], files: &[File]) -> bool {
    files.iter().all(|file| row_of(rows, file).is_some_and(|row| row.status.is_terminal()))
}

async fn ingest(sandbox: &mut Sandbox, registration: &Registration, size: Size, harms: &mut Harms) {
    let app_id = &registration.app.app_id;
    let key = |name: &str| format!("logs/{app_id}/{name}");
    let files = match size {
        Size::Small => vec![put(sandbox, &key("small.gz"), &ndjson(3, 20, 0), true).await],
        Size::Large => vec![
            put(sandbox, &key("hours.ndjson.gz"), &ndjson(80, 40, 300), true).await,
            put(sandbox, &key("worker.log"), &worker_text(300), false).await,
            put(sandbox, &key("small.gz"), &ndjson(3, 20, 0), true).await,
        ],
    };
    let event = s3_event(&files);
    let mut rows = Vec::new();
    for _ in 0..DELIVERIES {
        let ran = harms.invoke(sandbox, "ingest", &event).await;
        for file in &files {
            // Its worker is dead or has given up, and its lease lives.
            if let Some(held) = row_of(&rows, file).filter(|row| row.status == FileStatus::Processing) {
                // A claim raises the fence; what the dead worker had asked for may still be carried out.
                let fence = row_of(&ran.rows, file).map(|row| row.fence);
                assert_eq!(fence, Some(held.fence), "a lease that lives was not respected");
            }
        }
        rows = ran.rows;
        if matches!(ran.end, Invoked::Answered(_)) {
            break;
        }
    }
    let rows = sweep_until_over(sandbox, &files, rows, harms).await;
    check_files(sandbox, registration, &files, &rows).await;
    if size == Size::Large {
        forward(sandbox, registration, &mut Harms::new("flush", [])).await;
    }
}

/// Sweeps and what they start, until all files are at their end.
async fn sweep_until_over(
    sandbox: &mut Sandbox,
    files: &[File],
    mut rows: Vec<FileRow>,
    harms: &mut Harms,
) -> Vec<FileRow> {
    let mut calm = 0;
    while !over(&rows, files) {
        assert!(calm < SWEEPS, "not at an end after {SWEEPS} sweeps: {rows:#?}");
        let fired = harms.done.fired;
        (_, rows) = harms.sweep(sandbox).await;
        calm += usize::from(harms.left.is_empty() && harms.done.fired == fired);
    }
    rows
}

async fn check_files(sandbox: &Sandbox, registration: &Registration, files: &[File], rows: &[FileRow]) {
    let app_id = &registration.app.app_id;
    let (mut records, mut days) = (Vec::new(), BTreeMap::<Day, LevelCounts>::new());
    for file in files {
        let row = row_of(rows, file).unwrap();
        assert_eq!(row.status, FileStatus::Completed, "{row:?}");
        let counts = (row.counts.ok as usize, row.counts.quarantined as usize);
        assert_eq!(counts, (file.good.len(), file.bad.len()), "{row:?}");
        let bad: BTreeSet<_> = sandbox.quarantined(&file.object).await.into_keys().collect();
        assert_eq!(bad, file.bad, "bad records of {}", file.object.key);
        records.extend(file.good.iter().cloned());
        for (day, levels) in &file.days {
            *days.entry(*day).or_default() += *levels;
        }
    }
    records.sort();
    let (stored, stored_days) = sandbox.stored(app_id).await;
    assert!(stored == records, "{} records stored, {} wanted", stored.len(), records.len());
    assert_eq!(stored_days, days, "levels in blocks");
    assert_eq!(sandbox.counted(app_id).await, days, "counters");
}

/// Blocks of one hour: one record after the other, and one that is too long for an item.
async fn flush(sandbox: &mut Sandbox, registration: &Registration, size: Size, harms: &mut Harms) {
    let app = &registration.app;
    let (per_hour, long) = match size {
        Size::Small => (5, MAX_ITEM_DATA_BYTES * 7 / 5),
        Size::Large => (60, 1_000_000),
    };
    let entries: Vec<String> = (0..per_hour).map(|n| format!("{{\"msg\":\"{n}\"}}")).collect();
    let long = [format!("{{\"msg\":\"{}\"}}", noise(long, 7))];
    let seed = Seed::of(&[app.app_id.as_str().as_bytes()]);
    let mut blocks = Vec::new();
    for (hour, entries) in [(1, &entries[..]), (2, &long[..]), (3, &entries[..]), (30, &entries[..])] {
        let mut builder = BlockBuilder::default();
        for (number, raw) in (0i64..).zip(entries) {
            builder.push(&Entry {
                ordinal: (hour * 1000 + number).unsigned_abs(),
                timestamp_ms: hour_ms(hour) + number,
                level: Level::Info,
                kind: EntryKind::Json,
                timestamp_fallback: false,
                marks: Marks::NONE,
                raw,
            });
        }
        let source = BlockSource {
            app_id: &app.app_id,
            seed: &seed,
            format: "ndjson",
            source: "test",
            registered_ms: app.registered_ms,
            expires_at_secs: None,
        };
        blocks.extend(builder.build(&source).unwrap());
    }
    assert_eq!(sandbox.blocks().put(blocks).await.unwrap(), []);
    forward(sandbox, registration, harms).await;
}

/// Returns the number of partitions in a stream event.
fn lanes(event: &Value) -> u32 {
    let records = event["Records"].as_array().unwrap();
    let keys: BTreeSet<_> =
        records.iter().map(|record| record["dynamodb"]["Keys"]["pk"]["S"].as_str()).collect();
    u32::try_from(keys.len()).unwrap()
}

/// Feeds the stream to flush until all of it is processed, and checks CloudWatch Logs.
async fn forward(sandbox: &mut Sandbox, registration: &Registration, harms: &mut Harms) {
    let app_id = &registration.app.app_id;
    let sent_before = sandbox.relay.sent().len();
    let mut event = sandbox.stream_event(app_id).await;
    let (mut calm, mut requests_of_dead) = (0, 0);
    loop {
        assert!(calm < SWEEPS, "flush does not get through: {}", sandbox.output("flush"));
        calm += usize::from(harms.left.is_empty());
        match harms.invoke(sandbox, "flush", &event).await.end {
            Invoked::Answered(answer) => {
                let failed = answer["batchItemFailures"].as_array().unwrap();
                let Some(failed) = failed.first() else { break };
                let records = event["Records"].as_array_mut().unwrap();
                let number = &failed["itemIdentifier"];
                let at = records.iter().position(|record| record["dynamodb"]["SequenceNumber"] == *number);
                records.drain(..at.unwrap());
            }
            Invoked::Failed(_) => {}
            // A request of each lane that was running.
            Invoked::Died => requests_of_dead += lanes(&event),
        }
    }
    let ids = sandbox.ids(app_id).await;
    assert_eq!(sandbox.forwarded(app_id).await, ids, "ids in CloudWatch Logs");
    // A retention that could not be set keeps nothing waiting; the next day's log stream sets it.
    let days = sandbox.retention_days(app_id).await;
    let is_set = days == Some(sandbox.deployed_retention_days());
    assert!(is_set || (days.is_none() && harms.planned), "{days:?}");
    let (mut seen, mut repeating) = (BTreeSet::new(), 0);
    for request in &sandbox.relay.sent()[sent_before..] {
        let repeats = request.iter().filter(|message| !seen.insert((*message).clone())).count();
        repeating += u32::from(repeats > 0);
    }
    let most = harms.done.fired.max(requests_of_dead);
    assert!(repeating <= most, "{repeating} requests repeat events after {most} failures");
}

/// A dead worker, an upload with a lost event, an unused URL, and an overdue upload session and removal.
async fn sweep(sandbox: &mut Sandbox, registration: &Registration, harms: &mut Harms) {
    let app_id = &registration.app.app_id;
    let now_ms = SystemClock.now_ms();
    let lines = ndjson(2, 20, 0);
    let stuck = put(sandbox, &format!("logs/{app_id}/stuck"), &lines, true).await;
    let claim = Claim {
        object: stuck.object.clone(),
        app_id: Some(app_id.clone()),
        granted: false,
        etag: None,
        size_bytes: 1,
        packing: PackFingerprint::default(),
        claim_id: "dead".to_owned(),
        now_ms: now_ms - 120_000,
        lease_until_ms: now_ms - 60_000,
    };
    sandbox.ledger().claim(&claim).await.unwrap();
    let key = |name: &str| {
        let ulid = ulid::Ulid::generate();
        format!("logs/{app_id}/{}/{ulid}-{name}", Day::of_ms(now_ms).to_string().replace('-', "/"))
    };
    let (lost_key, unused_key) = (key("lost.gz"), key("unused.gz"));
    for (key, expired_ago_ms) in [(&lost_key, 60_000), (&unused_key, UPLOAD_GRACE_MS + 1_000)] {
        let expires_ms = now_ms - expired_ago_ms;
        let grant = Grant {
            bucket: sandbox.bucket.clone(),
            key: key.clone(),
            app_id: app_id.clone(),
            meeting: None,
            size_bytes: None,
            registered_ms: registration.app.registered_ms,
            used: None,
            created_ms: expires_ms - 300_000,
            expires_ms,
        };
        sandbox.ledger().grant(&grant).await.unwrap();
    }
    let lost = put(sandbox, &lost_key, &lines, true).await;
    let session = overdue_session(sandbox, registration, now_ms).await;
    let removed = overdue_removal(sandbox, registration, now_ms).await;

    let files = [stuck, lost];
    let mut calm = 0;
    let rows = loop {
        let fired = harms.done.fired;
        let (through, rows) = harms.sweep(sandbox).await;
        let unused = rows.iter().find(|row| row.key == unused_key);
        let ended = over(&rows, &files) && unused.is_some_and(|row| row.status.is_terminal());
        let left = harms.left.is_empty() && !sandbox.has_counted(app_id, removed).await;
        let found = sandbox.sessions().find(app_id, &session.upload_id).await.unwrap().unwrap();
        if through && ended && left && found.status == SessionStatus::Aborted {
            break rows;
        }
        assert!(calm < SWEEPS, "not at an end after {SWEEPS} sweeps: {rows:#?}\n{found:#?}");
        // The calls that fail may all be of one part, one in each sweep.
        calm += usize::from(harms.left.is_empty() && harms.done.fired == fired);
    };
    let unused = rows.iter().find(|row| row.key == unused_key).unwrap();
    assert_eq!(unused.reason.as_ref().map(|reason| reason.code), Some(ReasonCode::NeverUploaded));
    let parts = sandbox.multipart().parts(&session.key, &session.upload_id).await;
    assert!(parts.is_err(), "the parts are freed");
    // No old record is left, and all others exist once.
    check_files(sandbox, registration, &files, &rows).await;
}

async fn overdue_session(sandbox: &Sandbox, registration: &Registration, now_ms: i64) -> Session {
    let app_id = registration.app.app_id.clone();
    let key = format!("uploads/{app_id}/jo/{}/film.mp4", ulid::Ulid::generate());
    let upload_id = sandbox.multipart().create(&key, "video/mp4", &[]).await.unwrap();
    let session = Session {
        upload_id,
        app_id,
        registered_ms: registration.app.registered_ms,
        subject: "jo".parse().unwrap(),
        bucket: sandbox.bucket.clone(),
        key,
        filename: "film.mp4".to_owned(),
        content_type: "video/mp4".to_owned(),
        size_bytes: None,
        max_bytes: 1000,
        status: SessionStatus::Open,
        created_ms: now_ms - MS_PER_DAY,
        expires_ms: now_ms - 1000,
    };
    let limits = OpenLimits { per_app: 9, per_subject: 9 };
    sandbox.sessions().open(&session, limits).await.unwrap();
    session
}

/// Stores records of ten days ago, and the job to remove them. Returns their day.
async fn overdue_removal(sandbox: &Sandbox, registration: &Registration, now_ms: i64) -> Day {
    let app = &registration.app;
    let old_ms = hour_ms(240);
    let mut builder = BlockBuilder::default();
    builder.push(&Entry {
        ordinal: 0,
        timestamp_ms: old_ms,
        level: Level::Info,
        kind: EntryKind::Json,
        timestamp_fallback: false,
        marks: Marks::NONE,
        raw: "{\"msg\":\"old\"}",
    });
    let source = BlockSource {
        app_id: &app.app_id,
        seed: &Seed::of(&[b"old", app.app_id.as_str().as_bytes()]),
        format: "api",
        source: "api",
        registered_ms: app.registered_ms,
        expires_at_secs: None,
    };
    let write = Write {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        blocks: builder.build(&source).unwrap(),
        days: BTreeMap::from([(
            Day::of_ms(old_ms),
            Expiring::one(NEVER, DayCounts { levels: LevelCounts::new(0, 1, 0, 0), bytes: 13 }),
        )]),
        counter: 0,
        memo: None,
    };
    sandbox.book().write(&write).await.unwrap();
    let job = Job {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        kind: JobKind::Prune,
        before_ms: now_ms - 7 * MS_PER_DAY,
        future_bound_ms: None,
        due_ms: now_ms - 1000,
        deleted: 0,
        last_pass: false,
    };
    assert_eq!(sandbox.apps().prune(&job).await.unwrap().as_ref(), Some(&job));
    Day::of_ms(old_ms)
}

/// Sends a batch with an idempotency key until the client has a response, and once more.
async fn api(sandbox: &mut Sandbox, registration: &Registration, size: Size, harms: &mut Harms) {
    let app_id = &registration.app.app_id;
    let (hours, per_hour) = if size == Size::Small { (2, 3) } else { (72, 4) };
    let entry = |i: i64| {
        let at = rfc3339_ms(hour_ms(i / per_hour + 1) + i);
        json!({"level": Level::ALL[usize::try_from(i % 4).unwrap()], "message": format!("entry {i}"), "timestamp": at})
    };
    let entries: Vec<_> = (0..hours * per_hour).map(entry).collect();
    let event = post_logs(registration, &json!({"logs": entries}));
    let mut calm = 0;
    let answer = loop {
        assert!(calm < SWEEPS, "no answer: {}", sandbox.output("api"));
        calm += usize::from(harms.left.is_empty());
        match harms.invoke(sandbox, "api", &event).await.end {
            Invoked::Answered(answer) if answer["statusCode"] == 200 => break answer,
            Invoked::Answered(answer) => {
                let status = answer["statusCode"].as_u64().unwrap();
                assert!(status == 429 || status >= 500, "it may not be repeated: {answer}");
            }
            Invoked::Failed(_) | Invoked::Died => {}
        }
    };
    let again = harms.invoke(sandbox, "api", &event).await.end;
    let Invoked::Answered(again) = again else { panic!("{again:?}") };
    assert_eq!(again["body"], answer["body"]);
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let answered: BTreeSet<_> = body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["id"].as_str().unwrap().to_owned())
        .collect();
    let (stored, days) = sandbox.stored(app_id).await;
    assert_eq!((stored.len(), answered.len()), (entries.len(), entries.len()));
    assert_eq!(sandbox.ids(app_id).await, answered);
    assert_eq!(sandbox.counted(app_id).await, days);
}

fn post_logs(registration: &Registration, body: &Value) -> Value {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/api/post-logs.json");
    let mut event: Value = serde_json::from_slice(&std::fs::read(sample).unwrap()).unwrap();
    event["headers"]["x-api-key"] = registration.api_key.as_str().into();
    event["headers"]["idempotency-key"] = ulid::Ulid::generate().to_string().into();
    event["body"] = body.to_string().into();
    event
}
