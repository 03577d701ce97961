//! Subscriptions of CloudWatch Logs: what a subscription filter sends to Lambda and to Firehose.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>

use serde::Deserialize;

use crate::logbook::carried::{Carried, Context, NS_PER_MS};

/// Maximum number of events in a delivery. A delivery is at most 1 MB after compression, and its events are
/// longer than their ids.
pub const MAX_EVENTS: usize = 100_000;

/// An event of a log group.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Event {
    pub id: String,
    #[serde(rename = "timestamp")]
    pub timestamp_ms: u64,
    pub message: String,
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

/// What a subscription filter sends at once.
#[derive(Debug, PartialEq, Eq)]
pub struct LogGroupEvents {
    pub log_group: String,
    /// None if the delivery only checks whether the destination is reachable.
    pub events: Vec<Event>,
    /// Owner, log group and stream, of every event.
    context: String,
}

impl LogGroupEvents {
    /// An event as an entry, with its log group and stream as context.
    #[must_use]
    pub fn carried<'a>(&'a self, event: &'a Event) -> Carried<'a> {
        let time_ns = event.timestamp_ms.checked_mul(NS_PER_MS);
        let (text, context) = (event.message.as_str().into(), self.context.as_str().into());
        Carried { text, context, time_ns, level: None }
    }
}

/// Reads a delivery. `None` if the text is none.
#[must_use]
pub fn read(json: &str) -> Option<LogGroupEvents> {
    let Payload { message_type, owner, log_group, log_stream, log_events: mut events } =
        serde_json::from_str(json).ok()?;
    match message_type.as_str() {
        "DATA_MESSAGE" => {}
        "CONTROL_MESSAGE" => events.clear(),
        _ => return None,
    }
    let mut context = Context::default();
    for (name, value) in [("owner", &owner), ("logGroup", &log_group), ("logStream", &log_stream)] {
        context.push(name, value);
    }
    Some(LogGroupEvents { log_group, events, context: context.into_text() })
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
        let delivery = read(&payload("DATA_MESSAGE")).unwrap();
        assert_eq!((delivery.log_group.as_str(), delivery.events[0].id.as_str()), ("g", "e"));
        let carried = delivery.carried(&delivery.events[0]);
        assert_eq!((&*carried.text, carried.time_ns), ("m", Some(1_743_532_441_581_000_000)));
        assert_eq!(carried.context, r#"{"owner":"1","logGroup":"g","logStream":"s"}"#);
        assert_eq!(read(&payload("CONTROL_MESSAGE")).unwrap().events, []);
        for other in [payload("OTHER").as_str(), "{}", "[]", "x", r#"{"logEvents":[]}"#] {
            assert_eq!(read(other), None);
        }
    }
}
