//! The contract of file lists and redrives.

use std::collections::BTreeMap;

use super::T0;

use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{Claim, Lease, Ledger};
use logferry_core::ledger::files::{FilePosition, Files, Owner};
use logferry_core::ledger::row::{FileRow, FileStatus};
use logferry_core::logfile::outcome::{FileCounts, Outcome, Reason, ReasonCode};
use logferry_core::logfile::quarantine::{BadRecord, QuarantineReason, Quarantined};
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::fingerprint::PackFingerprint;
use logferry_core::model::object::{ObjectRef, ObjectVersion};

fn good<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn fresh_app() -> AppId {
    let id = format!("f{}", ulid::Ulid::generate().to_string().to_lowercase());
    id.parse().unwrap_or_else(|error| panic!("{id}: {error}"))
}

fn object(app_id: &AppId, name: &str) -> ObjectRef {
    ObjectRef {
        bucket: "contract".to_owned(),
        key: format!("logs/{app_id}/{name}"),
        version: ObjectVersion::Id(format!("v-{name}")),
    }
}

/// Claims an object and ends it: COMPLETED, or FAILED with a reason.
async fn ended(
    ledger: &impl Ledger,
    app_id: Option<&AppId>,
    object: &ObjectRef,
    at_ms: i64,
    reason: Option<ReasonCode>,
) -> Lease {
    let claim = Claim {
        object: object.clone(),
        app_id: app_id.cloned(),
        granted: false,
        etag: None,
        size_bytes: 7,
        packing: PackFingerprint::default(),
        claim_id: ulid::Ulid::generate().to_string(),
        now_ms: at_ms,
        lease_until_ms: at_ms + 60_000,
    };
    let lease = super::ledger::lease(&super::ledger::claimed(ledger, &claim).await);
    let outcome = Outcome {
        reason: reason.map(|code| Reason { code, message: "at byte 7".to_owned() }),
        counts: FileCounts { ok: 3, quarantined: 1, pruned: 0, bytes: 9 },
        ..Outcome::default()
    };
    good(ledger.finish(&lease, &outcome, at_ms + 1).await);
    lease
}

async fn all(
    files: &impl Files,
    app_id: &AppId,
    since_ms: i64,
    status: Option<FileStatus>,
    limit: u32,
) -> Vec<FileRow> {
    let (mut found, mut after): (Vec<FileRow>, Option<FilePosition>) = (Vec::new(), None);
    loop {
        let page = good(files.of_app(app_id, since_ms, status, limit, after.as_ref()).await);
        assert!(page.rows.len() <= limit as usize);
        found.extend(page.rows);
        assert!(page.next.is_none() || page.next != after, "a page that gets no further: {after:?}");
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// All objects of a key, one per page.
async fn of_key(files: &impl Files, bucket: &str, key: &str) -> Vec<FileRow> {
    let (mut found, mut after): (Vec<FileRow>, Option<FilePosition>) = (Vec::new(), None);
    loop {
        let page = good(files.of_key(bucket, key, None, 1, after.as_ref()).await);
        found.extend(page.rows);
        assert!(page.next.is_none() || page.next != after, "a page that gets no further: {after:?}");
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// All FAILED files, through pages.
async fn all_failed(
    files: &impl Files,
    app_id: Option<&AppId>,
    since_ms: i64,
    now_ms: i64,
    limit: u32,
) -> Vec<FileRow> {
    let (mut found, mut after): (Vec<FileRow>, Option<FilePosition>) = (Vec::new(), None);
    loop {
        let page = good(files.failed(app_id, since_ms, now_ms, limit, after.as_ref()).await);
        assert!(page.rows.len() <= limit as usize);
        found.extend(page.rows);
        assert!(page.next.is_none() || page.next != after, "a page that gets no further: {after:?}");
        after = page.next;
        if after.is_none() {
            return found;
        }
    }
}

/// FAILED files are found by app, newest first, and over all apps, including those without owner. Redriven
/// files are not found any more.
pub async fn failed_files_are_found(ledger: &impl Ledger, files: &impl Files) {
    let (app_id, other) = (fresh_app(), fresh_app());
    let hour = 3_600_000;
    for i in 0..9 {
        // Over several days, some with the same time.
        let at_ms = T0 + (i / 3) * 20 * hour;
        let reason = (i % 4 != 3).then_some(ReasonCode::GzipTruncated);
        ended(ledger, Some(&app_id), &object(&app_id, &i.to_string()), at_ms, reason).await;
    }
    ended(ledger, Some(&other), &object(&other, "x"), T0, Some(ReasonCode::TooLarge)).await;
    let unowned = object(&other, "unowned");
    ended(ledger, None, &unowned, T0 + 1, Some(ReasonCode::NoOwner)).await;
    let now_ms = T0 + 50 * hour;
    for limit in [1, 2, 100] {
        let found = all_failed(files, Some(&app_id), 0, now_ms, limit).await;
        let times: Vec<_> = found.iter().map(|row| (row.created_ms - T0) / hour).collect();
        assert_eq!(times, [40, 40, 20, 20, 0, 0, 0], "pages of {limit}");
        let since = all_failed(files, Some(&app_id), T0 + 1, now_ms, limit).await;
        assert_eq!(since, found[..4], "pages of {limit}");
        let all = all_failed(files, None, T0, now_ms, limit).await;
        for row in &found {
            assert_eq!(all.iter().filter(|other| *other == row).count(), 1, "pages of {limit}");
        }
        let without_owner = all.iter().find(|row| row.object.as_ref() == Some(&unowned));
        assert_eq!(without_owner.map(|row| &row.app_id), Some(&None));
        assert!(all.iter().any(|row| row.app_id.as_ref() == Some(&other)));
    }
    let found = all_failed(files, Some(&app_id), 0, now_ms, 100).await;
    assert!(good(files.redrive(&found[0], now_ms).await));
    assert_eq!(all_failed(files, Some(&app_id), 0, now_ms, 100).await, found[1..]);
    for nonsense in ["nonsense", "[]", "[\"x\",\"y\"]", "[\"2025-10-09\"]"] {
        let nonsense = FilePosition(nonsense.to_owned());
        let refused = files.failed(None, 0, now_ms, 10, Some(&nonsense)).await.map_err(|fault| fault.class);
        assert!(matches!(refused, Err(FaultClass::Permanent)));
    }
}

/// Keys of any valid length are granted, claimed, listed and found. Versions of the same time are
/// distinguished.
pub async fn keys_of_any_legal_length_are_claimed_and_listed(ledger: &impl Ledger, files: &impl Files) {
    let app_id = fresh_app();
    for bytes in [1, 1_010, 1_011, 1_023, 1_024] {
        let unique = ulid::Ulid::generate().to_string();
        let key: String = unique.chars().cycle().take(bytes).collect();
        for version in ["1", "2"] {
            let version = ObjectVersion::Id(format!("{unique}{version}"));
            let object = ObjectRef { bucket: "contract".to_owned(), key: key.clone(), version };
            ended(ledger, Some(&app_id), &object, T0, Some(ReasonCode::TooLarge)).await;
            let found = good(files.of_version(&object.bucket, &object.key, object.version.as_str()).await);
            assert_eq!(found.len(), 1);
        }
    }
    for limit in [1, 3, 100] {
        assert_eq!(all(files, &app_id, 0, None, limit).await.len(), 10);
        assert_eq!(all_failed(files, Some(&app_id), 0, T0 + 5, limit).await.len(), 10);
    }
}

/// Files are listed newest first, through pages of any size, and only the requested ones.
pub async fn files_are_listed_newest_first(ledger: &impl Ledger, files: &impl Files) {
    let (app_id, other) = (fresh_app(), fresh_app());
    for i in 0..7 {
        let reason = (i % 2 == 0).then_some(ReasonCode::GzipTruncated);
        ended(ledger, Some(&app_id), &object(&app_id, &i.to_string()), T0 + i, reason).await;
    }
    ended(ledger, Some(&other), &object(&other, "x"), T0, None).await;
    let keys = |rows: Vec<FileRow>| rows.into_iter().map(|row| row.created_ms - T0).collect::<Vec<_>>();
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(
            keys(all(files, &app_id, 0, None, limit).await),
            [6, 5, 4, 3, 2, 1, 0],
            "pages of {limit}"
        );
        let failed = all(files, &app_id, T0 + 1, Some(FileStatus::Failed), limit).await;
        assert_eq!(keys(failed), [6, 4, 2], "pages of {limit}");
    }
    let nonsense = FilePosition("nonsense".to_owned());
    let refused = files.of_app(&app_id, 0, None, 10, Some(&nonsense)).await.map_err(|fault| fault.class);
    assert!(matches!(refused, Err(FaultClass::Permanent)));
}

/// A key has all its objects, each with its result, and its bad records in order.
pub async fn a_key_has_its_objects_and_their_bad_records(ledger: &impl Ledger, files: &impl Files) {
    let app_id = fresh_app();
    let first = object(&app_id, "key with ü");
    let second = ObjectRef { version: ObjectVersion::ETag("second".to_owned()), ..first.clone() };
    let lease = ended(ledger, Some(&app_id), &first, T0, Some(ReasonCode::TooLarge)).await;
    ended(ledger, Some(&app_id), &second, T0 + 1, None).await;
    let range = Quarantined {
        ordinal: 5_000_000_000,
        last_ordinal: 5_000_000_009,
        count: 7,
        reason: QuarantineReason::TooDeep,
        reasons: BTreeMap::from([(QuarantineReason::InvalidUtf8, 3), (QuarantineReason::TooDeep, 4)]),
        start: 70,
        end: 80,
        sample: "first of many".to_owned(),
    };
    let bad: Vec<Quarantined> = (0..5)
        .map(|i| {
            let bad = BadRecord {
                ordinal: i * 1_000_000_000,
                reason: QuarantineReason::BrokenJson,
                start: i,
                end: i + 1,
            };
            Quarantined::single(bad, format!("bad {i} ü"))
        })
        .chain([range])
        .collect();
    good(ledger.quarantine(&lease, &bad).await);
    let mut rows = of_key(files, &first.bucket, &first.key).await;
    rows.sort_by_key(|row| row.created_ms);
    let objects: Vec<_> = rows.iter().map(|row| row.object.clone()).collect();
    assert_eq!(objects, [Some(first.clone()), Some(second.clone())]);
    assert_eq!(rows[0].reason.as_ref().map(|reason| reason.code), Some(ReasonCode::TooLarge));
    assert_eq!(of_key(files, &first.bucket, "logs/unknown/x").await, []);
    for limit in [1, 2, 5, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = good(files.quarantined(&first, limit, after).await);
            found.extend(page.rows);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, bad, "pages of {limit}");
    }
    assert_eq!(good(files.quarantined(&second, 10, None).await).rows, []);
}

/// An owner's list of a key depends on its own files alone, and any list of a key ends without a position.
pub async fn a_list_by_key_depends_on_its_owners_files_alone(ledger: &impl Ledger, files: &impl Files) {
    let (mine, theirs, none_of_them) = (fresh_app(), fresh_app(), fresh_app());
    let key = object(&mine, "shared").key;
    for (name, app_id) in [("a", &theirs), ("b", &mine), ("c", &theirs), ("d", &mine), ("e", &theirs)] {
        ended(ledger, Some(app_id), &ObjectRef { key: key.clone(), ..object(&mine, name) }, T0, None).await;
    }
    let pages = async |key: &str, owner: Option<Owner<'_>>, limit: u32| {
        let (mut pages, mut after): (Vec<Vec<String>>, Option<FilePosition>) = (Vec::new(), None);
        loop {
            let page = good(files.of_key("contract", key, owner, limit, after.as_ref()).await);
            let objects = page.rows.into_iter().filter_map(|row| row.object);
            let mut versions: Vec<_> = objects.map(|object| object.version.as_str().to_owned()).collect();
            versions.sort_unstable();
            pages.push(versions);
            after = page.next;
            if let (Some(_), Some(FilePosition(after))) = (owner, &after) {
                assert!(["v-a", "v-c", "v-e"].iter().all(|version| !after.contains(version)), "{after}");
            }
            if after.is_none() {
                return pages;
            }
        }
    };
    let of = |app_id, registered_ms| Some(Owner { app_id, registered_ms });
    let none: [&[&str]; 1] = [&[]];
    assert_eq!(pages(&key, of(&mine, T0), 1).await.concat().len(), 2);
    assert_eq!(pages(&key, of(&mine, T0), 1).await.len(), 2, "no empty page at the end");
    assert_eq!(pages(&key, of(&mine, T0), 2).await, [["v-b", "v-d"]]);
    assert_eq!(pages(&key, of(&mine, T0 + 1), 1).await, none, "an app registered later");
    assert_eq!(pages(&key, of(&none_of_them, 0), 1).await, none);
    assert_eq!(pages("logs/unknown/x", of(&mine, T0), 1).await, none);
    assert_eq!(pages(&key, None, 5).await, [["v-a", "v-b", "v-c", "v-d", "v-e"]]);
    assert_eq!(pages(&key, None, 2).await.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
}

/// A redriven file is due from its beginning, once, and its old worker cannot write any more.
pub async fn a_file_is_started_over_once(ledger: &impl Ledger, files: &impl Files) {
    let app_id = fresh_app();
    let object = object(&app_id, "again");
    let old = ended(ledger, Some(&app_id), &object, T0, Some(ReasonCode::AttemptsExhausted)).await;
    let rows = of_key(files, &object.bucket, &object.key).await;
    let at_once = futures::future::join_all((0..4).map(|_| files.redrive(&rows[0], T0 + 50))).await;
    assert_eq!(at_once.into_iter().map(good).filter(|redriven| *redriven).count(), 1);
    let row = good(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert_eq!((row.status, row.attempt, row.due_at_ms), (FileStatus::Pending, 0, Some(T0 + 50)));
    assert_eq!((&row.reason, row.checkpoint, row.processed_ms), (&None, Checkpoint::default(), None));
    let late = good(ledger.find(&object).await).map(|row| row.fence);
    assert!(late > Some(old.fence));
    ended(ledger, Some(&app_id), &object, T0 + 60, None).await;
    let row = good(ledger.find(&object).await).unwrap_or_else(|| panic!("no row"));
    assert_eq!((row.status, row.attempt), (FileStatus::Completed, 1));
}
