//! Where flush keeps what it will never be able to send.

use crate::model::fault::Fault;

/// Keeps files of dead letters by name. The same name again replaces the file, so that work done
/// twice leaves one.
pub trait DeadLetters: Send + Sync {
    /// # Errors
    /// The write failed; the file may have been stored.
    fn put(&self, name: &str, lines: Vec<u8>) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Names that begin so, in order, after one that was seen already; an empty answer is the end.
    ///
    /// # Errors
    /// The read failed.
    fn names(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> impl Future<Output = Result<Vec<String>, Fault>> + Send;

    /// # Errors
    /// `NotFound` when there is no such file.
    fn read(&self, name: &str) -> impl Future<Output = Result<Vec<u8>, Fault>> + Send;

    /// Removing what is not there is fine.
    ///
    /// # Errors
    /// The file may still be there.
    fn remove(&self, name: &str) -> impl Future<Output = Result<(), Fault>> + Send;
}
