//! The contract of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use super::T0;

use logferry_core::ledger::checkpoint::{Beyond, Checkpoint};
use logferry_core::ledger::claim::{Claim, Claimed, EndedBy, Lease, Ledger};
use logferry_core::ledger::row::{FileRow, FileStatus, Grant, StoredSoFar};
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason, ReasonCode};
use logferry_core::logfile::quarantine::{BadRecord, QuarantineReason, Quarantined};
use logferry_core::model::app::AppId;
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::level::LevelCounts;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::Day;

/// Reads the counts of an app: records per day.
pub trait CountedDays {
    fn counted(&self, app_id: &AppId, registered_ms: i64) -> impl Future<Output = BTreeMap<Day, i64>> + Send;
}

fn ok<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|fault| panic!("{fault:?}"))
}

pub(super) fn fresh(name: &str) -> (ObjectRef, AppId) {
    let unique = ulid::Ulid::generate().to_string().to_lowercase();
    let object = ObjectRef {
        bucket: "contract".to_owned(),
        key: format!("logs/{name}/{unique} ü#.gz"),
        version: ObjectVersion::Id(format!("v{unique}")),
    };
    let app_id = format!("c{unique}").parse().unwrap_or_else(|error| panic!("{error}"));
    (object, app_id)
}

pub(super) fn claim(object: &ObjectRef, app_id: &AppId, now_ms: i64) -> Claim {
    Claim {
        object: object.clone(),
        app_id: Some(app_id.clone()),
        granted: false,
        etag: Some("etag".to_owned()),
        size_bytes: 10,
        packing: PackFingerprint::from_stored("packing"),
        claim_id: ulid::Ulid::generate().to_string(),
        now_ms,
        lease_until_ms: now_ms + 60_000,
    }
}

fn checkpoint(blocks: u64, quarantined: u64, beyond: &[u64]) -> Checkpoint {
    let mut checkpoint = Checkpoint { blocks, quarantined, beyond: Beyond::default() };
    beyond.iter().for_each(|&distance| checkpoint.beyond.insert(distance));
    checkpoint
}

pub(super) async fn claimed(ledger: &impl Ledger, claim: &Claim) -> FileRow {
    match ok(ledger.claim(claim).await) {
        Claimed::Yes(row) => *row,
        other => panic!("not claimed: {other:?}"),
    }
}

pub(super) fn lease(row: &FileRow) -> Lease {
    let object = row.object.clone().unwrap_or_else(|| panic!("a row without an object"));
    Lease {
        object,
        app_id: row.app_id.clone(),
        registered_ms: T0,
        pruned_before_ms: None,
        fence: row.fence,
        claimed_ms: row.updated_ms,
        checkpoint: row.checkpoint,
    }
}

pub(super) fn outcome(days: impl IntoIterator<Item = (i32, i64)>) -> Outcome {
    let count = |records| DayCounts { levels: LevelCounts::new(0, records, 0, 0), bytes: records * 10 };
    let day = |(day, records)| (Day(day), Expiring::one(Day(40_000), count(records)));
    let days: BTreeMap<_, _> = days.into_iter().map(day).collect();
    let stored: i64 = days.values().map(|day| day.total().levels.total()).sum();
    let counts = FileCounts { ok: u64::try_from(stored).unwrap_or(0), ..FileCounts::default() };
    Outcome { counts, days, ..Outcome::default() }
}

/// Of many concurrent claims of one object, one wins. A later claim is refused until the lease ends.
pub async fn one_of_many_claims_wins_and_an_expired_lease_can_be_taken_over(ledger: &impl Ledger) {
    let (object, app_id) = fresh("claims");
    let claims: Vec<_> = (0..8).map(|_| claim(&object, &app_id, T0)).collect();
    let results = futures::future::join_all(claims.iter().map(|claim| ledger.claim(claim))).await;
    let mut won = 0;
    for result in results {
        match ok(result) {
            Claimed::Yes(row) => {
                won += 1;
                assert_eq!((row.fence, row.attempt, row.status), (1, 1, FileStatus::Processing));
            }
            Claimed::Held { lease_until_ms } => assert_eq!(lease_until_ms, T0 + 60_000),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(won, 1);
    let late = claimed(ledger, &claim(&object, &app_id, T0 + 60_001)).await;
    assert_eq!((late.fence, late.attempt), (2, 2));
}

/// A repeated claim is the same lease: its first response may have been lost.
pub async fn a_claim_repeated_by_its_owner_is_the_same_claim(ledger: &impl Ledger) {
    let (object, app_id) = fresh("repeat");
    let wish = claim(&object, &app_id, T0);
    let first = claimed(ledger, &wish).await;
    assert_eq!(claimed(ledger, &wish).await, first);
}

/// A worker that lost its lease cannot change anything.
pub async fn a_worker_without_its_lease_can_change_nothing(ledger: &impl Ledger) {
    let (object, app_id) = fresh("fence");
    let old = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let new = lease(&claimed(ledger, &claim(&object, &app_id, T0 + 70_000)).await);
    let before = ok(ledger.find(&object).await);
    let refused = [
        ledger.finish(&old, &outcome([(20_000, 5)]), T0).await.map(drop),
        ledger.restart(&old, &PackFingerprint::from_stored("other"), T0).await,
        ledger.release(&old, checkpoint(9, 9, &[]), EndedBy::Itself, T0, T0).await,
    ];
    for result in refused {
        assert_eq!(result.map_err(|fault| fault.class), Err(FaultClass::Conflict));
    }
    assert_eq!(ok(ledger.find(&object).await), before);
    ok(ledger.finish(&new, &outcome([]), T0 + 80_000).await);
}

/// A released file is claimed only when due, with its checkpoint.
pub async fn a_released_file_is_resumed_when_due(ledger: &impl Ledger) {
    let (object, app_id) = fresh("release");
    let held = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let checkpoint = checkpoint(12, 3, &[1, 2, 1000]);
    ok(ledger.release(&held, checkpoint, EndedBy::Itself, T0 + 5000, T0 + 1000).await);
    let early = ok(ledger.claim(&claim(&object, &app_id, T0 + 4999)).await);
    assert_eq!(early, Claimed::NotDue { due_at_ms: T0 + 5000 });
    let row = claimed(ledger, &claim(&object, &app_id, T0 + 5000)).await;
    assert_eq!((row.checkpoint, row.fence), (checkpoint, 2));
}

/// Attempts are counted since the last progress.
pub async fn attempts_are_counted_from_where_a_run_got_further(ledger: &impl Ledger) {
    let (object, app_id) = fresh("attempts");
    let mut attempts = Vec::new();
    for (run, blocks) in (0..).zip([0, 0, 5, 5, 5, 6, 6]) {
        let row = claimed(ledger, &claim(&object, &app_id, T0 + run)).await;
        attempts.push(row.attempt);
        ok(ledger
            .release(&lease(&row), checkpoint(blocks, 0, &[]), EndedBy::Itself, T0 + run, T0 + run)
            .await);
    }
    assert_eq!(attempts, [1, 2, 3, 1, 2, 3, 1]);
}

/// A run that ended because of an outside cause does not count as an attempt and keeps the earlier count. A
/// run that stored any block after the mark made progress.
pub async fn a_run_that_was_ended_from_outside_is_no_attempt(ledger: &impl Ledger) {
    use EndedBy::{Itself, Outside};
    let (object, app_id) = fresh("outside");
    let mut attempts = Vec::new();
    for (run, (by, beyond)) in (0..).zip([
        (Itself, &[][..]),
        (Outside, &[]),
        (Outside, &[]),
        (Itself, &[]),
        (Itself, &[7]),
        (Outside, &[7]),
    ]) {
        let row = claimed(ledger, &claim(&object, &app_id, T0 + run)).await;
        attempts.push(row.attempt);
        ok(ledger.release(&lease(&row), checkpoint(0, 0, beyond), by, T0 + run, T0 + run).await);
    }
    assert_eq!(attempts, [1, 2, 2, 2, 3, 1]);
    let row = claimed(ledger, &claim(&object, &app_id, T0 + 100)).await;
    assert_eq!((row.attempt, row.checkpoint), (1, checkpoint(0, 0, &[7])));
}

/// Even if its worker dies, the hours of an object's blocks are known. Another packing fingerprint restarts
/// the object without bad records.
pub async fn what_is_kept_of_an_object_is_known(ledger: &impl Ledger) {
    let (object, app_id) = fresh("kept");
    assert_eq!(ok(ledger.stored_so_far(&object).await), StoredSoFar::default());
    let row = claimed(ledger, &claim(&object, &app_id, T0)).await;
    assert_eq!(row.packing, PackFingerprint::from_stored("packing"));
    let held = lease(&row);
    let hours = [480_000, 480_001, 480_030, 999_999];
    ok(ledger.note_hours(&held, &BTreeSet::from([hours[0], hours[2]]), Day(40_000)).await);
    ok(ledger.note_hours(&held, &BTreeSet::from(hours), Day(40_000)).await);
    let bad: Vec<_> = (0..30)
        .map(|ordinal| {
            let reason = QuarantineReason::BrokenJson;
            let row = Quarantined::single(BadRecord { ordinal, reason, start: 0, end: 1 }, "{");
            Quarantined { count: 2, ..row }
        })
        .collect();
    ok(ledger.quarantine(&held, &bad).await);
    let kept = StoredSoFar { hours: BTreeSet::from(hours), quarantined: 60 };
    assert_eq!(ok(ledger.stored_so_far(&object).await), kept);
    ok(ledger.release(&held, checkpoint(3, 30, &[5]), EndedBy::Itself, T0, T0).await);

    let other = Claim { packing: PackFingerprint::from_stored("other"), ..claim(&object, &app_id, T0) };
    let row = claimed(ledger, &other).await;
    assert_eq!((row.packing.as_str(), row.checkpoint.blocks), ("packing", 3), "as the first run packed");
    ok(ledger.restart(&lease(&row), &other.packing, T0).await);
    let row = ok(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert_eq!((&row.packing, row.checkpoint), (&other.packing, Checkpoint::default()));
    assert_eq!(ok(ledger.stored_so_far(&object).await), StoredSoFar { quarantined: 0, ..kept });
    ok(ledger.finish(&lease(&row), &outcome([]), T0).await);
}

/// The end is reached and counted once, however often it is written. It is final.
pub async fn an_end_is_counted_once_and_stays(ledger: &(impl Ledger + CountedDays)) {
    let (object, app_id) = fresh("end");
    let held = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let mut end = outcome([(20_000, 5), (20_001, 7)]);
    end.reason = Some(Reason { code: ReasonCode::GzipTruncated, message: "at byte 7".to_owned() });
    for _ in 0..3 {
        ok(ledger.finish(&held, &end, T0 + 10).await);
    }
    let row = ok(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert_eq!((row.status, &row.reason, row.counts), (FileStatus::Failed, &end.reason, end.counts));
    assert_eq!(row.processed_ms, Some(T0 + 10));
    let again = ok(ledger.claim(&claim(&object, &app_id, T0 + 1_000_000)).await);
    assert_eq!(again, Claimed::Done(FileStatus::Failed));
    let expected = BTreeMap::from([(Day(20_000), 5), (Day(20_001), 7)]);
    assert_eq!(ledger.counted(&app_id, T0).await, expected);
}

/// A file with more days than a transaction holds is counted once, even if its first half was counted
/// before.
pub async fn a_file_of_very_many_days_is_counted_once(ledger: &(impl Ledger + CountedDays)) {
    let (object, app_id) = fresh("days");
    let held = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let end = outcome((0..130).map(|day| (20_000 + day, i64::from(day) + 1)));
    ok(ledger.finish(&held, &end, T0).await);
    let expected: BTreeMap<_, _> = (0..130).map(|day| (Day(20_000 + day), i64::from(day) + 1)).collect();
    assert_eq!(ledger.counted(&app_id, T0).await, expected);
}

/// Many files of one app that end concurrently are all counted.
pub async fn ends_at_once_are_all_counted(ledger: &(impl Ledger + CountedDays)) {
    let (_, app_id) = fresh("crowd");
    let files: Vec<_> = (0..12).map(|_| fresh("crowd").0).collect();
    let ends = files.iter().map(|object| async {
        let held = lease(&claimed(ledger, &claim(object, &app_id, T0)).await);
        ok(ledger.finish(&held, &outcome([(20_000, 1), (20_001, 2)]), T0).await);
    });
    futures::future::join_all(ends).await;
    let expected = BTreeMap::from([(Day(20_000), 12), (Day(20_001), 24)]);
    assert_eq!(ledger.counted(&app_id, T0).await, expected);
}

/// A key is issued once. A claim uses the grant, and its owner is still known.
pub async fn a_key_is_granted_once_and_its_grant_outlives_the_claim(ledger: &impl Ledger) {
    let (object, app_id) = fresh("grant");
    let grant = Grant {
        bucket: object.bucket.clone(),
        key: object.key.clone(),
        app_id: app_id.clone(),
        meeting: Some(("meeting".to_owned(), "attendee".to_owned())),
        size_bytes: Some(77),
        registered_ms: T0 - 1,
        used: None,
        created_ms: T0,
        expires_ms: T0 + 300_000,
    };
    assert_eq!(ok(ledger.find_grant(&object.bucket, &object.key).await), None);
    ok(ledger.grant(&grant).await);
    assert_eq!(ledger.grant(&grant).await.map_err(|fault| fault.class), Err(FaultClass::Conflict));
    assert_eq!(ok(ledger.find_grant(&object.bucket, &object.key).await), Some(grant.clone()));
    assert_eq!(ok(ledger.find_waiting(&object.bucket, &object.key).await), Some(grant.waiting_row()));
    let wish = Claim { granted: true, ..claim(&object, &app_id, T0) };
    let held = lease(&claimed(ledger, &wish).await);
    ok(ledger.finish(&held, &outcome([]), T0).await);
    let used = Grant { used: Some(wish.used()), ..grant };
    assert_eq!(ok(ledger.find_grant(&object.bucket, &object.key).await), Some(used));
    assert_eq!(ok(ledger.find_waiting(&object.bucket, &object.key).await), None);
}

/// Of several objects with one URL, all have a row, and the grant permanently records the first one.
pub async fn a_grant_remembers_the_first_of_many_objects_that_come_at_once(ledger: &impl Ledger) {
    let (object, app_id) = fresh("first");
    let (bucket, key) = (&object.bucket, &object.key);
    let grant = Grant {
        bucket: bucket.clone(),
        key: key.clone(),
        app_id: app_id.clone(),
        meeting: None,
        size_bytes: None,
        registered_ms: T0 - 1,
        used: None,
        created_ms: T0,
        expires_ms: T0 + 300_000,
    };
    ok(ledger.grant(&grant).await);
    let claims: Vec<_> = (0..4)
        .map(|number| {
            let version = ObjectVersion::Id(format!("v{number}"));
            let object = ObjectRef { version, ..object.clone() };
            Claim { granted: true, etag: Some(format!("e{number}")), ..claim(&object, &app_id, T0) }
        })
        .collect();
    let rows = futures::future::join_all(claims.iter().map(|wish| claimed(ledger, wish))).await;
    let first = ok(ledger.find_grant(bucket, key).await).and_then(|grant| grant.used);
    assert!(claims.iter().any(|claim| Some(claim.used()) == first), "{first:?}");
    for row in &rows {
        ok(ledger.finish(&lease(row), &outcome([]), T0).await);
    }
    let late = ObjectRef { version: ObjectVersion::Id("late".to_owned()), ..object.clone() };
    let late = claimed(ledger, &Claim { granted: true, ..claim(&late, &app_id, T0) }).await;
    ok(ledger.finish(&lease(&late), &outcome([]), T0).await);
    assert_eq!(ok(ledger.find_grant(bucket, key).await).and_then(|grant| grant.used), first);
}

/// Quarantined records can be written again, in any number.
pub async fn quarantined_records_can_be_written_again(ledger: &impl Ledger) {
    let (object, app_id) = fresh("quarantine");
    let held = lease(&claimed(ledger, &claim(&object, &app_id, T0)).await);
    let records: Vec<_> = (0..60)
        .map(|i| {
            let reason = QuarantineReason::BrokenJson;
            Quarantined::single(BadRecord { ordinal: i, reason, start: i * 10, end: i * 10 + 9 }, "{\"a\":")
        })
        .collect();
    for _ in 0..2 {
        ok(ledger.quarantine(&held, &records).await);
    }
    ok(ledger.finish(&held, &outcome([]), T0).await);
}
