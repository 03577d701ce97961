//! What is in the bucket, and how far somebody got in looking through it.

use crate::model::fault::Fault;
use crate::model::object::{ObjectRef, ObjectVersion};

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub object: ObjectRef,
    pub last_modified_ms: i64,
}

impl Listed {
    /// The place right behind this object. A list calls an object without a version id `null`.
    #[must_use]
    pub fn position(&self) -> ListPosition {
        let version = match &self.object.version {
            ObjectVersion::Id(id) => id.clone(),
            ObjectVersion::ETag(_) => "null".to_owned(),
        };
        ListPosition { key: self.object.key.clone(), version: Some(version) }
    }
}

/// A place in a list: everything up to it has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition {
    pub key: String,
    /// Of that key's versions, the last one seen; `None`: all of them.
    pub version: Option<String>,
}

/// A page of a list, in the order of the keys. It may be empty and not be the last: S3 counts markers
/// of deletions, which are no objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    pub objects: Vec<Listed>,
    /// `None`: that was the end.
    pub next: Option<ListPosition>,
}

/// Lists all versions of objects.
pub trait Listing: Send + Sync {
    /// Objects under a prefix, behind a position.
    ///
    /// # Errors
    /// The read failed.
    fn list(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&ListPosition>,
    ) -> impl Future<Output = Result<ListPage, Fault>> + Send;
}

/// How far somebody got in looking through a part of the bucket, and when it is gone on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// `None`: the beginning.
    pub at: Option<ListPosition>,
    /// When this look began (ms).
    pub began_ms: i64,
    /// When the next one is due (ms).
    pub due_ms: i64,
}

/// Remembers, by name.
pub trait Bookmarks: Send + Sync {
    /// The bookmarks of these names, all different, in their order; `None` where there is none, or none
    /// any more. A moment behind.
    ///
    /// # Errors
    /// The read failed.
    fn bookmarks(
        &self,
        names: &[String],
    ) -> impl Future<Output = Result<Vec<Option<Bookmark>>, Fault>> + Send;

    /// # Errors
    /// The write failed.
    fn set_bookmark(
        &self,
        name: &str,
        bookmark: &Bookmark,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
