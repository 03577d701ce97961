//! Counters equal the records that can be found, for any sequence of files, prunes and deleted apps.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use logferry_core::ledger::files::Files;
use logferry_core::ledger::grants::Grants;
use logferry_core::ledger::row::{FileRow, FileStatus, Grant, MAX_ATTEMPTS};
use logferry_core::logbook::{prune, stats};
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::app::App as Tenant;
use logferry_core::model::object::ObjectRef;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_ingest::{Ingested, LEASE_AFTER_DEADLINE_MS};
use logferry_sim::{How, SimCloud, T0};
use logferry_tests::in_a_minute;
use logferry_tests::ingest::{BUCKET, event, ingest};
use logferry_tests::stack::gzip;

use crate::ingest::cloud;

const KEY: &str = "logs/my-app/x";
const MINUTE_MS: i64 = 60_000;
const LINES: i64 = 6_000;

/// Entries a minute apart, over some days: more blocks than three requests take.
fn file() -> Vec<u8> {
    file_of(LINES)
}

fn file_of(lines: i64) -> Vec<u8> {
    let mut text = String::new();
    for i in 0..lines {
        let time = T0 - (lines - i) * MINUTE_MS;
        writeln!(text, "{{\"level\":{},\"time\":{time},\"msg\":\"entry {i}\"}}", i % 6 * 10).unwrap();
    }
    gzip(text.as_bytes())
}

async fn run(cloud: &SimCloud, object: &ObjectRef) -> Option<Ingested> {
    run_with(cloud, object, IntakeLimits::default()).await
}

/// Runs ingest once; `None` if it failed in a way that a retry may fix.
async fn run_with(cloud: &SimCloud, object: &ObjectRef, limits: IntakeLimits) -> Option<Ingested> {
    let deadline_ms = cloud.clock().now_ms() + MINUTE_MS;
    ingest(cloud, cloud.clock(), limits)
        .handle(&event(object), deadline_ms)
        .await
        .ok()
        .map(|mut ended| ended.remove(0))
}

/// A run that stores a part and releases the file.
async fn run_in_part(cloud: &SimCloud, object: &ObjectRef) {
    cloud.hang_after_puts(Some(1));
    let ended = run(cloud, object).await;
    cloud.hang_after_puts(None);
    assert!(matches!(ended, Some(Ingested::Released { blocks }) if blocks > 0), "{ended:?}");
}

async fn app(cloud: &SimCloud) -> Tenant {
    Apps::find(cloud, &"my-app".parse().unwrap()).await.unwrap().unwrap()
}

fn row(cloud: &SimCloud) -> FileRow {
    cloud.rows().remove(0)
}

async fn redrive(cloud: &SimCloud) {
    assert!(cloud.redrive(&row(cloud), cloud.clock().now_ms()).await.unwrap());
}

async fn prune_before(cloud: &SimCloud, before_ms: i64) {
    let now_ms = cloud.clock().now_ms();
    let pruned =
        prune::prune(cloud, cloud, &app(cloud).await, before_ms, now_ms, in_a_minute()).await.unwrap();
    assert!(pruned.unwrap().complete);
}

/// Checks that the counters equal what a query finds: this many records.
#[track_caller]
fn check(
    cloud: &SimCloud,
    tenant: &Tenant,
    counted: Vec<(logferry_core::model::time::Day, i64)>,
    records: i64,
) {
    let visible: BTreeMap<_, _> =
        cloud.visible_levels(tenant).into_iter().map(|(day, levels)| (day, levels.total())).collect();
    let counted: BTreeMap<_, _> = counted.into_iter().filter(|(_, records)| *records != 0).collect();
    assert_eq!(counted, visible);
    assert_eq!(counted.values().sum::<i64>(), records);
}

async fn counted(cloud: &SimCloud, tenant: &Tenant) -> Vec<(logferry_core::model::time::Day, i64)> {
    let days = stats::days(cloud, tenant, 60, cloud.clock().now_ms()).await.unwrap();
    days.into_iter().map(|(day, levels)| (day, levels.total())).collect()
}

async fn check_now(cloud: &SimCloud, records: i64) {
    let tenant = app(cloud).await;
    check(cloud, &tenant, counted(cloud, &tenant).await, records);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_started_over_after_prunes_counts_what_is_left() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, KEY, file());
    run(&cloud, &object).await.unwrap();
    check_now(&cloud, LINES).await;
    for left in [5900, 5893, 900, 20, 0] {
        prune_before(&cloud, T0 - left * MINUTE_MS).await;
        check_now(&cloud, left).await;
        redrive(&cloud).await;
        assert!(matches!(run(&cloud, &object).await, Some(Ingested::Completed { .. })));
        check_now(&cloud, left).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_prune_between_the_runs_of_a_file_is_not_taken_twice() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, KEY, file());
    run_in_part(&cloud, &object).await;
    prune_before(&cloud, T0 - 5950 * MINUTE_MS).await;
    run_in_part(&cloud, &object).await;
    prune_before(&cloud, T0 - 5940 * MINUTE_MS).await;
    assert!(matches!(run(&cloud, &object).await, Some(Ingested::Completed { .. })));
    check_now(&cloud, 5940).await;
    prune_before(&cloud, T0 - 300 * MINUTE_MS).await;
    check_now(&cloud, 300).await;
}

#[tokio::test(start_paused = true)]
async fn a_prune_during_a_run_is_heeded_before_its_file_ends() {
    // The prune may come at any call of the run: the file is never counted without it. There are so few
    // blocks that nothing waits for a stalled call: time is paused while a thread works.
    let calls = {
        let cloud = cloud();
        let object = cloud.put_object(BUCKET, KEY, file_of(600));
        run(&cloud, &object).await.unwrap();
        cloud.calls()
    };
    let mut again = 0;
    for call in 0..calls {
        let cloud = cloud();
        cloud.clock().run();
        let object = cloud.put_object(BUCKET, KEY, file_of(600));
        cloud.fail_call(call, How::Stall(Duration::from_secs(5)));
        let (ended, ()) = tokio::join!(run(&cloud, &object), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            prune_before(&cloud, T0 - 500 * MINUTE_MS).await;
        });
        if row(&cloud).status == FileStatus::Pending {
            again += 1;
            assert!(matches!(ended, Some(Ingested::Released { .. })), "{ended:?}");
            assert!(matches!(run(&cloud, &object).await, Some(Ingested::Completed { .. })));
        }
        check_now(&cloud, 500).await;
    }
    assert!(calls > 8 && again > 3, "{again} of {calls}");
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_of_a_file_that_cannot_be_read_any_more_is_counted() {
    for saved in [true, false] {
        let cloud = cloud();
        cloud.clock().run();
        let object = cloud.put_object(BUCKET, KEY, file());
        if saved {
            run_in_part(&cloud, &object).await;
        } else {
            // The run dies without saving a checkpoint.
            cloud.hang_after_puts(Some(1));
            let died = tokio::time::timeout(Duration::from_secs(10), run(&cloud, &object)).await;
            cloud.hang_after_puts(None);
            assert!(died.is_err());
            tokio::time::sleep(Duration::from_secs(120)).await;
        }
        let stored: i64 = cloud.visible_levels(&app(&cloud).await).values().map(|day| day.total()).sum();
        assert!(stored > 0 && stored < LINES, "{stored}");
        cloud.delete_object(BUCKET, KEY);
        let Some(Ingested::Failed { reason, counts }) = run(&cloud, &object).await else { panic!() };
        assert_eq!((reason.code, counts.ok), (ReasonCode::ObjectGone, stored.unsigned_abs()));
        check_now(&cloud, stored).await;
        prune_before(&cloud, T0 - 5990 * MINUTE_MS).await;
        check_now(&cloud, stored - 10).await;

        // It fails once more, then it is readable again.
        redrive(&cloud).await;
        assert!(matches!(run(&cloud, &object).await, Some(Ingested::Failed { .. })));
        check_now(&cloud, stored - 10).await;
        redrive(&cloud).await;
        assert_eq!(cloud.put_object(BUCKET, KEY, file()), object);
        assert!(matches!(run(&cloud, &object).await, Some(Ingested::Completed { .. })));
        check_now(&cloud, 5990).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_ends_although_some_of_its_blocks_cannot_be_read() {
    let cloud = cloud();
    cloud.clock().run();
    let object = cloud.put_object(BUCKET, KEY, file());
    run_in_part(&cloud, &object).await;
    let stored: i64 = cloud.visible_levels(&app(&cloud).await).values().map(|day| day.total()).sum();
    assert!(!cloud.damage_blocks(5).is_empty());
    cloud.delete_object(BUCKET, KEY);
    let Some(Ingested::Failed { reason, counts }) = run(&cloud, &object).await else { panic!() };
    // They count as in their headers: a query reports them as skipped.
    assert_eq!((reason.code, counts.ok), (ReasonCode::ObjectGone, stored.unsigned_abs()));
    let days = counted(&cloud, &app(&cloud).await).await;
    assert_eq!(days.iter().map(|(_, records)| records).sum::<i64>(), stored);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_gets_no_further_ends_with_what_is_stored_of_it() {
    let cloud = cloud();
    let object = cloud.put_object(BUCKET, KEY, file());
    // The worker dies before anything is stored.
    let fail = async || {
        cloud.hang_after_puts(Some(0));
        let ended = tokio::time::timeout(Duration::from_secs(1), run(&cloud, &object)).await;
        cloud.hang_after_puts(None);
        assert!(ended.is_err(), "{ended:?}");
        cloud.clock().advance_ms(MINUTE_MS + LEASE_AFTER_DEADLINE_MS);
    };
    for _ in 0..2 {
        for attempt in 1..MAX_ATTEMPTS {
            fail().await;
            assert_eq!(row(&cloud).attempt, attempt);
        }
        run_in_part(&cloud, &object).await;
        assert_eq!(row(&cloud).attempt, 0, "it got further");
    }
    let stored: i64 = cloud.visible_levels(&app(&cloud).await).values().map(|day| day.total()).sum();
    for _ in 0..MAX_ATTEMPTS {
        fail().await;
    }
    let Some(Ingested::Failed { reason, counts }) = run(&cloud, &object).await else { panic!() };
    assert_eq!((reason.code, counts.ok), (ReasonCode::AttemptsExhausted, stored.unsigned_abs()));
    check_now(&cloud, stored).await;
    redrive(&cloud).await;
    assert!(matches!(run(&cloud, &object).await, Some(Ingested::Completed { .. })));
    check_now(&cloud, LINES).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_packed_differently_is_restarted_and_stored_once() {
    let other = IntakeLimits { max_record_bytes: 51, ..IntakeLimits::default() };
    for complete in [false, true] {
        let cloud = cloud();
        let object = cloud.put_object(BUCKET, KEY, file());
        if complete {
            run(&cloud, &object).await.unwrap();
            redrive(&cloud).await;
        } else {
            run_in_part(&cloud, &object).await;
        }
        // With these limits, many entries are too long: other records, other blocks.
        let Some(Ingested::Completed { counts }) = run_with(&cloud, &object, other).await else { panic!() };
        assert!(counts.quarantined > 0 && counts.ok > 0, "{counts:?}");
        let bad: u64 = cloud.quarantined(&object).iter().map(|row| row.count).sum();
        assert_eq!(bad, counts.quarantined);
        check_now(&cloud, i64::try_from(counts.ok).unwrap()).await;
        assert_eq!(cloud.records(&"my-app".parse().unwrap()).len() as u64, counts.ok);
        redrive(&cloud).await;
        assert!(matches!(run(&cloud, &object).await, Some(Ingested::Completed { .. })));
        check_now(&cloud, LINES).await;
        assert_eq!(cloud.records(&"my-app".parse().unwrap()).len() as i64, LINES);
        assert!(cloud.quarantined(&object).is_empty());
    }
}

/// The state of a former app's file when the app was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Came {
    /// Its event was lost.
    Unknown,
    /// A run stored a part and released the file.
    InPart,
    /// Its worker died.
    Dead,
    /// It was completed, and is redriven.
    Whole,
    /// It ended without owner, and is redriven.
    Refused,
    /// Its key was issued, and no object was uploaded.
    Granted,
}

#[tokio::test(start_paused = true)]
async fn whatever_had_become_of_a_former_app_s_file_nothing_of_it_comes_into_the_new_app() {
    for came in [Came::Unknown, Came::InPart, Came::Dead, Came::Whole, Came::Refused, Came::Granted] {
        let cloud = cloud();
        cloud.clock().run();
        let old = app(&cloud).await;
        let grant = Grant {
            bucket: BUCKET.to_owned(),
            key: KEY.to_owned(),
            app_id: old.app_id.clone(),
            meeting: None,
            size_bytes: None,
            registered_ms: old.registered_ms,
            used: None,
            created_ms: cloud.clock().now_ms(),
            expires_ms: cloud.clock().now_ms() + 5 * MINUTE_MS,
        };
        let mut object = None;
        match came {
            Came::Granted => cloud.grant(&grant).await.unwrap(),
            _ => object = Some(cloud.put_object(BUCKET, KEY, file())),
        }
        match (came, &object) {
            (Came::InPart, Some(object)) => run_in_part(&cloud, object).await,
            (Came::Dead, Some(object)) => {
                cloud.hang_after_puts(Some(1));
                let died = tokio::time::timeout(Duration::from_secs(10), run(&cloud, object)).await;
                cloud.hang_after_puts(None);
                assert!(died.is_err());
            }
            (Came::Whole, Some(object)) => drop(run(&cloud, object).await.unwrap()),
            _ => {}
        }
        let now_ms = cloud.clock().now_ms();
        assert!(prune::delete(&cloud, &cloud, &old, now_ms, in_a_minute()).await.unwrap().is_some());
        if let (Came::Refused, Some(object)) = (came, &object) {
            assert!(matches!(run(&cloud, object).await, Some(Ingested::Failed { .. })));
        }
        tokio::time::sleep(Duration::from_secs(120)).await;
        let new = Tenant { registered_ms: cloud.clock().now_ms(), pruned_before_ms: None, ..old };
        cloud.set_app(new.clone());
        if matches!(came, Came::Whole | Came::Refused) {
            redrive(&cloud).await;
        }
        let object = object.unwrap_or_else(|| cloud.put_object(BUCKET, KEY, file()));
        let ended = run(&cloud, &object).await;
        let Some(Ingested::Failed { reason, counts }) = ended else { panic!("{came:?}: {ended:?}") };
        assert_eq!((reason.code, counts.ok), (ReasonCode::NoOwner, 0), "{came:?}");
        assert!(cloud.is_marked_refused(&object), "{came:?}: it need not stay");
        assert_eq!(cloud.visible_levels(&new), BTreeMap::new(), "{came:?}");
        check_now(&cloud, 0).await;

        // The removal of the former app does not touch objects of the new one.
        let own = cloud.put_object(BUCKET, "logs/my-app/own", file());
        let ended = run(&cloud, &own).await;
        assert!(matches!(ended, Some(Ingested::Completed { .. })), "{came:?}: {ended:?}");
        for _ in 0..3 {
            cloud.clock().advance_ms(20 * MINUTE_MS);
            prune::go_on(&cloud, &cloud, cloud.clock().now_ms(), in_a_minute()).await.unwrap();
        }
        check_now(&cloud, LINES).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_put_in_the_second_of_the_registration_is_taken_and_what_was_put_in_the_one_before_is_not() {
    for (since_registration_ms, taken) in [(-1_000, false), (-500, false), (0, true), (1, true), (700, true)]
    {
        let cloud = cloud();
        let registered_ms = T0 + 60_300;
        cloud.clock().advance_ms(60_300 + since_registration_ms);
        let object = cloud.put_object(BUCKET, KEY, file_of(10));
        cloud.clock().advance_ms(2_000);
        cloud.set_app(Tenant { registered_ms, ..app(&cloud).await });
        let ended = run(&cloud, &object).await.unwrap();
        assert_eq!(
            matches!(ended, Ingested::Completed { .. }),
            taken,
            "{since_registration_ms} ms: {ended:?}"
        );
    }
}
