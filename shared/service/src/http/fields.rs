//! Fields of a JSON body: taken by name, and refused by name.

use std::str::FromStr;

use logferry_core::model::object_key::BadPart;
use logferry_core::model::time::{in_range, parse_rfc3339_ms};
use serde_json::{Map, Value};

use super::ApiError;

/// A body that is a JSON object.
#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a body, which must be an object.
    ///
    /// # Errors
    /// A 400 that says what is wrong, and where.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Err(ApiError::bad_request("body", "a JSON body is required"));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::bad_request("body", "the body must be a JSON object")),
            Err(error) => Err(ApiError::bad_request("body", format!("the body is invalid: {error}"))),
        }
    }

    /// As [`Fields::parse`]; no body at all is an empty object.
    ///
    /// # Errors
    /// As [`Fields::parse`].
    pub fn parse_optional(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() { Ok(Self::default()) } else { Self::parse(body) }
    }

    /// Takes a field that may be missing; `null` is missing.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Lets a field that a foreign client names in camelCase be named in snake_case, too.
    ///
    /// # Errors
    /// 400 if both are there.
    pub fn also_as(&mut self, name: &str, snake: &str) -> Result<(), ApiError> {
        let Some(value) = self.0.shift_remove(snake) else { return Ok(()) };
        if self.0.contains_key(name) {
            return Err(ApiError::bad_request(snake, format!("{snake} is {name}, which is there, too")));
        }
        self.0.insert(name.to_owned(), value);
        Ok(())
    }

    /// Takes a field that tells `null` from missing.
    pub fn take_nullable(&mut self, name: &str) -> Option<Value> {
        self.0.shift_remove(name)
    }

    /// Takes any value that must be there.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn require(&mut self, name: &str) -> Result<Value, ApiError> {
        self.take(name).ok_or_else(|| required(name))
    }

    /// Takes a string.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn take_text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::bad_request(name, format!("{name} must be a string"))),
        }
    }

    /// Takes a string that must be there.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn require_text(&mut self, name: &str) -> Result<String, ApiError> {
        self.take_text(name)?.ok_or_else(|| required(name))
    }

    /// Takes a part of an object's key.
    ///
    /// # Errors
    /// 400, naming the field and the pattern that it must match.
    pub fn take_part<T: FromStr<Err = BadPart>>(&mut self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.take_text(name)? else { return Ok(None) };
        let bad = |bad: BadPart| ApiError::bad_request(name, format!("{name} must match {}", bad.pattern));
        text.parse().map(Some).map_err(bad)
    }

    /// Takes a part of an object's key that must be there.
    ///
    /// # Errors
    /// As [`Fields::take_part`].
    pub fn require_part<T: FromStr<Err = BadPart>>(&mut self, name: &str) -> Result<T, ApiError> {
        self.take_part(name)?.ok_or_else(|| required(name))
    }

    /// Takes a whole number between `least` and `most`.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn take_number(&mut self, name: &str, least: u64, most: u64) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        number(name, &value, least, most).map(Some)
    }

    /// Takes a number of bytes, at least 1.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn take_size(&mut self, name: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_u64().filter(|size| *size > 0).map(Some).ok_or_else(|| {
            ApiError::bad_request(name, format!("{name} must be a whole number of at least 1"))
        })
    }

    /// Takes `true` or `false`.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn take_flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let flag = value.as_bool();
        flag.map(Some).ok_or_else(|| ApiError::bad_request(name, format!("{name} must be true or false")))
    }

    /// Takes a time that records can have (ms) and that must be there.
    ///
    /// # Errors
    /// 400, naming the field.
    pub fn require_record_ms(&mut self, name: &str) -> Result<i64, ApiError> {
        let ms = match self.require(name)? {
            Value::String(text) => parse_rfc3339_ms(&text),
            value => value.as_i64(),
        };
        ms.filter(|&ms| in_range(ms)).ok_or_else(|| {
            let message = format!(
                "{name} must be RFC 3339 with an offset, or milliseconds since the epoch, from 2000 to 2100"
            );
            ApiError::bad_request(name, message)
        })
    }

    /// Refuses what was not taken.
    ///
    /// # Errors
    /// 400, naming a field that the request does not have.
    pub fn finish(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(ApiError::bad_request(name, format!("{name} is not a field of this request"))),
        }
    }
}

/// A whole number between `least` and `most`.
///
/// # Errors
/// 400, naming the field.
pub fn number(name: &str, value: &Value, least: u64, most: u64) -> Result<u64, ApiError> {
    value.as_u64().filter(|number| (least..=most).contains(number)).ok_or_else(|| {
        ApiError::bad_request(name, format!("{name} must be a whole number from {least} to {most}"))
    })
}

/// The refusal of a request that lacks a field.
#[must_use]
pub fn required(name: &str) -> ApiError {
    ApiError::bad_request(name, format!("{name} is required"))
}
