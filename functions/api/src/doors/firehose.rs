//! Amazon Data Firehose with an HTTP endpoint as its destination. Records are lines of logs, or subscriptions
//! of CloudWatch Logs, compressed or not.
//! <https://docs.aws.amazon.com/firehose/latest/dev/httpdeliveryrequestresponse.html>

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::read::MultiGzDecoder;
use http::StatusCode;
use logferry_core::logbook::carried::{Carried, Context, Identity};
use logferry_core::logbook::subscription;
use logferry_service::http::{
    Answer, ApiError, BodyBytes, ErrorShape, Operation, Route, Routes, State, json as plain, with_pause,
};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Batch, Few, MAX_BYTES, MAX_ENTRIES, too_many, unread};
use crate::auth::AsShipper;
use crate::{Api, Cloud, Shared};

const REQUEST_ID: &str = "x-amz-firehose-request-id";
const COMMON_ATTRIBUTES: &str = "x-amz-firehose-common-attributes";

pub(super) fn routes<C: Cloud, R: Routes<Arc<Api<C>>>>(into: R) -> R {
    into.add(
        Route::post("/firehose", "writeFirehose", super::TAG)
            .says("Amazon Data Firehose: the endpoint of a stream, the access key is an API key")
            .with(describes),
        write::<C>,
    )
}

fn describes(operation: &mut Operation) {
    let record = json!({"type": "object", "required": ["data"], "properties": {"data": {"type": "string"}}});
    let records = json!({"type": ["array", "null"], "maxItems": MAX_ENTRIES, "items": record});
    let body = json!({"type": "object", "required": ["records"], "properties": {"records": records}});
    operation.takes_body_as("application/json", body);
    let answer = json!({"type": "object", "required": ["requestId", "timestamp"], "properties": said()});
    operation.answers(200, "stored", answer);
    operation.error_shape = ErrorShape { name: "Firehose", schemas: error_schemas };
}

/// What every answer says.
fn said() -> Value {
    json!({"requestId": {"type": "string"}, "timestamp": {"type": "integer"}})
}

fn error_schemas() -> Vec<(&'static str, Value)> {
    let mut members = said();
    members["errorMessage"] = json!({"type": "string"});
    vec![("application/json", ErrorShape::object(&["requestId", "timestamp", "errorMessage"], members))]
}

async fn write<C: Cloud>(
    State(api): Shared<C>,
    by: Result<AsShipper, ApiError>,
    payload: Result<BodyBytes, ApiError>,
) -> Answer {
    let mut request_id = String::new();
    let mut now_ms = 0;
    let answered = async {
        let by = by?;
        now_ms = by.head.now_ms;
        request_id = by.head.header(REQUEST_ID).unwrap_or_default().to_owned();
        let batch = records_of(&payload?.bytes, by.head.header(COMMON_ATTRIBUTES))?;
        // A retry has the same id.
        let identity = if request_id.is_empty() { Identity::Nothing } else { Identity::Key(&request_id) };
        let refused = api.carry(&by.app, now_ms, "firehose", &batch, identity).await?;
        // An answer has no place for them, and Firehose would send the whole request again for an error.
        if let Some(first) = refused.first() {
            tracing::warn!(
                app.id = %by.app.app_id,
                refused = refused.len(),
                first = %first.why.field,
                "entries were not stored"
            );
        }
        Ok(())
    };
    let answered: Result<(), ApiError> = answered.await;
    Ok(match answered {
        Ok(()) => plain(StatusCode::OK, &json!({"requestId": request_id, "timestamp": now_ms})),
        Err(error) => {
            let body = json!({"requestId": request_id, "timestamp": now_ms, "errorMessage": error.message});
            with_pause(plain(error.status, &body), error.retry_after_secs)
        }
    })
}

fn records_of(body: &[u8], attributes: Option<&str>) -> Result<Batch<'static>, ApiError> {
    let malformed =
        |what: String| ApiError::bad_request("body", format!("the body is no request of Firehose: {what}"));
    let mut request: BTreeMap<String, &RawValue> =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let records = request.remove("records").ok_or_else(|| malformed("records is missing".to_owned()))?;
    let records: Few<Map<String, Value>> = serde_json::from_str(records.get())
        .map_err(|error| unread(&error, |why| malformed(format!("records: {why}"))))?;
    let context = context_of(attributes);
    let (mut batch, mut left) = (Batch::default(), MAX_BYTES as u64);
    for (at, record) in records.into_iter().enumerate() {
        let data = record.get("data").and_then(Value::as_str);
        let data = data.ok_or_else(|| malformed(format!("records[{at}].data is missing or no string")))?;
        let mut data =
            BASE64_STANDARD.decode(data).map_err(|_| malformed(format!("records[{at}] is not base64")))?;
        if data.starts_with(&[0x1f, 0x8b]) {
            let mut out = Vec::new();
            let read = MultiGzDecoder::new(&*data).take(left + 1).read_to_end(&mut out);
            read.map_err(|error| malformed(format!("records[{at}] is not valid gzip: {error}")))?;
            data = out;
        }
        left = left.saturating_sub(data.len() as u64);
        if left == 0 {
            let message = format!("records must be at most {MAX_BYTES} bytes: send smaller batches");
            return Err(ApiError::too_large(message));
        }
        for line in String::from_utf8_lossy(&data).lines().filter(|line| !line.trim().is_empty()) {
            put_line(&mut batch, line, &context)?;
        }
    }
    Ok(batch)
}

/// Puts the objects of a line, which Firehose's sources write without a separator, or the line itself.
fn put_line(batch: &mut Batch<'static>, line: &str, context: &str) -> Result<(), ApiError> {
    let objects: Result<Vec<&RawValue>, _> = match line.trim_start().starts_with('{') {
        true => serde_json::Deserializer::from_str(line).into_iter().take(MAX_ENTRIES + 1).collect(),
        false => Ok(Vec::new()),
    };
    let objects = objects.unwrap_or_default();
    if objects.len() > MAX_ENTRIES {
        return Err(too_many());
    }
    if objects.is_empty() {
        return batch.push(Carried {
            text: line.to_owned().into(),
            context: context.to_owned().into(),
            ..Carried::default()
        });
    }
    for object in objects {
        match subscription::read(object.get()) {
            Some(delivery) => {
                for event in &delivery.events {
                    batch.push(delivery.carried(event).into_owned())?;
                }
            }
            None => {
                let (text, context) = (object.get().to_owned().into(), context.to_owned().into());
                batch.push(Carried { text, context, ..Carried::default() })?;
            }
        }
    }
    Ok(())
}

/// The common attributes as a context: `{"commonAttributes": {"name": "value"}}`.
fn context_of(header: Option<&str>) -> String {
    let header = header.and_then(|text| serde_json::from_str::<Map<String, Value>>(text).ok());
    let attributes = header.as_ref().and_then(|header| header.get("commonAttributes")?.as_object());
    let mut context = Context::default();
    for (name, value) in attributes.into_iter().flatten() {
        context.push(name, value.as_str().unwrap_or_default());
    }
    context.into_text()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn request(records: &[&[u8]]) -> Vec<u8> {
        let records: Vec<_> =
            records.iter().map(|data| json!({"data": BASE64_STANDARD.encode(data)})).collect();
        json!({"requestId": "r", "timestamp": 1, "records": records}).to_string().into_bytes()
    }

    fn said(records: &[&[u8]]) -> Vec<(String, String, Option<u64>)> {
        let batch = records_of(&request(records), Some(r#"{"commonAttributes":{"env":"test"}}"#)).unwrap();
        let said = |entry: &Carried<'_>| (entry.text.to_string(), entry.context.to_string(), entry.time_ns);
        batch.entries.iter().map(said).collect()
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn records_are_lines_objects_and_subscriptions() {
        let own = |text: &str| (text.to_owned(), r#"{"env":"test"}"#.to_owned(), None);
        assert_eq!(
            said(&[b"one\ntwo\n", br#"{"a":1}{"b":2}"#, b"{broken", b"", b"\n"]),
            [own("one"), own("two"), own(r#"{"a":1}"#), own(r#"{"b":2}"#), own("{broken")]
        );
        let events = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/lambda/x","logStream":"s",
            "subscriptionFilters":["f"],"logEvents":[{"id":"1","timestamp":1743532441581,"message":"m\n"}]}"#
            .replace('\n', "");
        let context = r#"{"owner":"1","logGroup":"/aws/lambda/x","logStream":"s"}"#.to_owned();
        let expected = [("m\n".to_owned(), context, Some(1_743_532_441_581_000_000))];
        assert_eq!(said(&[&gzip(&events)]), expected);
        assert_eq!(said(&[events.as_bytes()]), expected);
        let control =
            r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"",
            "subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1,"message":"CWL CONTROL MESSAGE"}]}"#
                .replace('\n', "");
        assert_eq!(said(&[control.as_bytes()]), []);
    }

    #[test]
    fn bad_requests_are_refused() {
        let refused = |body: &[u8]| records_of(body, None).unwrap_err().status.as_u16();
        assert_eq!(refused(b"{"), 400);
        assert_eq!(refused(br#"{"records":[{"data":"***"}]}"#), 400);
        assert_eq!(refused(br#"{"records":[{}]}"#), 400);
        assert_eq!(refused(br#"{"records":[["b25l"]]}"#), 400);
        assert_eq!(refused(br#"[[{"data":"b25l"}]]"#), 400);
        assert_eq!(refused(&request(&[&[0x1f, 0x8b, 0]])), 400);
        assert_eq!(refused(&request(&[&gzip(&"x".repeat(MAX_BYTES + 1))])), 413);
        assert_eq!(refused(&request(&[&gzip(&"{}".repeat(MAX_BYTES / 4))])), 413);
        let event = r#"{"id":"1","timestamp":1743532441581,"message":"m"}"#;
        let wide =
            json!({"messageType": "DATA_MESSAGE", "logGroup": "g".repeat(MAX_BYTES / 2), "logEvents": []});
        let wide = wide.to_string().replace("[]", &format!("[{}]", vec![event; 100_000].join(",")));
        assert_eq!(refused(&request(&[&gzip(&wide)])), 413);
        assert_eq!(refused(b"{}"), 400);
        assert!(records_of(br#"{"records":[]}"#, None).unwrap().entries.is_empty());
    }
}
