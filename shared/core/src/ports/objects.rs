//! Objects in the bucket.

use std::pin::Pin;

use crate::model::fault::Fault;
use crate::model::object::{ObjectMeta, ObjectRef};
use bytes::Bytes;
use futures::Stream;

/// The bytes of an object as they arrive.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Fault>> + Send>>;

/// Reads objects.
pub trait ObjectStore: Send + Sync {
    /// Returns the metadata of the object, or of the newest version of the key if `version_id` is `None`.
    ///
    /// # Errors
    /// `NotFound` if there is none.
    fn head(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> impl Future<Output = Result<ObjectMeta, Fault>> + Send;

    /// Tags a refused object: the bucket's lifecycle deletes it some days later. (Without a version,
    /// nothing is tagged: the key may have another object by now.)
    ///
    /// # Errors
    /// `NotFound` if it does not exist any more.
    fn mark_refused(&self, object: &ObjectRef) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Opens exactly this object: by version id, or with If-Match on its ETag.
    ///
    /// # Errors
    /// `NotFound` if it does not exist any more, `Conflict` if it was replaced.
    fn open(
        &self,
        object: &ObjectRef,
    ) -> impl Future<Output = Result<(ObjectMeta, ByteStream), Fault>> + Send;
}

/// Removes objects for good.
pub trait ObjectEraser: Send + Sync {
    /// Removes exactly this object: by version id, or with If-Match on its ETag. `false` if it does not exist
    /// any more.
    ///
    /// # Errors
    /// The request failed.
    fn erase(&self, object: &ObjectRef) -> impl Future<Output = Result<bool, Fault>> + Send;
}
