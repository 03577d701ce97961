//! Filters of a query. Level and time are columns of a block and are checked first. The other filters need
//! the entry, which is parsed only if its bytes may contain the searched text.

use crate::model::level::{BadLevel, Level, LevelCounts};
use crate::model::record::{Entry, EntryKind};
use crate::model::record_view::{Field, LogRecord};
use crate::model::time::parse_rfc3339_ms;
use memchr::memmem::Finder;
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

use crate::logbook::cursor::QuestionHash;
use crate::logbook::new_entry::{Invalid, MAX_DEPTH};

/// Filters of a query; all must match.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Empty means every level.
    pub levels: Vec<Level>,
    /// Included (ms).
    pub since_ms: Option<i64>,
    /// Excluded (ms).
    pub until_ms: Option<i64>,
    pub request_id: Option<String>,
    /// A part of the message, case-insensitive.
    pub search: Option<String>,
    /// Paths in the context, with their required values.
    pub context: Vec<(String, String)>,
}

/// Parses levels: `ERROR`, or several separated by commas.
fn levels(list: &str) -> Result<Vec<Level>, BadLevel> {
    list.split(',').map(|level| level.trim().parse()).collect()
}

/// Parses a time that bounds a range: RFC 3339, or milliseconds since the epoch. Any year is valid.
#[must_use]
pub fn bound_ms(text: &str) -> Option<i64> {
    // Users write 9999-12-31 for an open end; the library's last time is a little earlier.
    let end_of_days = || parse_rfc3339_ms(&format!("9998-12-31{}", text.strip_prefix("9999-12-31")?));
    parse_rfc3339_ms(text).or_else(end_of_days).or_else(|| text.parse().ok())
}

/// Maximum number of context paths in a query.
const MAX_CONTEXT_PATHS: usize = 32;

/// Whether a text can be a path into a context.
fn is_context_path(path: &str) -> bool {
    !path.is_empty() && path.split('.').count() <= MAX_DEPTH
}

/// A filter prepared for many records.
#[derive(Debug)]
pub struct Matcher<'f> {
    filter: &'f Filter,
    search: Option<Needle>,
    request_id: Option<Needle>,
    context: Vec<InContext<'f>>,
}

impl Filter {
    /// Reads a filter as callers write it. `take` gives the text of a field, `context` are paths and
    /// what must be there.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn read(
        mut take: impl FnMut(&'static str) -> Result<Option<String>, Invalid>,
        context: Vec<(String, String)>,
    ) -> Result<Self, Invalid> {
        let wrong = |name: &str| {
            let message = format!("{name} must be RFC 3339 with an offset, or milliseconds since the epoch");
            Invalid::new(name, message)
        };
        let mut bound = |name: &'static str| match take(name)? {
            None => Ok(None),
            Some(text) => bound_ms(&text).map(Some).ok_or_else(|| wrong(name)),
        };
        let (since_ms, until_ms) = (bound("since")?, bound("until")?);
        let levels = take("level")?.map(|list| levels(&list)).transpose();
        let levels = levels.map_err(|bad| Invalid::new("level", bad.to_string()))?.unwrap_or_default();
        for (index, (path, _)) in context.iter().enumerate() {
            let name = format!("context.{path}");
            if !is_context_path(path) {
                let message = format!("{name} is not a valid context path");
                return Err(Invalid::new(name, message));
            }
            if index == MAX_CONTEXT_PATHS {
                let message = format!("a query has at most {MAX_CONTEXT_PATHS} context paths");
                return Err(Invalid::new(name, message));
            }
        }
        let (request_id, search) = (take("request_id")?, take("search")?);
        Ok(Self { levels, since_ms, until_ms, request_id, search, context })
    }

    #[must_use]
    pub fn has_level(&self, level: Level) -> bool {
        self.levels.is_empty() || self.levels.contains(&level)
    }

    /// Whether records with these counts can have a requested level.
    #[must_use]
    pub fn may_be_in(&self, levels: &LevelCounts) -> bool {
        self.levels.is_empty() || self.levels.iter().any(|&level| levels[level] != 0)
    }

    /// Returns the hash of this query about one app, or about all.
    #[must_use]
    pub fn question(&self, scope: Option<&str>) -> QuestionHash {
        let mut hash = Sha256::new();
        let mut part = |name: u8, text: &[u8]| {
            hash.update([name]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        match scope {
            Some(app_id) => part(b'a', app_id.as_bytes()),
            None => part(b'*', b""),
        }
        for level in Level::ALL {
            if self.levels.contains(&level) {
                part(b'l', level.as_str().as_bytes());
            }
        }
        for (name, time) in [(b's', self.since_ms), (b'u', self.until_ms)] {
            if let Some(ms) = time {
                part(name, &ms.to_be_bytes());
            }
        }
        for (name, text) in [(b'r', &self.request_id), (b't', &self.search)] {
            if let Some(text) = text {
                part(name, text.as_bytes());
            }
        }
        for (path, value) in &self.context {
            part(b'p', path.as_bytes());
            part(b'v', value.as_bytes());
        }
        let whole: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }

    #[must_use]
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher {
            filter: self,
            search: self
                .search
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| Needle::new(text, true)),
            request_id: self.request_id.as_deref().map(|text| Needle::new(text, false)),
            context: self.context.iter().map(|(path, value)| InContext::new(path, value)).collect(),
        }
    }
}

impl Matcher<'_> {
    /// Whether a record's entry must be read after level and time have passed.
    #[must_use]
    pub fn reads_entries(&self) -> bool {
        self.search.is_some() || self.request_id.is_some() || !self.context.is_empty()
    }

    #[must_use]
    pub fn has_level(&self, level: Level) -> bool {
        self.filter.has_level(level)
    }

    /// `false` only if the entry certainly does not match. Saves parsing most entries.
    #[must_use]
    pub fn may_match(&self, entry: &Entry<'_>) -> bool {
        // With escapes, the searched text need not occur literally.
        if memchr::memchr(b'\\', entry.raw.as_bytes()).is_some() {
            return true;
        }
        let own = [&self.search, &self.request_id].into_iter().flatten();
        // The names of what is read from a line of text do not stand in it.
        let named = self.context.iter().filter(|_| entry.kind != EntryKind::LogText);
        let mut all = own.chain(named.flat_map(|context| &context.needles));
        all.all(|needle| needle.may_be_in(entry.raw))
    }

    #[must_use]
    pub fn matches(&self, record: &LogRecord<'_>) -> bool {
        self.search.as_ref().is_none_or(|needle| needle.is_in(&record.message))
            && self
                .filter
                .request_id
                .as_deref()
                .is_none_or(|wanted| record.request_id.as_deref() == Some(wanted))
            && (self.context.is_empty() || self.context_matches(record))
    }

    fn context_matches(&self, record: &LogRecord<'_>) -> bool {
        let Some(raw) = record.field(Field::Context) else { return false };
        let Ok(context) = serde_json::from_str::<Value>(raw) else { return false };
        self.context.iter().all(|asked| found(&context, Some(asked.path), &asked.wanted))
    }
}

/// A path in the context and its required value.
#[derive(Debug)]
struct InContext<'f> {
    path: &'f str,
    wanted: Wanted<'f>,
    /// Texts that occur in the bytes of every matching entry.
    needles: Vec<Needle>,
}

impl<'f> InContext<'f> {
    fn new(path: &'f str, value: &'f str) -> Self {
        let wanted = Wanted::new(value);
        // A number may be written in several ways, everything else only in one.
        let value = Some(value).filter(|value| !value.is_empty() && wanted.number.is_none());
        // Each step is a key or a part of one, except steps that may be array indexes.
        let keys = path.split('.').filter(|step| step.parse::<usize>().is_err());
        let longest = keys.max_by_key(|step| step.len()).filter(|step| !step.is_empty());
        let needles = value.into_iter().chain(longest).map(|text| Needle::new(text, false)).collect();
        Self { path, wanted, needles }
    }
}

/// Whether the value at `path` (`None`: this value) is the wanted one. Keys that contain dots are also
/// found. Every key is compared with the path at most once, so the time is linear in the length of the
/// entry.
fn found(value: &Value, path: Option<&str>, wanted: &Wanted<'_>) -> bool {
    let Some(path) = path else { return wanted.is(value) };
    match value {
        Value::Object(members) => members.iter().any(|(key, next)| match path.strip_prefix(key.as_str()) {
            Some("") => found(next, None, wanted),
            Some(rest) => rest.strip_prefix('.').is_some_and(|rest| found(next, Some(rest), wanted)),
            None => false,
        }),
        Value::Array(items) => {
            let (index, rest) =
                path.split_once('.').map_or((path, None), |(index, rest)| (index, Some(rest)));
            let item = index.parse::<usize>().ok().and_then(|index| items.get(index));
            item.is_some_and(|item| found(item, rest, wanted))
        }
        _ => false,
    }
}

/// What a context value is compared with: strings by text, numbers and booleans by value.
#[derive(Debug)]
struct Wanted<'f> {
    text: &'f str,
    number: Option<Number>,
}

impl<'f> Wanted<'f> {
    fn new(text: &'f str) -> Self {
        Self { text, number: serde_json::from_str(text).ok() }
    }

    fn is(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => text == self.text,
            Value::Bool(flag) => self.text == if *flag { "true" } else { "false" },
            Value::Null => self.text == "null",
            Value::Number(number) => self.number.as_ref().is_some_and(|wanted| same_number(number, wanted)),
            Value::Object(_) | Value::Array(_) => false,
        }
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a == b,
        _ => a.as_f64().is_some() && a.as_f64() == b.as_f64(),
    }
}

/// A searched text. The time of a search is linear in the length of the searched bytes, for any texts.
#[derive(Debug)]
struct Needle {
    /// Lower case if case-insensitive.
    text: String,
    finder: Finder<'static>,
    /// Has no characters that JSON escapes: such a text occurs literally in an entry, unless the entry has
    /// escapes. ASCII if case-insensitive.
    plain: bool,
    /// Its possible first bytes, if case-insensitive.
    first: [u8; 2],
    case_blind: bool,
}

impl Needle {
    fn new(text: &str, case_blind: bool) -> Self {
        let text = if case_blind { folded(text) } else { text.to_owned() };
        let stands_as_it_is = |c: char| c >= ' ' && !matches!(c, '"' | '\\');
        let plain = !text.is_empty() && text.chars().all(stands_as_it_is) && (!case_blind || text.is_ascii());
        let first = text.bytes().next().unwrap_or_default();
        Self {
            finder: Finder::new(&text).into_owned(),
            text,
            plain,
            first: [first, first.to_ascii_uppercase()],
            case_blind,
        }
    }

    /// Whether it may occur in an entry without escapes.
    fn may_be_in(&self, raw: &str) -> bool {
        if !self.plain {
            return true;
        }
        match self.case_blind {
            // Non-ASCII letters may have ASCII lower-case forms.
            true => !raw.is_ascii() || self.is_in_blindly(raw.as_bytes()),
            false => self.finder.find(raw.as_bytes()).is_some(),
        }
    }

    fn is_in(&self, text: &str) -> bool {
        if !self.case_blind {
            self.finder.find(text.as_bytes()).is_some()
        } else if self.plain && text.is_ascii() {
            self.is_in_blindly(text.as_bytes())
        } else {
            self.finder.find(folded(text).as_bytes()).is_some()
        }
    }

    fn is_in_blindly(&self, haystack: &[u8]) -> bool {
        let needle = self.text.as_bytes();
        let Some(last) = haystack.len().checked_sub(needle.len()) else { return false };
        let mut compared = 0;
        for at in memchr::memchr2_iter(self.first[0], self.first[1], &haystack[..=last]) {
            let pairs = haystack[at..].iter().zip(needle);
            let alike = pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
            if alike == needle.len() {
                return true;
            }
            compared += alike;
            if compared > haystack.len() {
                // Both texts are repetitive: comparing at each position would take their product.
                return self.finder.find(&haystack.to_ascii_lowercase()).is_some();
            }
        }
        false
    }
}

/// A text whose characters have one case. Each character is folded by itself and stays one, so that a part of a
/// text is also a part of the folded text: a sigma is the same within a word as at its end.
fn folded(text: &str) -> String {
    fn one(mut chars: impl Iterator<Item = char>) -> Option<char> {
        chars.next().filter(|_| chars.next().is_none())
    }
    let fold = |c: char| {
        // The dotless i is a letter of its own.
        if c == 'ı' {
            return c;
        }
        let upper = one(c.to_uppercase()).unwrap_or(c);
        one(upper.to_lowercase()).unwrap_or(upper)
    };
    text.chars().map(fold).collect()
}

#[cfg(test)]
mod tests {
    use crate::model::ids::Seed;
    use crate::model::record::{EntryKind, Marks, StoredRecord};
    use proptest::prelude::*;

    use super::*;

    fn matches(filter: &Filter, raw: &str) -> bool {
        let entry = Entry {
            ordinal: 0,
            timestamp_ms: 0,
            level: Level::Info,
            kind: EntryKind::Json,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw,
        };
        let matcher = filter.matcher();
        let matches = matcher.matches(&LogRecord::read(&StoredRecord {
            id: Seed::of(&[b"x"]).record_id(0),
            entry: entry.clone(),
        }));
        assert!(matcher.may_match(&entry) || !matches, "{filter:?} {raw}");
        matches
    }

    fn context(path: &str, value: &str) -> Filter {
        Filter { context: vec![(path.to_owned(), value.to_owned())], ..Filter::default() }
    }

    #[test]
    fn context_paths_descend_and_values_compare_by_value() {
        let raw = r#"{"msg":"x","context":{"user":{"id":7,"name":"7","ok":true,"none":null},"a.b":{"c":1.50},"list":[{"x":"y"}]}}"#;
        for (path, value) in [
            ("user.id", "7"),
            ("user.id", "7.0"),
            ("user.name", "7"),
            ("user.ok", "true"),
            ("user.none", "null"),
            ("a.b.c", "1.5"),
            ("list.0.x", "y"),
        ] {
            assert!(matches(&context(path, value), raw), "{path}={value}");
        }
        for (path, value) in [
            ("user.id", "8"),
            ("user.name", "7.0"),
            ("user", "7"),
            ("user.id.x", "7"),
            ("", "7"),
            ("user.ok", "1"),
            ("list.1.x", "y"),
            ("list.x", "y"),
            ("__proto__", "7"),
        ] {
            assert!(!matches(&context(path, value), raw), "{path}={value}");
        }
        assert!(!matches(&context("a", "b"), r#"{"msg":"x"}"#));
    }

    #[test]
    fn bounds_and_levels_are_read_as_people_write_them() {
        assert_eq!(levels("warn, ERROR"), Ok(vec![Level::Warn, Level::Error]));
        assert!(levels("").is_err() && levels("WARN,").is_err());
        assert_eq!(bound_ms("2025-04-01T18:34:01.581Z"), Some(1_743_532_441_581));
        assert_eq!(bound_ms("1743532441581"), Some(1_743_532_441_581));
        assert!(bound_ms("9999-12-31T23:59:59.999Z").is_some() && bound_ms("tomorrow").is_none());
        assert!(is_context_path("a..b") && !is_context_path("") && !is_context_path(&".".repeat(64)));
    }

    #[test]
    fn search_is_case_blind_and_sees_the_message_alone() {
        let search = |text: &str| Filter { search: Some(text.to_owned()), ..Filter::default() };
        let raw = r#"{"msg":"User \"Jo\" LOGGED in über","other":"needle"}"#;
        for text in ["logged IN", "\"jo\"", "ÜBER", ""] {
            assert!(matches(&search(text), raw), "{text}");
        }
        assert!(!matches(&search("needle"), raw));
        assert!(matches(&search("kelvin"), "{\"msg\":\"\u{212a}elvin\"}"));
        assert!(matches(&search("a"), r#"{"msg":"\u0041"}"#));
    }

    #[test]
    fn a_part_of_a_word_is_found_whatever_the_word_ends_in() {
        let search = |text: &str| Filter { search: Some(text.to_owned()), ..Filter::default() };
        for text in ["ΣΊΣ", "ΊΣ", "σίς", "ΣΊΣΥΦΟΣ", "υφος", "ΥΦΟς"] {
            assert!(matches(&search(text), r#"{"msg":"ΣΊΣΥΦΟΣ"}"#), "{text}");
        }
    }

    #[test]
    fn questions_differ_by_scope_and_by_every_filter() {
        let filters = [
            Filter::default(),
            Filter { levels: vec![Level::Error], ..Filter::default() },
            Filter { since_ms: Some(1), ..Filter::default() },
            Filter { until_ms: Some(1), ..Filter::default() },
            Filter { request_id: Some("1".into()), ..Filter::default() },
            Filter { search: Some("1".into()), ..Filter::default() },
            context("1", ""),
            context("", "1"),
        ];
        let mut hashes: Vec<_> = filters
            .iter()
            .flat_map(|f| [f.question(None), f.question(Some("a")), f.question(Some("b"))])
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), filters.len() * 3);
    }

    /// A reference implementation for tests: tries every way to combine the steps of a path into keys.
    fn plainly_found(value: &Value, steps: &[&str], wanted: &str) -> bool {
        if steps.is_empty() {
            let same = |json: &str| {
                let (a, b) = (json.parse::<f64>(), wanted.trim().parse::<f64>());
                a.is_ok() && a == b
            };
            return match value {
                Value::String(text) => text == wanted,
                Value::Number(number) => same(&number.to_string()),
                Value::Bool(flag) => wanted == if *flag { "true" } else { "false" },
                Value::Null => wanted == "null",
                Value::Array(_) | Value::Object(_) => false,
            };
        }
        let by_key = (1..=steps.len()).any(|taken| {
            let next = value.as_object().and_then(|members| members.get(&steps[..taken].join(".")));
            next.is_some_and(|next| plainly_found(next, &steps[taken..], wanted))
        });
        let by_index = value.as_array().and_then(|items| items.get(steps[0].parse::<usize>().ok()?));
        by_key || by_index.is_some_and(|item| plainly_found(item, &steps[1..], wanted))
    }

    /// JSON texts, with values and keys in every JSON spelling.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec![
            "1",
            "1.0",
            "10e-1",
            "0",
            "-0",
            "100",
            "1e2",
            "true",
            "false",
            "null",
            "\"1\"",
            "\"a\"",
            "\"\\u0061\"",
            "\"true\"",
            "\"\"",
            "\"ü\"",
            "\"\\u00fc\"",
            "\"a\\\"b\"",
            "\"a b\"",
        ]);
        let key = prop::sample::select(vec![
            "a", "b", "a.b", "\\u0061", "", "0", "1", "ü", "\\u00fc", "b.", ".", "a.0", "a\\\"b",
        ]);
        leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, move |inner| {
            let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
                prop::collection::vec(member, 1..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    #[test]
    fn texts_that_repeat_themselves_are_looked_through_once() {
        // Comparing at each position would take some 10^11 steps.
        let raw = format!(r#"{{"msg":"{0}","context":{{"k":"{0}"}}}}"#, "aA".repeat(500_000));
        let sought = format!("{}b", "a".repeat(400_000));
        let search = Filter { search: Some(sought.clone()), ..Filter::default() };
        assert!(!matches(&search, &raw) && !matches(&context("k", &sought), &raw));
        let request_id = Filter { request_id: Some("aA".repeat(200_000)), ..Filter::default() };
        assert!(!matches(&request_id, &raw));
        let search = Filter { search: Some("a".repeat(400_000)), ..Filter::default() };
        assert!(matches(&search, &raw));
    }

    #[test]
    fn a_path_of_many_steps_goes_as_deep_as_the_entry() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a.a":"#.repeat(depth), "}".repeat(depth));
        let raw = format!(r#"{{"msg":"x","context":{}}}"#, nested(32));
        assert!(matches(&context(&["a"; 64].join("."), "1.0"), &raw));
        assert!(!matches(&context(&["a"; 64].join("."), "2"), &raw));
        assert!(!matches(&context(&["a"; 63].join("."), "1"), &raw));
    }

    proptest! {
        #[test]
        fn a_search_finds_what_a_plain_one_finds(message in "[a-cA-CüéÜσςΣίΊµμſsßẞиИıİiI\"\\\\ \u{212a}k]{0,12}", sought in "[a-cA-CüÜσςΣίΊµμſSßẞиИıİiI\"k ]{0,3}") {
            let raw = serde_json::json!({"msg": message}).to_string();
            let filter = Filter { search: Some(sought.clone()), ..Filter::default() };
            // The library for regular expressions folds characters by Unicode's own table.
            let reference = regex::Regex::new(&format!("(?i){}", regex::escape(&sought))).unwrap();
            prop_assert_eq!(matches(&filter, &raw), reference.is_match(&message));
        }

        #[test]
        fn a_context_filter_finds_what_a_plain_reading_finds(
            context_json in json(),
            path in prop::collection::vec(prop::sample::select(vec!["a", "b", "0", "1", "ü", "", "a\"b"]), 1..5),
            wanted in prop::sample::select(vec!["1", "1.0", " 1", "1e0", "100", "0", "a", "true", "null", "", "ü", "a\"b", "a b"]),
        ) {
            let raw = format!(r#"{{"msg":"x","context":{context_json}}}"#);
            let parsed: Value = serde_json::from_str(&context_json).unwrap();
            let expected = parsed != Value::Null && plainly_found(&parsed, &path, wanted);
            prop_assert_eq!(matches(&context(&path.join("."), wanted), &raw), expected);
        }
    }
}
