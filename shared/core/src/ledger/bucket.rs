//! Listing of the bucket, and its bookmarks.

use crate::model::fault::Fault;
use crate::model::object::{ObjectRef, ObjectVersion};

/// An object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub object: ObjectRef,
    pub last_modified_ms: i64,
}

impl Listed {
    /// Returns the position directly after this object. S3 lists objects without version id as `null`.
    #[must_use]
    pub fn position(&self) -> ListPosition {
        let version = match &self.object.version {
            ObjectVersion::Id(id) => id.clone(),
            ObjectVersion::ETag(_) => "null".to_owned(),
        };
        ListPosition { key: self.object.key.clone(), version: Some(version) }
    }
}

/// A position in a list: everything up to it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition {
    pub key: String,
    /// The last version of the key that was read; `None` means all of them.
    pub version: Option<String>,
}

/// A page of a list, in key order. It may be empty and still not be the last: S3 also counts delete
/// markers, which are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    pub objects: Vec<Listed>,
    /// `None` at the end.
    pub next: Option<ListPosition>,
}

/// Lists all versions of objects.
pub trait Listing: Send + Sync {
    /// Returns objects under a prefix, after a position.
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

/// Progress of a listing of a part of the bucket, and when it continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bookmark {
    /// `None` for the beginning.
    pub at: Option<ListPosition>,
    /// When this listing started (ms).
    pub began_ms: i64,
    /// When the next one is due (ms).
    pub due_ms: i64,
}

/// Stores bookmarks by name.
pub trait Bookmarks: Send + Sync {
    /// Returns the bookmarks of these names (all different), in order; `None` for a name without bookmark.
    /// Eventually consistent.
    ///
    /// # Errors
    /// The read failed.
    fn bookmarks(
        &self,
        names: &[String],
    ) -> impl Future<Output = Result<Vec<Option<Bookmark>>, Fault>> + Send;

    /// Stores a bookmark.
    ///
    /// # Errors
    /// The write failed.
    fn set_bookmark(
        &self,
        name: &str,
        bookmark: &Bookmark,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
