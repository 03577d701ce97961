//! What is in the bucket, and how far somebody got in looking through it.

use logferry_domain::fault::Fault;
use logferry_domain::object::ObjectRef;

/// An object as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub object: ObjectRef,
    pub last_modified_ms: i64,
}

/// A place in a list: everything up to it has been seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPosition {
    pub key: String,
    /// Of that key's versions, the last one seen; `None`: all of them.
    pub version: Option<String>,
}

/// A page of a list, in the order of the keys.
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

/// Remembers positions by name.
pub trait Bookmarks: Send + Sync {
    /// # Errors
    /// The read failed.
    fn bookmark(&self, name: &str) -> impl Future<Output = Result<Option<ListPosition>, Fault>> + Send;

    /// `None`: the next look begins at the beginning.
    ///
    /// # Errors
    /// The write failed.
    fn set_bookmark(
        &self,
        name: &str,
        position: Option<&ListPosition>,
        now_ms: i64,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
}
