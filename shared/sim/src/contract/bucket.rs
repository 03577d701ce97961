//! The contract of listing the bucket, and of bookmarks.

use logferry_core::ledger::bucket::{Bookmark, Bookmarks, ListPosition, Listed, Listing};
use logferry_core::model::fault::Fault;
use logferry_core::model::object::{ObjectRef, ObjectVersion};

use super::T0;

/// Stores an object.
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

/// All objects after a position, page by page.
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

/// A day's folder lists its objects in order of creation of their keys, with all versions of each. The
/// listing can continue after any of them.
pub async fn a_days_objects_are_listed_in_order_and_from_any_place(store: &(impl Listing + Upload)) {
    let root = format!("contract/{}", fresh());
    let folder = format!("{root}/2025/10/09/");
    let mut expected = Vec::new();
    for name in ["01A-a", "01B-ü +%", "01C-c", "01D", "01E/deeper", "01F"] {
        expected.push(store.upload(&format!("{folder}{name}")).await);
    }
    // The newest version of a key comes first.
    expected.insert(2, store.upload(&expected[2].key).await);
    let other_day = store.upload(&format!("{root}/2025/10/10/01A-a")).await;
    store.upload(&format!("{root}/2025/1")).await;

    let listed = all(store, &folder, None).await;
    let objects: Vec<_> = listed.iter().map(|listed| listed.object.clone()).collect();
    assert_eq!(objects, expected);
    assert!(listed.iter().all(|listed| listed.last_modified_ms > 1_700_000_000_000));
    for (seen, object) in expected.iter().enumerate() {
        assert!(matches!(object.version, ObjectVersion::Id(_)), "{object:?} has no version");
        let rest = all(store, &folder, Some(listed[seen].position())).await;
        let rest: Vec<_> = rest.into_iter().map(|listed| listed.object).collect();
        assert_eq!(rest, expected[seen + 1..], "after {object:?}");
        let whole_key = ListPosition { key: object.key.clone(), version: None };
        let rest = all(store, &folder, Some(whole_key)).await;
        let later: Vec<_> = expected.iter().filter(|later| later.key > object.key).cloned().collect();
        let rest: Vec<_> = rest.into_iter().map(|listed| listed.object).collect();
        assert_eq!(rest, later, "after all of {}", object.key);
    }
    // A bookmark outlives its object, and new objects come after it.
    let version = Some(expected[0].version.as_str().to_owned());
    let between = ListPosition { key: format!("{folder}01C-gone"), version };
    let rest = all(store, &folder, Some(between)).await;
    assert_eq!(rest.first().map(|listed| &listed.object), expected.get(4));
    let both: Vec<_> = all(store, &format!("{root}/2025/10/"), None).await;
    assert_eq!((both.len(), both.last().map(|listed| &listed.object)), (8, Some(&other_day)));
    assert_eq!(all(store, &format!("{root}/2026/"), None).await, []);
}

/// A bucket without versions can also be listed from any of its objects on.
pub async fn objects_without_a_version_are_listed_from_any_place(store: &(impl Listing + Upload)) {
    let folder = format!("contract/{}/", fresh());
    let mut expected = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        expected.push(store.upload(&format!("{folder}{name}")).await);
    }
    let listed = all(store, &folder, None).await;
    let objects: Vec<_> = listed.iter().map(|listed| listed.object.clone()).collect();
    assert_eq!(objects, expected);
    for (seen, at) in listed.iter().enumerate() {
        assert!(matches!(at.object.version, ObjectVersion::ETag(_)), "{at:?}");
        let rest = all(store, &folder, Some(at.position())).await;
        assert_eq!(rest, listed[seen + 1..], "after {at:?}");
    }
}

/// A bookmark keeps its last value, separately per name.
pub async fn a_bookmark_stays_where_it_was_put(store: &impl Bookmarks) {
    let names = [fresh(), fresh()];
    let place = |key: &str, version: Option<&str>| ListPosition {
        key: key.to_owned(),
        version: version.map(str::to_owned),
    };
    assert_eq!(good(store.bookmarks(&names).await), [None, None]);
    assert_eq!(good(store.bookmarks(&[]).await), []);
    for at in [
        Some(place("logs/a/2025/10/09/01A-ü", Some("v1"))),
        Some(place("logs/b", None)),
        Some(place("logs/c", Some("null"))),
        None,
        Some(place("logs/b", Some("v3"))),
    ] {
        let bookmark = Bookmark { at, began_ms: T0 - 7, due_ms: T0 + 9 };
        good(store.set_bookmark(&names[0], &bookmark, T0).await);
        assert_eq!(good(store.bookmarks(&names).await), [Some(bookmark), None]);
    }
    // More than one request may contain.
    let many: Vec<_> = (0..130).map(|n| format!("{}-{n}", names[0])).collect();
    let last = Bookmark { at: None, began_ms: T0, due_ms: T0 };
    good(store.set_bookmark(&many[129], &last, T0).await);
    let mut expected = vec![None; 130];
    expected[129] = Some(last);
    assert_eq!(good(store.bookmarks(&many).await), expected);
}
