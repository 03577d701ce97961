//! The health topic in SNS.

use aws_sdk_sns::Client;
use aws_sdk_sns::types::MessageAttributeValue;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_health_checks::notifier::{Notification, Notifier};
use serde_json::json;

use crate::faults::fault;

/// Publishes to a topic: text for email, JSON for all other protocols.
#[derive(Debug, Clone)]
pub struct SnsNotifier {
    client: Client,
    topic_arn: String,
}

impl SnsNotifier {
    #[must_use]
    pub fn new(client: Client, topic_arn: impl Into<String>) -> Self {
        Self { client, topic_arn: topic_arn.into() }
    }
}

/// Returns one message per protocol, as SNS expects for the structure `json`.
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-send-custom-platform-specific-payloads-mobile-devices.html>
#[must_use]
pub fn structured(notification: &Notification) -> String {
    json!({"default": notification.json, "email": notification.text}).to_string()
}

impl Notifier for SnsNotifier {
    async fn publish(&self, notification: &Notification) -> Result<(), Fault> {
        let mut request = self
            .client
            .publish()
            .topic_arn(&self.topic_arn)
            .subject(&notification.subject)
            .message_structure("json")
            .message(structured(notification));
        for (name, value) in &notification.attributes {
            let attribute =
                MessageAttributeValue::builder().data_type("String").string_value(value).build().map_err(
                    |error| Fault::new(FaultClass::Permanent, "Publish", "no attribute").with_source(error),
                )?;
            request = request.message_attributes(*name, attribute);
        }
        request.send().await.map_err(|error| fault("Publish", error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e_mail_gets_the_text_and_everybody_else_the_json() {
        let notification = Notification {
            subject: "DOWN: Shop".to_owned(),
            text: "Shop is down.\n".to_owned(),
            json: r#"{"to":"down"}"#.to_owned(),
            attributes: Vec::new(),
        };
        assert_eq!(structured(&notification), r#"{"default":"{\"to\":\"down\"}","email":"Shop is down.\n"}"#);
    }
}
