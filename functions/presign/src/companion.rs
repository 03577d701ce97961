//! The routes of Uppy Companion's S3 controller, with its shapes and its texts, so that
//! `@uppy/aws-s3` and whatever else speaks to Companion works unchanged.

use axum::extract::{FromRequest, Request};
use http::StatusCode;
use logferry_core::model::app::Scope;
use logferry_core::uploads::session::{ListedPart, MAX_PART_BYTES, MAX_PARTS, bare_etag};
use logferry_service::http::{
    ApiError, Describe, ErrorShape, Head, IntoResponse, Operation, PathPart, QueryParams, Raw, Response,
    State, json as json_of, with_pause,
};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use crate::{Shared, World};

/// What the pattern of a path calls a session.
const UPLOAD_ID: &str = "uploadId";

/// The most parts that one batch signs.
pub(crate) const MAX_BATCH: usize = 1_000;

/// The shape of a refusal.
pub(crate) const ERROR: ErrorShape = ErrorShape { name: "Companion", schemas: error_schemas };

fn error_schemas() -> Vec<(&'static str, Value)> {
    let error = json!({"error": {"type": "string", "pattern": "^s3: "}, "details": {"type": "object"}});
    vec![("application/json", ErrorShape::object(&["error"], error))]
}

/// A refusal in Companion's shape: `{"error": "s3: …"}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: String,
    details: Option<Value>,
    retry_after_secs: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), details: None, retry_after_secs: None }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn with_details(mut self, details: &impl serde::Serialize) -> Self {
        self.details = serde_json::to_value(details).ok();
        self
    }

    pub(crate) fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({"error": format!("s3: {}", self.message)});
        if let Some(details) = self.details {
            body["details"] = details;
        }
        let response = json_of(self.status, &body);
        with_pause(response, self.retry_after_secs)
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self {
            status: error.status,
            message: error.message,
            details: None,
            retry_after_secs: error.retry_after_secs,
        }
    }
}

impl From<logferry_core::model::fault::Fault> for Refusal {
    fn from(fault: logferry_core::model::fault::Fault) -> Self {
        ApiError::from(fault).into()
    }
}

/// What `POST /s3/multipart` asks for.
#[derive(Debug)]
pub(crate) struct NewUpload {
    pub(crate) filename: String,
    pub(crate) content_type: String,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) size_bytes: Option<u64>,
}

/// A body of Companion's routes, whose refusals have Companion's shape.
pub(crate) struct Sent<T>(Raw<T>);

impl<S: Send + Sync, T> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        Ok(Self(Raw::from_request(request, state).await?))
    }
}

impl<T: ToSchema> Describe for Sent<T> {
    fn describe(operation: &mut Operation) {
        Raw::<T>::describe(operation);
    }
}

#[derive(ToSchema)]
#[schema(example = json!({"filename": "film.mp4", "type": "video/mp4"}))]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct NewSession {
    #[schema(min_length = 1)]
    filename: String,
    /// One content type.
    r#type: String,
    #[schema(value_type = Option<Object>)]
    metadata: Option<Value>,
    /// Bytes: complete requires exactly this size.
    #[schema(minimum = 1)]
    size: Option<u64>,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct ListedParts {
    #[schema(max_items = 10_000)]
    parts: Vec<PartTag>,
}

#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
#[expect(dead_code, reason = "only described, never made")]
struct PartTag {
    #[schema(minimum = 1, maximum = 10_000)]
    part_number: u32,
    /// With or without its quotes.
    #[schema(rename = "ETag")]
    e_tag: String,
}

#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct Created {
    key: String,
    upload_id: String,
    bucket: String,
    /// What to divide the file by (bytes).
    part_size: u64,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct SignedPart {
    url: String,
    /// How long the URL works (s).
    expires: u32,
}

#[derive(ToSchema)]
#[expect(dead_code, reason = "only described, never made")]
pub(crate) struct Completed {
    location: String,
    key: String,
    bucket: String,
}

fn string() -> Value {
    json!({"type": "string"})
}

pub(crate) fn on_session(operation: &mut Operation) {
    operation.takes("path", "uploadId", "A session.", string());
    let key = json!({"name": "key", "in": "query", "required": true,
        "description": "The `key` of the session.", "schema": string()});
    operation.parameters.push(key);
    operation.errors.extend([404, 413]);
}

pub(crate) fn answers_parts(operation: &mut Operation) {
    let part = json!({"type": "object", "required": ["PartNumber", "ETag", "Size"], "properties": {
        "PartNumber": {"type": "integer"}, "ETag": string(), "Size": {"type": "integer"}}});
    operation.answers(200, "the parts", json!({"type": "array", "items": part}));
}

pub(crate) fn takes_parts(operation: &mut Operation) {
    let numbers = json!({"name": "partNumbers", "in": "query", "required": true,
        "description": "With commas between them.", "schema": {"type": "string", "examples": ["1,2"]}});
    operation.parameters.push(numbers);
    let sizes = "The parts' lengths, to be signed: one for each, or one for all.";
    operation.takes("query", "sizes", sizes, string());
    let urls = json!({"type": "object", "additionalProperties": string()});
    let schema =
        json!({"type": "object", "required": ["presignedUrls"], "properties": {"presignedUrls": urls}});
    operation.answers(200, "a URL for each part number", schema);
}

pub(crate) fn takes_part(operation: &mut Operation) {
    let number = json!({"type": "integer", "minimum": 1, "maximum": MAX_PARTS});
    operation.takes("path", "partNumber", "A part.", number);
    let size = json!({"type": "integer", "minimum": 0, "maximum": MAX_PART_BYTES});
    operation.takes("query", "size", "The part's length, to be signed.", size);
}

pub(crate) fn takes_form_query(operation: &mut Operation) {
    let filename = json!({"name": "filename", "in": "query", "required": true,
        "schema": {"type": "string", "minLength": 1}});
    operation.parameters.push(filename);
    operation.takes("query", "type", "One content type. `metadata[name]=value` adds metadata.", string());
    let schema = json!({"type": "object", "required": ["method", "url", "fields", "expires"], "properties": {
        "method": {"const": "POST"}, "url": string(), "fields": {"type": "object"},
        "expires": {"type": "integer"}}});
    operation.answers(200, "a form", schema);
    operation.errors.insert(413);
}

type Companion = Result<Response, Refusal>;

fn good(body: &Value) -> Response {
    json_of(StatusCode::OK, body)
}

pub(crate) async fn upload_form<W: World>(State(presign): Shared<W>, head: Head) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let new = new_upload_of_query(&head.query)?;
    Ok(good(&presign.upload_form(&new, &uploader, head.now_ms)?))
}

pub(crate) async fn create_upload<W: World>(
    State(presign): Shared<W>,
    head: Head,
    Sent(sent): Sent<NewSession>,
) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let new = new_upload_of_body(&sent.bytes)?;
    Ok(good(&presign.create_upload(new, &uploader, head.now_ms).await?))
}

pub(crate) async fn list_parts<W: World>(State(presign): Shared<W>, head: Head, part: PathPart) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let key = key(&head.query)?;
    Ok(good(&presign.uploaded_parts(&uploader, part.get(UPLOAD_ID), key, head.now_ms).await?))
}

pub(crate) async fn abort_upload<W: World>(
    State(presign): Shared<W>,
    head: Head,
    part: PathPart,
) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let key = key(&head.query)?;
    Ok(good(&presign.abort_upload(&uploader, part.get(UPLOAD_ID), key, head.now_ms).await?))
}

pub(crate) async fn sign_parts<W: World>(State(presign): Shared<W>, head: Head, part: PathPart) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let (key, parts) = (key(&head.query)?, part_numbers(&head.query)?);
    Ok(good(&presign.sign_parts(&uploader, part.get(UPLOAD_ID), key, &parts, head.now_ms).await?))
}

pub(crate) async fn sign_part<W: World>(State(presign): Shared<W>, head: Head, part: PathPart) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let key = key(&head.query)?;
    let number = part_number(part.get("partNumber")).ok_or_else(bad_part_number)?;
    let size = one_size(head.query.only("size"))?;
    Ok(good(&presign.sign_part(&uploader, part.get(UPLOAD_ID), key, number, size, head.now_ms).await?))
}

pub(crate) async fn complete_upload<W: World>(
    State(presign): Shared<W>,
    head: Head,
    part: PathPart,
    Sent(sent): Sent<ListedParts>,
) -> Companion {
    let uploader = presign.uploader(&head, Scope::Write).await?;
    let key = key(&head.query)?;
    let parts = listed_parts(&sent.bytes)?;
    Ok(good(&presign.complete_upload(&uploader, part.get(UPLOAD_ID), key, &parts, head.now_ms).await?))
}

/// The parameters of Companion's routes are taken where they occur once; others are ignored.
fn key(query: &QueryParams) -> Result<&str, Refusal> {
    query.only("key").ok_or_else(|| {
        Refusal::bad_request(
            "the object key must be passed as a query parameter. For example: \"?key=abc.jpg\"",
        )
    })
}

fn part_number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| (1..=MAX_PARTS).contains(number))
}

fn bad_part_number() -> Refusal {
    Refusal::bad_request("the part number must be a number between 1 and 10000.")
}

/// A part's length that the client declares, to be signed.
fn one_size(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let size = text.parse().ok().filter(|size| *size <= MAX_PART_BYTES);
    let wrong = || format!("the size of a part must be a number of bytes up to {MAX_PART_BYTES}.");
    size.map(Some).ok_or_else(|| Refusal::bad_request(wrong()))
}

/// `partNumbers`, and beside them `sizes`, where the client declares these too: one for each, or one
/// for all (a thousand of both would not fit into the line of a request that API Gateway takes).
fn part_numbers(query: &QueryParams) -> Result<Vec<(u32, Option<u64>)>, Refusal> {
    let numbers = query.only("partNumbers").ok_or_else(|| {
        Refusal::bad_request(
            "the part numbers must be passed as a comma separated query parameter. \
             For example: \"?partNumbers=4,6,7,21\"",
        )
    })?;
    let numbers: Option<Vec<_>> = numbers.split(',').map(part_number).collect();
    let numbers = numbers
        .ok_or_else(|| Refusal::bad_request("the part numbers must be a number between 1 and 10000."))?;
    if numbers.len() > MAX_BATCH {
        return Err(Refusal::bad_request(format!("at most {MAX_BATCH} part numbers can be signed at once.")));
    }
    let Some(sizes) = query.only("sizes") else {
        return Ok(numbers.into_iter().map(|number| (number, None)).collect());
    };
    let sizes: Vec<_> = sizes.split(',').map(|size| one_size(Some(size))).collect::<Result<_, _>>()?;
    match sizes.as_slice() {
        [size] => Ok(numbers.into_iter().map(|number| (number, *size)).collect()),
        _ if sizes.len() == numbers.len() => Ok(numbers.into_iter().zip(sizes).collect()),
        _ => Err(Refusal::bad_request("there must be as many sizes as part numbers, or one for all.")),
    }
}

fn body(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(bytes).map_err(|_| Refusal::bad_request("the body must be a JSON object."))
}

fn new_upload_of_body(bytes: &[u8]) -> Result<NewUpload, Refusal> {
    let body = body(bytes)?;
    let filename = body.get("filename").and_then(Value::as_str).filter(|name| !name.is_empty());
    let filename = filename.ok_or_else(|| {
        Refusal::bad_request("the \"filename\" field is required and must be a non-empty string")
    })?;
    let content_type = body.get("type").and_then(Value::as_str);
    let content_type = content_type.ok_or_else(|| Refusal::bad_request("content type must be a string"))?;
    let metadata = match body.get("metadata") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Object(metadata)) => metadata
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            })
            .collect(),
        Some(_) => return Err(Refusal::bad_request("metadata must be an object")),
    };
    let size_bytes = match body.get("size") {
        None | Some(Value::Null) => None,
        Some(size) => Some(
            size.as_u64()
                .filter(|size| *size > 0)
                .ok_or_else(|| Refusal::bad_request("size must be a whole number of bytes, at least 1"))?,
        ),
    };
    Ok(NewUpload {
        filename: filename.to_owned(),
        content_type: content_type.to_owned(),
        metadata,
        size_bytes,
    })
}

fn new_upload_of_query(query: &QueryParams) -> Result<NewUpload, Refusal> {
    let filename = query.only("filename").filter(|name| !name.is_empty()).ok_or_else(|| {
        Refusal::bad_request("the \"filename\" query parameter is required and must be a non-empty string")
    })?;
    let metadata = query
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    Ok(NewUpload {
        filename: filename.to_owned(),
        content_type: query.only("type").unwrap_or_default().to_owned(),
        metadata,
        size_bytes: None,
    })
}

fn listed_parts(bytes: &[u8]) -> Result<Vec<ListedPart>, Refusal> {
    let wrong = || Refusal::bad_request("`parts` must be an array of {ETag, PartNumber} objects.");
    let body = body(bytes)?;
    let parts = body.get("parts").and_then(Value::as_array).ok_or_else(wrong)?;
    let part = |part: &Value| {
        let number = part.get("PartNumber").filter(|number| number.is_number()).ok_or_else(wrong)?;
        let etag = part.get("ETag").and_then(Value::as_str).ok_or_else(wrong)?;
        let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
        let number = number.filter(|number| (1..=MAX_PARTS).contains(number)).ok_or_else(bad_part_number)?;
        Ok(ListedPart { number, etag: bare_etag(etag).to_owned() })
    };
    parts.iter().map(part).collect()
}
