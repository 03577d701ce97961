//! What went wrong outside, by what the caller will do about it.

use std::error::Error;
use std::fmt;

/// What a caller can do about a fault. Read it before the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// The service asks for a slower pace: wait, then repeat.
    RateLimited,
    /// Passing: repeat.
    Transient,
    /// No answer in time; the request may have been carried out. Repeat only what is idempotent.
    Timeout,
    /// What was named does not exist.
    NotFound,
    /// A condition of the request did not hold (If-Match, a condition expression, a fence).
    Conflict,
    /// Not allowed: a repeat changes nothing until somebody changes a permission.
    Denied,
    /// The request is wrong and will stay wrong.
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

/// A failed call to something outside. `Display` never prints the source: print the chain once,
/// at the edge, with [`chain`].
#[derive(Debug)]
pub struct Fault {
    pub class: FaultClass,
    /// The operation as its service names it, such as `BatchWriteItem`.
    pub operation: &'static str,
    /// The service's error code, or a few words of our own. Never contents of logs, never a secret.
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

/// The error and all its sources, joined by `: `.
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
