//! A check as its owner writes it: a URL, or an object around one, or a job that reports itself.
//! Every problem is reported with the field it is in.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::condition::{Condition, MAX_CONDITION_CHARS};
use crate::guard::Policy;
use crate::number::{parse_duration_ms, show_duration_ms};
use crate::state::Thresholds;
use crate::target::Target;

pub const MAX_CHECKS: usize = 200;
pub const MAX_CONDITIONS: usize = 20;
pub const MAX_HEADERS: usize = 20;
pub const MAX_HEADER_VALUE_CHARS: usize = 1024;
pub const MAX_BODY_BYTES: usize = 8 * 1024;
/// All checks of an app together, as JSON: they live in the app's item of at most 400 KB
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub const MAX_CHECKS_BYTES: usize = 256 * 1024;
/// How long a probe waits, unless the check says less.
pub const MAX_TIMEOUT_MS: u64 = 10_000;
const MIN_TIMEOUT_MS: u64 = 100;
const MIN_INTERVAL_MS: u64 = 60_000;
const MAX_INTERVAL_MS: u64 = 24 * 3_600_000;
const MAX_HEARTBEAT_MS: u64 = 31 * 24 * 3_600_000;
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

/// A check that was found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: Option<String>,
    pub kind: CheckKind,
    pub thresholds: Thresholds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// We ask.
    Probe(Box<Probe>),
    /// A job tells us, at least once in this time.
    Push { heartbeat_ms: u64 },
}

/// A request to be made and how its answer is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub target: Target,
    /// `None`: HEAD, then GET where HEAD is answered 405 or 501; GET where a condition reads the body.
    pub method: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub timeout_ms: u64,
    /// None of them: any answer from 200 to 399 is good.
    pub conditions: Vec<Condition>,
    /// `None`: every slot.
    pub interval_ms: Option<u64>,
}

/// A problem, and the field it is in, as a path: `urls[3].timeout_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl Check {
    /// The identity of the check in its app: the URL, or `push:{name}`.
    pub fn target(&self) -> String {
        match &self.kind {
            CheckKind::Probe(probe) => probe.target.as_str().to_string(),
            CheckKind::Push { .. } => format!("push:{}", self.name.as_deref().unwrap_or_default()),
        }
    }

    /// Reads a string (a URL) or an object; `at` is where it stands, for messages.
    pub fn from_value(value: &Value, at: &str, policy: &Policy) -> Result<Check, Vec<FieldError>> {
        match value {
            Value::String(url) => match Target::parse(url, policy) {
                Ok(target) => Ok(Check {
                    name: None,
                    kind: CheckKind::Probe(Box::new(Probe {
                        target,
                        method: None,
                        headers: Vec::new(),
                        body: None,
                        timeout_ms: MAX_TIMEOUT_MS,
                        conditions: Vec::new(),
                        interval_ms: None,
                    })),
                    thresholds: Thresholds::default(),
                }),
                Err(refusal) => Err(vec![FieldError { field: at.to_string(), message: refusal.to_string() }]),
            },
            Value::Object(object) => Reader { object, at, errors: Vec::new() }.check(policy),
            _ => Err(vec![FieldError {
                field: at.to_string(),
                message: "must be a URL or an object with a url".to_string(),
            }]),
        }
    }

    /// As it was written: a string where the URL says it all, else an object of what is set.
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        if let Some(name) = &self.name {
            object.insert("name".to_string(), name.as_str().into());
        }
        match &self.kind {
            CheckKind::Push { heartbeat_ms } => {
                object.insert("heartbeat".to_string(), show_ms(*heartbeat_ms).into());
            }
            CheckKind::Probe(probe) => {
                object.insert("url".to_string(), probe.target.as_str().into());
                if let Some(method) = &probe.method {
                    object.insert("method".to_string(), method.as_str().into());
                }
                if !probe.headers.is_empty() {
                    let headers: Map<String, Value> = probe
                        .headers
                        .iter()
                        .map(|(name, value)| (name.clone(), value.as_str().into()))
                        .collect();
                    object.insert("headers".to_string(), headers.into());
                }
                if let Some(body) = &probe.body {
                    object.insert("body".to_string(), body.as_str().into());
                }
                if probe.timeout_ms != MAX_TIMEOUT_MS {
                    object.insert("timeout_ms".to_string(), probe.timeout_ms.into());
                }
                if !probe.conditions.is_empty() {
                    let conditions: Vec<Value> =
                        probe.conditions.iter().map(|condition| condition.as_str().into()).collect();
                    object.insert("conditions".to_string(), conditions.into());
                }
                if let Some(interval_ms) = probe.interval_ms {
                    object.insert("interval".to_string(), show_ms(interval_ms).into());
                }
            }
        }
        let default = Thresholds::default();
        if self.thresholds.failures != default.failures {
            object.insert("failure_threshold".to_string(), self.thresholds.failures.into());
        }
        if self.thresholds.successes != default.successes {
            object.insert("success_threshold".to_string(), self.thresholds.successes.into());
        }
        match (object.len(), object.get("url")) {
            (1, Some(url)) => url.clone(),
            _ => Value::Object(object),
        }
    }
}

fn show_ms(ms: u64) -> String {
    show_duration_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Reads the fields of one object and keeps every problem.
struct Reader<'a> {
    object: &'a Map<String, Value>,
    at: &'a str,
    errors: Vec<FieldError>,
}

impl Reader<'_> {
    fn check(mut self, policy: &Policy) -> Result<Check, Vec<FieldError>> {
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
        let kind = match (self.object.get("url"), self.object.get("heartbeat")) {
            (Some(_), Some(_)) => self
                .wrong("heartbeat", "belongs to a job that reports itself, which has no url")
                .map(|()| None),
            (None, None) => self.wrong("url", "is missing").map(|()| None),
            (Some(_), None) => self.probe(policy).map(|probe| Some(CheckKind::Probe(Box::new(probe)))),
            (None, Some(_)) => self.push(name.as_deref()).map(Some),
        };
        match kind.flatten() {
            Some(kind) if self.errors.is_empty() => Ok(Check { name, kind, thresholds }),
            _ => Err(self.errors),
        }
    }

    /// Notes a problem; always `None`.
    fn wrong<T>(&mut self, field: &str, message: impl Into<String>) -> Option<T> {
        self.errors.push(FieldError { field: format!("{}.{field}", self.at), message: message.into() });
        None
    }

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
            if name.is_empty() || name.len() > 128 || !name.bytes().all(token) {
                self.wrong::<()>(&field, "is not a header name");
            } else if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
                self.wrong::<()>(&field, "is set by the probe itself");
            } else {
                match value {
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
                        format!("must be a string of at most {MAX_CONDITION_CHARS} characters"),
                    );
                }
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn read(value: Value) -> Result<Check, String> {
        Check::from_value(&value, "urls[0]", &Policy::default()).map_err(|errors| {
            errors
                .iter()
                .map(|error| format!("{} {}", error.field, error.message))
                .collect::<Vec<_>>()
                .join("\n")
        })
    }

    #[test]
    fn checks_are_written_back_as_they_were_given() {
        for value in [
            json!("https://example.com/health"),
            json!({"name": "nightly-backup", "heartbeat": "26h"}),
            json!({
                "name": "Shop API", "url": "https://shop.example.com/api", "method": "POST", "headers": {"Authorization": "Bearer x"},
                "body": "{}", "timeout_ms": 3000, "conditions": ["[STATUS] == 200", "[BODY].ok == true"], "interval": "10m",
                "failure_threshold": 3, "success_threshold": 1,
            }),
        ] {
            assert_eq!(read(value.clone()).unwrap().to_value(), value);
        }
        assert_eq!(
            read(json!({"url": "https://Example.com"})).unwrap().to_value(),
            json!("https://example.com/")
        );
    }

    #[test]
    fn the_identity_is_the_url_or_the_name_of_the_job() {
        assert_eq!(read(json!("https://example.com/a#b")).unwrap().target(), "https://example.com/a");
        assert_eq!(read(json!({"name": "backup", "heartbeat": "1h"})).unwrap().target(), "push:backup");
    }

    #[test]
    fn every_problem_is_reported_with_its_field() {
        let value = json!({
            "url": "https://example.com:22/", "name": " x", "method": "FETCH", "headers": {"Host": "a", "X Y": "b", "X-Z": 5}, "body": 7,
            "timeout_ms": 60000, "conditions": ["[STATUS] < teapot", 3], "failure_threshold": 0, "success_threshold": "2", "interval": "10s",
            "retries": 3,
        });
        let expect = "\
urls[0].retries is not known; known are url, name, method, headers, body, timeout_ms, conditions, failure_threshold, success_threshold, interval, heartbeat
urls[0].name must be 1 to 64 characters without white space around them
urls[0].failure_threshold must be a number from 1 to 10
urls[0].success_threshold must be a number from 1 to 10
urls[0].url names port 22; allowed: 80, 443
urls[0].method must be one of HEAD, GET, POST, PUT, PATCH, DELETE, OPTIONS
urls[0].headers.Host is set by the probe itself
urls[0].headers.X Y is not a header name
urls[0].headers.X-Z must be a string of at most 1024 printable ASCII characters
urls[0].body must be a string
urls[0].timeout_ms must be a number from 100 to 10000
urls[0].conditions[0] compares with \"teapot\", which is neither a number nor a duration
urls[0].conditions[1] must be a string of at most 500 characters
urls[0].interval must be a duration from 1m to 24h, such as 5m or 1h30m";
        assert_eq!(read(value).unwrap_err(), expect);
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused() {
        for (value, expect) in [
            (json!({}), "urls[0].url is missing"),
            (json!(5), "urls[0] must be a URL or an object with a url"),
            (
                json!({"url": "https://e.com", "heartbeat": "1h"}),
                "urls[0].heartbeat belongs to a job that reports itself, which has no url",
            ),
            (
                json!({"url": "https://e.com", "body": "x"}),
                "urls[0].body needs a method that sends one, such as POST",
            ),
            (
                json!({"url": "https://e.com", "method": "HEAD", "conditions": ["[BODY] == a"]}),
                "urls[0].conditions read the body, which HEAD never has",
            ),
            (
                json!({"heartbeat": "1h"}),
                "urls[0].name must be given, of a-z, A-Z, 0-9, '.', '_' and '-', since the job reports under it",
            ),
            (
                json!({"name": "a", "heartbeat": "1h", "conditions": []}),
                "urls[0].conditions has no meaning for a job that reports itself",
            ),
            (
                json!({"name": "a", "heartbeat": "1s"}),
                "urls[0].heartbeat must be a duration from 1m to 744h, such as 5m or 1h30m",
            ),
        ] {
            assert_eq!(read(value).unwrap_err(), expect);
        }
    }
}
