//! Names of members by which loggers, agents and AWS services say time, level, message and request. The only
//! place that knows them: what decides at ingest and what is shown of a record read the same names.

use serde_json::value::RawValue;

use crate::model::json;
use crate::model::level::Level;
use crate::model::stamp::{Stamp, read_time};
use crate::model::text::SaidLevel;
use crate::model::time::in_range;

/// Names of times; the first that is there and usable counts.
pub const TIMES: [&str; 18] = [
    "time",
    "timestamp",
    "@timestamp",
    "@t",
    "ts",
    "t",
    "date",
    "datetime",
    "eventTime",
    "asctime",
    "timeUnixNano",
    "observedTimeUnixNano",
    "__REALTIME_TIMESTAMP",
    "Timestamp",
    "Time",
    "query_timestamp",
    "requestTime",
    "requestTimeEpoch",
];

/// Names of levels; the first that is there and names one counts. `log.level` may be nested.
pub const LEVELS: [&str; 15] = [
    "level",
    "severity",
    "log.level",
    "levelname",
    "lvl",
    "@l",
    "loglevel",
    "SeverityText",
    "severityText",
    "severityNumber",
    "PRIORITY",
    "Level",
    "LogLevel",
    "SeverityNumber",
    "severity_text",
];

/// Names of messages; the first that is there counts.
pub const MESSAGES: [&str; 19] = [
    "msg",
    "message",
    "@m",
    "@mt",
    "log",
    "short_message",
    "event",
    "MESSAGE",
    "body",
    "Body",
    "textPayload",
    "eventName",
    "@message",
    "Message",
    "RenderedMessage",
    "MessageTemplate",
    "query_name",
    "action",
    "text",
];

/// Where some loggers say their level, time and message below other members: the member and what is in it.
/// Read where an entry says none otherwise.
pub const NESTED_LEVELS: [(&str, &[&str]); 3] = [
    // Roarr, loguru, winston's logstash.
    ("context", &["logLevel"]),
    ("record", &["level", "name"]),
    ("@fields", &["level"]),
];
pub const NESTED_TIMES: [(&str, &[&str]); 2] = [
    ("record", &["time", "timestamp"]),
    // log4j's JsonLayout: seconds and nanoseconds.
    ("instant", &[]),
];
pub const NESTED_MESSAGES: [(&str, &[&str]); 6] = [
    // tracing, and errors that are logged without a message.
    ("fields", &["message"]),
    ("err", &["message"]),
    ("error", &["message"]),
    // API Gateway and the events of Lambda's platform have no message at all.
    ("routeKey", &[]),
    ("resourcePath", &[]),
    ("type", &[]),
];

/// `log` may be a message, or an object with a level in it.
pub(crate) const LOG: usize = 4;
const NESTED_LEVEL: usize = 2;

/// What a member of an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Rank among [`TIMES`].
    Time(usize),
    /// Rank among [`LEVELS`].
    Level(usize),
    /// Rank among [`MESSAGES`].
    Message(usize),
    /// `version`, which says whether the entry is GELF.
    Version,
    /// `stream`, of Docker's entries.
    Stream,
    /// `status`, the level of a request's record where it says no other.
    Status,
    /// `httpMethod`: the record is one of a request (API Gateway).
    HttpMethod,
    /// Rank among [`HOLDERS`].
    Holder(usize),
    /// An array under such a name may make the object an envelope.
    Envelope,
}

/// Members with a level or a time in them.
pub(crate) const HOLDERS: [&str; 4] = ["context", "record", "@fields", "instant"];

/// What a member of this name is for; `None` for most.
#[inline]
pub(crate) fn role(name: &[u8]) -> Option<Role> {
    Some(match name {
        b"time" => Role::Time(0),
        b"timestamp" => Role::Time(1),
        b"@timestamp" => Role::Time(2),
        b"@t" => Role::Time(3),
        b"ts" => Role::Time(4),
        b"t" => Role::Time(5),
        b"date" => Role::Time(6),
        b"datetime" => Role::Time(7),
        b"eventTime" => Role::Time(8),
        b"asctime" => Role::Time(9),
        b"timeUnixNano" => Role::Time(10),
        b"observedTimeUnixNano" => Role::Time(11),
        b"__REALTIME_TIMESTAMP" => Role::Time(12),
        b"Timestamp" => Role::Time(13),
        b"Time" => Role::Time(14),
        b"query_timestamp" => Role::Time(15),
        b"requestTime" => Role::Time(16),
        b"requestTimeEpoch" => Role::Time(17),
        b"level" => Role::Level(0),
        b"severity" => Role::Level(1),
        b"log.level" => Role::Level(NESTED_LEVEL),
        b"levelname" => Role::Level(3),
        b"lvl" => Role::Level(4),
        b"@l" => Role::Level(5),
        b"loglevel" => Role::Level(6),
        b"SeverityText" => Role::Level(7),
        b"severityText" => Role::Level(8),
        b"severityNumber" => Role::Level(9),
        b"PRIORITY" => Role::Level(10),
        b"Level" => Role::Level(11),
        b"LogLevel" => Role::Level(12),
        b"SeverityNumber" => Role::Level(13),
        b"severity_text" => Role::Level(14),
        b"msg" => Role::Message(0),
        b"message" => Role::Message(1),
        b"@m" => Role::Message(2),
        b"@mt" => Role::Message(3),
        b"log" => Role::Message(LOG),
        b"short_message" => Role::Message(5),
        b"event" => Role::Message(6),
        b"MESSAGE" => Role::Message(7),
        b"body" => Role::Message(8),
        b"Body" => Role::Message(9),
        b"textPayload" => Role::Message(10),
        b"eventName" => Role::Message(11),
        b"@message" => Role::Message(12),
        b"Message" => Role::Message(13),
        b"RenderedMessage" => Role::Message(14),
        b"MessageTemplate" => Role::Message(15),
        b"query_name" => Role::Message(16),
        b"action" => Role::Message(17),
        b"text" => Role::Message(18),
        b"version" => Role::Version,
        b"stream" => Role::Stream,
        b"status" => Role::Status,
        b"httpMethod" => Role::HttpMethod,
        b"context" => Role::Holder(0),
        b"record" => Role::Holder(1),
        b"@fields" => Role::Holder(2),
        b"instant" => Role::Holder(3),
        b"Records" | b"logEvents" | b"logs" | b"records" | b"entries" | b"resourceLogs" | b"scopeLogs"
        | b"logRecords" => Role::Envelope,
        _ => return None,
    })
}

/// The time that a JSON value says; `None` when it says none between 2000 and 2100.
pub(crate) fn time_of(json: &str, near_ms: i64) -> Option<Stamp> {
    let stamp = match json.as_bytes().first()? {
        b'"' => read_time(&json::string(json)?, near_ms)?,
        b'0'..=b'9' => read_time(json, near_ms)?,
        b'{' => instant(json)?,
        _ => return None,
    };
    in_range(stamp.ms).then_some(stamp)
}

/// `{"epochSecond": …, "nanoOfSecond": …}`
fn instant(json: &str) -> Option<Stamp> {
    let part = |name| member(json, name)?.get().parse::<i64>().ok();
    let ms = part("epochSecond")?.checked_mul(1000)?;
    let ms = ms.checked_add(part("nanoOfSecond").unwrap_or(0) / 1_000_000)?;
    Some(Stamp { ms, assumed: false })
}

/// The levels that an entry names, in the order of their ranks, to one level.
#[derive(Debug, Default)]
pub(crate) struct Levels<'a> {
    said: [Option<&'a RawValue>; LEVELS.len()],
    gelf: bool,
    any: bool,
}

impl<'a> Levels<'a> {
    pub(crate) fn put(&mut self, rank: usize, raw: &'a RawValue) {
        self.said[rank] = Some(raw);
        self.any = true;
    }

    pub(crate) fn version(&mut self, raw: &RawValue) {
        self.gelf = raw.get() == "\"1.1\"";
    }

    /// Takes the level out of a `log` that is an object.
    pub(crate) fn nested(&mut self, log: &'a RawValue) {
        if let Some(level) = member(log.get(), "level") {
            self.put(NESTED_LEVEL, level);
        }
    }

    pub(crate) fn any(&self) -> bool {
        self.any
    }

    pub(crate) fn said(&self) -> SaidLevel {
        if !self.any {
            return SaidLevel::Nothing;
        }
        let mut said = SaidLevel::Nothing;
        for (rank, raw) in self.said.iter().enumerate() {
            let Some(raw) = raw.filter(|raw| !matches!(raw.get(), "null" | "\"\"")) else { continue };
            if let Some(level) = self.level(rank, raw.get()) {
                return SaidLevel::Known(level);
            }
            said = SaidLevel::Unknown;
        }
        said
    }

    fn level(&self, rank: usize, json: &str) -> Option<Level> {
        let text = match json.as_bytes().first()? {
            b'"' => json::string(json)?,
            b'-' | b'0'..=b'9' => json.into(),
            _ => return None,
        };
        if let Some(level) = Level::from_name(&text) {
            return Some(level);
        }
        let number = text.parse().ok().filter(|number: &f64| number.is_finite())?;
        Some(match LEVELS[rank] {
            // 0 stands for no severity.
            "severityNumber" | "SeverityNumber" if number < 1.0 => return None,
            "severityNumber" | "SeverityNumber" => Level::from_opentelemetry(number),
            "PRIORITY" => Level::from_syslog(number),
            _ if self.gelf => Level::from_syslog(number),
            _ => Level::from_pino(number),
        })
    }
}

/// A member of an object; the last of those with this name.
pub(crate) fn member<'a>(object: &'a str, name: &str) -> Option<&'a RawValue> {
    if !object.starts_with('{') {
        return None;
    }
    let mut found = None;
    json::members(object, |key, value| {
        if *key == *name.as_bytes() {
            found = Some(value);
        }
    })?;
    found
}

/// What is at a path below a member: the member itself if the path is empty.
pub(crate) fn nested<'a>(holder: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    match path.split_first() {
        None => Some(holder),
        Some((name, rest)) => nested(member(holder.get(), name)?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_and_the_match_agree() {
        for (rank, name) in TIMES.iter().enumerate() {
            assert_eq!(role(name.as_bytes()), Some(Role::Time(rank)), "{name}");
        }
        for (rank, name) in LEVELS.iter().enumerate() {
            assert_eq!(role(name.as_bytes()), Some(Role::Level(rank)), "{name}");
        }
        for (rank, name) in HOLDERS.iter().enumerate() {
            assert_eq!(role(name.as_bytes()), Some(Role::Holder(rank)), "{name}");
        }
        for (name, _) in NESTED_LEVELS.iter().chain(&NESTED_TIMES) {
            assert!(HOLDERS.contains(name), "{name}");
        }
        for (rank, name) in MESSAGES.iter().enumerate() {
            assert_eq!(role(name.as_bytes()), Some(Role::Message(rank)), "{name}");
        }
    }
}
