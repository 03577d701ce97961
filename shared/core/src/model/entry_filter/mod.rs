//! A filter of records by what they hold: level, request id, search, and conditions on the values at any path. It
//! is read and compiled once, and then asked about many entries; queries, alerts and erasure use the same one.
//!
//! | name | value |
//! |---|---|
//! | `level` | one level, or several with commas between them; a number is one of pino, such as `50` |
//! | `request_id` | the whole id |
//! | `search` | a part of the message, case-insensitive |
//! | `search_in` | `message`, the default, or `all`: `search` looks at the whole entry |
//! | `field.{path}` | a condition on the values at a path |
//! | `context.{path}` | the same as `field.context.{path}` |
//!
//! A path starts at the entry as it was written (`field.err.type`, `field.req.id`), or at the fields of its record
//! (`field.method`, `field.message`). Its steps are keys with dots between them, or indexes of arrays; keys that
//! contain dots are found as well. A condition's value begins with its operator:
//!
//! | value | holds if a value at the path |
//! |---|---|
//! | `x`, `=x` | is a string with this text; or a number of this value; or `true`, `false`, `null` by name. After `=`, the text may begin with any character |
//! | `>x`, `>=x`, `<x`, `<=x` | is before or after `x`: with a number, numbers and strings that hold one are compared by value; with another text, strings byte by byte, as fits RFC 3339 times of one offset |
//! | `~x` | contains the text, case-insensitive; of an object or array, as written or in one of its strings |
//! | `*` | is there and not null |
//! | `!x`, `!=x`, `!~x`, `!*` | the opposite of `x`, `=x`, `~x`, `*`; also holds if nothing is at the path |
//!
//! In a query string the operators may also stand before the `=` sign: `field.a>=5`, `field.a!=x`, `field.a~=x`.

mod condition;
mod needle;
mod operator;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;

use serde_json::{Map, Value};

use condition::Condition;
use needle::{Needle, has_colours, hides_text};

use crate::model::block::BlockHeader;
use crate::model::level::{Level, LevelCounts};
use crate::model::record::{Entry, EntryKind, StoredRecord};
use crate::model::record_view::LogRecord;

/// Maximum number of conditions on paths in a filter.
pub const MAX_CONDITIONS: usize = 32;
/// Maximum steps of a path: an entry is not nested deeper.
pub const MAX_PATH_STEPS: usize = 64;
/// Maximum length of a name or value (bytes). A whole query string has at most 10,240.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html>
pub const MAX_TEXT_BYTES: usize = 8_192;

const FIELD: &str = "field.";
const CONTEXT: &str = "context.";

/// Why a filter cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadFilter {
    /// The name of what is wrong, such as `level` or `field.res.statusCode`.
    pub name: String,
    pub message: String,
}

impl BadFilter {
    fn new(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self { name: name.into(), message: message.into() }
    }
}

/// A compiled filter; everything that it has must hold. The default has nothing and accepts every record.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// As they were read.
    pairs: Vec<(String, String)>,
    /// Empty means every level.
    levels: Vec<Level>,
    request_id: Option<(String, Needle)>,
    search: Option<Needle>,
    /// The search looks at the whole entry.
    search_all: bool,
    conditions: Vec<Condition>,
}

impl PartialEq for EntryFilter {
    fn eq(&self, other: &Self) -> bool {
        self.pairs == other.pairs
    }
}

impl EntryFilter {
    /// Whether a filter has something of this name, as the names of a query string's parameters.
    #[must_use]
    pub fn takes(name: &str) -> bool {
        matches!(name, "level" | "request_id" | "search" | "search_in")
            || name.starts_with(FIELD)
            || name.starts_with(CONTEXT)
    }

    /// Reads and compiles a filter from names and values. Conditions may be repeated, and all must hold.
    ///
    /// # Errors
    /// [`BadFilter`], with the name.
    pub fn read<N, V>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self, BadFilter>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let mut filter = Self::default();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            filter.add(&name, &value)?;
            filter.pairs.push((name, value));
        }
        Ok(filter)
    }

    /// Takes a filter's members out of a JSON object, with the paths below `field` and `context`:
    /// `{"level": "ERROR", "field": {"res.statusCode": ">=500"}}`. Other members stay.
    ///
    /// # Errors
    /// [`BadFilter`], with the member's name.
    pub fn take_from(object: &mut Map<String, Value>) -> Result<Self, BadFilter> {
        let mut pairs = Vec::new();
        for name in ["level", "request_id", "search", "search_in"] {
            match object.shift_remove(name) {
                None | Some(Value::Null) => {}
                Some(Value::String(text)) => pairs.push((name.to_owned(), text)),
                Some(Value::Number(number)) if name == "level" => {
                    pairs.push((name.to_owned(), number.to_string()));
                }
                Some(_) => return Err(BadFilter::new(name, format!("{name} must be a string"))),
            }
        }
        for name in ["field", "context"] {
            let wrong = || {
                let message = format!("{name} must be an object of strings, numbers and booleans");
                BadFilter::new(name, message)
            };
            let paths = match object.shift_remove(name) {
                None | Some(Value::Null) => continue,
                Some(Value::Object(paths)) => paths,
                Some(_) => return Err(wrong()),
            };
            for (path, value) in paths {
                let value = match value {
                    Value::String(text) => text,
                    Value::Number(_) | Value::Bool(_) | Value::Null => value.to_string(),
                    Value::Array(_) | Value::Object(_) => return Err(wrong()),
                };
                pairs.push((format!("{name}.{path}"), value));
            }
        }
        Self::read(pairs)
    }

    /// The names and values of which [`EntryFilter::read`] makes the same filter, for example to store it.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Whether it accepts every record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty() && !self.reads_entries()
    }

    #[must_use]
    pub fn has_level(&self, level: Level) -> bool {
        self.levels.is_empty() || self.levels.contains(&level)
    }

    /// The requested levels; empty if every level is.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// Whether records with these counts can have a requested level.
    #[must_use]
    pub fn may_be_in(&self, levels: &LevelCounts) -> bool {
        self.levels.is_empty() || self.levels.iter().any(|&level| levels[level] != 0)
    }

    /// Whether a block can have records with a requested level, by its header.
    #[must_use]
    pub fn may_be_in_block(&self, header: &BlockHeader) -> bool {
        !header.says_levels() || self.may_be_in(&header.levels)
    }

    /// Whether a record's entry must be read after its level has passed.
    #[must_use]
    pub fn reads_entries(&self) -> bool {
        self.search.is_some() || self.request_id.is_some() || !self.conditions.is_empty()
    }

    /// `false` only if certainly no record matches whose entry is in this text, the entries of a block one after
    /// the other. One search through all of it is faster than one through each entry.
    #[must_use]
    pub fn may_match_in(&self, entries: &str) -> bool {
        if !self.reads_entries() || hides_text(entries) {
            return true;
        }
        // The message of a line is searched without its colours. They are looked for last: few texts have them.
        (self.needles().all(|needle| needle.may_be_in(entries)) || has_colours(entries))
            && self.conditions.iter().all(|condition| condition.may_match_in(entries))
    }

    fn needles(&self) -> impl Iterator<Item = &Needle> {
        self.search.iter().chain(self.request_id.iter().map(|(_, needle)| needle))
    }

    /// `false` only if the record certainly does not match, by its level and the bytes of its entry. Parses
    /// nothing.
    #[must_use]
    pub fn may_match(&self, entry: &Entry<'_>) -> bool {
        if !self.has_level(entry.level) {
            return false;
        }
        if !self.reads_entries() {
            return true;
        }
        // The context of a wrapped entry is JSON, whatever the entry is.
        let hidden = hides_text(entry.raw);
        (hidden
            || self.needles().all(|needle| needle.may_be_in(entry.raw))
            || entry.kind == EntryKind::LogText && has_colours(entry.raw))
            && self.conditions.iter().all(|condition| condition.may_match(entry, hidden))
    }

    /// Whether the record matches.
    #[cfg(test)]
    fn matches(&self, record: &StoredRecord<'_>) -> bool {
        self.may_match(&record.entry) && self.holds(record)
    }

    /// Whether a record of a requested level matches, of which [`EntryFilter::may_match`] is `true`.
    pub(crate) fn holds(&self, record: &StoredRecord<'_>) -> bool {
        if !self.reads_entries() {
            return true;
        }
        let view = OnceCell::new();
        let read = || view.get_or_init(|| LogRecord::read(record));
        self.search.as_ref().is_none_or(|needle| match self.search_all {
            true => is_in_entry(&record.entry, needle, read),
            false => needle.is_in(&read().message),
        }) && self
            .request_id
            .as_ref()
            .is_none_or(|(wanted, _)| read().request_id.as_deref() == Some(wanted.as_str()))
            && self.conditions.iter().all(|condition| condition.matches(&record.entry, read))
    }

    fn add(&mut self, name: &str, value: &str) -> Result<(), BadFilter> {
        if name.len() > MAX_TEXT_BYTES || value.len() > MAX_TEXT_BYTES {
            let name: String = name.chars().take(100).collect();
            let message = format!("{name} must be at most {MAX_TEXT_BYTES} bytes");
            return Err(BadFilter::new(name, message));
        }
        if let Some(path) = name.strip_prefix(FIELD) {
            return self.add_condition(name, "", path, value);
        }
        if let Some(path) = name.strip_prefix(CONTEXT) {
            return self.add_condition(name, CONTEXT, path, value);
        }
        if self.pairs.iter().any(|(earlier, _)| earlier == name) {
            return Err(BadFilter::new(name, format!("{name} must not be repeated")));
        }
        match name {
            "level" => self.levels = levels(value)?,
            "request_id" => self.request_id = Some((value.to_owned(), Needle::exact(value))),
            "search" => self.search = Some(value).filter(|text| !text.is_empty()).map(Needle::case_blind),
            "search_in" => {
                self.search_all = match value {
                    "all" => true,
                    "message" => false,
                    _ => return Err(BadFilter::new(name, "search_in must be message or all")),
                }
            }
            _ => return Err(BadFilter::new(name, format!("{name} is not a filter"))),
        }
        Ok(())
    }

    fn add_condition(&mut self, name: &str, below: &str, path: &str, value: &str) -> Result<(), BadFilter> {
        if self.conditions.len() == MAX_CONDITIONS {
            let message = format!("a filter has at most {MAX_CONDITIONS} conditions on fields and context");
            return Err(BadFilter::new(name, message));
        }
        let (path, sign) = with_sign(path);
        if path.is_empty() {
            return Err(BadFilter::new(name, format!("{name} needs a path, such as field.res.statusCode")));
        }
        if path.split('.').count() > MAX_PATH_STEPS {
            let message = format!("{name} must have at most {MAX_PATH_STEPS} steps");
            return Err(BadFilter::new(name, message));
        }
        if value.is_empty()
            && sign.is_empty()
            && let Some(at) = path.find(['<', '>', '~'])
        {
            let (path, comparison) = name.split_at(name.len() - (path.len() - at));
            let message = format!("{name} has no = sign: write {path}={comparison}");
            return Err(BadFilter::new(name, message));
        }
        let condition = Condition::new(&format!("{below}{path}"), &format!("{sign}{value}"))
            .map_err(|why| BadFilter::new(name, format!("{name}: {why}")))?;
        self.conditions.push(condition);
        Ok(())
    }
}

/// Splits the operator off a name that ends with one, as in `field.a>=5`, which a query string has as the name
/// `field.a>` and the value `5`.
fn with_sign(path: &str) -> (&str, &'static str) {
    // The longer ones first.
    for (end, sign) in [("!~", "!~"), ("~", "~"), ("!", "!="), (">", ">="), ("<", "<=")] {
        if let Some(path) = path.strip_suffix(end) {
            return (path, sign);
        }
    }
    (path, "")
}

/// Parses levels: `ERROR` or `50`, or several separated by commas.
fn levels(list: &str) -> Result<Vec<Level>, BadFilter> {
    let level = |text: &str| {
        let text = text.trim();
        Level::from_name(text)
            .or_else(|| text.parse::<u16>().ok().map(|number| Level::from_pino(number.into())))
    };
    let levels: Option<Vec<Level>> = list.split(',').map(level).collect();
    levels.ok_or_else(|| {
        BadFilter::new("level", "level must be DEBUG, INFO, WARN or ERROR, or a number of pino such as 50")
    })
}

/// Whether an entry, or the context of its envelope, contains the text. `read` returns the entry as a record.
fn is_in_entry<'v, 'r: 'v>(entry: &Entry<'_>, needle: &Needle, read: impl Fn() -> &'v LogRecord<'r>) -> bool {
    let (context, raw) = entry.parts();
    context.is_some_and(|context| operator::contains(context, needle))
        || match entry.kind {
            EntryKind::Json => operator::contains(raw.trim_start(), needle),
            EntryKind::WorkerText | EntryKind::PlainText => needle.is_in(raw),
            // As written, and as meant.
            EntryKind::LogText => needle.is_in(raw) || needle.is_in(&read().message),
        }
}
