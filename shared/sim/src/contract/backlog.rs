//! The contract of due rows, and of finding objects without a row.

use std::collections::BTreeSet;

use logferry_core::ledger::backlog::{Backlog, Queue};
use logferry_core::ledger::claim::Ledger;
use logferry_core::ledger::row::{FileRow, FileStatus, Grant};
use logferry_core::logfile::outcome::{Reason, ReasonCode};
use logferry_core::model::fault::Fault;
use logferry_core::model::object::ObjectRef;

use super::T0;
use super::ledger::{claim, claimed, fresh};

fn good<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// All due rows of a queue with a key prefix, shard by shard, page by page.
async fn due(backlog: &impl Backlog, queue: Queue, prefix: &str, now_ms: i64) -> Vec<FileRow> {
    let mut all = Vec::new();
    for shard in 0..backlog.shards() {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = good(backlog.due(queue, shard, now_ms, after.as_ref()).await);
            rows.extend(page.rows);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert!(rows.is_sorted_by_key(|row| row.due_at_ms), "the oldest of a shard comes first");
        all.extend(rows.into_iter().filter(|row| row.key.starts_with(prefix)));
    }
    all
}

fn keys(rows: &[FileRow]) -> BTreeSet<String> {
    rows.iter().map(|row| row.key.clone()).collect()
}

/// Grants and files have separate queues. Each row is due once, over any number of pages. A postponed row
/// comes later, an ended one never.
pub async fn grants_and_files_are_due_in_queues_of_their_own(ledger: &impl Ledger, backlog: &impl Backlog) {
    let (object, app_id) = fresh("due");
    let prefix = format!("{}/", object.key);
    let grant = |n: i64| Grant {
        bucket: object.bucket.clone(),
        key: format!("{prefix}grant-{n:02}"),
        app_id: app_id.clone(),
        meeting: None,
        size_bytes: None,
        registered_ms: T0,
        used: None,
        created_ms: T0,
        expires_ms: T0 + (n * 7 % 40) * 1_000,
    };
    for n in 0..40 {
        good(ledger.grant(&grant(n)).await);
    }
    let file = ObjectRef { key: format!("{prefix}file"), ..object.clone() };
    claimed(ledger, &claim(&file, &app_id, T0 - 60_000)).await;

    let now_ms = T0 + 19_000;
    let expected: BTreeSet<_> =
        (0..40).map(grant).filter(|grant| grant.expires_ms <= now_ms).map(|grant| grant.key).collect();
    let grants = due(backlog, Queue::Grants, &prefix, now_ms).await;
    assert_eq!((grants.len(), keys(&grants)), (20, expected));
    let files = due(backlog, Queue::Files, &prefix, now_ms).await;
    assert_eq!((files.len(), files[0].object.as_ref()), (1, Some(&file)));
    assert_eq!(due(backlog, Queue::Files, &prefix, T0 - 1).await, []);

    let first = &grants[0];
    assert_eq!(first.url_expires_ms, first.due_at_ms);
    assert!(good(backlog.postpone(first, now_ms + 1).await));
    assert!(!good(backlog.postpone(first, now_ms + 2).await), "it has changed since it was read");
    let reason = Reason { code: ReasonCode::NeverUploaded, message: "unused".to_owned() };
    assert!(!good(backlog.give_up(first, &reason, now_ms).await), "it has changed since it was read");
    assert!(good(backlog.give_up(&grants[1], &reason, now_ms).await));
    assert_eq!(due(backlog, Queue::Grants, &prefix, now_ms).await.len(), 18);
    let ended = good(ledger.find_waiting(&grants[1].bucket, &grants[1].key).await);
    assert_eq!(ended.map(|row| (row.status, row.reason)), Some((FileStatus::Failed, Some(reason))));
    let later = due(backlog, Queue::Grants, &prefix, now_ms + 1).await;
    let postponed = later.iter().find(|row| row.key == first.key).map(|row| (row.status, row.url_expires_ms));
    assert_eq!(postponed, Some((FileStatus::Pending, first.url_expires_ms)), "its URL expires when it did");
    assert_eq!(later.len(), 19);
}

/// Of any number of objects, those without a row are returned.
pub async fn objects_without_a_row_are_returned(ledger: &impl Ledger, backlog: &impl Backlog) {
    let (object, app_id) = fresh("unknown");
    let objects: Vec<_> =
        (0..130).map(|n| ObjectRef { key: format!("{}-{n}", object.key), ..object.clone() }).collect();
    for known in objects.iter().step_by(13) {
        claimed(ledger, &claim(known, &app_id, T0)).await;
    }
    let unknown = good(backlog.unknown(objects.clone()).await);
    let expected: Vec<_> =
        objects.iter().enumerate().filter(|(n, _)| n % 13 != 0).map(|(_, object)| object.clone()).collect();
    assert_eq!(unknown, expected);
    assert_eq!(good(backlog.unknown(Vec::new()).await), []);
}
