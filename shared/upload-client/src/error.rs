//! Why an upload failed, classified by what to do about it.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why an upload, or one of its calls, failed. `Display` does not print the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service's address is invalid, or the credential cannot be sent.
    #[error("the service cannot be called: {0}")]
    Unusable(String),
    /// No complete response after all attempts.
    #[error("no response")]
    NoAnswer(#[source] Box<dyn StdError + Send + Sync>),
    /// The service or S3 asked to retry later, on all attempts.
    #[error("{message} ({status})")]
    Unavailable { status: u16, message: String, retry_after: Option<Duration> },
    /// The service or S3 refused the request. A retry fails too.
    #[error("{message} ({status})")]
    Refused { status: u16, message: String },
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A folder or a device: without a length, it cannot be divided into parts.
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// An upload has at least one byte; the service accepts no size of 0.
    #[error("{} is empty: an upload needs at least one byte", path.display())]
    Empty { path: PathBuf },
    /// A log file is sent in one request.
    #[error("compressed, {} has more than {max_bytes} bytes: a log file is held in memory and sent at once", path.display())]
    TooLarge { path: PathBuf, max_bytes: u64 },
    /// The file has changed since its upload started; its upload was aborted.
    #[error("{} changed while it was being uploaded; start again", path.display())]
    Changed { path: PathBuf },
    /// The session was aborted elsewhere, or expired, during this upload.
    #[error("the upload of {} was aborted elsewhere or has expired; start again", path.display())]
    Ended { path: PathBuf },
    /// Another process is uploading the file.
    #[error("another process is uploading {}", path.display())]
    InUse { path: PathBuf },
    /// The state that must outlive the process cannot be written.
    #[error("the upload's state cannot be stored in {}", path.display())]
    State { path: PathBuf, source: Box<dyn StdError + Send + Sync> },
}

impl Error {
    /// Returns the status of a refusal.
    #[must_use]
    pub fn refused_status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Returns whether nothing listens at the service's address.
    #[must_use]
    pub fn is_connection_refused(&self) -> bool {
        let Self::NoAnswer(error) = self else { return false };
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&**error);
        while let Some(error) = cause {
            let io = error.downcast_ref::<io::Error>();
            if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
                return true;
            }
            cause = error.source();
        }
        false
    }

    /// Returns whether a retry may help, and after how long if the service said so.
    pub(crate) fn passes(&self) -> Option<Option<Duration>> {
        match self {
            Self::NoAnswer(_) => Some(None),
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Unusable(_)
            | Self::Refused { .. }
            | Self::File { .. }
            | Self::NotAFile { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. }
            | Self::Changed { .. }
            | Self::Ended { .. }
            | Self::InUse { .. }
            | Self::State { .. } => None,
        }
    }

    /// Turns a refusal with this status into an error that a retry may fix.
    pub(crate) fn passing(self, passing: u16) -> Self {
        match self {
            Self::Refused { status, message } if status == passing => {
                Self::Unavailable { status, message, retry_after: None }
            }
            other => other,
        }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }
}

impl From<reqwest::Error> for Error {
    fn from(error: reqwest::Error) -> Self {
        // Without the URL, which contains a signature.
        let error = error.without_url();
        if error.is_builder() { Self::Unusable(error.to_string()) } else { Self::NoAnswer(error.into()) }
    }
}
