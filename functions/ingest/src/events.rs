//! Parses events into the objects that arrived. Accepts S3 notifications, directly or inside SNS, SQS and
//! EventBridge envelopes (also nested), and direct invocations by `sweep`.
//!
//! Keys in S3 notifications are form-encoded and are decoded here, exactly once. Keys in EventBridge events
//! and direct invocations are not encoded.

use logferry_core::model::object::ObjectVersion;
use percent_encoding::percent_decode_str;
use serde_json::Value;

/// Maximum nesting depth of envelopes.
const MAX_ENVELOPES: u32 = 4;

/// An object that arrived, with what the event contains about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    pub bucket: String,
    /// The key as S3 stores it (decoded).
    pub key: String,
    pub version: Option<ObjectVersion>,
    /// The ETag without quotes.
    pub etag: Option<String>,
    pub size_bytes: Option<u64>,
}

/// Why an event cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    #[error("unknown event: expected an S3 notification, an EventBridge event or a direct invocation")]
    Unknown,
    #[error("an object in the event has no bucket or no key")]
    Incomplete,
    #[error("the decoded object key is not UTF-8")]
    Key,
    #[error("the event has too many nested envelopes")]
    Depth,
}

/// A part of an event that succeeds or fails by itself: a message of SQS, or the whole event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The id of the SQS message; `None` for other events.
    pub id: Option<String>,
    /// All objects that could be read, in order. Empty for S3 test events and for events other than
    /// `ObjectCreated`.
    pub arrivals: Vec<Arrival>,
    /// What is wrong with the first part that could not be read. A retry does not help.
    pub bad: Option<BadEvent>,
}

/// Returns the messages of an event. One that cannot be read does not affect the others.
#[must_use]
pub fn messages(event: &Value) -> Vec<Message> {
    let of_sqs = |record: &Value| record["body"].is_string() && record["messageId"].is_string();
    match event["Records"].as_array() {
        Some(records) if !records.is_empty() && records.iter().all(of_sqs) => records
            .iter()
            .map(|record| {
                message(record["messageId"].as_str(), |all| collect_record(record, MAX_ENVELOPES, all))
            })
            .collect(),
        _ => vec![message(None, |all| collect(event, MAX_ENVELOPES, all))],
    }
}

fn message(id: Option<&str>, collect: impl FnOnce(&mut Vec<Arrival>) -> Result<(), BadEvent>) -> Message {
    let mut arrivals = Vec::new();
    let bad = collect(&mut arrivals).err();
    Message { id: id.map(str::to_owned), arrivals, bad }
}

fn collect(event: &Value, envelopes: u32, all: &mut Vec<Arrival>) -> Result<(), BadEvent> {
    if event["Event"] == "s3:TestEvent" {
        return Ok(());
    }
    if let Some(records) = event["Records"].as_array() {
        let mut first_bad = Ok(());
        for record in records {
            first_bad = first_bad.and(collect_record(record, envelopes, all));
        }
        return first_bad;
    }
    if event["source"] == "aws.s3" {
        if event["detail-type"] == "Object Created" {
            let detail = &event["detail"];
            all.push(arrival(&detail["bucket"]["name"], &detail["object"], str::to_owned)?);
        }
        return Ok(());
    }
    if event["bucket"].is_string() {
        all.push(arrival(&event["bucket"], event, str::to_owned)?);
        return Ok(());
    }
    // An SNS notification that came through SQS.
    if let Some(message) = event["Message"].as_str() {
        return unwrap(message, envelopes, all);
    }
    Err(BadEvent::Unknown)
}

fn collect_record(record: &Value, envelopes: u32, all: &mut Vec<Arrival>) -> Result<(), BadEvent> {
    if record["s3"].is_object() {
        if record["eventName"].as_str().is_some_and(|name| name.contains("ObjectCreated:")) {
            let s3 = &record["s3"];
            let key = s3["object"]["key"].as_str().map(decode_key).transpose()?;
            all.push(arrival(&s3["bucket"]["name"], &s3["object"], |_| key.unwrap_or_default())?);
        }
        return Ok(());
    }
    match record["Sns"]["Message"].as_str().or_else(|| record["body"].as_str()) {
        Some(inner) => unwrap(inner, envelopes, all),
        None => Err(BadEvent::Unknown),
    }
}

fn unwrap(inner: &str, envelopes: u32, all: &mut Vec<Arrival>) -> Result<(), BadEvent> {
    let envelopes = envelopes.checked_sub(1).ok_or(BadEvent::Depth)?;
    let event: Value = serde_json::from_str(inner).map_err(|_| BadEvent::Unknown)?;
    collect(&event, envelopes, all)
}

fn arrival(bucket: &Value, object: &Value, key: impl FnOnce(&str) -> String) -> Result<Arrival, BadEvent> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| text(&object[name]));
    let id = first(["versionId", "version-id"]).filter(|id| id != "null").map(ObjectVersion::Id);
    let etag = first(["eTag", "etag"]).map(|etag| etag.trim_matches('"').to_owned());
    Ok(Arrival {
        bucket: text(bucket).ok_or(BadEvent::Incomplete)?,
        key: text(&object["key"]).map(|encoded| key(&encoded)).ok_or(BadEvent::Incomplete)?,
        version: id.or_else(|| etag.clone().map(ObjectVersion::ETag)),
        etag,
        size_bytes: object["size"].as_u64(),
    })
}

/// Decodes form encoding: `+` to a space, then `%XX`.
fn decode_key(encoded: &str) -> Result<String, BadEvent> {
    let spaced = encoded.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(|key| key.into_owned()).map_err(|_| BadEvent::Key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arrivals(event: &Value) -> Result<Vec<Arrival>, BadEvent> {
        let all = messages(event);
        match all.iter().find_map(|message| message.bad) {
            Some(bad) => Err(bad),
            None => Ok(all.into_iter().flat_map(|message| message.arrivals).collect()),
        }
    }

    fn sample(name: &str) -> Vec<(String, Option<ObjectVersion>)> {
        let path = format!("{}/../../events/ingest/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let event = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        arrivals(&event).unwrap().into_iter().map(|arrival| (arrival.key, arrival.version)).collect()
    }

    fn id(id: &str) -> Option<ObjectVersion> {
        Some(ObjectVersion::Id(id.to_owned()))
    }

    #[test]
    fn every_envelope_gives_the_same_object() {
        let object = sample("s3-put");
        assert_eq!(object.len(), 1);
        for name in ["sns-wrapped", "sqs-wrapped"] {
            assert_eq!(sample(name), object, "{name}");
        }
        let sns = json!({"Message": json!({"Records": [{"eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "b"}, "object": {"key": "k"}}}]}).to_string()});
        let sqs = json!({"Records": [{"body": sns.to_string()}]});
        assert_eq!(arrivals(&sqs).unwrap()[0].key, "k");
    }

    #[test]
    fn a_key_is_decoded_exactly_once_and_only_where_it_is_encoded() {
        assert_eq!(sample("s3-encoded-key")[0].0, "logs/demo/a b+ü%25/c d.log");
        assert_eq!(sample("eventbridge-wrapped")[0].0, "logs/demo/a b+ü.log");
        let direct = json!({"bucket": "b", "key": "a+b%20c"});
        assert_eq!(arrivals(&direct).unwrap()[0].key, "a+b%20c");
    }

    #[test]
    fn a_test_event_and_other_events_have_no_objects() {
        assert_eq!(sample("s3-test-event"), []);
        let removed = json!({"Records": [{"eventName": "ObjectRemoved:Delete", "s3": {}}]});
        assert_eq!(arrivals(&removed), Ok(vec![]));
    }

    #[test]
    fn a_bad_message_of_a_batch_leaves_the_others_as_they_are() {
        let notification = |key: Value| {
            json!({"Records": [{"eventName": "ObjectCreated:Put",
                "s3": {"bucket": {"name": "b"}, "object": {"key": key}}}]})
        };
        let sqs = |id: &str, body: String| json!({"messageId": id, "body": body});
        let event = json!({"Records": [
            sqs("1", "garbage".to_owned()),
            sqs("2", notification(json!("k")).to_string()),
            sqs("3", json!({"Message": "{}"}).to_string()),
            sqs("4", json!({"Event": "s3:TestEvent"}).to_string()),
        ]});
        let read: Vec<_> = messages(&event)
            .into_iter()
            .map(|message| (message.id.unwrap(), message.arrivals.len(), message.bad))
            .collect();
        let unknown = Some(BadEvent::Unknown);
        assert_eq!(
            read,
            [
                ("1".into(), 0, unknown),
                ("2".into(), 1, None),
                ("3".into(), 0, unknown),
                ("4".into(), 0, None)
            ]
        );
        let mut direct = notification(json!("%ff"));
        let good = notification(json!("k"))["Records"][0].clone();
        direct["Records"].as_array_mut().unwrap().push(good);
        let read = messages(&direct).remove(0);
        assert_eq!((read.id, read.arrivals.len(), read.bad), (None, 1, Some(BadEvent::Key)));
    }

    #[test]
    fn every_record_of_an_event_counts() {
        assert_eq!(sample("s3-two-records").len(), 2);
    }

    #[test]
    fn the_version_is_the_id_or_the_etag() {
        let direct = |event| arrivals(&event).unwrap().remove(0).version;
        assert_eq!(direct(json!({"bucket": "b", "key": "k", "versionId": "v", "etag": "e"})), id("v"));
        let etag = Some(ObjectVersion::ETag("e".to_owned()));
        assert_eq!(direct(json!({"bucket": "b", "key": "k", "versionId": "null", "etag": "\"e\""})), etag);
        assert_eq!(direct(json!({"bucket": "b", "key": "k"})), None);
    }

    #[test]
    fn what_cannot_be_understood_is_an_error_and_never_a_panic() {
        for (event, error) in [
            (json!(null), BadEvent::Unknown),
            (json!({"Records": [1]}), BadEvent::Unknown),
            (json!({"Records": [{"body": "no json"}]}), BadEvent::Unknown),
            (json!({"bucket": "b"}), BadEvent::Incomplete),
            (json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {}}]}), BadEvent::Incomplete),
            (
                json!({"Records": [{"eventName": "ObjectCreated:Put",
                    "s3": {"bucket": {"name": "b"}, "object": {"key": "%ff"}}}]}),
                BadEvent::Key,
            ),
        ] {
            assert_eq!(arrivals(&event), Err(error), "{event}");
        }
        let mut event = json!({"bucket": "b", "key": "k"});
        for _ in 0..10 {
            event = json!({"Message": event.to_string()});
        }
        assert_eq!(arrivals(&event), Err(BadEvent::Depth));
    }
}
