//! Storage for events that `flush` cannot send.

use crate::model::fault::Fault;

/// Stores dead-letter files by name. The same name replaces the file, so repeated work leaves one file.
pub trait DeadLetters: Send + Sync {
    /// Stores a file.
    ///
    /// # Errors
    /// The write failed; the file may have been stored.
    fn put(&self, name: &str, lines: Vec<u8>) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Returns names with a prefix, in order, after a given name. An empty result is the end.
    ///
    /// # Errors
    /// The read failed.
    fn names(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;

    /// Reads a file.
    ///
    /// # Errors
    /// `NotFound` if there is no such file.
    fn read(&self, name: &str) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// Removes a file. Removing a missing file succeeds.
    ///
    /// # Errors
    /// The file may still exist.
    fn remove(&self, name: &str) -> impl Future<Output = Result<(), Fault>> + Send;
}
