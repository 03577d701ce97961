//! Faults of external services, classified by what the caller can do.

use std::error::Error;
use std::fmt;

/// What a caller can do about a fault. Decide by the class, not by the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// The service throttles: wait, then retry.
    RateLimited,
    /// Transient: retry.
    Transient,
    /// No response in time; the request may have been processed. Retry only idempotent requests.
    Timeout,
    /// The requested item does not exist.
    NotFound,
    /// A condition of the request did not hold (If-Match, a condition expression, a fence).
    Conflict,
    /// Not allowed. A retry fails until a permission is changed.
    Denied,
    /// The request is invalid. A retry fails.
    Permanent,
}

impl FaultClass {
    /// Whether the same request may succeed later.
    #[must_use]
    pub fn retryable(self) -> bool {
        match self {
            Self::RateLimited | Self::Transient | Self::Timeout => true,
            Self::NotFound | Self::Conflict | Self::Denied | Self::Permanent => false,
        }
    }
}

/// A failed call to an external service. `Display` never prints the source: print the whole chain once, at
/// the edge, with [`chain`].
#[derive(Debug)]
pub struct Fault {
    pub class: FaultClass,
    /// The operation as its service names it, such as `BatchWriteItem`.
    pub operation: &'static str,
    /// The service's error code, or a short text. Never contains log contents or secrets.
    pub code: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Fault {
    #[must_use]
    pub fn new(class: FaultClass, operation: &'static str, code: impl Into<String>) -> Self {
        Self { class, operation, code: code.into(), source: None }
    }

    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    #[must_use]
    pub fn retryable(&self) -> bool {
        self.class.retryable()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, self.code)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as &(dyn Error + 'static))
    }
}

/// Returns the error and all its sources, joined by `: `.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_never_prints_the_source_and_chain_prints_it_once() {
        let fault = Fault::new(FaultClass::Transient, "GetItem", "InternalServerError")
            .with_source(std::io::Error::other("connection reset"));
        assert_eq!(fault.to_string(), "GetItem failed: InternalServerError");
        assert_eq!(chain(&fault), "GetItem failed: InternalServerError: connection reset");
    }
}
