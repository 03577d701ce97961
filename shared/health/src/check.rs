//! The definition of a check: a URL, an object with a URL, or a job that reports itself. Every problem is
//! reported with its field.

mod read;

use serde::Serialize;
use serde_json::{Map, Value};

use self::read::Reader;
use crate::condition::Condition;
use crate::condition::go_number::show_duration_ms;
use crate::guard::Policy;
use crate::guard::target::Target;
use crate::rows::JOB_PREFIX;
use crate::state::Thresholds;

/// Placeholder for a header's value. When a check is saved with it, the stored value for that header and
/// URL is kept. A check with another URL has no stored value, so a value cannot be sent to another server.
pub const STORED_VALUE: &str = "(stored)";

pub const MAX_CHECKS: usize = 200;
/// Maximum size of all checks of an app together, as JSON. They are stored in the app's item, which every
/// request of the app reads with strong consistency, at one read unit per 4 KiB: at most 17 of the 3,000
/// per second of a partition
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>).
pub const MAX_CHECKS_BYTES: usize = 64 * 1024;
/// Maximum and default timeout of a probe.
pub const MAX_TIMEOUT_MS: u64 = 10_000;
/// A valid check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub name: Option<String>,
    pub kind: CheckKind,
    pub thresholds: Thresholds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckKind {
    /// The probe calls a URL.
    Probe(Box<Probe>),
    /// A job reports itself, at least once in this time.
    Push { heartbeat_ms: u64 },
}

/// The request of a probe, and the conditions on its response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    pub target: Target,
    /// `None`: HEAD, then GET if HEAD is answered with 400 or more; GET if a condition reads the body.
    pub method: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub timeout_ms: u64,
    /// If empty, any status from 200 to 399 is good.
    pub conditions: Vec<Condition>,
    /// `None` for every slot.
    pub interval_ms: Option<u64>,
}

/// A problem with the path of its field: `urls[3].timeout_ms`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    pub field: String,
    pub message: String,
}

impl Check {
    /// Returns the identity of the check in its app: the URL, or `push:{name}`.
    pub fn target(&self) -> String {
        match &self.kind {
            CheckKind::Probe(probe) => probe.target.as_str().to_string(),
            CheckKind::Push { .. } => format!("{JOB_PREFIX}{}", self.name.as_deref().unwrap_or_default()),
        }
    }

    /// Parses a string (a URL) or an object; `at` is its path, for messages.
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
            Value::Object(object) => Reader::new(object, at).check(policy),
            _ => Err(vec![FieldError {
                field: at.to_string(),
                message: "must be a URL or an object with a url".to_string(),
            }]),
        }
    }

    /// Serializes the check: a string if the URL is enough, else an object of all set fields.
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
    fn null_is_a_field_that_is_not_there() {
        let nulls = json!({
            "url": "https://example.com/", "name": null, "method": null, "headers": null, "body": null, "timeout_ms": null,
            "conditions": null, "failure_threshold": null, "success_threshold": null, "interval": null, "heartbeat": null,
        });
        assert_eq!(read(nulls).unwrap(), read(json!("https://example.com/")).unwrap());
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
urls[0].conditions[1] must be a string of at most 500 bytes
urls[0].interval must be a duration from 1m to 24h, such as 5m or 1h30m";
        assert_eq!(read(value).unwrap_err(), expect);
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused() {
        for (value, expect) in [
            (json!({}), "urls[0].url is missing"),
            (json!({"url": null}), "urls[0].url is missing"),
            (json!({"name": "a", "heartbeat": null}), "urls[0].url is missing"),
            (json!({"url": 7}), "urls[0].url must be a string"),
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
