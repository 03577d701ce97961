//! `POSTLogger` of the Amazon Chime SDK for JavaScript, unchanged: it knows a URL and no header.
//!
//! Until an answer is 200 it sends its oldest entries again, with those that came since; when the page is left
//! it sends all that were not answered by `sendBeacon`, in a body of its own. Such bodies overlap, and begin
//! with the same entry.
//! <https://github.com/aws/amazon-chime-sdk-js/blob/main/src/logger/POSTLogger.ts>

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use logferry_core::logbook::carried::{Carried, Identity, NS_PER_MS};
use logferry_core::logbook::resent::carry_resent;
use logferry_core::logbook::write::WriteRequest;
use logferry_service::http::{Answer, ApiError, BodyBytes, Operation, Route, Routes, State, json as plain};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Batch, Few, MAX_ENTRIES, unread};
use crate::auth::AsPage;
use crate::writes::write_error;
use crate::{Api, Cloud, Shared};

pub(super) fn routes<C: Cloud, R: Routes<Arc<Api<C>>>>(into: R) -> R {
    into.add(
        Route::post("/chime/logs", "writeChime", super::TAG)
            .says("POSTLogger of the Amazon Chime SDK for JavaScript")
            .with(describes),
        write::<C>,
    )
}

fn describes(operation: &mut Operation) {
    let logs = json!({"type": ["array", "null"], "maxItems": MAX_ENTRIES, "items": {"type": "object"}});
    let body = json!({"type": "object", "required": ["logs"], "properties": {"logs": logs}});
    operation.takes_body_as("application/json", body.clone());
    operation.takes_body_as("text/plain", body);
    operation.answers(200, "stored", json!({"type": "object", "required": ["ok"]}));
}

async fn write<C: Cloud>(State(api): Shared<C>, AsPage { app, head }: AsPage, payload: BodyBytes) -> Answer {
    let batch = entries_of(&payload.bytes)?;
    let refused = match batch.entries.iter().all(|entry| entry.time_ns.is_some()) {
        true => {
            let request = WriteRequest { format: "chime", ..api.write_of(&app, head.now_ms)? };
            let refused = carry_resent(&api.book, &request, &batch.entries).await;
            refused.map_err(|error| write_error(error, head.now_ms))?
        }
        // Without its time, an entry looks like a later one with the same text, so no identity is derived.
        false => api.carry(&app, head.now_ms, "chime", &batch, Identity::Nothing).await?,
    };
    let refused = refused.len();
    let stored = batch.entries.len() - refused;
    Ok(plain(StatusCode::OK, &json!({"ok": true, "data": {"stored": stored, "refused": refused}})))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Log {
    timestamp_ms: Option<u64>,
    log_level: Option<String>,
}

fn entries_of(body: &[u8]) -> Result<Batch<'_>, ApiError> {
    let malformed =
        |what: String| ApiError::bad_request("body", format!("the body is none of POSTLogger: {what}"));
    // What the page says of itself stands beside the entries.
    let mut metadata: BTreeMap<String, &RawValue> =
        serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let logs = metadata.remove("logs").ok_or_else(|| malformed("logs is missing".to_owned()))?;
    let logs: Few<&RawValue> = serde_json::from_str(logs.get())
        .map_err(|error| unread(&error, |why| malformed(format!("logs: {why}"))))?;
    let context = match metadata.is_empty() {
        true => String::new(),
        false => serde_json::to_string(&metadata).map_err(|error| ApiError::internal(&error))?,
    };
    let mut batch = Batch::default();
    for (at, entry) in logs.into_iter().enumerate() {
        // An array would be read as the members of an entry, in their order.
        if !entry.get().starts_with('{') {
            return Err(malformed(format!("logs[{at}] is no object")));
        }
        let log: Log =
            serde_json::from_str(entry.get()).map_err(|error| malformed(format!("logs[{at}]: {error}")))?;
        batch.push(Carried {
            text: entry.get().into(),
            context: context.clone().into(),
            time_ns: log.timestamp_ms.and_then(|ms| ms.checked_mul(NS_PER_MS)),
            level: log.log_level.map(Into::into),
        })?;
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_their_time_and_level_and_the_metadata_as_context() {
        let body = br#"{"appName":"a","meeting":{"id":1},"logs":[
            {"sequenceNumber":0,"message":"m","timestampMs":1743532441581,"logLevel":"WARN"}]}"#;
        let batch = entries_of(body).unwrap();
        let [Carried { text, context, time_ns, level }] = &batch.entries[..] else { panic!() };
        assert!(text.starts_with(r#"{"sequenceNumber":0"#));
        assert_eq!(context, r#"{"appName":"a","meeting":{"id":1}}"#);
        assert_eq!((*time_ns, level.as_deref()), (Some(1_743_532_441_581_000_000), Some("WARN")));
        assert!(entries_of(br#"{"logs":[]}"#).unwrap().entries.is_empty());
    }

    #[test]
    fn what_no_logger_sends_is_400() {
        for body in [
            "",
            "[]",
            "{}",
            r#"{"logs":{}}"#,
            r#"{"logs":[1]}"#,
            r#"{"logs":[[null,null]]}"#,
            r#"{"logs":[{"timestampMs":"x"}]}"#,
            "\u{0}",
        ] {
            assert_eq!(entries_of(body.as_bytes()).unwrap_err().status, 400, "{body}");
        }
    }
}
