//! Lists of the bucket, and bookmarks.

use logferry_core::ledger::bucket::{Bookmark, Bookmarks, ListPage, ListPosition, Listed, Listing};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectRef, ObjectVersion};

use super::SimCloud;
use super::objects::Stored;
use crate::contract::bucket::Upload;

/// Entries per page: few, so that there are several pages, and some with delete markers only.
const PAGE: usize = 3;

impl Listing for SimCloud {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> Result<ListPage, Fault> {
        self.call("ListObjectVersions", |state| {
            let marker = after.and_then(|after| after.version.as_deref());
            if marker.is_some_and(|version| version != "null" && !version.starts_with('v')) {
                return Err(Fault::new(FaultClass::Permanent, "ListObjectVersions", "InvalidArgument"));
            }
            let of_bucket = state.objects.iter().filter(|((in_bucket, _), _)| in_bucket == bucket);
            let under = of_bucket.filter(|((_, key), _)| key.starts_with(prefix));
            // The newest version of a key comes first.
            let mut all: Vec<_> =
                under.flat_map(|((_, key), of_key)| of_key.iter().rev().map(move |s| (key, s))).collect();
            let seen = after.map_or(0, |after| {
                let through = |(key, stored): &(&String, &Stored)| match marker {
                    Some(version) => **key == after.key && stored.listed_as() == version,
                    None => **key <= after.key,
                };
                all.iter()
                    .rposition(through)
                    .map_or_else(|| all.iter().filter(|(key, _)| **key <= after.key).count(), |last| last + 1)
            });
            let left = all.split_off(seen.min(all.len()));
            let size = state.list_page.unwrap_or(PAGE);
            let page = &left[..left.len().min(size)];
            let next = page.last().filter(|_| left.len() > size).map(|(key, stored)| ListPosition {
                key: (*key).clone(),
                version: Some(stored.listed_as().to_owned()),
            });
            let listed = |(key, stored): &(&String, &Stored)| {
                let version = match &stored.meta.version_id {
                    Some(id) => ObjectVersion::Id(id.clone()),
                    None => ObjectVersion::ETag(stored.meta.etag.clone()),
                };
                let object = ObjectRef { bucket: bucket.to_owned(), key: (*key).clone(), version };
                Listed { object, last_modified_ms: stored.meta.last_modified_ms }
            };
            let objects = page.iter().filter(|(_, stored)| !stored.delete_marker).map(listed).collect();
            Ok(ListPage { objects, next })
        })
        .await
    }
}

impl SimCloud {
    /// Sets the number of entries per page; S3 has 1,000.
    pub fn list_pages_of(&self, entries: usize) {
        self.state().list_page = Some(entries);
    }
}

impl Upload for SimCloud {
    fn bucket(&self) -> &str {
        "contract"
    }

    async fn upload(&self, key: &str) -> ObjectRef {
        self.put_object("contract", key, "x")
    }
}

impl Bookmarks for SimCloud {
    async fn bookmarks(&self, names: &[String]) -> Result<Vec<Option<Bookmark>>, Fault> {
        self.call("BatchGetItem", |state| {
            Ok(names.iter().map(|name| state.bookmarks.get(name).cloned()).collect())
        })
        .await
    }

    async fn set_bookmark(&self, name: &str, bookmark: &Bookmark, _: i64) -> Result<(), Fault> {
        self.call("PutItem", |state| {
            state.bookmarks.insert(name.to_owned(), bookmark.clone());
            Ok(())
        })
        .await
    }
}
