//! A few files on the simulated cloud, with functions run as Lambda would: events are delivered at least
//! once and retried twice, invocations die at their deadlines, the stream is repeated until all of it is
//! processed, sweep runs every five minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileStatus, Grant};
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::object::ObjectRef;
use logferry_core::ports::clock::Clock;
use logferry_sim::{SimClock, SimCloud, T0};
use logferry_sweep::due::{DueRows, Swept};
use logferry_sweep::missed::{Found, Missed};
use logferry_sweep::{Jobs, Sweep, Uploads};
use logferry_tests::ingest::{BUCKET, event, ingest};
use logferry_tests::stack::gzip;
use logferry_tests::stream::{self, inserted};
use logferry_tests::template::sweep_interval;
use serde_json::{Map, Value};
use tokio::time::Instant;

pub(super) const MINUTE_MS: i64 = 60_000;
pub(super) const INGEST_MS: i64 = 15 * MINUTE_MS;
const FLUSH_MS: i64 = 120_000;
const SWEEP_MS: i64 = 270_000;
/// Blocks in one batch of the stream.
const STREAM_BATCH: usize = 30;

/// The content of a file, according to a reference parser that shares no code with ours.
#[derive(Debug, Clone)]
struct Expected {
    object: ObjectRef,
    good: BTreeMap<u64, String>,
    bad: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) cloud: SimCloud,
    files: Vec<Expected>,
    /// Objects with an event.
    pub(super) events: Vec<ObjectRef>,
    /// How much of the stream is processed.
    streamed: usize,
}

/// Entries with the times that `at` gives for their numbers, and some bad ones.
fn entries(count: i64, at: impl Fn(i64) -> i64) -> Vec<String> {
    let line = |i: i64| match i % 17 {
        5 => "{broken".to_owned(),
        11 => format!("[{i}]"),
        _ => {
            let time = at(i);
            format!("{{\"level\":{},\"time\":{time},\"msg\":\"entry {i}\"}}", i % 6 * 10)
        }
    };
    (0..count).map(line).collect()
}

/// The part of sweep that handles due rows.
pub(crate) fn due_rows(cloud: &SimCloud, skew_ms: i64) -> DueRows<SimCloud, SimCloud, SimCloud, SimClock> {
    DueRows {
        backlog: cloud.clone(),
        objects: cloud.clone(),
        starter: cloud.clone(),
        clock: cloud.clock().skewed(skew_ms),
        bucket: BUCKET.to_owned(),
        metrics_namespace: "Test".to_owned(),
        interval: sweep_interval(),
    }
}

/// A run of sweep, until it ends or dies.
pub(super) async fn sweep(cloud: &SimCloud, skew_ms: i64) -> (Option<Swept>, Option<Found>) {
    let own = || cloud.clone();
    let clock = cloud.clock().skewed(skew_ms);
    let sweep = Sweep {
        files: due_rows(cloud, skew_ms),
        uploads: Uploads { sessions: own(), multipart: own(), clock: clock.clone() },
        jobs: Jobs {
            apps: own(),
            book: own(),
            files: own(),
            objects: own(),
            bucket: BUCKET.to_owned(),
            clock: clock.clone(),
        },
        missed: Missed {
            bucket: BUCKET.to_owned(),
            bookmarks: own(),
            listing: own(),
            backlog: own(),
            apps: own(),
            starter: own(),
            clock: clock.clone(),
            metrics_namespace: "Test".to_owned(),
        },
        clock: clock.clone(),
    };
    let report = sweep.run(clock.now_ms() + SWEEP_MS).await;
    (report.files.ok(), report.missed.ok())
}

impl World {
    /// Files of an app: one with an event, one with two events, two with lost events (one uploaded with a
    /// presigned URL, one without), and an unused URL.
    pub(super) async fn new() -> Self {
        let cloud = SimCloud::default();
        let _ = cloud.logs().clone().empty();
        cloud.clock().run();
        cloud.add_app("my-app");
        let mut world = Self { cloud, files: Vec::new(), events: Vec::new(), streamed: 0 };
        let presigned = "logs/my-app/2025/10/09/01JQR4X8V7N3K5M2P6T9W1Y0ZC-logs.gz";
        for key in [presigned, "logs/my-app/2025/10/09/01JQR4X8V7N3K5M2P6T9W1Y0ZD-unused.gz"] {
            let grant = Grant {
                bucket: BUCKET.to_owned(),
                key: key.to_owned(),
                app_id: "my-app".parse().unwrap(),
                meeting: None,
                size_bytes: None,
                registered_ms: T0 - 1000,
                used: None,
                created_ms: T0,
                expires_ms: T0 + 5 * MINUTE_MS,
            };
            world.cloud.grant(&grant).await.unwrap();
        }
        // 30 hours, with more blocks than a batch; one hour; more days than a transaction.
        let hours = entries(120, |i| T0 - (i + 1) * 15 * MINUTE_MS);
        let first = world.put("logs/my-app/first.gz", &hours, true);
        let second = world.put("logs/my-app/a b/+%ü", &entries(120, |i| T0 + i * 1000), false);
        let days = entries(110, |i| T0 - (i / 10) * 1440 * MINUTE_MS - i * 1000);
        world.put(presigned, &days, true);
        // Its event never comes, and its key was not issued.
        let late = entries(100, |i| T0 - i * 1000);
        world.put("logs/my-app/2025/10/09/01JQR4X8V7N3K5M2P6T9W1Y0ZE-unknown.gz", &late, true);
        world.events = vec![first, second.clone(), second];
        world
    }

    fn put(&mut self, key: &str, lines: &[String], packed: bool) -> ObjectRef {
        let text = lines.join("\n");
        let bytes = if packed { gzip(text.as_bytes()) } else { text.into_bytes() };
        let object = self.cloud.put_object(BUCKET, key, bytes);
        let mut expected = Expected { object: object.clone(), good: BTreeMap::new(), bad: BTreeSet::new() };
        for (ordinal, line) in (0..).zip(lines) {
            match serde_json::from_str::<Map<String, Value>>(line) {
                Ok(_) => drop(expected.good.insert(ordinal, line.clone())),
                Err(_) => drop(expected.bad.insert(ordinal)),
            }
        }
        self.files.push(expected);
        object
    }

    pub(super) fn objects(&self) -> Vec<ObjectRef> {
        self.files.iter().map(|file| file.object.clone()).collect()
    }

    /// Runs ingest once; `None` if it died.
    pub(super) async fn ingest(&self, object: &ObjectRef, time_ms: i64, skew_ms: i64) -> Option<bool> {
        let clock = self.cloud.clock();
        let deadline_ms = clock.now_ms() + time_ms;
        let app = ingest(&self.cloud, clock.skewed(skew_ms), IntakeLimits::default());
        let event = event(object);
        let handled = app.handle(&event, deadline_ms);
        let handled = tokio::time::timeout(Duration::from_millis(time_ms.unsigned_abs()), handled).await;
        handled.ok().map(|result| result.is_ok())
    }

    /// Delivers an event like Lambda: twice more if the function fails.
    pub(super) async fn deliver(&self, object: &ObjectRef, time_ms: i64, skew_ms: i64) {
        for attempt in 1..=3 {
            if self.ingest(object, time_ms, skew_ms).await == Some(true) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(attempt * 60)).await;
        }
    }

    /// Feeds the stream of the blocks' table to flush. Returns whether all of it was processed.
    pub(super) async fn flush(&mut self, attempts: usize) -> bool {
        for _ in 0..attempts {
            let stream = self.cloud.stream();
            let batch = &stream[self.streamed..stream.len().min(self.streamed + STREAM_BATCH)];
            if batch.is_empty() {
                return true;
            }
            let records = batch.iter().enumerate().map(|(i, block)| inserted(self.streamed + i, block, T0));
            let event = stream::event(&records.collect::<Vec<_>>());
            let flush = stream::flush(&self.cloud, self.cloud.clone());
            let handled = flush.handle(&event, self.cloud.clock().now_ms() + FLUSH_MS);
            // It died: everything is delivered again.
            let time = Duration::from_millis(FLUSH_MS.unsigned_abs());
            let Ok(handled) = tokio::time::timeout(time, handled).await else {
                continue;
            };
            let failed =
                handled.response.batch_item_failures.first().map(|item| item.item_identifier.clone());
            let through = match failed {
                None => batch.len(),
                Some(number) => {
                    event.records.iter().position(|record| record.dynamodb.sequence == number).unwrap()
                }
            };
            self.streamed += through;
        }
        self.streamed == self.cloud.stream().len()
    }

    /// Runs sweep, and the runs that it starts. Returns the results of its parts.
    pub(super) async fn sweep(&self, skew_ms: i64) -> (Option<Swept>, Option<Found>) {
        let done = sweep(&self.cloud, skew_ms).await;
        let started = self.cloud.take_started();
        let deliveries = started.iter().map(|object| self.deliver(object, INGEST_MS, skew_ms));
        futures::future::join_all(deliveries).await;
        done
    }

    /// Runs sweep at the template's interval until everything is finished. Returns the minutes it took.
    pub(super) async fn settle(&mut self, most_minutes: i64) -> i64 {
        let began_ms = self.cloud.clock().now_ms();
        let minutes = || (self.cloud.clock().now_ms() - began_ms) / MINUTE_MS;
        let mut schedule = tokio::time::interval_at(Instant::now() + sweep_interval(), sweep_interval());
        schedule.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !self.is_over() {
            let unused = self.cloud.unused_grants();
            let left = || format!("{:#?} {unused:#?}", self.cloud.rows());
            assert!(minutes() <= most_minutes, "not at an end after {} minutes: {}", minutes(), left());
            schedule.tick().await;
            self.sweep(0).await;
        }
        let minutes = minutes();
        assert!(self.flush(200).await, "flush does not get through");
        minutes
    }

    fn is_over(&self) -> bool {
        let rows = self.cloud.rows();
        let grants = self.cloud.unused_grants();
        rows.len() == self.files.len() && rows.iter().chain(&grants).all(|row| row.status.is_terminal())
    }

    /// Runs all functions in the usual order.
    pub(super) async fn run(&mut self, most_minutes: i64) -> i64 {
        for object in self.events.clone() {
            self.deliver(&object, INGEST_MS, 0).await;
        }
        self.flush(20).await;
        self.settle(most_minutes).await
    }

    /// Checks the guarantees that hold in the end, whatever happened.
    #[track_caller]
    pub(super) fn check(&self, what: &str) {
        let app_id = "my-app".parse().unwrap();
        let mut wanted = Vec::new();
        for file in &self.files {
            let source = format!("s3://{}/{}", file.object.bucket, file.object.key);
            wanted.extend(file.good.iter().map(|(ordinal, raw)| (source.clone(), *ordinal, raw.clone())));
            let bad: BTreeSet<_> =
                self.cloud.quarantined(&file.object).iter().map(|bad| bad.ordinal).collect();
            assert_eq!(bad, file.bad, "{what}: bad records of {source}");
        }
        wanted.sort();
        assert_eq!(self.cloud.records(&app_id), wanted, "{what}: records");
        for row in self.cloud.rows() {
            assert_eq!(row.status, FileStatus::Completed, "{what}: {row:?}");
            let file = self.files.iter().find(|file| Some(&file.object) == row.object.as_ref()).unwrap();
            let counts = (row.counts.ok as usize, row.counts.quarantined as usize);
            assert_eq!(counts, (file.good.len(), file.bad.len()), "{what}: {row:?}");
        }
        let unused: Vec<_> = self.cloud.unused_grants();
        let reasons: Vec<_> =
            unused.iter().map(|row| row.reason.as_ref().map(|reason| reason.code)).collect();
        assert_eq!(reasons, [Some(ReasonCode::NeverUploaded)], "{what}: {unused:?}");
        assert_eq!(self.cloud.counted_levels(&app_id), self.cloud.stored_days(&app_id), "{what}: counters");
        assert_eq!(self.cloud.blocks_modified(), 0, "{what}: blocks were replaced by others");
        self.check_logs(what, wanted.len());
    }

    /// Checks that every record was sent at least once, and that no more requests have duplicates than
    /// calls failed.
    #[track_caller]
    fn check_logs(&self, what: &str, records: usize) {
        let (mut seen, mut repeating) = (BTreeSet::new(), 0);
        for request in self.cloud.logs().accepted() {
            let id = |message: &str| {
                let line: Value = serde_json::from_str(message).unwrap();
                line["logId"].as_str().unwrap().to_owned()
            };
            let ids: Vec<_> = request.iter().map(|event| id(&event.message)).collect();
            repeating += u64::from(ids.into_iter().filter(|id| !seen.insert(id.clone())).count() > 0);
        }
        assert_eq!(seen.len(), records, "{what}: ids in CloudWatch");
        let hit = self.cloud.faults_hit();
        assert!(repeating <= hit, "{what}: {repeating} requests repeat events, {hit} calls failed");
    }
}
