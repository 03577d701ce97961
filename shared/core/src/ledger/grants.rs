//! The grants of presigned URLs, and the rows of the files that arrived with them.

use super::row::{FileRow, Grant};
use crate::model::fault::Fault;
use crate::model::object::ObjectRef;

/// The part of the ledger that `presign` needs.
pub trait Grants: Send + Sync {
    /// Binds a key to an app before its URL is issued.
    ///
    /// # Errors
    /// `Conflict` if the key was issued before.
    fn grant(&self, grant: &Grant) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns the grant of a key.
    ///
    /// # Errors
    /// The read failed.
    fn find_grant(
        &self,
        bucket: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<Grant>, Fault>> + Send;

    /// Returns the row of a granted key while no object has arrived with its URL.
    ///
    /// # Errors
    /// The read failed.
    fn find_waiting(
        &self,
        bucket: &str,
        key: &str,
    ) -> impl Future<Output = Result<Option<FileRow>, Fault>> + Send;

    /// Returns the row of an object.
    ///
    /// # Errors
    /// The read failed.
    fn find(&self, object: &ObjectRef) -> impl Future<Output = Result<Option<FileRow>, Fault>> + Send;
}
