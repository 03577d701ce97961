//! Subscriptions of CloudWatch Logs: what a subscription filter sends to Lambda and to Firehose.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>

use serde::Deserialize;

use crate::logbook::carried::{Carried, Context, NS_PER_MS};

/// An event of a log group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    pub id: String,
    #[serde(rename = "timestamp")]
    pub timestamp_ms: u64,
    pub message: String,
    #[serde(skip)]
    context: String,
}

impl Event {
    /// The event as an entry, with its log group and stream as context.
    #[must_use]
    pub fn carried(self) -> Carried<'static> {
        let time_ns = self.timestamp_ms.checked_mul(NS_PER_MS);
        Carried { text: self.message.into(), context: self.context.into(), time_ns, level: None }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    message_type: String,
    #[serde(default)]
    owner: String,
    log_group: String,
    #[serde(default)]
    log_stream: String,
    log_events: Vec<Event>,
}

/// The events of a payload; none if it only checks whether the destination is reachable. `None` if it is no
/// payload of a subscription.
#[must_use]
pub fn read(json: &str) -> Option<Vec<Event>> {
    let Payload { message_type, owner, log_group, log_stream, mut log_events } =
        serde_json::from_str(json).ok()?;
    match message_type.as_str() {
        "DATA_MESSAGE" => {
            let mut context = Context::default();
            for (name, value) in [("owner", &owner), ("logGroup", &log_group), ("logStream", &log_stream)] {
                context.push(name, value);
            }
            let context = context.into_text();
            log_events.iter_mut().for_each(|event| event.context.clone_from(&context));
            Some(log_events)
        }
        "CONTROL_MESSAGE" => Some(Vec::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_data_are_read_and_those_of_control_are_not() {
        let payload = |kind: &str| {
            format!(
                r#"{{"messageType":"{kind}","owner":"1","logGroup":"g","logStream":"s","subscriptionFilters":["f"],
                "logEvents":[{{"id":"e","timestamp":1743532441581,"message":"m"}}]}}"#
            )
        };
        let events = read(&payload("DATA_MESSAGE")).unwrap();
        assert_eq!(events[0].id, "e");
        let carried = events[0].clone().carried();
        assert_eq!((&*carried.text, carried.time_ns), ("m", Some(1_743_532_441_581_000_000)));
        assert_eq!(carried.context, r#"{"owner":"1","logGroup":"g","logStream":"s"}"#);
        assert_eq!(read(&payload("CONTROL_MESSAGE")), Some(vec![]));
        for other in [payload("OTHER").as_str(), "{}", "[]", "x", r#"{"logEvents":[]}"#] {
            assert_eq!(read(other), None);
        }
    }
}
