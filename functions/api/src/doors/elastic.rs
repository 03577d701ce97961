//! Elasticsearch's bulk API, and the requests by which its clients find out what answers them.
//! <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use logferry_core::logbook::carried::{Carried, Context, Identity};
use logferry_service::http::{
    Answer, ApiError, BodyBytes, ErrorShape, Operation, PathPart, Response, Route, Routes, State,
    json as plain, with_header, with_pause,
};
use logferry_service::random;
use serde::Deserialize;
use serde_json::{Number, Value, json};

use super::Batch;
use crate::auth::AsShipper;
use crate::{Api, Cloud, Shared};

/// Clients check it before they send anything.
const PRODUCT: HeaderName = HeaderName::from_static("x-elastic-product");
/// The version whose requests are understood.
const VERSION: &str = "8.19.0";

pub(super) fn routes<C: Cloud, R: Routes<Arc<Api<C>>>>(into: R) -> R {
    let says = |route: Route| {
        route
            .says("Elasticsearch's bulk API: `create` and `index`, answered with an item for each")
            .with(describes)
    };
    let of_index = |route: Route| {
        says(route).with(|operation| {
            operation.takes("path", "index", "Of actions that name none.", json!({"type": "string"}));
        })
    };
    // Clients send either method.
    into.add(says(Route::post("/_bulk", "bulk", super::TAG)), bulk::<C>)
        .add(says(Route::put("/_bulk", "putBulk", super::TAG)), bulk::<C>)
        .add(of_index(Route::post("/{index}/_bulk", "bulkOfIndex", super::TAG)), bulk::<C>)
        .add(of_index(Route::put("/{index}/_bulk", "putBulkOfIndex", super::TAG)), bulk::<C>)
        .add(
            Route::get("/_license", "elasticLicense", super::TAG)
                .says("What Elasticsearch's clients ask before they send")
                .with(|operation| operation.answers(200, "a license", json!({"type": "object"}))),
            license,
        )
        .add(
            Route::get("/_cluster/health", "elasticHealth", super::TAG)
                .says("What Elasticsearch's clients ask before they send")
                .with(|operation| operation.answers(200, "health", json!({"type": "object"}))),
            health,
        )
}

const EXAMPLE: &str = "{\"create\": {\"_index\": \"shop\", \"_id\": \"1\"}}\n{\"message\": \"hello\"}\n";

fn describes(operation: &mut Operation) {
    operation.takes_body_as(
        "application/x-ndjson",
        json!({"type": "string", "minLength": 1, "examples": [EXAMPLE]}),
    );
    let items = json!({"type": "array", "items": {"type": "object"}});
    let members = json!({"took": {"type": "integer"}, "errors": {"type": "boolean"}, "items": items});
    let answer = json!({"type": "object", "required": ["took", "errors", "items"], "properties": members});
    operation.answers(200, "an item for each action, in order", answer);
    operation.error_shape = ErrorShape { name: "Elastic", schemas: error_schemas };
}

fn error_schemas() -> Vec<(&'static str, Value)> {
    let error = json!({"type": "object", "required": ["type", "reason", "root_cause"], "properties": {
        "type": {"type": "string"}, "reason": {"type": "string"}, "root_cause": {"type": "array"}}});
    let members = json!({"error": error, "status": {"type": "integer"}});
    vec![("application/json", ErrorShape::object(&["error", "status"], members))]
}

async fn license() -> Answer {
    Ok(of_product(plain(
        StatusCode::OK,
        &json!({"license": {"status": "active", "type": "basic",
        "mode": "basic", "uid": "00000000-0000-0000-0000-000000000000"}}),
    )))
}

async fn health() -> Answer {
    Ok(of_product(plain(
        StatusCode::OK,
        &json!({"cluster_name": "logferry", "status": "green", "timed_out": false}),
    )))
}

/// An answer to `GET /`, with what clients of Elasticsearch look for.
pub(crate) fn about(own: &Value) -> Response {
    let mut about = own.clone();
    let version = json!({"number": VERSION, "build_flavor": "default",
        "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0"});
    for (name, value) in
        [("name", json!("logferry")), ("cluster_name", json!("logferry")), ("version", version)]
    {
        about[name] = value;
    }
    of_product(plain(StatusCode::OK, &about))
}

fn of_product(response: Response) -> Response {
    with_header(response, PRODUCT, "Elasticsearch")
}

async fn bulk<C: Cloud>(
    State(api): Shared<C>,
    by: Result<AsShipper, ApiError>,
    path: Result<PathPart, ApiError>,
    payload: Result<BodyBytes, ApiError>,
) -> Answer {
    let answered = async {
        let (by, payload) = (by?, payload?);
        let path = path.map_err(|_| ApiError::bad_request("index", "the name of the index must be UTF-8"))?;
        let actions = actions_of(&payload.bytes, path.get("index"))?;
        let mut batch = Batch::default();
        let mut ids = Some(String::new());
        for action in &actions {
            let Kind::Store(text) = action.kind else { continue };
            let mut context = Context::default();
            if !action.index.is_empty() {
                context.push("index", &action.index);
            }
            batch.push(Carried {
                text: text.into(),
                context: context.into_text().into(),
                ..Carried::default()
            })?;
            match (&mut ids, &action.id) {
                (Some(ids), Some(id)) => ids.push_str(&format!("{}:{id}", id.len())),
                _ => ids = None,
            }
        }
        // A batch without ids has nothing by which a retry could be distinguished from a second write.
        let identity = ids.as_deref().map_or(Identity::Nothing, Identity::Key);
        let refused = api.carry(&by.app, by.head.now_ms, "elasticsearch", &batch, identity).await?;
        items(
            &actions,
            &refused.into_iter().map(|refused| (refused.index, refused.why.to_string())).collect(),
        )
    };
    Ok(of_product(answered.await.unwrap_or_else(|error: ApiError| refusal(&error))))
}

/// An error as Elasticsearch answers it.
fn refusal(error: &ApiError) -> Response {
    let kind = match error.status.as_u16() {
        401 | 403 => "security_exception",
        413 | 429 => "es_rejected_execution_exception",
        500 | 503 => "unavailable_shards_exception",
        _ => "illegal_argument_exception",
    };
    let status = error.status.as_u16();
    let body = json!({"error": {"type": kind, "reason": error.message, "root_cause": []}, "status": status});
    with_pause(plain(error.status, &body), error.retry_after_secs)
}

/// The most that an item of an answer takes as a string of JSON, beside the names of its index and document
/// (bytes).
const ITEM_BYTES: usize = 256;
/// Maximum bytes of an answer: Lambda takes 6 MB, with what is around the body.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_ANSWER_BYTES: usize = 5_000_000;

/// An action of a bulk request.
#[derive(Debug, PartialEq, Eq)]
struct Action<'a> {
    name: String,
    index: Cow<'a, str>,
    id: Option<String>,
    kind: Kind<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    /// The document.
    Store(&'a str),
    /// What is stored here does not change.
    Unsupported,
}

/// The member that an action's line has, without its name.
#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(rename = "_index")]
    index: Option<String>,
    #[serde(rename = "_id")]
    id: Option<Id>,
}

/// The id of a document: as in Elasticsearch, a number is taken as its text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(Number),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

fn actions_of<'a>(body: &'a [u8], index: &'a str) -> Result<Vec<Action<'a>>, ApiError> {
    let malformed = |line: usize, what: &str| ApiError::bad_request("body", format!("line {line}: {what}"));
    let text = std::str::from_utf8(body).map_err(|_| malformed(1, "the body must be UTF-8"))?;
    let mut lines = text.split('\n').enumerate().map(|(at, line)| (at + 1, line.trim_end_matches('\r')));
    let (mut actions, mut answer_bytes) = (Vec::new(), 0);
    while let Some((at, line)) = lines.next() {
        if line.trim().is_empty() {
            continue;
        }
        let read: Result<std::collections::BTreeMap<String, Target>, _> = serde_json::from_str(line);
        let read = read.map_err(|error| malformed(at, &format!("an action must be an object: {error}")))?;
        let mut members = read.into_iter();
        let (Some((name, target)), None) = (members.next(), members.next()) else {
            return Err(malformed(at, "an action must have one member"));
        };
        let kind = match name.as_str() {
            "delete" => Kind::Unsupported,
            "create" | "index" | "update" => {
                let (_, document) = lines
                    .next()
                    .filter(|(_, line)| !line.trim().is_empty())
                    .ok_or_else(|| malformed(at, "an action must be followed by its document"))?;
                if name == "update" { Kind::Unsupported } else { Kind::Store(document) }
            }
            _ => return Err(malformed(at, "an action must be create, index, update or delete")),
        };
        let index = target.index.map_or(Cow::Borrowed(index), Cow::Owned);
        let id = target.id.map(String::from);
        let names = index.len() + id.as_ref().map_or(0, String::len);
        answer_bytes += ITEM_BYTES + 2 * names;
        if answer_bytes > MAX_ANSWER_BYTES {
            return Err(ApiError::too_large(format!(
                "a bulk request must have at most {} actions, fewer with long names: send smaller batches",
                MAX_ANSWER_BYTES / ITEM_BYTES
            )));
        }
        actions.push(Action { name, index, id, kind });
    }
    match actions.is_empty() {
        true => Err(ApiError::bad_request("body", "the request body is required: it has no action")),
        false => Ok(actions),
    }
}

/// The answer: an item for each action. `refused` has the places of documents that were not stored.
fn items(
    actions: &[Action<'_>],
    refused: &std::collections::BTreeMap<usize, String>,
) -> Result<Response, ApiError> {
    let unique = hex::encode(random::bytes::<8>()?);
    let (mut errors, mut items, mut documents) = (false, Vec::with_capacity(actions.len()), 0..);
    for (at, action) in actions.iter().enumerate() {
        let id = action.id.clone().unwrap_or_else(|| format!("{unique}-{at}"));
        let why = match action.kind {
            Kind::Unsupported => Some("records do not change: only create and index are supported"),
            Kind::Store(_) => documents.next().and_then(|place| refused.get(&place)).map(String::as_str),
        };
        errors |= why.is_some();
        let mut item = json!({"_index": action.index, "_id": id, "status": 201});
        match why {
            None => {
                item["result"] = "created".into();
                item["_version"] = 1.into();
                item["_shards"] = json!({"total": 1, "successful": 1, "failed": 0});
            }
            Some(reason) => {
                item["status"] = 400.into();
                item["error"] = json!({"type": "illegal_argument_exception", "reason": reason});
            }
        }
        items.push(Value::from_iter([(action.name.clone(), item)]));
    }
    Ok(plain(StatusCode::OK, &json!({"took": 0, "errors": errors, "items": items})))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_name_index_id_and_document() {
        let body = "{\"create\":{\"_index\":\"a\",\"_id\":\"1\",\"pipeline\":\"p\"}}\n{\"message\":\"x\"}\r\n\
            {\"index\":{}}\n{}\n{\"delete\":{\"_id\":2}}\n{\"update\":{\"_id\":\"3\"}}\n{\"doc\":{}}\n\n";
        let action = |name: &str, index: &str, id: Option<&str>, kind: Kind<'static>| Action {
            name: name.to_owned(),
            index: index.to_owned().into(),
            id: id.map(str::to_owned),
            kind,
        };
        let expected = [
            action("create", "a", Some("1"), Kind::Store("{\"message\":\"x\"}")),
            action("index", "of-path", None, Kind::Store("{}")),
            action("delete", "of-path", Some("2"), Kind::Unsupported),
            action("update", "of-path", Some("3"), Kind::Unsupported),
        ];
        assert_eq!(actions_of(body.as_bytes(), "of-path").unwrap(), expected);
    }

    #[test]
    fn bad_lines_are_named() {
        for (body, line) in [
            ("", "the request body is required"),
            ("\n \r\n", "the request body is required"),
            ("x\n", "line 1: "),
            ("[]\n", "line 1: "),
            ("{}\n", "line 1: "),
            ("{\"create\":{},\"index\":{}}\n{}", "line 1: "),
            ("{\"create\":{}}", "line 1: an action must be followed by its document"),
            ("{\"create\":{}}\n{}\n{\"drop\":{}}\n{}", "line 3: "),
            ("{\"create\":{\"_id\":[1]}}\n{}", "line 1: "),
        ] {
            let error = actions_of(body.as_bytes(), "").unwrap_err();
            assert!(error.status == 400 && error.message.starts_with(line), "{body}: {}", error.message);
        }
    }

    #[test]
    fn a_request_has_no_more_actions_than_its_answer_has_room_for() {
        let most = MAX_ANSWER_BYTES / ITEM_BYTES;
        let read = |index: &str, count: usize| {
            let body = "{\"delete\":{}}\n".repeat(count);
            actions_of(body.as_bytes(), index).map(|all| all.len()).map_err(|error| error.status.as_u16())
        };
        assert_eq!((read("", most), read("", most + 1)), (Ok(most), Err(413)));
        assert_eq!(read(&"x".repeat(9_000), 1_000), Err(413));
    }

    #[tokio::test]
    async fn an_answer_to_the_most_actions_fits() {
        let most = MAX_ANSWER_BYTES / ITEM_BYTES;
        for body in ["{\"delete\":{}}\n", "{\"create\":{}}\n{}\n"] {
            let body = body.repeat(most);
            let actions = actions_of(body.as_bytes(), "").unwrap();
            let answer = items(&actions, &std::collections::BTreeMap::new()).unwrap().into_body();
            let answer = axum::body::to_bytes(answer, usize::MAX).await.unwrap();
            let as_lambda_sends_it = serde_json::to_string(std::str::from_utf8(&answer).unwrap()).unwrap();
            assert!(as_lambda_sends_it.len() <= MAX_ANSWER_BYTES, "{}", as_lambda_sends_it.len());
        }
    }

    #[tokio::test]
    async fn refused_documents_and_what_is_not_supported_are_errors_of_their_items() {
        let actions =
            actions_of(b"{\"delete\":{\"_id\":\"1\"}}\n{\"create\":{}}\n{}\n{\"index\":{}}\n{}\n", "i")
                .unwrap();
        let refused = [(1, "entries[1]: too large".to_owned())].into();
        let answer = items(&actions, &refused).unwrap().into_body();
        let answer: Value =
            serde_json::from_slice(&axum::body::to_bytes(answer, 10_000).await.unwrap()).unwrap();
        let status = |at: usize, name: &str| answer["items"][at][name]["status"].as_u64();
        assert_eq!(answer["errors"], true);
        assert_eq!(
            (status(0, "delete"), status(1, "create"), status(2, "index")),
            (Some(400), Some(201), Some(400))
        );
        assert_eq!(answer["items"][2]["index"]["error"]["reason"], "entries[1]: too large");
    }
}
