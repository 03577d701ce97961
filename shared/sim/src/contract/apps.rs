//! The contract of the table of apps.

use std::collections::BTreeMap;

use logferry_core::model::app::{App, AppId, FlushSetting, Scope};
use logferry_core::model::fault::Fault;
use logferry_core::model::level::Level;
use logferry_core::model::time::Day;
use logferry_core::ports::app_admin::{AppAdmin, AppChange, Job, JobKind, KeyAdded, Registered};
use logferry_core::ports::apps::{KeyRow, Repeatable};
use logferry_core::ports::erasures::{ErasePosition, Erasure, ErasureKey, Erasures};
use serde_json::json;

use super::T0;

fn good<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn fresh_app() -> App {
    let id = format!("a{}", ulid::Ulid::generate().to_string().to_lowercase());
    App {
        health_checks: json!(["https://example.com/"]),
        ..App::new(id.parse().unwrap_or_else(|error| panic!("{id}: {error}")), "A shop ü", T0)
    }
}

fn fresh_key(app_id: &AppId) -> KeyRow {
    let key_id = ulid::Ulid::generate().to_string().to_lowercase();
    KeyRow {
        name: Some("a key ü".to_owned()),
        scopes: [Scope::Read].into(),
        created_ms: Some(T0),
        repeatable: Some(Repeatable { nonce: [1; 16], body_hash: [2; 32] }),
        ..KeyRow::with_all_scopes(key_id, app_id.clone(), [9; 32])
    }
}

fn job(app: &App, kind: JobKind, before_ms: i64) -> Job {
    Job {
        app_id: app.app_id.clone(),
        registered_ms: app.registered_ms,
        kind,
        before_ms,
        future_bound_ms: None,
        due_ms: T0 + 5,
        deleted: 0,
        last_pass: false,
    }
}

async fn jobs_of(apps: &impl AppAdmin, app: &App) -> Vec<Job> {
    good(apps.jobs().await).into_iter().filter(|job| job.app_id == app.app_id).collect()
}

/// A registered app is found by its id and by its key, and its id is taken.
pub async fn an_app_is_registered_once_and_found(apps: &impl AppAdmin) {
    let (app, other) = (fresh_app(), fresh_app());
    let key = fresh_key(&app.app_id);
    assert_eq!(good(apps.find(&app.app_id).await), None);
    assert_eq!(good(apps.register(&app, &key).await), Registered::Yes);
    assert_eq!(good(apps.register(&app, &fresh_key(&app.app_id)).await), Registered::Taken);
    assert_eq!(good(apps.register(&other, &fresh_key(&other.app_id)).await), Registered::Yes);
    assert_eq!(good(apps.find(&app.app_id).await), Some(app.clone()));
    assert_eq!(good(apps.find_key(&key.key_id).await), Some(key.clone()));
    assert_eq!(good(apps.keys(&app.app_id).await), [key]);
    let all = good(apps.list().await);
    assert!(all.contains(&app) && all.contains(&other));
    assert!(all.is_sorted_by_key(|app| app.app_id.clone()));
}

/// Only the named settings change, and only of the given app.
pub async fn settings_change_one_by_one(apps: &impl AppAdmin) {
    let mut app = fresh_app();
    good(apps.register(&app, &fresh_key(&app.app_id)).await);
    app.name = "Another".to_owned();
    app.retention_days = Some(7);
    let change =
        AppChange { name: Some(app.name.clone()), retention_days: Some(Some(7)), ..AppChange::default() };
    assert_eq!(good(apps.change(&app.app_id, T0, &change).await), Some(app.clone()));
    app.retention_days = None;
    app.flush = FlushSetting { enabled: false, min_level: Level::Warn };
    app.health_checks = json!([]);
    let change = AppChange {
        retention_days: Some(None),
        flush: Some(app.flush),
        health_checks: Some(json!([])),
        name: None,
    };
    assert_eq!(good(apps.change(&app.app_id, T0, &change).await), Some(app.clone()));
    assert_eq!(good(apps.change(&app.app_id, T0, &AppChange::default()).await), Some(app.clone()));
    assert_eq!(good(apps.change(&app.app_id, T0 - 1, &change).await), None);
    assert_eq!(good(apps.change(&fresh_app().app_id, T0, &change).await), None);
    assert_eq!(good(apps.find(&app.app_id).await), Some(app));
}

/// There are never more keys than allowed, even with concurrent requests.
pub async fn keys_come_and_go_and_are_never_too_many(apps: &impl AppAdmin) {
    let app = fresh_app();
    let first = fresh_key(&app.app_id);
    good(apps.register(&app, &first).await);
    let asked = (0..6).map(|_| fresh_key(&app.app_id)).collect::<Vec<_>>();
    let answers = futures::future::join_all(asked.iter().map(|key| apps.add_key(key, T0, 2))).await;
    let answers: Vec<_> = answers.into_iter().map(good).collect();
    assert_eq!(answers.iter().filter(|answer| **answer == KeyAdded::Yes).count(), 1);
    assert!(answers.iter().all(|answer| *answer != KeyAdded::NoApp));
    assert_eq!(good(apps.keys(&app.app_id).await).len(), 2);
    assert_eq!(good(apps.add_key(&first, T0, 5).await), KeyAdded::IdTaken);
    assert_eq!(good(apps.add_key(&fresh_key(&app.app_id), T0 - 1, 5).await), KeyAdded::NoApp);

    let other = fresh_app();
    good(apps.register(&other, &fresh_key(&other.app_id)).await);
    assert!(!good(apps.revoke_key(&other.app_id, &first.key_id).await), "a key of another app");
    assert!(good(apps.revoke_key(&app.app_id, &first.key_id).await));
    assert!(!good(apps.revoke_key(&app.app_id, &first.key_id).await));
    assert_eq!(good(apps.find_key(&first.key_id).await), None);
    for key in good(apps.keys(&app.app_id).await) {
        assert!(good(apps.revoke_key(&app.app_id, &key.key_id).await));
    }
    assert_eq!(good(apps.keys(&app.app_id).await), []);
    assert_eq!(good(apps.add_key(&first, T0, 2).await), KeyAdded::Yes);
}

/// A key whose id another instance has just found unknown is shown by that instance.
pub async fn a_key_is_shown_where_its_id_was_unknown(apps: &impl AppAdmin, other: &impl AppAdmin) {
    let app = fresh_app();
    let (first, second) = (fresh_key(&app.app_id), fresh_key(&app.app_id));
    for key in [&first, &second] {
        assert_eq!(good(other.find_key(&key.key_id).await), None);
        assert_eq!(good(other.find_key_now(&key.key_id).await), None);
    }
    good(apps.register(&app, &first).await);
    good(apps.add_key(&second, T0, 2).await);
    for key in [&first, &second] {
        assert_eq!(good(other.find_key_now(&key.key_id).await).as_ref(), Some(key));
    }
    assert_eq!(good(other.keys(&app.app_id).await), good(apps.keys(&app.app_id).await));
    assert_eq!(good(other.keys(&app.app_id).await).len(), 2);
}

/// A deleted app leaves only a job. Its registration time cannot be reused.
pub async fn a_deleted_app_leaves_a_job(apps: &impl AppAdmin) {
    let app = fresh_app();
    let keys = [fresh_key(&app.app_id), fresh_key(&app.app_id)];
    good(apps.register(&app, &keys[0]).await);
    good(apps.add_key(&keys[1], T0, 2).await);
    let job = job(&app, JobKind::Delete, T0);
    let mut earlier = app.clone();
    earlier.registered_ms -= 1;
    assert!(!good(apps.delete(&earlier, &job).await), "another app of this id");
    assert!(good(apps.delete(&app, &job).await));
    assert!(!good(apps.delete(&app, &job).await));
    assert_eq!(good(apps.find(&app.app_id).await), None);
    for key in &keys {
        assert_eq!(good(apps.find_key(&key.key_id).await), None);
    }
    assert_eq!(jobs_of(apps, &app).await, std::slice::from_ref(&job));
    assert_eq!(good(apps.register(&app, &keys[0]).await), Registered::EpochInUse);
    let later = App { registered_ms: T0 + 1, ..app.clone() };
    assert_eq!(good(apps.register(&later, &keys[0]).await), Registered::Yes);
}

/// A watermark only rises, and creates a job that one worker at a time holds.
pub async fn a_watermark_only_rises_and_its_job_has_one_holder(apps: &impl AppAdmin) {
    let app = fresh_app();
    assert_eq!(good(apps.prune(&job(&app, JobKind::Prune, T0)).await), None);
    good(apps.register(&app, &fresh_key(&app.app_id)).await);
    let higher = job(&app, JobKind::Prune, T0 + 10);
    assert_eq!(good(apps.prune(&higher).await).as_ref(), Some(&higher));
    assert_eq!(good(apps.prune(&job(&app, JobKind::Prune, T0)).await).as_ref(), Some(&higher));
    let found = good(apps.find(&app.app_id).await);
    assert_eq!(found.and_then(|app| app.pruned_before_ms), Some(T0 + 10));
    assert_eq!(jobs_of(apps, &app).await, std::slice::from_ref(&higher));

    let held = Job { due_ms: T0 + 99, deleted: 7, last_pass: true, ..higher.clone() };
    assert!(good(apps.save_job(&held, higher.due_ms).await));
    assert!(!good(apps.save_job(&held, higher.due_ms).await), "another worker holds it");
    good(apps.end_job(&held, higher.due_ms).await);
    assert_eq!(jobs_of(apps, &app).await, std::slice::from_ref(&held));
    good(apps.end_job(&held, held.due_ms).await);
    assert_eq!(jobs_of(apps, &app).await, []);
    assert!(!good(apps.save_job(&held, held.due_ms).await), "it is finished");
}

/// A prune replaces an unfinished one and keeps the larger bound in the future, until the watermark reaches it
/// or a pass was complete.
pub async fn a_prune_keeps_the_bound_of_the_unfinished_one(apps: &impl AppAdmin) {
    let app = fresh_app();
    good(apps.register(&app, &fresh_key(&app.app_id)).await);
    let hour = 3_600_000;
    let bounds = [
        (T0, Some(T0 + 10 * hour), T0, Some(T0 + 10 * hour)),
        (T0 + 1, None, T0 + 1, Some(T0 + 10 * hour)),
        (T0 + 2, Some(T0 + hour), T0 + 2, Some(T0 + 10 * hour)),
        (T0 + 3, Some(T0 + 20 * hour), T0 + 3, Some(T0 + 20 * hour)),
        // The clock of another instance may be slower.
        (T0 + 1, Some(T0 + 30 * hour), T0 + 3, Some(T0 + 30 * hour)),
        (T0 + 1, None, T0 + 3, Some(T0 + 30 * hour)),
        (T0 + 30 * hour, None, T0 + 30 * hour, None),
    ];
    for (asked_before_ms, asked_bound_ms, before_ms, future_bound_ms) in bounds {
        let asked = Job { future_bound_ms: asked_bound_ms, ..job(&app, JobKind::Prune, asked_before_ms) };
        let stored = Job { before_ms, future_bound_ms, ..asked.clone() };
        assert_eq!(good(apps.prune(&asked).await).as_ref(), Some(&stored));
        assert_eq!(jobs_of(apps, &app).await, [stored]);
    }
    let bound_ms = Some(T0 + 40 * hour);
    let open = Job { future_bound_ms: bound_ms, ..job(&app, JobKind::Prune, T0 + 30 * hour) };
    assert_eq!(good(apps.prune(&open).await).as_ref(), Some(&open));
    let complete = Job { last_pass: true, ..open.clone() };
    assert!(good(apps.save_job(&complete, open.due_ms).await));
    let next = Job { future_bound_ms: None, ..open };
    assert_eq!(good(apps.prune(&next).await).as_ref(), Some(&next));
    assert_eq!(jobs_of(apps, &app).await, [next]);
    let pruned_to_ms = good(apps.find(&app.app_id).await).and_then(|app| app.pruned_before_ms);
    assert_eq!(pruned_to_ms, Some(T0 + 30 * hour));
}

/// Of many prunes at once, the largest bound holds.
pub async fn of_prunes_at_once_the_largest_bound_holds(apps: &impl AppAdmin) {
    let app = fresh_app();
    good(apps.register(&app, &fresh_key(&app.app_id)).await);
    let asked: Vec<_> = [Some(4), None, Some(9), Some(2)]
        .map(|hours| hours.map(|hours| T0 + hours * 3_600_000))
        .map(|future_bound_ms| Job { future_bound_ms, ..job(&app, JobKind::Prune, T0) })
        .into();
    let answers = futures::future::join_all(asked.iter().map(|job| apps.prune(job))).await;
    assert!(answers.into_iter().all(|answer| good(answer).is_some()));
    assert_eq!(jobs_of(apps, &app).await, [asked[2].clone()]);
}

/// An erasure is begun once, has one holder, and is kept when it is complete.
pub async fn an_erasure_has_one_holder_and_is_kept_when_complete(apps: &impl Erasures) {
    let key = ErasureKey::of(&fresh_app(), "0123456789abcdef0123456789abcdef");
    let filter = BTreeMap::from([("search".to_owned(), "x".to_owned())]);
    let job = Erasure::new(key.clone(), filter, 1, 2, T0);
    let unfinished = async || {
        let all = good(apps.erasures().await);
        all.into_iter().filter(|other| other.key == key).collect::<Vec<_>>()
    };
    assert_eq!(good(apps.erasure(&key).await), None);
    assert!(good(apps.begin_erasure(&job).await));
    assert!(!good(apps.begin_erasure(&job).await), "it is unfinished");
    assert_eq!(unfinished().await, std::slice::from_ref(&job));

    let position = Some(ErasePosition { day: Day(3), shard: 2, after: Some("at".to_owned()) });
    let held = Erasure { due_ms: T0 + 9, position, left: 5, records: 7, ..job.clone() };
    assert!(good(apps.save_erasure(&held, T0).await));
    assert!(!good(apps.save_erasure(&held, T0).await), "another worker holds it");
    assert_eq!(good(apps.erasure(&key).await), Some(held.clone()));

    let complete = Erasure { completed_ms: Some(T0 + 20), position: None, ..held.clone() };
    assert!(!good(apps.save_erasure(&complete, T0).await));
    assert!(good(apps.save_erasure(&complete, T0 + 9).await));
    assert_eq!(unfinished().await, []);
    assert_eq!(good(apps.erasure(&key).await), Some(complete));
    assert!(!good(apps.save_erasure(&held, T0 + 9).await), "it is finished");
    assert!(good(apps.begin_erasure(&job).await), "the same again");
    assert_eq!(good(apps.erasure(&key).await), Some(job));
}
