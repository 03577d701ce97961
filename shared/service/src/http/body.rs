//! Bodies: JSON objects of a type, or bytes. What has another type than a route takes, or is too large, is
//! refused.

use std::marker::PhantomData;

use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use utoipa::ToSchema;

use super::coding::decoded;
use super::{ApiError, Describe, Fields, Operation};

/// The largest body (bytes). Lambda takes 6 MB, in base64.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// What a JSON body says.
pub trait Body: Sized {
    /// Whether a request without a body is one with `{}`.
    const OPTIONAL: bool = false;

    /// Takes the fields.
    ///
    /// # Errors
    /// 400, naming the field that is wrong.
    fn read(fields: &mut Fields) -> Result<Self, ApiError>;
}

/// A JSON body, read, and as it came.
#[derive(Debug, Clone)]
pub struct Json<T> {
    pub value: T,
    pub bytes: Bytes,
}

impl<S: Sync, T: Body> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let bytes = bytes_of(request).await?;
        let mut fields = match T::OPTIONAL {
            true => Fields::parse_optional(&bytes)?,
            false => Fields::parse(&bytes)?,
        };
        let value = T::read(&mut fields)?;
        fields.finish()?;
        Ok(Self { value, bytes })
    }
}

impl<T: Body + ToSchema> Describe for Json<T> {
    fn describe(operation: &mut Operation) {
        operation.takes_body::<T>(!T::OPTIONAL);
        operation.schemas.close::<T>();
    }
}

/// A JSON body that its handler reads by itself; `T` is how the document describes it.
#[derive(Debug, Clone)]
pub struct Raw<T> {
    pub bytes: Bytes,
    shape: PhantomData<fn() -> T>,
}

impl<S: Sync, T> FromRequest<S> for Raw<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        Ok(Self { bytes: bytes_of(request).await?, shape: PhantomData })
    }
}

impl<T: ToSchema> Describe for Raw<T> {
    fn describe(operation: &mut Operation) {
        operation.takes_body::<T>(true);
    }
}

async fn bytes_of(request: Request) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    let bytes = whole(body).await?;
    if bytes.is_empty() || is_json(&parts.headers) {
        return Ok(bytes);
    }
    Err(ApiError::unsupported("send JSON, with Content-Type: application/json and no Content-Encoding"))
}

async fn whole(body: axum::body::Body) -> Result<Bytes, ApiError> {
    axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .map_err(|_| ApiError::too_large(format!("a body must be at most {MAX_BODY_BYTES} bytes")))
}

/// A body of any type, as it was before `Content-Encoding`.
#[derive(Debug, Clone)]
pub struct BodyBytes {
    pub bytes: Bytes,
    /// In lower case, without parameters; empty if it is not said.
    pub media_type: String,
}

impl<S: Sync> FromRequest<S> for BodyBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let (parts, body) = request.into_parts();
        let bytes = whole(body).await?;
        let bytes = match parts.headers.get(CONTENT_ENCODING) {
            Some(coding) => decoded(coding.to_str().unwrap_or("?"), bytes)?,
            None => bytes,
        };
        Ok(Self { bytes, media_type: media_type(&parts.headers) })
    }
}

impl BodyBytes {
    /// Whether it may be JSON.
    #[must_use]
    pub fn may_be_json(&self) -> bool {
        may_be_json(&self.media_type)
    }
}

impl Describe for BodyBytes {
    fn describe(operation: &mut Operation) {
        operation.errors.extend([400, 413, 415]);
    }
}

/// The media type of a body.
fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(headers: &HeaderMap) -> bool {
    let encoded = headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
    !encoded && may_be_json(&media_type(headers))
}

/// Whether a body may be JSON. `curl -d` and scripts of browsers that avoid a preflight label it
/// otherwise, or not at all: they are taken at their word only where it cannot be JSON.
fn may_be_json(media_type: &str) -> bool {
    let unlabelled = ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"];
    media_type.ends_with("/json") || media_type.ends_with("+json") || unlabelled.contains(&media_type)
}

#[cfg(test)]
mod tests {
    use axum::body::Body as AxumBody;
    use serde_json::{Value, json};

    use http::StatusCode;

    use super::*;

    #[derive(Debug)]
    struct Named {
        name: String,
        size: Option<u64>,
    }

    impl Body for Named {
        fn read(fields: &mut Fields) -> Result<Self, ApiError> {
            Ok(Self { name: fields.require_text("name")?, size: fields.take_number("size", 1, 9)? })
        }
    }

    async fn read(headers: &[(&str, &str)], body: impl Into<AxumBody>) -> Result<Json<Named>, ApiError> {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Json::from_request(request.body(body.into()).unwrap(), &()).await
    }

    #[tokio::test]
    async fn a_body_becomes_a_value_and_stays_as_it_came() {
        let text = r#"{"size": 3, "name": "x"}"#;
        let Json { value, bytes } = read(&[], text).await.unwrap();
        assert_eq!((value.name.as_str(), value.size, &*bytes), ("x", Some(3), text.as_bytes()));
    }

    #[tokio::test]
    async fn what_is_wrong_is_named() {
        for (body, field) in [
            ("", "body"),
            ("{", "body"),
            ("[]", "body"),
            ("{}", "name"),
            (r#"{"name": 3}"#, "name"),
            (r#"{"name": null}"#, "name"),
            (r#"{"name": "x", "size": 0}"#, "size"),
            (r#"{"name": "x", "size": 1.5}"#, "size"),
            (r#"{"name": "x", "other": 1}"#, "other"),
        ] {
            let error = read(&[], body).await.unwrap_err();
            let named = error.details.as_ref().map(|details| details["field"].clone());
            assert_eq!((error.status, named), (StatusCode::BAD_REQUEST, Some(Value::from(field))), "{body}");
        }
    }

    #[tokio::test]
    async fn a_body_over_four_mebibytes_is_413() {
        let body = |bytes: usize| format!("{{\"name\": \"{}\"}}", "x".repeat(bytes - 12));
        assert!(read(&[], body(MAX_BODY_BYTES)).await.is_ok());
        let error = read(&[], body(MAX_BODY_BYTES + 1)).await.unwrap_err();
        assert_eq!((error.status.as_u16(), error.code), (413, "PAYLOAD_TOO_LARGE"));
    }

    #[tokio::test]
    async fn what_cannot_be_json_is_415_and_what_is_labelled_carelessly_is_read() {
        let body = json!({"name": "x"}).to_string();
        for (headers, taken) in [
            (vec![("content-type", "application/json")], true),
            (vec![("content-type", "Application/JSON; charset=utf-8")], true),
            (vec![("content-type", "application/vnd.x+json")], true),
            (vec![("content-type", "application/x-www-form-urlencoded")], true),
            (vec![("content-type", "text/plain;charset=UTF-8")], true),
            (vec![("content-encoding", "identity")], true),
            (vec![("content-type", "multipart/form-data; boundary=x")], false),
            (vec![("content-type", "application/xml")], false),
            (vec![("content-type", "application/json"), ("content-encoding", "gzip")], false),
        ] {
            let status = read(&headers, body.clone()).await.err().map(|error| error.status.as_u16());
            assert_eq!(status, (!taken).then_some(415), "{headers:?}");
        }
        assert_eq!(read(&[("content-type", "text/csv")], "").await.unwrap_err().status, 400);
    }
}
