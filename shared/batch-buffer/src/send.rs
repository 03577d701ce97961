//! The caller's side: sends one PutLogEvents request, and classifies responses.

use std::future::Future;
use std::sync::Arc;

use crate::event::Event;

/// One request, valid according to [`crate::plan()`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Request {
    pub group: Arc<str>,
    pub stream: Arc<str>,
    /// In time order.
    pub events: Arc<Vec<Event>>,
    /// Only set for endpoints that ask for one.
    pub sequence_token: Option<String>,
}

/// A 200. It may still have rejected some of the events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    pub next_sequence_token: Option<String>,
    pub rejected: Option<Rejected>,
}

/// `rejectedLogEventsInfo`: indices into the request's events.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_RejectedLogEventsInfo.html>
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rejected {
    /// Inclusive: events from here on are too new.
    pub too_new_from: Option<usize>,
    /// Exclusive: events before this are too old.
    pub too_old_until: Option<usize>,
    /// Exclusive: events before this are older than the group's retention.
    pub expired_until: Option<usize>,
}

/// The class of a failed request, which decides what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    Throttling,
    ServiceUnavailable,
    InternalServerError,
    RequestTimeout,
    /// No response; the request may have been accepted.
    Connection,
    /// The sender panicked; the request may have been accepted.
    Panicked,
    InvalidSequenceToken,
    DataAlreadyAccepted,
    InvalidParameter,
    AccessDenied,
    ResourceNotFound,
    ResourceAlreadyExists,
    /// Refused for any other reason.
    Other,
}

impl ErrorClass {
    /// Returns the class of an AWS error code.
    pub fn from_code(code: &str) -> Self {
        match code {
            "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
                Self::Throttling
            }
            "ServiceUnavailableException" | "ServiceUnavailable" => Self::ServiceUnavailable,
            // Concurrent creation of one resource: succeeds when one of them has finished.
            "OperationAbortedException" => Self::ServiceUnavailable,
            // Credentials expire and clocks drift: the next environment has others.
            "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" | "InvalidSignatureException" => {
                Self::ServiceUnavailable
            }
            "InternalServerError" | "InternalServerException" | "InternalFailure" | "InternalError" => {
                Self::InternalServerError
            }
            "RequestTimeoutException" | "RequestTimeout" => Self::RequestTimeout,
            "InvalidSequenceTokenException" => Self::InvalidSequenceToken,
            "DataAlreadyAcceptedException" => Self::DataAlreadyAccepted,
            "InvalidParameterException" | "ValidationException" => Self::InvalidParameter,
            "AccessDeniedException" | "AccessDenied" => Self::AccessDenied,
            "ResourceNotFoundException" => Self::ResourceNotFound,
            "ResourceAlreadyExistsException" => Self::ResourceAlreadyExists,
            _ => Self::Other,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::Throttling
            | Self::ServiceUnavailable
            | Self::InternalServerError
            | Self::RequestTimeout
            | Self::Connection
            | Self::Panicked
            | Self::InvalidSequenceToken => true,
            Self::DataAlreadyAccepted
            | Self::InvalidParameter
            | Self::AccessDenied
            | Self::ResourceNotFound
            | Self::ResourceAlreadyExists
            | Self::Other => false,
        }
    }
}

/// A request without a 200 response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class:?}: {message}")]
pub struct SendError {
    pub class: ErrorClass,
    /// For the operator's log.
    pub message: String,
    /// The token that the endpoint expects, if the error named one.
    pub expected_sequence_token: Option<String>,
}

impl SendError {
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), expected_sequence_token: None }
    }

    #[must_use]
    pub fn expecting(mut self, token: Option<String>) -> Self {
        self.expected_sequence_token = token;
        self
    }
}

/// Sends requests. Any `Fn(Request) -> impl Future` is a sender; a separate type can also create missing
/// groups and streams.
///
/// One call is one attempt. Do not retry in the sender: the buffer does.
pub trait Sender: Send + Sync + 'static {
    fn send(&self, request: Request) -> impl Future<Output = Result<Accepted, SendError>> + Send;

    /// Creates the group and the stream after `ResourceNotFound`. An existing one is a success. Without
    /// this method, a missing group or stream is a permanent error.
    fn create(&self, group: &str, stream: &str) -> impl Future<Output = Result<(), SendError>> + Send {
        let error = SendError::new(ErrorClass::ResourceNotFound, format!("{group} {stream} does not exist"));
        std::future::ready(Err(error))
    }
}

impl<F, Answer> Sender for F
where
    F: Fn(Request) -> Answer + Send + Sync + 'static,
    Answer: Future<Output = Result<Accepted, SendError>> + Send,
{
    fn send(&self, request: Request) -> impl Future<Output = Result<Accepted, SendError>> + Send {
        self(request)
    }
}

impl<S: Sender> Sender for Arc<S> {
    fn send(&self, request: Request) -> impl Future<Output = Result<Accepted, SendError>> + Send {
        S::send(self, request)
    }

    fn create(&self, group: &str, stream: &str) -> impl Future<Output = Result<(), SendError>> + Send {
        S::create(self, group, stream)
    }
}
