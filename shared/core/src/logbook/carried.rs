//! Entries that another protocol carries: Loki, OpenTelemetry, Elasticsearch, Firehose, CloudWatch Logs. They
//! are read as leniently as those of files, because a shipper can neither fix an entry nor ask its author.

use std::borrow::Cow;

use crate::logbook::new_entry::{Invalid, MAX_ENTRY_BYTES, NewEntry, object};
use crate::logfile::head::whole_object;
use crate::logfile::read::MAX_FUTURE_MS;
use crate::model::json::push_string;
use crate::model::level::Level;
use crate::model::record::{EntryKind, Marks};
use crate::model::stamp::Stamp;
use crate::model::text::{Ask, SaidLevel, recognise};
use crate::model::time::in_range;

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;

/// An entry, and what its protocol says beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried<'a> {
    /// A JSON object, or text.
    pub text: Cow<'a, str>,
    /// A JSON object that becomes part of the record's context; empty if there is none.
    pub context: Cow<'a, str>,
    /// The protocol's own time (ns since the epoch), if it has one; else that of the text counts.
    pub time_ns: Option<u64>,
    /// A level beside the text, as a name or a number; that of a JSON object takes precedence.
    pub level: Option<Cow<'a, str>>,
}

impl Carried<'_> {
    /// The entry with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> Carried<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        let (text, context) = (owned(self.text), owned(self.context));
        Carried { text, context, time_ns: self.time_ns, level: self.level.map(owned) }
    }
}

/// How a retry of a batch is recognised, so that it stores nothing again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity<'a> {
    /// By a name that the protocol gives it, and its content.
    Key(&'a str),
    /// By its content, if each entry has a time of the protocol: such times are taken where an entry is made,
    /// to the nanosecond, so that two batches with the same content are one.
    Content,
    /// Not at all: a retry is another write.
    Nothing,
}

/// A JSON object of text members.
#[derive(Debug)]
pub struct Context(Vec<u8>);

impl Default for Context {
    fn default() -> Self {
        Self(b"{}".to_vec())
    }
}

impl Context {
    /// Adds a member.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.pop();
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        push_string(&mut self.0, name);
        self.0.push(b':');
        push_string(&mut self.0, value);
        self.0.push(b'}');
    }

    /// The object; empty if it has no member.
    #[must_use]
    pub fn into_text(self) -> String {
        if self.0.len() == 2 { String::new() } else { String::from_utf8(self.0).unwrap_or_default() }
    }
}

/// Makes an entry to be stored of one that arrived at `arrived_ms`. A time that is unusable is that of
/// arrival, an unknown level is INFO; both are marked.
///
/// # Errors
/// [`Invalid`] if it is too large. `at` is its field.
pub fn read(carried: &Carried<'_>, at: &str, arrived_ms: i64) -> Result<NewEntry, Invalid> {
    let Carried { text, context, .. } = carried;
    if text.len() + context.len() > MAX_ENTRY_BYTES {
        return Err(Invalid::new(at, format!("an entry must be at most {MAX_ENTRY_BYTES} bytes")));
    }
    let text = text.trim_end_matches(['\n', '\r']);
    let beside = carried.level.as_deref().map_or(SaidLevel::Nothing, level_of);
    // What is no object within the limits is text: it is kept all the same.
    let may_be_object = text.trim_start().starts_with('{');
    let object = may_be_object.then(|| object(text.trim(), at).ok()).flatten();
    let (kind, own_time, level, text) = if let Some(object) = object {
        let said = whole_object(&object.text, arrived_ms).unwrap_or_default();
        let level = if said.level == SaidLevel::Nothing { beside } else { said.level };
        (EntryKind::Json, said.time, level, object.text)
    } else {
        let first = text.lines().next().unwrap_or_default();
        let line = recognise(first, &Ask::new(arrived_ms, false));
        let kind = if line.is_some() { EntryKind::LogText } else { EntryKind::PlainText };
        let (time, level) = line.map_or((None, SaidLevel::Nothing), |(_, line)| (line.time, line.level));
        let level = if beside == SaidLevel::Nothing { level } else { beside };
        (kind, time, level, Cow::Borrowed(text))
    };
    let usable = |stamp: &Stamp| in_range(stamp.ms) && stamp.ms <= arrived_ms.saturating_add(MAX_FUTURE_MS);
    let given = carried.time_ns.and_then(|ns| i64::try_from(ns / NS_PER_MS).ok());
    let given = given.map(|ms| Stamp { ms, assumed: false }).filter(usable);
    let time = given.or(own_time.filter(usable));
    let marks = Marks::NONE
        .with(Marks::WRAPPED, !context.is_empty())
        .with(Marks::LEVEL_UNKNOWN, level == SaidLevel::Unknown)
        .with(Marks::TIME_ASSUMED, time.is_some_and(|stamp| stamp.assumed));
    let level = match level {
        SaidLevel::Known(level) => level,
        SaidLevel::Nothing | SaidLevel::Unknown => Level::Info,
    };
    let raw = match context.is_empty() {
        true => text.into_owned(),
        false => format!("{context}\n{text}"),
    };
    Ok(NewEntry { level, timestamp_ms: time.map(|stamp| stamp.ms), marks, kind, raw })
}

/// The level that a label or an attribute names.
fn level_of(text: &str) -> SaidLevel {
    let number = || text.trim().parse().ok().filter(|number: &f64| number.is_finite());
    match Level::from_name(text).or_else(|| number().map(Level::from_pino)) {
        Some(level) => SaidLevel::Known(level),
        None if text.trim().is_empty() => SaidLevel::Nothing,
        None => SaidLevel::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::Seed;
    use crate::model::record::StoredRecord;
    use crate::model::record_view::LogRecord;

    /// 2025-04-01T18:34:01.581Z
    const NOW_MS: i64 = 1_743_532_441_581;
    const NOW_NS: u64 = 1_743_532_441_581_000_000;

    fn shown(carried: &Carried<'_>) -> String {
        let new = read(carried, "entry", NOW_MS).unwrap();
        let entry = new.entry(0, &new.raw, NOW_MS);
        let mut out = Vec::new();
        let record = StoredRecord { id: Seed([0; 32]).record_id(0), entry };
        LogRecord::read(&record).write_json(&mut out, None, false);
        let text = String::from_utf8(out).unwrap();
        text.split_once(',').unwrap().1.to_owned()
    }

    #[test]
    fn text_and_json_become_records_with_what_is_said_beside_them() {
        let entry = |text: &'static str, context: &'static str| Carried {
            text: text.into(),
            context: context.into(),
            ..Carried::default()
        };
        let timed = |carried: Carried<'static>| Carried { time_ns: Some(NOW_NS - 1), ..carried };
        let leveled = |level: &'static str, carried| Carried { level: Some(level.into()), ..carried };
        for (carried, record) in [
            (
                timed(entry("hello", "")),
                r#""timestamp":"2025-04-01T18:34:01.580Z","level":"INFO","message":"hello"}"#,
            ),
            (
                timed(leveled("WARN", entry("hello\n", r#"{"job":"x"}"#))),
                r#""timestamp":"2025-04-01T18:34:01.580Z","level":"WARN","message":"hello","context":{"job":"x"}}"#,
            ),
            (
                timed(leveled(
                    "info",
                    entry(r#"{"level":"error","msg":"m","context":{"a":1}}"#, r#"{"job":"x"}"#),
                )),
                r#""timestamp":"2025-04-01T18:34:01.580Z","level":"ERROR","message":"m","context":{"job":"x","a":1}}"#,
            ),
            (
                leveled("50", entry("2024-01-01T00:00:00Z [INFO] up", "")),
                r#""timestamp":"2024-01-01T00:00:00.000Z","level":"ERROR","message":"up"}"#,
            ),
        ] {
            assert_eq!(shown(&carried), record, "{carried:?}");
        }
        let marked = |carried: &Carried<'_>| read(carried, "entry", NOW_MS).unwrap();
        let loud = marked(&leveled("loud", entry("x", "")));
        assert_eq!((loud.level, loud.marks, loud.timestamp_ms), (Level::Info, Marks::LEVEL_UNKNOWN, None));
        let future = Carried { time_ns: Some(NOW_NS + 86_400_001_000_000), ..entry("x", "") };
        assert_eq!(marked(&future).timestamp_ms, None);
        let deep = format!(r#"{{"level":"error","a":{}{}}}"#, "[".repeat(64), "]".repeat(64));
        for text in [r#"{"level":"error""#, r#"{"level":"error","a":1e999}"#, &deep] {
            let broken = marked(&Carried { text: text.into(), ..Carried::default() });
            assert_eq!((broken.kind, broken.level), (EntryKind::PlainText, Level::Info), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused() {
        let text = "x".repeat(MAX_ENTRY_BYTES + 1);
        let carried = Carried { text: text.into(), ..Carried::default() };
        assert_eq!(read(&carried, "entry", NOW_MS).unwrap_err().field, "entry");
    }

    #[test]
    fn a_context_is_an_object_of_its_members() {
        assert_eq!(Context::default().into_text(), "");
        let mut context = Context::default();
        context.push("a", "\"");
        context.push("b", "");
        assert_eq!(context.into_text(), r#"{"a":"\"","b":""}"#);
    }
}
