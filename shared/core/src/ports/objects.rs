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
    /// What S3 says of the object, or of the newest of that key when `version_id` is `None`.
    ///
    /// # Errors
    /// `NotFound` when there is none.
    fn head(
        &self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
    ) -> impl Future<Output = Result<ObjectMeta, Fault>> + Send;

    /// Marks an object that was refused: the bucket's lifecycle deletes it some days later. (Without a
    /// version nothing is marked: another object may have taken the key.)
    ///
    /// # Errors
    /// `NotFound` when it is gone.
    fn mark_refused(&self, object: &ObjectRef) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Opens exactly this object: by version id, or with If-Match on its ETag.
    ///
    /// # Errors
    /// `NotFound` when it is gone, `Conflict` when another has taken its place.
    fn open(
        &self,
        object: &ObjectRef,
    ) -> impl Future<Output = Result<(ObjectMeta, ByteStream), Fault>> + Send;
}
