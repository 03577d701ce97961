//! What the caller brings: a way to make one PutLogEvents request, and how its answers are told.

use std::future::Future;
use std::sync::Arc;

use crate::event::Event;

/// One request, legal by [`crate::plan()`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Request {
    pub group: Arc<str>,
    pub stream: Arc<str>,
    /// In time order.
    pub events: Arc<Vec<Event>>,
    /// Only ever set for an endpoint that has asked for one.
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

/// What to do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    Throttling,
    ServiceUnavailable,
    InternalServerError,
    RequestTimeout,
    /// No answer came, so it may have been accepted.
    Connection,
    /// The sender itself panicked, so it may have been accepted.
    Panicked,
    InvalidSequenceToken,
    DataAlreadyAccepted,
    InvalidParameter,
    AccessDenied,
    ResourceNotFound,
    ResourceAlreadyExists,
    /// Anything else the service refused.
    Other,
}

impl ErrorClass {
    /// The class of an AWS error code.
    pub fn from_code(code: &str) -> Self {
        match code {
            "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded" => {
                Self::Throttling
            }
            "ServiceUnavailableException" | "ServiceUnavailable" => Self::ServiceUnavailable,
            // Two creators of one resource at a time: passes as soon as one of them is through.
            "OperationAbortedException" => Self::ServiceUnavailable,
            // Credentials run out and clocks drift: the next environment has others.
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

/// A request that was not answered by a 200.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{class:?}: {message}")]
pub struct SendError {
    pub class: ErrorClass,
    /// For the operator's log.
    pub message: String,
    /// The token the endpoint wants, where the error named one.
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

/// Makes requests. Any `Fn(Request) -> impl Future` is one; a type of its own can also create
/// what does not exist yet.
///
/// One call is one attempt: leave retries to the buffer, or count them twice.
pub trait Sender: Send + Sync + 'static {
    fn send(&self, request: Request) -> impl Future<Output = Result<Accepted, SendError>> + Send;

    /// Creates the group and the stream after `ResourceNotFound`; one that exists already is a
    /// success. Without it, a missing group or stream is a permanent error.
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
