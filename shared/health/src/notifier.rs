//! Notifications: a topic with email and webhook subscribers.

use logferry_core::model::fault::Fault;

/// A message, human-readable and as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// One line of ASCII, at most 100 characters.
    pub subject: String,
    /// For email.
    pub text: String,
    /// For all other protocols: one JSON object.
    pub json: String,
    /// Attributes (name and value) that subscriptions can filter by.
    pub attributes: Vec<(&'static str, String)>,
}

/// Publishes messages.
pub trait Notifier: Send + Sync {
    /// Publishes a message.
    ///
    /// # Errors
    /// The request failed; the message may have been sent.
    fn publish(&self, notification: &Notification) -> impl Future<Output = Result<(), Fault>> + Send;
}
