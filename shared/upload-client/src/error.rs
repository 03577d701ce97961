//! Why an upload did not get to its end, by what to do about it.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why an upload, or one call of it, failed. Displays without its source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The service's address is none, or the credential cannot be sent.
    #[error("the service cannot be called: {0}")]
    Unusable(String),
    /// No whole answer came, however often it was tried.
    #[error("no answer came")]
    NoAnswer(#[source] Box<dyn StdError + Send + Sync>),
    /// The service or S3 asked to come again, and did so until the end.
    #[error("{message} ({status})")]
    Unavailable { status: u16, message: String, retry_after: Option<Duration> },
    /// The service or S3 said no; a repeat changes nothing.
    #[error("{message} ({status})")]
    Refused { status: u16, message: String },
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A folder, a device: what has no length cannot be divided.
    #[error("{} is not a regular file", path.display())]
    NotAFile { path: PathBuf },
    /// An upload has at least one byte; the service takes no size of 0.
    #[error("{} is empty: an upload has at least one byte", path.display())]
    Empty { path: PathBuf },
    /// The file is no longer as it was when its upload began; what was sent of it has been given up.
    #[error("{} changed while it was being uploaded; start again", path.display())]
    Changed { path: PathBuf },
    /// Somebody aborted the session, or it expired, while this upload went on.
    #[error("the upload of {} was ended by somebody else; start again", path.display())]
    Ended { path: PathBuf },
    /// Another process is at it.
    #[error("another process is uploading {}", path.display())]
    InUse { path: PathBuf },
    /// What must outlive the process cannot be written.
    #[error("the upload's state cannot be kept in {}", path.display())]
    State { path: PathBuf, source: Box<dyn StdError + Send + Sync> },
}

impl Error {
    /// The status of a refusal.
    #[must_use]
    pub fn refused_status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether a repeat may help, and after how long when the service said so.
    pub(crate) fn passes(&self) -> Option<Option<Duration>> {
        match self {
            Self::NoAnswer(_) => Some(None),
            Self::Unavailable { retry_after, .. } => Some(*retry_after),
            Self::Unusable(_)
            | Self::Refused { .. }
            | Self::File { .. }
            | Self::NotAFile { .. }
            | Self::Empty { .. }
            | Self::Changed { .. }
            | Self::Ended { .. }
            | Self::InUse { .. }
            | Self::State { .. } => None,
        }
    }

    /// What S3 says of a URL that expired while it waited: another one may do.
    pub(crate) fn of_used_url(self) -> Self {
        match self {
            Self::Refused { status: 403, message } => {
                Self::Unavailable { status: 403, message, retry_after: None }
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
        // Without the URL: it carries a signature.
        let error = error.without_url();
        if error.is_builder() { Self::Unusable(error.to_string()) } else { Self::NoAnswer(error.into()) }
    }
}
