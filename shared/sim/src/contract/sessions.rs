//! The promises of upload sessions.

use logferry_core::model::app::AppId;
use logferry_core::model::object_key::Subject;
use logferry_core::model::time::MS_PER_DAY;
use logferry_core::uploads::session::{Session, SessionStatus};
use logferry_core::uploads::table::{OpenLimits, Opened, Rate, Sessions};
use ulid::Ulid;

use super::T0;
use super::records::{fresh_app, good};

const LIMITS: OpenLimits = OpenLimits { per_app: 3, per_subject: 2 };

fn subject(name: &str) -> Subject {
    name.parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn session(app_id: &AppId, name: &str) -> Session {
    Session {
        upload_id: format!("upload-{}", Ulid::generate()),
        app_id: app_id.clone(),
        registered_ms: T0,
        subject: subject(name),
        bucket: "bucket".to_owned(),
        key: format!("uploads/{app_id}/{name}/{}/film.mp4", Ulid::generate()),
        filename: "film.mp4".to_owned(),
        content_type: "video/mp4".to_owned(),
        size_bytes: Some(100),
        max_bytes: 1_000,
        status: SessionStatus::Open,
        created_ms: T0,
        expires_ms: T0 + 1_000,
    }
}

/// A session belongs to its app and ends once. Completed takes precedence over aborted.
pub async fn a_session_is_found_by_its_app_alone_and_ends_once(table: &impl Sessions) {
    let (app_id, other) = (fresh_app(), fresh_app());
    let session = session(&app_id, "ann");
    assert_eq!(good(table.find(&app_id, &session.upload_id).await), None);
    assert_eq!(good(table.open(&session, LIMITS).await), Opened::Yes);
    assert_eq!(good(table.find(&app_id, &session.upload_id).await), Some(session.clone()));
    assert_eq!(good(table.find(&other, &session.upload_id).await), None);
    let mut ends = Vec::new();
    for status in [SessionStatus::Aborted, SessionStatus::Completed, SessionStatus::Aborted] {
        let first = good(table.end(&session, status, T0).await);
        let now = good(table.find(&app_id, &session.upload_id).await).map(|session| session.status);
        ends.push((first, now));
    }
    let (aborted, completed) = (Some(SessionStatus::Aborted), Some(SessionStatus::Completed));
    assert_eq!(ends, [(true, aborted), (false, completed), (false, completed)]);
}

/// The limits of an app and of a subject bound the number of open sessions.
pub async fn open_sessions_stay_within_their_limits(table: &impl Sessions) {
    let app_id = fresh_app();
    let ann = [(); 3].map(|()| session(&app_id, "ann"));
    let bob = [(); 2].map(|()| session(&app_id, "bob"));
    let mut opened = Vec::new();
    for session in ann.iter().chain(&bob) {
        opened.push(good(table.open(session, LIMITS).await));
    }
    use Opened::{TooManyOfApp, TooManyOfSubject, Yes};
    assert_eq!(opened, [Yes, Yes, TooManyOfSubject, Yes, TooManyOfApp]);
    good(table.end(&ann[0], SessionStatus::Completed, T0).await);
    assert_eq!(good(table.open(&ann[2], LIMITS).await), Yes, "one of them has ended");
    let later = Session { registered_ms: T0 + 1, ..session(&app_id, "ann") };
    assert_eq!(good(table.open(&later, LIMITS).await), Yes, "of an app registered later");
}

/// Overdue sessions are returned page by page, the longest overdue first.
pub async fn overdue_sessions_are_returned_in_pages(table: &impl Sessions) {
    // In the future, so that no sweep ends them.
    let (app_id, expires_ms) = (fresh_app(), T0 + 10_000 * MS_PER_DAY);
    let mut ids = Vec::new();
    for number in 0..3 {
        let session = Session { expires_ms: expires_ms - number, ..session(&app_id, &format!("s{number}")) };
        assert_eq!(good(table.open(&session, LIMITS).await), Opened::Yes);
        ids.insert(0, session.upload_id);
    }
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = good(table.overdue(expires_ms, 2, after.as_ref()).await);
        after = page.sessions.last().filter(|_| page.more).cloned();
        let own = page.sessions.into_iter().filter(|session| session.app_id == app_id);
        found.extend(own.map(|session| session.upload_id));
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, ids);
}

/// An app's sessions are listed page by page, ordered by upload id.
pub async fn an_apps_sessions_are_listed_in_pages(table: &impl Sessions) {
    let app_id = fresh_app();
    let mut ids = Vec::new();
    for name in ["ann", "bob", "cid"] {
        let session = session(&app_id, name);
        assert_eq!(good(table.open(&session, LIMITS).await), Opened::Yes);
        ids.push(session.upload_id);
    }
    ids.sort();
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = good(table.list(&app_id, None, 2, after.as_deref()).await);
        listed.extend(page.sessions.into_iter().map(|session| session.upload_id));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, ids);
}

/// Requests are counted up to the limit per minute, each rate separately.
pub async fn requests_are_counted_by_the_minute(table: &impl Sessions) {
    let app_id = fresh_app();
    let holder = Rate::LogUrlsOf("key".to_owned());
    let mut counted = Vec::new();
    for (rate, requests, now_ms) in [
        (&Rate::Uploads, 4, T0),
        (&Rate::Uploads, 2, T0 + 1),
        (&Rate::Uploads, 1, T0 + 2),
        (&Rate::LogUrls, 5, T0),
        (&holder, 5, T0),
        (&Rate::Uploads, 5, T0 + 60_000),
    ] {
        counted.push(good(table.count(&app_id, rate, requests, 5, now_ms).await));
    }
    assert_eq!(counted, [true, false, true, true, true, true]);
}
