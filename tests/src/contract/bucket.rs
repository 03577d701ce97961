//! The promises of looking through the bucket, and of remembering where that was.

use logferry_domain::fault::Fault;
use logferry_domain::object::{ObjectRef, ObjectVersion};
use logferry_ports::bucket::{ListPosition, Listed};
use logferry_ports::{Bookmarks, Listing};

use super::T0;

/// Stores an object in a versioned bucket.
pub trait Upload {
    fn bucket(&self) -> &str;
    fn upload(&self, key: &str) -> impl Future<Output = ObjectRef> + Send;
}

fn good<T>(result: Result<T, Fault>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

fn fresh() -> String {
    ulid::Ulid::generate().to_string()
}

/// All behind a position, page by page.
async fn all(store: &(impl Listing + Upload), prefix: &str, after: Option<ListPosition>) -> Vec<Listed> {
    let (mut found, mut at) = (Vec::new(), after);
    loop {
        let page = good(store.list(store.bucket(), prefix, at.as_ref()).await);
        found.extend(page.objects);
        match page.next {
            Some(next) => at = Some(next),
            None => return found,
        }
    }
}

/// A day's folder lists its objects in the order in which their keys were made, all versions of
/// each, and can be gone on with behind any of them.
pub async fn a_days_objects_are_listed_in_order_and_from_any_place(store: &(impl Listing + Upload)) {
    let root = format!("contract/{}", fresh());
    let folder = format!("{root}/2025/10/09/");
    let mut expected = Vec::new();
    for name in ["01A-a", "01B-ü +%", "01C-c", "01D", "01E/deeper", "01F"] {
        expected.push(store.upload(&format!("{folder}{name}")).await);
    }
    // Of a key the newest version comes first.
    expected.insert(2, store.upload(&expected[2].key).await);
    let other_day = store.upload(&format!("{root}/2025/10/10/01A-a")).await;
    store.upload(&format!("{root}/2025/1")).await;

    let listed = all(store, &folder, None).await;
    let objects: Vec<_> = listed.iter().map(|listed| listed.object.clone()).collect();
    assert_eq!(objects, expected);
    assert!(listed.iter().all(|listed| listed.last_modified_ms > 1_700_000_000_000));
    for (seen, object) in expected.iter().enumerate() {
        let ObjectVersion::Id(version) = &object.version else { panic!("{object:?} has no version") };
        let place = ListPosition { key: object.key.clone(), version: Some(version.clone()) };
        let behind = all(store, &folder, Some(place)).await;
        let behind: Vec<_> = behind.into_iter().map(|listed| listed.object).collect();
        assert_eq!(behind, expected[seen + 1..], "behind {object:?}");
        let whole_key = ListPosition { key: object.key.clone(), version: None };
        let behind = all(store, &folder, Some(whole_key)).await;
        let later: Vec<_> = expected.iter().filter(|later| later.key > object.key).cloned().collect();
        let behind: Vec<_> = behind.into_iter().map(|listed| listed.object).collect();
        assert_eq!(behind, later, "behind all of {}", object.key);
    }
    // A bookmark outlives what it stands at, and new objects come behind it.
    let between = ListPosition { key: format!("{folder}01C-gone"), version: Some("gone".to_owned()) };
    let behind = all(store, &folder, Some(between)).await;
    assert_eq!(behind.first().map(|listed| &listed.object), expected.get(4));
    let both: Vec<_> = all(store, &format!("{root}/2025/10/"), None).await;
    assert_eq!((both.len(), both.last().map(|listed| &listed.object)), (8, Some(&other_day)));
    assert_eq!(all(store, &format!("{root}/2026/"), None).await, []);
}

/// A bookmark is where it was put last, for its name alone, until it is taken away.
pub async fn a_bookmark_stays_where_it_was_put(store: &impl Bookmarks) {
    let (name, other) = (fresh(), fresh());
    let place = |key: &str, version: Option<&str>| ListPosition {
        key: key.to_owned(),
        version: version.map(str::to_owned),
    };
    assert_eq!(good(store.bookmark(&name).await), None);
    for at in [
        place("logs/a/2025/10/09/01A-ü", Some("v1")),
        place("logs/b", None),
        place("logs/c", Some("null")),
        place("logs/b", Some("v3")),
    ] {
        good(store.set_bookmark(&name, Some(&at), T0).await);
        assert_eq!(good(store.bookmark(&name).await), Some(at));
        assert_eq!(good(store.bookmark(&other).await), None);
    }
    for _ in 0..2 {
        good(store.set_bookmark(&name, None, T0).await);
        assert_eq!(good(store.bookmark(&name).await), None);
    }
}
