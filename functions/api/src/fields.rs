//! Fields of a request; errors name the field.

use logferry_core::logbook::filter::bound_ms;
use logferry_core::logbook::new_entry::Invalid;
use logferry_core::model::time::{in_range, parse_rfc3339_ms};
use logferry_service::http::{ApiError, Request};
use serde_json::{Map, Value};

/// The header that makes a request idempotent.
pub(crate) const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";

/// A body that is a JSON object. Unknown fields are refused by [`Fields::finish`].
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Parses the body, which must be an object.
    pub(crate) fn of(request: &Request) -> Result<Self, ApiError> {
        match request.json()? {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(ApiError::bad_request("body", "the body must be a JSON object")),
        }
    }

    /// Like [`Fields::of`], but an empty body is an empty object.
    pub(crate) fn of_optional(request: &Request) -> Result<Self, ApiError> {
        if request.body.is_empty() { Ok(Self(Map::new())) } else { Self::of(request) }
    }

    /// Takes an optional field; `null` counts as missing.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field, distinguishing null from missing.
    pub(crate) fn take_nullable(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    pub(crate) fn take_text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::bad_request(name, format!("{name} must be a string"))),
        }
    }

    pub(crate) fn require_text(&mut self, name: &str) -> Result<String, ApiError> {
        self.take_text(name)?.ok_or_else(|| required(name))
    }

    /// Takes a whole number between `least` and `most`.
    pub(crate) fn take_number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        number(name, &value, least, most).map(Some)
    }

    /// Refuses remaining fields.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::bad_request(name, format!("{name} is not a field of this request"))),
        }
    }
}

pub(crate) fn number(name: &str, value: &Value, least: u64, most: u64) -> Result<u64, ApiError> {
    value.as_u64().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        ApiError::bad_request(name, format!("{name} must be a whole number from {least} to {most}"))
    })
}

pub(crate) fn required(name: &str) -> ApiError {
    ApiError::bad_request(name, format!("{name} is required"))
}

/// Parses a query parameter that is a whole number between `least` and `most`.
pub(crate) fn param_number(
    request: &Request,
    name: &str,
    least: u64,
    most: u64,
) -> Result<Option<u64>, ApiError> {
    let Some(text) = request.param(name) else { return Ok(None) };
    let value = text.parse::<u64>().map_or(Value::Null, Value::from);
    number(name, &value, least, most).map(Some)
}

/// Parses a parameter that bounds a time range.
pub(crate) fn param_ms(request: &Request, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(text) = request.param(name) else { return Ok(None) };
    let message = || format!("{name} must be RFC 3339 with an offset, or milliseconds since the epoch");
    bound_ms(text).map(Some).ok_or_else(|| ApiError::bad_request(name, message()))
}

/// Parses a time in a body that records can have.
pub(crate) fn record_time_ms(name: &str, value: &Value) -> Result<i64, ApiError> {
    let ms = match value {
        Value::String(text) => parse_rfc3339_ms(text),
        value => value.as_i64(),
    };
    ms.filter(|&ms| in_range(ms)).ok_or_else(|| {
        let message = format!(
            "{name} must be RFC 3339 with an offset, or milliseconds since the epoch, from 2000 to 2100"
        );
        ApiError::bad_request(name, message)
    })
}

/// Maximum length of the URL or name of a check in a request (bytes). It becomes part of a table key of at
/// most 2,048 bytes:
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-partition-sort-keys>
const MAX_CHECK_BYTES: usize = 1_024;

/// Refuses unknown and repeated query parameters, so that a misspelled filter does not look like a result.
/// `context.` parameters may occur any number of times.
pub(crate) fn known_params(request: &Request, known: &[&str]) -> Result<(), ApiError> {
    let refused = |name: &str, why: &str| Err(ApiError::bad_request(name, format!("{name} {why}")));
    for (index, (name, value)) in request.query.iter().enumerate() {
        if known.contains(&"context.") && name.starts_with("context.") {
            continue;
        }
        if !known.contains(&name.as_str()) {
            return refused(name, "is not a parameter of this request");
        }
        if request.query[..index].iter().any(|(earlier, _)| earlier == name) {
            return refused(name, "must not be repeated");
        }
        if name == "url" && value.len() > MAX_CHECK_BYTES {
            return refused(name, "is longer than the URL or name of any check");
        }
    }
    Ok(())
}

/// Reads a text header of at most `most_bytes`; an empty one counts as missing.
pub(crate) fn header<'r>(
    request: &'r Request,
    name: &str,
    most_bytes: usize,
) -> Result<Option<&'r str>, ApiError> {
    let Some(value) = request.headers.get(name) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).ok().filter(|text| text.len() <= most_bytes);
    let text = text.ok_or_else(|| {
        ApiError::bad_request(name, format!("{name} must be text of at most {most_bytes} bytes"))
    })?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

pub(crate) fn invalid(bad: &Invalid) -> ApiError {
    ApiError::bad_request(&bad.field, bad.message.clone())
}

/// Maximum length of a name (characters).
const MAX_NAME_CHARS: usize = 200;

/// Validates the name of an app or a key.
pub(crate) fn name(text: &str) -> Result<String, ApiError> {
    let name = text.trim();
    if name.is_empty() || name.chars().count() > MAX_NAME_CHARS {
        return Err(ApiError::bad_request(
            "name",
            format!("name must have 1 to {MAX_NAME_CHARS} characters"),
        ));
    }
    Ok(text.to_owned())
}
