//! Messages to people: the topic that e-mail addresses and webhooks subscribe to.

use logferry_core::model::fault::Fault;

/// A message, as people and as programs read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// One line of ASCII, at most 100 characters.
    pub subject: String,
    /// For e-mail.
    pub text: String,
    /// For everything else: one JSON object.
    pub json: String,
    /// What subscriptions may filter by: name and value.
    pub attributes: Vec<(&'static str, String)>,
}

/// Publishes messages.
pub trait Notifier: Send + Sync {
    /// # Errors
    /// The request failed; the message may have gone out.
    fn publish(&self, notification: &Notification) -> impl Future<Output = Result<(), Fault>> + Send;
}
