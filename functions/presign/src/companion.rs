//! The routes of Uppy Companion's S3 controller, with the same shapes and texts, so that `@uppy/aws-s3` and
//! other clients of Companion work unchanged.

use http::{Method, StatusCode};
use logferry_core::uploads::session::{ListedPart, MAX_PART_BYTES, MAX_PARTS, bare_etag};
use logferry_service::http::{ApiError, Request, Response};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};

use crate::uploader::Uploader;
use crate::{App, World};

/// Maximum number of parts that one batch signs.
pub(crate) const MAX_BATCH: usize = 1_000;

/// An error in Companion's shape: `{"error": "s3: …"}`.
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

    fn response(self) -> Response {
        let mut body = json!({"error": format!("s3: {}", self.message)});
        if let Some(details) = self.details {
            body["details"] = details;
        }
        let response = Response::json(self.status, &body);
        match self.retry_after_secs {
            Some(secs) => response.with_header(http::header::RETRY_AFTER, &secs.to_string()),
            None => response,
        }
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

/// A request below `/s3`, or below `/t/{token}/s3`.
#[derive(Debug)]
pub(crate) struct Call {
    token: Option<String>,
    /// The path after `/s3`, decoded.
    path: Vec<String>,
}

impl Call {
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let mut path = request
            .path
            .split('/')
            .skip(1)
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned());
        let first = path.next()?;
        let token = if first == "t" { Some(path.next()?) } else { None };
        let base = if token.is_some() { path.next()? } else { first };
        (base == "s3").then(|| Self { token, path: path.collect() })
    }

    /// Returns its route as a pattern, without the token.
    pub(crate) fn route(&self) -> &'static str {
        let path: Vec<_> = self.path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["params"] => "/s3/params",
            ["multipart"] => "/s3/multipart",
            ["multipart", _] => "/s3/multipart/{uploadId}",
            ["multipart", _, "complete"] => "/s3/multipart/{uploadId}/complete",
            ["multipart", _, "batch"] => "/s3/multipart/{uploadId}/batch",
            ["multipart", _, _] => "/s3/multipart/{uploadId}/{partNumber}",
            _ => "/s3",
        }
    }
}

/// The fields of `POST /s3/multipart`.
#[derive(Debug)]
pub(crate) struct NewUpload {
    pub(crate) filename: String,
    pub(crate) content_type: String,
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) size_bytes: Option<u64>,
}

impl<W: World> App<W> {
    /// Handles one of Companion's routes.
    pub(crate) async fn companion(&self, request: &Request, call: &Call, now_ms: i64) -> Response {
        let answer = async {
            let uploader = self.uploader(request, call.token.as_deref(), now_ms).await?;
            self.companion_route(request, call, &uploader, now_ms).await
        };
        match answer.await {
            Ok(body) => Response::json(StatusCode::OK, &body),
            Err(refusal) => refusal.response(),
        }
    }

    async fn companion_route(
        &self,
        request: &Request,
        call: &Call,
        uploader: &Uploader,
        now_ms: i64,
    ) -> Result<Value, Refusal> {
        let path: Vec<_> = call.path.iter().map(String::as_str).collect();
        match (&request.method, path.as_slice()) {
            (&Method::GET, ["params"]) => self.upload_form(&new_upload_of_query(request)?, uploader, now_ms),
            (&Method::POST, ["multipart"]) => {
                self.create_upload(new_upload_of_body(request)?, uploader, now_ms).await
            }
            (&Method::GET, ["multipart", id]) => {
                self.uploaded_parts(uploader, id, &key(request)?, now_ms).await
            }
            (&Method::GET, ["multipart", id, "batch"]) => {
                let key = key(request)?;
                let parts = part_numbers(request)?;
                self.sign_parts(uploader, id, &key, &parts, now_ms).await
            }
            (&Method::GET, ["multipart", id, number]) => {
                let key = key(request)?;
                let part = part_number(number).ok_or_else(bad_part_number)?;
                let size = one_size(only(request, "size"))?;
                self.sign_part(uploader, id, &key, part, size, now_ms).await
            }
            (&Method::POST, ["multipart", id, "complete"]) => {
                let key = key(request)?;
                let parts = listed_parts(request)?;
                self.complete_upload(uploader, id, &key, &parts, now_ms).await
            }
            (&Method::DELETE, ["multipart", id]) => {
                self.abort_upload(uploader, id, &key(request)?, now_ms).await
            }
            _ => Err(Refusal::new(StatusCode::NOT_FOUND, "no such route")),
        }
    }
}

/// Returns the value of a parameter that occurs once: Companion does not accept a repeated one as text.
fn only<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let mut values = request.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    values.next().filter(|_| values.next().is_none())
}

fn key(request: &Request) -> Result<String, Refusal> {
    only(request, "key").map(str::to_owned).ok_or_else(|| {
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

/// Parses the declared length of a part, to be signed.
fn one_size(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let size = text.parse().ok().filter(|size| *size <= MAX_PART_BYTES);
    let wrong = || format!("the size of a part must be a number of bytes up to {MAX_PART_BYTES}.");
    size.map(Some).ok_or_else(|| Refusal::bad_request(wrong()))
}

/// Parses `partNumbers`, and `sizes` if the client declares them: one for each, or one for all (a thousand
/// of both would exceed API Gateway's limit for a request line).
fn part_numbers(request: &Request) -> Result<Vec<(u32, Option<u64>)>, Refusal> {
    let numbers = only(request, "partNumbers").ok_or_else(|| {
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
    let Some(sizes) = only(request, "sizes") else {
        return Ok(numbers.into_iter().map(|number| (number, None)).collect());
    };
    let sizes: Vec<_> = sizes.split(',').map(|size| one_size(Some(size))).collect::<Result<_, _>>()?;
    match sizes.as_slice() {
        [size] => Ok(numbers.into_iter().map(|number| (number, *size)).collect()),
        _ if sizes.len() == numbers.len() => Ok(numbers.into_iter().zip(sizes).collect()),
        _ => Err(Refusal::bad_request("there must be as many sizes as part numbers, or one for all.")),
    }
}

fn body(request: &Request) -> Result<Map<String, Value>, Refusal> {
    if request.body.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&request.body).map_err(|_| Refusal::bad_request("the body must be a JSON object."))
}

fn new_upload_of_body(request: &Request) -> Result<NewUpload, Refusal> {
    let body = body(request)?;
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

fn new_upload_of_query(request: &Request) -> Result<NewUpload, Refusal> {
    let filename = only(request, "filename").filter(|name| !name.is_empty()).ok_or_else(|| {
        Refusal::bad_request("the \"filename\" query parameter is required and must be a non-empty string")
    })?;
    let metadata = request
        .query
        .iter()
        .filter_map(|(key, value)| {
            let name = key.strip_prefix("metadata[")?.strip_suffix(']')?;
            Some((name.to_owned(), value.clone()))
        })
        .collect();
    Ok(NewUpload {
        filename: filename.to_owned(),
        content_type: only(request, "type").unwrap_or_default().to_owned(),
        metadata,
        size_bytes: None,
    })
}

fn listed_parts(request: &Request) -> Result<Vec<ListedPart>, Refusal> {
    let wrong = || Refusal::bad_request("`parts` must be an array of {ETag, PartNumber} objects.");
    let body = body(request)?;
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

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use logferry_service::http::Trail;

    use super::*;

    fn call(path: &str) -> Option<(Option<String>, Vec<String>)> {
        let request = Request {
            method: Method::GET,
            path: path.to_owned(),
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: Vec::new(),
            request_id: String::new(),
            source_ip: None,
            trail: Trail::default(),
        };
        Call::of(&request).map(|call| (call.token, call.path))
    }

    #[test]
    fn a_call_is_what_follows_s3_with_or_without_a_token_before_it() {
        let path = |segments: &[&str]| segments.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(call("/s3/multipart/a%2Bb/1"), Some((None, path(&["multipart", "a+b", "1"]))));
        assert_eq!(call("/t/to.k.en/s3/params"), Some((Some("to.k.en".to_owned()), path(&["params"]))));
        for other in ["/", "/t", "/t/x", "/t/x/y", "/s33/params", "/presigned-url", "/uploads"] {
            assert_eq!(call(other), None, "{other}");
        }
    }
}
