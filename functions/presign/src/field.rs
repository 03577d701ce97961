//! Fields of a JSON body; errors name the field.

use std::str::FromStr;

use logferry_core::model::object_key::BadPart;
use logferry_service::http::{ApiError, Request};
use serde_json::{Map, Value};

/// A body that is a JSON object. An empty body is an empty object.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn of(request: &Request) -> Result<Self, ApiError> {
        if request.body.is_empty() {
            return Ok(Self(Map::new()));
        }
        match request.json()? {
            Value::Object(fields) => Ok(Self(fields)),
            _ => Err(ApiError::bad_request("body", "the body must be a JSON object")),
        }
    }

    /// Refuses unknown fields.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), ApiError> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(ApiError::bad_request(name, format!("{name} is not a field of this request"))),
            None => Ok(()),
        }
    }

    /// Takes an optional field; `null` counts as missing.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Parses an optional text.
    pub(crate) fn optional<T: FromStr<Err = BadPart>>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text =
            value.as_str().ok_or_else(|| ApiError::bad_request(name, format!("{name} must be a string")))?;
        let part = text.parse().map_err(|bad: BadPart| {
            ApiError::bad_request(name, format!("{name} must match {}", bad.pattern))
        })?;
        Ok(Some(part))
    }

    /// Parses a required text.
    pub(crate) fn required<T: FromStr<Err = BadPart>>(&self, name: &str) -> Result<T, ApiError> {
        self.optional(name)?.ok_or_else(|| ApiError::bad_request(name, format!("{name} is required")))
    }

    /// Parses an optional whole number of at least 1.
    pub(crate) fn size(&self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.as_u64() {
            Some(size) if size > 0 => Ok(Some(size)),
            _ => Err(ApiError::bad_request(name, format!("{name} must be a whole number of at least 1"))),
        }
    }
}

/// Refuses unknown and repeated query parameters.
pub(crate) fn only_params(request: &Request, known: &[&str]) -> Result<(), ApiError> {
    let refused = |name: &str, why: &str| Err(ApiError::bad_request(name, format!("{name} {why}")));
    for (index, (name, _)) in request.query.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            return refused(name, "is not a parameter of this request");
        }
        if request.query[..index].iter().any(|(earlier, _)| earlier == name) {
            return refused(name, "must not be repeated");
        }
    }
    Ok(())
}
