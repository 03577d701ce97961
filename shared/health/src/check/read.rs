//! Parses the object of a check, field by field, and collects all problems.

use serde_json::{Map, Value};

use super::{Check, CheckKind, FieldError, MAX_TIMEOUT_MS, Probe, STORED_VALUE, show_ms};
use crate::condition::go_number::parse_duration_ms;
use crate::condition::{Condition, MAX_CONDITION_BYTES};
use crate::guard::Policy;
use crate::guard::target::Target;
use crate::rows::REPORTS_KEPT_MS;
use crate::state::Thresholds;

const MAX_CONDITIONS: usize = 20;
const MAX_HEADERS: usize = 20;
const MAX_HEADER_NAME_CHARS: usize = 128;
const MAX_HEADER_VALUE_CHARS: usize = 1024;
const MAX_BODY_BYTES: usize = 8 * 1024;
const MIN_TIMEOUT_MS: u64 = 100;
const MIN_INTERVAL_MS: u64 = 60_000;
const MAX_INTERVAL_MS: u64 = 24 * 3_600_000;
const MAX_HEARTBEAT_MS: u64 = 31 * 24 * 3_600_000;
const _: () =
    assert!(MAX_HEARTBEAT_MS < REPORTS_KEPT_MS.unsigned_abs(), "the last report would have expired");
const MAX_THRESHOLD: u64 = 10;
const MAX_NAME_CHARS: usize = 64;
const METHODS: [&str; 7] = ["HEAD", "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Set by the probe, or about the connection rather than the request.
const RESERVED_HEADERS: [&str; 12] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "accept-encoding",
];
const FIELDS: [&str; 11] = [
    "url",
    "name",
    "method",
    "headers",
    "body",
    "timeout_ms",
    "conditions",
    "failure_threshold",
    "success_threshold",
    "interval",
    "heartbeat",
];

/// `at` is the path of the object, for messages.
pub(super) struct Reader<'a> {
    object: &'a Map<String, Value>,
    at: &'a str,
    errors: Vec<FieldError>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(object: &'a Map<String, Value>, at: &'a str) -> Reader<'a> {
        Reader { object, at, errors: Vec::new() }
    }

    pub(super) fn check(mut self, policy: &Policy) -> Result<Check, Vec<FieldError>> {
        for field in self.object.keys().filter(|field| !FIELDS.contains(&field.as_str())) {
            self.errors.push(FieldError {
                field: format!("{}.{field}", self.at),
                message: format!("is not known; known are {}", FIELDS.join(", ")),
            });
        }
        let name = self.name();
        let thresholds = Thresholds {
            failures: self.threshold("failure_threshold"),
            successes: self.threshold("success_threshold"),
        };
        let kind = match (self.set("url").is_some(), self.set("heartbeat").is_some()) {
            (true, true) => self.wrong("heartbeat", "belongs to a job that reports itself, which has no url"),
            (false, false) => self.wrong("url", "is missing"),
            (true, false) => self.probe(policy).map(|probe| CheckKind::Probe(Box::new(probe))),
            (false, true) => self.push(name.as_deref()),
        };
        match kind {
            Some(kind) if self.errors.is_empty() => Ok(Check { name, kind, thresholds }),
            _ => Err(self.errors),
        }
    }

    /// Records a problem; always returns `None`.
    fn wrong<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.errors.push(FieldError { field: format!("{}.{field}", self.at), message: message.into() });
        None
    }

    /// Returns a field if it is present; null counts as missing.
    fn set(&self, field: &str) -> Option<&Value> {
        self.object.get(field).filter(|value| !value.is_null())
    }

    fn text(&mut self, field: &str) -> Option<String> {
        match self.set(field)? {
            Value::String(text) => Some(text.clone()),
            _ => self.wrong(field, "must be a string"),
        }
    }

    fn name(&mut self) -> Option<String> {
        let name = self.text("name")?;
        if name.trim() != name
            || name.is_empty()
            || name.chars().count() > MAX_NAME_CHARS
            || name.chars().any(char::is_control)
        {
            return self.wrong(
                "name",
                format!("must be 1 to {MAX_NAME_CHARS} characters without white space around them"),
            );
        }
        Some(name)
    }

    fn threshold(&mut self, field: &str) -> u32 {
        let default = Thresholds::default().failures;
        match self.set(field) {
            None => default,
            Some(value) => match value.as_u64() {
                Some(count @ 1..=MAX_THRESHOLD) => u32::try_from(count).unwrap_or(default),
                _ => self
                    .wrong(field, format!("must be a number from 1 to {MAX_THRESHOLD}"))
                    .unwrap_or(default),
            },
        }
    }

    fn duration(&mut self, field: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(field)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // checked against the range next
        let ms = parse_duration_ms(&text).map(|ms| ms as u64);
        match ms {
            Some(ms) if range.contains(&ms) && ms % 1000 == 0 => Some(ms),
            _ => self.wrong(
                field,
                format!(
                    "must be a duration from {} to {}, such as 5m or 1h30m",
                    show_ms(*range.start()),
                    show_ms(*range.end())
                ),
            ),
        }
    }

    fn push(&mut self, name: Option<&str>) -> Option<CheckKind> {
        for field in ["method", "headers", "body", "timeout_ms", "conditions", "interval"] {
            if self.set(field).is_some() {
                self.wrong::<()>(field, "has no meaning for a job that reports itself");
            }
        }
        if name == Some("badges") {
            self.wrong::<()>("name", "is taken by the badges of this app");
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !name.is_some_and(|name| name.chars().all(legal)) {
            self.wrong::<()>(
                "name",
                "must be given, of a-z, A-Z, 0-9, '.', '_' and '-', since the job reports under it",
            );
        }
        Some(CheckKind::Push {
            heartbeat_ms: self.duration("heartbeat", MIN_INTERVAL_MS..=MAX_HEARTBEAT_MS)?,
        })
    }

    fn probe(&mut self, policy: &Policy) -> Option<Probe> {
        let target = match self.text("url").map(|url| Target::parse(&url, policy)) {
            Some(Ok(target)) => Some(target),
            Some(Err(refusal)) => self.wrong("url", refusal.to_string()),
            None => None,
        };
        let method = self.method();
        let headers = self.headers();
        let body = self.body(method.as_deref());
        let timeout_ms = self.timeout_ms();
        let conditions = self.conditions();
        let interval_ms = self.duration("interval", MIN_INTERVAL_MS..=MAX_INTERVAL_MS);
        if method.as_deref() == Some("HEAD") && conditions.iter().any(Condition::needs_body) {
            self.wrong::<()>("conditions", "read the body, which HEAD never has");
        }
        Some(Probe { target: target?, method, headers, body, timeout_ms, conditions, interval_ms })
    }

    fn method(&mut self) -> Option<String> {
        let method = self.text("method")?.to_ascii_uppercase();
        if METHODS.contains(&method.as_str()) {
            Some(method)
        } else {
            self.wrong("method", format!("must be one of {}", METHODS.join(", ")))
        }
    }

    fn headers(&mut self) -> Vec<(String, String)> {
        let headers = match self.set("headers") {
            None => return Vec::new(),
            Some(Value::Object(headers)) => headers.clone(),
            Some(_) => return self.wrong("headers", "must be an object of strings").unwrap_or_default(),
        };
        if headers.len() > MAX_HEADERS {
            return self.wrong("headers", format!("must be at most {MAX_HEADERS}")).unwrap_or_default();
        }
        let mut kept = Vec::new();
        for (name, value) in headers {
            let field = format!("headers.{name}");
            let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || name.len() > MAX_HEADER_NAME_CHARS || !name.bytes().all(token) {
                self.wrong::<()>(&field, "is not a header name");
            } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                self.wrong::<()>(&field, "is set by the probe itself");
            } else {
                match value {
                    Value::String(value) if value == STORED_VALUE => {
                        self.wrong::<()>(&field, "has no stored value for this url; send the value");
                    }
                    Value::String(value)
                        if value.len() <= MAX_HEADER_VALUE_CHARS
                            && value.bytes().all(|b| (0x20..0x7f).contains(&b)) =>
                    {
                        kept.push((name, value));
                    }
                    _ => {
                        self.wrong::<()>(&field, format!("must be a string of at most {MAX_HEADER_VALUE_CHARS} printable ASCII characters"));
                    }
                }
            }
        }
        kept
    }

    fn body(&mut self, method: Option<&str>) -> Option<String> {
        let body = self.text("body")?;
        if body.len() > MAX_BODY_BYTES {
            return self.wrong("body", format!("must be at most {MAX_BODY_BYTES} bytes"));
        }
        if matches!(method, None | Some("HEAD" | "GET")) {
            return self.wrong("body", "needs a method that sends one, such as POST");
        }
        Some(body)
    }

    fn timeout_ms(&mut self) -> u64 {
        match self.set("timeout_ms") {
            None => MAX_TIMEOUT_MS,
            Some(value) => match value.as_u64() {
                Some(ms @ MIN_TIMEOUT_MS..=MAX_TIMEOUT_MS) => ms,
                _ => self
                    .wrong(
                        "timeout_ms",
                        format!("must be a number from {MIN_TIMEOUT_MS} to {MAX_TIMEOUT_MS}"),
                    )
                    .unwrap_or(MAX_TIMEOUT_MS),
            },
        }
    }

    fn conditions(&mut self) -> Vec<Condition> {
        let conditions = match self.set("conditions") {
            None => return Vec::new(),
            Some(Value::Array(conditions)) => conditions.clone(),
            Some(_) => return self.wrong("conditions", "must be an array of strings").unwrap_or_default(),
        };
        if conditions.len() > MAX_CONDITIONS {
            return self.wrong("conditions", format!("must be at most {MAX_CONDITIONS}")).unwrap_or_default();
        }
        let mut kept = Vec::new();
        for (index, condition) in conditions.iter().enumerate() {
            match condition.as_str().map(Condition::parse) {
                Some(Ok(condition)) => kept.push(condition),
                Some(Err(reason)) => {
                    self.wrong::<()>(&format!("conditions[{index}]"), reason);
                }
                None => {
                    self.wrong::<()>(
                        &format!("conditions[{index}]"),
                        format!("must be a string of at most {MAX_CONDITION_BYTES} bytes"),
                    );
                }
            }
        }
        kept
    }
}
