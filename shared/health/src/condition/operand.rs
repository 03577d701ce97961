//! One side of a condition: a placeholder, a function of the body, a pattern, a list or plain text.

use std::borrow::Cow;

use serde_json::Value;

use crate::condition::facts::{Facts, Step};
use crate::condition::glob::Glob;
use crate::condition::go_number::show_duration_ms;
use crate::condition::steps::{OutOfSteps, Steps};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operand {
    pub(crate) text: String,
    pub(crate) kind: OperandKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum OperandKind {
    Status,
    ResponseTime,
    Connected,
    CertificateExpiration,
    Body(Vec<Step>),
    LenOfBody(Vec<Step>),
    HasBody(Vec<Step>),
    Pattern(Glob),
    AnyOf(Vec<String>),
    Literal,
}

impl Operand {
    pub(crate) fn parse(text: &str) -> Result<Operand, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("has nothing on one side of its operator".to_string());
        }
        let kind = if let Some(inner) = call(text, "len")? {
            OperandKind::LenOfBody(body_path(inner).ok_or_else(|| only_body("len", inner))??)
        } else if let Some(inner) = call(text, "has")? {
            OperandKind::HasBody(body_path(inner).ok_or_else(|| only_body("has", inner))??)
        } else if let Some(inner) = call(text, "pat")? {
            OperandKind::Pattern(Glob::parse(inner)?)
        } else if let Some(inner) = call(text, "any")? {
            OperandKind::AnyOf(inner.split(',').map(|option| option.trim().to_string()).collect())
        } else if let Some(path) = body_path(text) {
            OperandKind::Body(path?)
        } else {
            match text.to_ascii_uppercase().as_str() {
                "[STATUS]" => OperandKind::Status,
                "[RESPONSE_TIME]" => OperandKind::ResponseTime,
                "[CONNECTED]" => OperandKind::Connected,
                "[CERTIFICATE_EXPIRATION]" => OperandKind::CertificateExpiration,
                _ if !names_placeholder(text) => OperandKind::Literal,
                _ => {
                    return Err(format!(
                        "names {text}, which is not known; known are [STATUS], [RESPONSE_TIME], [CONNECTED], [BODY] with a path, and [CERTIFICATE_EXPIRATION]"
                    ));
                }
            }
        };
        Ok(Operand { text: text.to_string(), kind })
    }

    pub(crate) fn is_placeholder(&self) -> bool {
        !matches!(self.kind, OperandKind::Literal | OperandKind::Pattern(_) | OperandKind::AnyOf(_))
    }

    /// Returns the text to compare; `None` if the body has no such value. Reading the body costs steps.
    pub(crate) fn resolve<'a>(&'a self, facts: &'a Facts) -> Result<Option<Cow<'a, str>>, OutOfSteps> {
        let text = |value: &dyn std::fmt::Display| Ok(Some(Cow::Owned(value.to_string())));
        let read = |value: &'a str| facts.steps.read(value.len()).map(|()| value);
        match &self.kind {
            OperandKind::Status => text(&facts.status),
            OperandKind::ResponseTime => text(&facts.response_time_ms),
            OperandKind::Connected => text(&facts.connected),
            OperandKind::CertificateExpiration => text(&facts.certificate_expires_in_ms),
            OperandKind::Body(path) if path.is_empty() => Ok(Some(read(facts.body.trim())?.into())),
            OperandKind::Body(path) => {
                facts.at(path)?.map(|value| show_json(value, &facts.steps)).transpose()
            }
            OperandKind::HasBody(path) if path.is_empty() => text(&!read(&facts.body)?.trim().is_empty()),
            OperandKind::HasBody(path) => text(&facts.at(path)?.is_some()),
            OperandKind::LenOfBody(path) => match (facts.at(path)?, path.is_empty()) {
                (Some(Value::Array(items)), _) => text(&items.len()),
                (_, true) => text(&read(facts.body.trim())?.chars().count()),
                (Some(value), false) => text(&show_json(value, &facts.steps)?.chars().count()),
                (None, false) => Ok(None),
            },
            OperandKind::Pattern(_) | OperandKind::AnyOf(_) | OperandKind::Literal => {
                Ok(Some(self.text.as_str().into()))
            }
        }
    }

    /// `limit` in bytes.
    pub(crate) fn shown(&self, resolved: Option<&str>, limit: usize) -> String {
        let text = &self.text;
        match (&self.kind, resolved) {
            (OperandKind::Pattern(_) | OperandKind::AnyOf(_) | OperandKind::Literal, _) => text.clone(),
            (_, None) => format!("{text} (INVALID)"),
            (OperandKind::CertificateExpiration, Some(ms)) => {
                format!("{text} ({})", show_duration_ms(ms.parse().unwrap_or_default()))
            }
            (_, Some(value)) if value.len() > limit => {
                let (start, _) = value.split_at(value.floor_char_boundary(limit));
                format!("{text} ({start}...(truncated))")
            }
            (_, Some(value)) => format!("{text} ({value})"),
        }
    }
}

/// Returns the content of `name(…)`; an error if the parenthesis is not closed.
fn call<'a>(text: &'a str, name: &str) -> Result<Option<&'a str>, String> {
    let Some(rest) = text.strip_prefix(name).and_then(|rest| rest.strip_prefix('(')) else { return Ok(None) };
    rest.strip_suffix(')').map(Some).ok_or_else(|| format!("has a {name}( without its )"))
}

fn only_body(function: &str, inner: &str) -> String {
    format!("uses {function}() on {inner:?}; it works only with [BODY] and a path")
}

/// Whether a text begins like a placeholder: `[NAME]`, `[NAME].path`, `[NAME][0]`; `[]` and `[1]` are plain
/// text.
fn names_placeholder(text: &str) -> bool {
    let name = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |(name, _)| name);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

/// Returns the path after `[BODY]`; `None` if it is not about the body.
fn body_path(text: &str) -> Option<Result<Vec<Step>, String>> {
    let head = text.get(..6)?;
    if !head.eq_ignore_ascii_case("[BODY]") {
        return None;
    }
    Some(
        parse_path(text.get(6..)?).ok_or_else(|| {
            format!("has a path that cannot be read: {text}; write it like [BODY].users[0].name")
        }),
    )
}

fn parse_path(mut rest: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (index, tail) = after.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = tail;
        } else {
            let after = rest.strip_prefix('.')?;
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (key, tail) = after.split_at(end);
            if key.is_empty() || key.contains(char::is_whitespace) {
                return None;
            }
            steps.push(Step::Key(key.to_string()));
            rest = tail;
        }
    }
    Some(steps)
}

/// Strings without quotes, whole numbers without fraction, everything else as minified JSON.
fn show_json<'a>(value: &'a Value, steps: &Steps) -> Result<Cow<'a, str>, OutOfSteps> {
    Ok(match value {
        Value::String(text) => {
            steps.read(text.len())?;
            text.as_str().into()
        }
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => {
                format!("{float:.0}").into()
            }
            _ => number.to_string().into(),
        },
        other => {
            let json = other.to_string();
            steps.written(json.len())?;
            json.into()
        }
    })
}
