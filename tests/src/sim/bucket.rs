//! Lists of the bucket, and bookmarks.

use logferry_domain::fault::Fault;
use logferry_domain::object::{ObjectRef, ObjectVersion};
use logferry_ports::bucket::{ListPage, ListPosition, Listed};
use logferry_ports::{Bookmarks, Listing};

use super::SimCloud;
use crate::contract::bucket::Upload;

/// Objects on a page: few, so that there are several.
const PAGE: usize = 3;

impl Listing for SimCloud {
    async fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> Result<ListPage, Fault> {
        self.call("ListObjectVersions", |state| {
            let mut all = Vec::new();
            for ((in_bucket, key), versions) in &state.objects {
                if in_bucket != bucket || !key.starts_with(prefix) {
                    continue;
                }
                // Of a key the newest comes first.
                for stored in versions.iter().rev() {
                    let version = stored.meta.version_id.clone().unwrap_or_default();
                    let object = ObjectRef {
                        bucket: bucket.to_owned(),
                        key: key.clone(),
                        version: ObjectVersion::Id(version),
                    };
                    all.push(Listed { object, last_modified_ms: stored.meta.last_modified_ms });
                }
            }
            let seen = after.map_or(0, |after| {
                let through = |listed: &Listed| match &after.version {
                    Some(version) => {
                        listed.object.key == after.key && listed.object.version.as_str() == version
                    }
                    None => listed.object.key <= after.key,
                };
                all.iter().rposition(through).map_or_else(
                    || all.iter().filter(|listed| listed.object.key <= after.key).count(),
                    |last| last + 1,
                )
            });
            let left = all.split_off(seen.min(all.len()));
            let objects: Vec<_> = left.iter().take(PAGE).cloned().collect();
            let next = (left.len() > PAGE).then(|| objects.last()).flatten().map(|last| ListPosition {
                key: last.object.key.clone(),
                version: Some(last.object.version.as_str().to_owned()),
            });
            Ok(ListPage { objects, next })
        })
        .await
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
    async fn bookmark(&self, name: &str) -> Result<Option<ListPosition>, Fault> {
        self.call("GetItem", |state| Ok(state.bookmarks.get(name).cloned())).await
    }

    async fn set_bookmark(&self, name: &str, position: Option<&ListPosition>, _: i64) -> Result<(), Fault> {
        self.call("PutItem", |state| {
            match position {
                Some(position) => state.bookmarks.insert(name.to_owned(), position.clone()),
                None => state.bookmarks.remove(name),
            };
            Ok(())
        })
        .await
    }
}
