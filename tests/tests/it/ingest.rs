//! Ingest on the simulated cloud: exactly once, whatever fails around it.

use std::time::Duration;

use logferry_core::ledger::files::Files;
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileStatus, Grant};
use logferry_core::logbook::redrive;
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::block::Payload;
use logferry_core::model::expiry;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::ports::app_admin::RedriveJob;
use logferry_core::ports::clock::Clock;
use logferry_ingest::Ingested;
use logferry_ingest::subscription::data_of;
use logferry_sim::{How, SimCloud, T0};
use logferry_sweep::Part;
use logferry_tests::in_a_minute;
use logferry_tests::ingest::{BUCKET, SimIngest, event, ingest};
use logferry_tests::stack::gzip;
use serde_json::{Value, json};

use crate::faults::world::due_rows;

const MINUTE_MS: i64 = 60_000;

pub(crate) fn function(cloud: &SimCloud) -> SimIngest {
    ingest(cloud, cloud.clock(), IntakeLimits::default())
}

/// Returns a deadline a minute from now.
pub(crate) fn deadline(cloud: &SimCloud) -> i64 {
    cloud.clock().now_ms() + MINUTE_MS
}

/// Entries over many hours up to now, a minute apart, some of them bad: many blocks.
fn lines(count: i64) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut good = Vec::new();
    for i in 0..count {
        if i % 50 == 7 {
            text.push_str("{broken\n");
            continue;
        }
        let line = format!(
            "{{\"level\":{},\"time\":{},\"msg\":\"entry {i}\"}}",
            i % 6 * 10,
            T0 - (count - i) * MINUTE_MS
        );
        text.push_str(&line);
        text.push('\n');
        good.push(line);
    }
    (text, good)
}

/// Checks what holds in the end: each valid record is stored once, and the counters equal them.
#[track_caller]
fn check_stored(cloud: &SimCloud, good: &[String]) {
    let app_id = "my-app".parse().unwrap();
    let stored: Vec<_> = cloud.records(&app_id).into_iter().map(|(.., raw)| raw).collect();
    assert_eq!(stored, good);
    let counted: i64 = cloud.counted_days(&app_id, T0 - 1000).values().sum();
    assert_eq!(counted, i64::try_from(good.len()).unwrap());
}

pub(crate) fn cloud() -> SimCloud {
    let cloud = SimCloud::default();
    cloud.add_app("my-app");
    cloud
}

pub(crate) async fn run(cloud: &SimCloud, object: &ObjectRef) -> Ingested {
    function(cloud).handle(&event(object), deadline(cloud)).await.unwrap().remove(0)
}

fn grant(key: &str, app_id: &str) -> Grant {
    Grant {
        bucket: BUCKET.to_owned(),
        key: key.to_owned(),
        app_id: app_id.parse().unwrap(),
        meeting: None,
        size_bytes: None,
        registered_ms: T0 - 1000,
        used: None,
        created_ms: T0,
        expires_ms: T0 + 300_000,
    }
}

fn failed(ingested: &Ingested) -> Option<ReasonCode> {
    match ingested {
        Ingested::Failed { reason, .. } => Some(reason.code),
        _ => None,
    }
}

#[tokio::test]
async fn a_file_is_stored_whole_with_its_bad_records_and_counters() {
    let cloud = cloud();
    let (text, good) = lines(2000);
    let object = cloud.put_object(BUCKET, "logs/my-app/a b/+%ü.gz", gzip(text.as_bytes()));
    let Ingested::Completed { counts } = run(&cloud, &object).await else { panic!() };
    assert_eq!((counts.ok, counts.quarantined, counts.bytes), (1960, 40, text.len() as u64));
    check_stored(&cloud, &good);
    let bad = cloud.quarantined(&object);
    assert_eq!(bad.len(), 40);
    assert_eq!((bad[0].ordinal, bad[0].sample.as_str()), (7, "{broken"));
    assert_eq!(&text[bad[0].start as usize..bad[0].end as usize], "{broken");
    let row = &cloud.rows()[0];
    assert_eq!((row.status, row.due_at_ms, row.counts), (FileStatus::Completed, None, counts));
    assert!(
        cloud.stream().iter().all(|block| block.header.source == "s3://logs-bucket/logs/my-app/a b/+%ü.gz")
    );
}

#[tokio::test]
async fn the_same_event_again_changes_nothing() {
    let cloud = cloud();
    let (text, good) = lines(500);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    run(&cloud, &object).await;
    let (rows, stream) = (cloud.rows(), cloud.stream());
    for _ in 0..3 {
        assert_eq!(run(&cloud, &object).await, Ingested::Duplicate);
    }
    assert_eq!((cloud.rows(), cloud.stream()), (rows, stream));
    check_stored(&cloud, &good);
}

#[tokio::test]
async fn of_many_events_at_once_one_does_the_work() {
    let cloud = cloud();
    let (text, good) = lines(500);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    let results = futures::future::join_all((0..5).map(|_| run(&cloud, &object))).await;
    assert_eq!(results.iter().filter(|&result| matches!(result, Ingested::Completed { .. })).count(), 1);
    assert_eq!(results.iter().filter(|&result| *result == Ingested::Duplicate).count(), 4);
    check_stored(&cloud, &good);
    assert_eq!(cloud.rows()[0].fence, 1);
}

#[tokio::test]
async fn a_new_version_of_a_key_is_another_file() {
    let cloud = cloud();
    let first = cloud.put_object(BUCKET, "logs/my-app/x", "{\"a\":1}");
    let second = cloud.put_object(BUCKET, "logs/my-app/x", "{\"a\":2}");
    for object in [&second, &first] {
        assert!(matches!(run(&cloud, object).await, Ingested::Completed { .. }));
    }
    assert_eq!(cloud.records(&"my-app".parse().unwrap()).len(), 2);
}

#[tokio::test]
async fn blocks_that_are_not_taken_are_offered_again() {
    let cloud = cloud();
    cloud.leave_unprocessed(3);
    let (text, good) = lines(3000);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    assert!(matches!(run(&cloud, &object).await, Ingested::Completed { .. }));
    check_stored(&cloud, &good);
}

/// Runs until the file is in a terminal state, as Lambda's retries and `sweep` would.
async fn run_to_the_end(cloud: &SimCloud, object: &ObjectRef) {
    for _ in 0..5 {
        let _ = function(cloud).handle(&event(object), deadline(cloud)).await;
        if cloud.rows().first().is_some_and(|row| row.status.is_terminal()) {
            return;
        }
        cloud.clock().advance_ms(10 * MINUTE_MS);
    }
    panic!("not at its end: {:?}", cloud.rows());
}

#[tokio::test(start_paused = true)]
async fn whichever_call_fails_each_record_is_stored_once() {
    let (text, good) = lines(400);
    let file = gzip(text.as_bytes());
    let calls = {
        let cloud = cloud();
        let object = cloud.put_object(BUCKET, "logs/my-app/x", file.clone());
        run(&cloud, &object).await;
        cloud.calls()
    };
    assert!(calls >= 6);
    for call in 0..calls {
        for class in [FaultClass::Transient, FaultClass::Timeout, FaultClass::RateLimited, FaultClass::Denied]
        {
            for how in [How::Before(class), How::ReplyLost(class)] {
                let cloud = cloud();
                let object = cloud.put_object(BUCKET, "logs/my-app/x", file.clone());
                cloud.fail_call(call, how);
                run_to_the_end(&cloud, &object).await;
                assert_eq!(cloud.rows()[0].status, FileStatus::Completed);
                check_stored(&cloud, &good);
                assert_eq!(cloud.quarantined(&object).len(), 8);
            }
        }
    }
}

#[tokio::test]
async fn a_broken_connection_is_not_a_truncated_file() {
    let cloud = cloud();
    let (text, good) = lines(500);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", gzip(text.as_bytes()));
    cloud.break_body(&object, 1000);
    let fault = function(&cloud).handle(&event(&object), deadline(&cloud)).await.unwrap_err();
    assert!(fault.retryable());
    assert_eq!(cloud.rows()[0].status, FileStatus::Pending);
    assert!(matches!(run(&cloud, &object).await, Ingested::Completed { .. }));
    check_stored(&cloud, &good);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_changes_nothing() {
    let cloud = cloud();
    let (text, good) = lines(300);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    // With its response lost, the first worker's claim holds and no worker runs.
    cloud.fail_call(3, How::ReplyLost(FaultClass::Denied));
    function(&cloud).handle(&event(&object), deadline(&cloud)).await.unwrap_err();
    assert_eq!(run(&cloud, &object).await, Ingested::Duplicate, "the lease lives");
    cloud.clock().advance_ms(MINUTE_MS + 30_001);
    assert!(matches!(run(&cloud, &object).await, Ingested::Completed { .. }));
    assert_eq!(cloud.rows()[0].fence, 2);
    check_stored(&cloud, &good);
}

#[tokio::test]
async fn damaged_files_are_failed_with_a_code_and_keep_what_was_good() {
    let cloud = cloud();
    let (text, good) = lines(2000);
    let file = gzip(text.as_bytes());
    let object = cloud.put_object(BUCKET, "logs/my-app/x.gz", file[..file.len() / 2].to_vec());
    assert_eq!(failed(&run(&cloud, &object).await), Some(ReasonCode::GzipTruncated));
    let row = &cloud.rows()[0];
    assert!(row.counts.ok > 100);
    check_stored(&cloud, &good[..usize::try_from(row.counts.ok).unwrap()]);
}

#[tokio::test]
async fn files_without_records_are_completed() {
    let cloud = cloud();
    for (name, bytes) in
        [("empty", ""), ("blank", " \n\n"), ("array", "[]"), ("envelope", "{\"Records\":[]}")]
    {
        let object = cloud.put_object(BUCKET, &format!("logs/my-app/{name}"), bytes);
        let Ingested::Completed { counts } = run(&cloud, &object).await else { panic!("{name}") };
        assert_eq!((counts.ok, counts.quarantined), (0, 0), "{name}");
    }
    check_stored(&cloud, &[]);
}

#[tokio::test]
async fn a_bad_message_of_a_batch_is_reported_and_the_others_are_ingested() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", "{\"a\":1}\n");
    let message = |id: &str, body: String| json!({"messageId": id, "body": body});
    let batch = json!({"Records": [
        message("1", "garbage".to_owned()),
        message("2", event(&object).to_string()),
        message("3", json!({"Event": "s3:TestEvent"}).to_string()),
    ]});
    let answer = function(&cloud).answer(&batch, deadline(&cloud)).await.unwrap();
    assert!(matches!(answer.ended[..], [Ingested::Completed { .. }]), "{answer:?}");
    assert_eq!(json!(answer), json!({"batchItemFailures": [{"itemIdentifier": "1"}]}));
    check_stored(&cloud, &["{\"a\":1}".to_owned()]);
}

#[tokio::test]
async fn files_of_which_nothing_can_be_stored_are_failed_and_the_ledger_says_why() {
    let cloud = cloud();
    for (name, bytes, code, quarantined) in [
        ("zip", b"PK\x03\x04".as_slice(), ReasonCode::NotALog, 0),
        ("noise", b"\xfe\xfe\n\xfd\xfd\n", ReasonCode::NothingReadable, 2),
    ] {
        let object = cloud.put_object(BUCKET, &format!("logs/my-app/{name}"), bytes.to_vec());
        let Ingested::Failed { reason, counts } = run(&cloud, &object).await else { panic!("{name}") };
        assert_eq!((reason.code, counts.ok, counts.quarantined), (code, 0, quarantined), "{name}");
    }
    check_stored(&cloud, &[]);
}

#[tokio::test]
async fn an_object_that_may_not_be_ingested_is_failed_without_being_read() {
    let cloud = cloud();
    let large = vec![b'x'; 1_000_001];
    let chime = "chime-client-logs/us-east-1/123456789012/m/a/x.gz";
    for (key, granted_to, size, code) in [
        ("logs/unknown/x", None, 1, ReasonCode::NoOwner),
        ("logs/Bad_App/x", None, 1, ReasonCode::BadKey),
        (chime, None, 1, ReasonCode::NoOwner),
        ("chime-client-logs/us-east-1/123456789012/m/b/x.gz", Some("deleted-app"), 1, ReasonCode::NoOwner),
        (
            "chime-client-logs/us-east-1/123456789012/m/c/x.gz",
            Some("my-app"),
            1_000_001,
            ReasonCode::TooLarge,
        ),
        ("logs/my-app/2025/x.gz", Some("my-app"), 1_000_001, ReasonCode::TooLarge),
    ] {
        if let Some(app_id) = granted_to {
            cloud.grant(&grant(key, app_id)).await.unwrap();
        }
        let object = cloud.put_object(BUCKET, key, large[..size].to_vec());
        assert_eq!(failed(&run(&cloud, &object).await), Some(code), "{key}");
    }
    check_stored(&cloud, &[]);
    let object = cloud.put_object(BUCKET, "uploads/my-app/s/01JQR4X8V7N3K5M2P6T9W1Y0ZC/x.mp4", "x");
    assert_eq!(run(&cloud, &object).await, Ingested::Ignored);
    let object = cloud.put_object("elsewhere", "logs/my-app/x", "x");
    assert_eq!(run(&cloud, &object).await, Ingested::Ignored);
}

#[tokio::test]
async fn an_object_that_is_gone_or_replaced_is_failed() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/gone", "x");
    cloud.delete_object(BUCKET, "logs/my-app/gone");
    assert_eq!(failed(&run(&cloud, &object).await), Some(ReasonCode::ObjectGone));
    cloud.put_object(BUCKET, "logs/my-app/new", "new");
    let old = json!({"bucket": BUCKET, "key": "logs/my-app/new", "etag": "old", "size": 3});
    let ended = function(&cloud).handle(&old, deadline(&cloud)).await.unwrap();
    assert_eq!(failed(&ended[0]), Some(ReasonCode::ObjectGone));
    let unversioned = json!({"bucket": BUCKET, "key": "logs/my-app/new"});
    let ended = function(&cloud).handle(&unversioned, deadline(&cloud)).await.unwrap();
    assert!(matches!(ended[0], Ingested::Completed { .. }));
    assert!(cloud.rows().iter().any(|row| {
        row.object.as_ref().is_some_and(|object| {
            object.version == ObjectVersion::Id("v0".to_owned()) && row.status == FileStatus::Completed
        })
    }));
}

#[tokio::test]
async fn pruned_records_are_left_out_and_counted_as_such() {
    let cloud = cloud();
    let mut app = cloud.add_app("my-app");
    app.pruned_before_ms = Some(T0 - 200 * MINUTE_MS);
    cloud.set_app(app);
    let (text, good) = lines(300);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    let Ingested::Completed { counts } = run(&cloud, &object).await else { panic!() };
    assert_eq!((counts.ok, counts.pruned, counts.quarantined), (196, 98, 6));
    check_stored(&cloud, &good[98..]);
}

#[tokio::test]
async fn what_must_not_be_stored_is_redacted_in_records_and_in_samples_of_bad_ones() {
    let cloud = cloud();
    let text = concat!(
        "{\"time\":1760000000000,\"req\":{\"headers\":{\"authorization\":\"Bearer SECRET\"},\"url\":\"/?token=SECRET\"}}\n",
        "{\"cookie\":\"SECRET\n",
    );
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    assert!(matches!(run(&cloud, &object).await, Ingested::Completed { .. }));
    let (records, bad) = (cloud.records(&"my-app".parse().unwrap()), cloud.quarantined(&object));
    assert_eq!((records.len(), bad.len()), (1, 1));
    let expect = r#"{"time":1760000000000,"req":{"headers":{"authorization":"[redacted]"},"url":"/?token=[redacted]"}}"#;
    assert_eq!((records[0].2.as_str(), bad[0].sample.as_str()), (expect, r#"{"cookie":"[redacted]"#));
}

#[tokio::test]
async fn without_time_nothing_is_begun() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", "x");
    let now = cloud.clock().now_ms();
    for remaining in [0, -5000] {
        let fault = function(&cloud).handle(&event(&object), now + remaining).await.unwrap_err();
        assert!(fault.retryable());
    }
    assert_eq!(cloud.rows(), []);
}

#[tokio::test]
async fn a_file_is_finished_in_as_many_runs_as_it_needs_and_nothing_is_written_twice() {
    let cloud = cloud();
    let (text, good) = lines(30_000);
    let object = cloud.put_object(BUCKET, "logs/my-app/x", gzip(text.as_bytes()));
    let mut marks = Vec::new();
    loop {
        assert!(marks.len() < 50, "no progress: {marks:?}");
        cloud.hang_after_puts(Some(3));
        // Each run gets a little more time, so that a slow machine also finishes.
        let time_ms = 500 + 200 * i64::try_from(marks.len()).unwrap();
        let deadline_ms = cloud.clock().now_ms() + time_ms;
        match function(&cloud).handle(&event(&object), deadline_ms).await.unwrap().remove(0) {
            Ingested::Released { blocks } => {
                let row = &cloud.rows()[0];
                assert_eq!((row.status, row.checkpoint.blocks), (FileStatus::Pending, blocks));
                marks.push(blocks);
            }
            Ingested::Completed { .. } => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(marks.len() > 2 && marks.is_sorted(), "{marks:?}");
    check_stored(&cloud, &good);
    assert_eq!(cloud.stream().len(), cloud.blocks_stored());
    assert_eq!(cloud.quarantined(&object).len(), 600);
}

#[tokio::test]
async fn sample_events_are_understood() {
    let cloud = cloud();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/ingest");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let event: Value =
            serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        // Deliveries of CloudWatch Logs: `subscriptions.rs`.
        if data_of(&event).is_none() {
            function(&cloud).handle(&event, deadline(&cloud)).await.unwrap();
            seen += 1;
        }
    }
    assert!(seen >= 8);
}

#[tokio::test]
async fn a_time_far_after_its_object_is_replaced_and_the_record_expires_with_the_others() {
    const DAY_MS: i64 = 1440 * MINUTE_MS;
    let cloud = cloud();
    let times = [T0 - 10 * DAY_MS, T0, T0 + DAY_MS, T0 + DAY_MS + 1, 4_102_444_799_999];
    let text: String = times.iter().map(|time| format!("{{\"time\":{time}}}\n")).collect();
    let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
    assert!(matches!(run(&cloud, &object).await, Ingested::Completed { .. }));
    let mut stored = Vec::new();
    for block in cloud.stream() {
        let expires_on = expiry::expires_on(T0, 30);
        assert_eq!(block.header.expires_at_secs, Some(expiry::expires_at_secs(expires_on)));
        let payload = Payload::decode(&block.data).unwrap();
        stored.extend(payload.entries().map(|e| (e.ordinal, e.timestamp_ms, e.timestamp_fallback)));
    }
    stored.sort_unstable();
    let expect =
        [(0, times[0], false), (1, T0, false), (2, T0 + DAY_MS, false), (3, T0, true), (4, T0, true)];
    assert_eq!(stored, expect);
}

#[tokio::test]
async fn a_presigned_file_is_held_to_days_and_decompressed_bytes_and_a_service_s_own_is_not() {
    let cloud = cloud();
    let days: String = (0..40).map(|day| format!("{{\"time\":{}}}\n", T0 - day * 1440 * MINUTE_MS)).collect();
    let long = "{\"msg\":\"all of one day, and far too long when it is decompressed\"}\n".repeat(40_000);
    for (key, text, code, most) in [
        ("logs/my-app/2025/days.gz", &days, ReasonCode::TooScattered, 31),
        ("logs/my-app/2025/long.gz", &long, ReasonCode::ExpansionLimit, 2_000_000 / 60),
    ] {
        cloud.grant(&grant(key, "my-app")).await.unwrap();
        let presigned = cloud.put_object(BUCKET, key, gzip(text.as_bytes()));
        let Ingested::Failed { reason, counts } = run(&cloud, &presigned).await else { panic!("{key}") };
        assert_eq!(reason.code, code, "{reason:?}");
        assert!(counts.ok > 0 && counts.ok <= most, "{counts:?}");
        let own = cloud.put_object(BUCKET, &format!("{key}-own"), gzip(text.as_bytes()));
        let Ingested::Completed { counts } = run(&cloud, &own).await else { panic!("{key}") };
        assert_eq!(counts.ok as usize, text.lines().count());
    }
}

/// The grant expires 90 days after the URL was issued; a redriven row lives longer.
#[tokio::test]
async fn a_browsers_file_that_is_redriven_after_its_grant_has_expired_keeps_its_app() {
    for chime_app in [None, Some("other-app")] {
        let cloud = cloud();
        cloud.add_app("other-app");
        let mut function = function(&cloud);
        function.settings.chime_app = chime_app.map(|app_id| app_id.parse().unwrap());
        let key = "chime-client-logs/us-east-1/123456789012/m/a/01JQR4X8V7N3K5M2P6T9W1Y0ZC-logs.gz";
        cloud.grant(&grant(key, "my-app")).await.unwrap();
        let (text, good) = lines(20);
        let object = cloud.put_object(BUCKET, key, text);
        let completed = function.handle(&event(&object), deadline(&cloud)).await.unwrap();
        cloud.expire_grant(BUCKET, key);
        let row = cloud.rows().remove(0);
        assert!(cloud.redrive(&row, cloud.clock().now_ms()).await.unwrap());
        assert_eq!(function.handle(&event(&object), deadline(&cloud)).await.unwrap(), completed);
        check_stored(&cloud, &good);
    }
}

/// After a change of the bucket's name, or of a local file.
#[tokio::test(start_paused = true)]
async fn files_of_another_bucket_end_failed_with_what_is_stored_of_them() {
    let cloud = cloud();
    let mut before = function(&cloud);
    before.settings.bucket = "old-bucket".to_owned();
    let (text, _) = lines(3000);
    let object = cloud.put_object("old-bucket", "logs/my-app/a", text);
    let unknown = cloud.put_object("old-bucket", "logs/my-app/unknown", "{}");
    let unused = "logs/my-app/2025/10/09/01JQR4X8V7N3K5M2P6T9W1Y0ZC-logs.gz";
    let issued = Grant { bucket: "old-bucket".to_owned(), ..grant(unused, "my-app") };
    cloud.grant(&issued).await.unwrap();
    // Its run dies before it would stop by itself.
    cloud.hang_after_puts(Some(1));
    let event = event(&object);
    let begun = before.handle(&event, deadline(&cloud));
    assert!(tokio::time::timeout(Duration::from_secs(10), begun).await.is_err());
    cloud.hang_after_puts(None);
    let app = cloud.apps_now().remove(0);
    assert!(!cloud.visible_levels(&app).is_empty() && cloud.counted_levels(&app.app_id).is_empty());

    cloud.clock().advance_ms(30 * MINUTE_MS);
    let swept = due_rows(&cloud, 0).run(in_a_minute()).await.unwrap();
    assert_eq!((swept.started, swept.urls_unused, swept.failed), (1, 1, 0));
    assert_eq!(cloud.unused_grants()[0].status, FileStatus::Failed);
    let started = cloud.take_started().remove(0);
    assert_eq!(failed(&run(&cloud, &started).await), Some(ReasonCode::ObjectGone));
    assert_eq!(cloud.counted_levels(&app.app_id), cloud.visible_levels(&app));
    assert_eq!(run(&cloud, &started).await, Ingested::Duplicate);
    // An event of a bucket that is not Logferry's.
    assert_eq!(run(&cloud, &unknown).await, Ingested::Ignored);
    // A redrive leaves it.
    let job = RedriveJob {
        app_id: None,
        registered_ms: 0,
        key: None,
        status: FileStatus::Failed,
        reason: None,
        after: None,
        due_ms: 0,
    };
    let now_ms = cloud.clock().now_ms();
    let redriven = redrive::redrive(&cloud, &cloud, BUCKET, job, now_ms, in_a_minute()).await.unwrap();
    assert_eq!(redriven.redriven, 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_to_read_is_believed_after_some_runs_and_no_sooner() {
    const LAST: u32 = 5;
    for runs_refused in [1, LAST - 1, LAST] {
        let cloud = cloud();
        let (text, good) = lines(100);
        let object = cloud.put_object(BUCKET, "logs/my-app/x", text);
        cloud.break_operation("GetObject", Some(FaultClass::Denied));
        for run in 1..runs_refused {
            function(&cloud).handle(&event(&object), deadline(&cloud)).await.unwrap_err();
            let row = &cloud.rows()[0];
            assert_eq!((row.status, row.attempt), (FileStatus::Pending, run));
        }
        if runs_refused < LAST {
            function(&cloud).handle(&event(&object), deadline(&cloud)).await.unwrap_err();
            cloud.break_operation("GetObject", None);
            assert!(matches!(run(&cloud, &object).await, Ingested::Completed { .. }));
            check_stored(&cloud, &good);
        } else {
            assert_eq!(failed(&run(&cloud, &object).await), Some(ReasonCode::AccessDenied));
        }
    }
}

/// Two objects that are uploaded with one URL.
async fn two_puts(cloud: &SimCloud, first: &str, second: &str) -> [ObjectRef; 2] {
    let key = "logs/my-app/2025/10/09/01JQR4X8V7N3K5M2P6T9W1Y0ZC-logs.gz";
    cloud.grant(&grant(key, "my-app")).await.unwrap();
    [first, second].map(|text| cloud.put_object(BUCKET, key, text.to_owned()))
}

#[tokio::test]
async fn the_same_bytes_put_twice_with_one_url_are_one_file() {
    let (text, good) = lines(300);
    for reversed in [false, true] {
        let cloud = cloud();
        let mut puts = two_puts(&cloud, &text, &text).await;
        if reversed {
            puts.reverse();
        }
        let [first, second] = &puts;
        let Ingested::Completed { counts } = run(&cloud, first).await else { panic!() };
        assert_eq!(counts.ok as usize, good.len());
        let Ingested::Completed { counts } = run(&cloud, second).await else { panic!() };
        assert_eq!((counts.ok, counts.quarantined, counts.bytes), (0, 0, 0));
        assert!(cloud.is_marked_refused(second) && !cloud.is_marked_refused(first));
        assert_eq!(run(&cloud, first).await, Ingested::Duplicate);
        check_stored(&cloud, &good);
    }
}

#[tokio::test]
async fn other_bytes_with_the_same_url_are_refused_also_when_the_first_were_no_good() {
    let (text, good) = lines(300);
    for first in [text.as_str(), "[{\"a\":1}"] {
        let cloud = cloud();
        let [first, second] = two_puts(&cloud, first, &format!("{text}{{}}\n")).await;
        run(&cloud, &first).await;
        let stored = cloud.records(&"my-app".parse().unwrap());
        assert_eq!(failed(&run(&cloud, &second).await), Some(ReasonCode::AlreadyUploaded));
        assert!(cloud.is_marked_refused(&second));
        assert_eq!(cloud.records(&"my-app".parse().unwrap()), stored);
        assert!(stored.len() == good.len() || stored.len() == 1);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_objects_that_come_with_one_url_at_once_one_is_taken_whichever_call_fails() {
    let (text, good) = lines(100);
    for (second_text, second_ends) in
        [(text.clone(), FileStatus::Completed), (format!("{text}{{}}\n"), FileStatus::Failed)]
    {
        for call in 0..30 {
            for how in
                [How::Before(FaultClass::Transient), How::ReplyLost(FaultClass::Timeout), How::HangAfter]
            {
                let cloud = cloud();
                cloud.clock().run();
                let puts = two_puts(&cloud, &text, &second_text).await;
                let before = cloud.calls();
                cloud.fail_call(before + call, how);
                let to_its_end = async |object: &ObjectRef| {
                    for _ in 0..5 {
                        let handled = function(&cloud);
                        let event = event(object);
                        let handled = handled.handle(&event, deadline(&cloud));
                        let _ = tokio::time::timeout(std::time::Duration::from_secs(60), handled).await;
                        tokio::time::sleep(std::time::Duration::from_secs(300)).await;
                    }
                };
                futures::future::join(to_its_end(&puts[0]), to_its_end(&puts[1])).await;
                let mut ends: Vec<_> = cloud.rows().iter().map(|row| row.status).collect();
                ends.sort_by_key(|status| status.as_str());
                assert_eq!(ends, [FileStatus::Completed, second_ends], "call {call} {how:?}");
                let stored = cloud.records(&"my-app".parse().unwrap()).len();
                let taken = [good.len(), good.len() + usize::from(second_ends == FileStatus::Failed)];
                assert!(taken.contains(&stored), "call {call} {how:?}: {stored} records");
            }
        }
    }
}
