//! Redaction: what must not be stored is replaced before anything of an entry is stored. Pure: the
//! same entry under the same rules always becomes the same.
//!
//! Three kinds of rules: names of headers and fields (whole values, in JSON, in JSON inside of
//! strings, and as `name: value` in text), names of query parameters, and regular expressions.
//! JSON stays JSON. A name written with `\u` escapes is not recognised.

use std::borrow::Cow;

use regex::{Captures, Regex};

use crate::quarantine::MAX_SAMPLE_BYTES;
use crate::record::EntryKind;

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";

/// Names of headers and fields unless configured otherwise.
pub const DEFAULT_NAMES: &str = "authorization,cookie,set-cookie,x-api-key,proxy-authorization";

/// Names of query parameters unless configured otherwise.
pub const DEFAULT_QUERY: &str = "token,access_token,id_token,refresh_token,auth,api_key,apikey,key,secret,\
    client_secret,password,passwd,code,sig,signature,jwt,session,x-amz-signature,x-amz-security-token,x-amz-credential";

/// A rule that cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("a redaction pattern is no regular expression")]
pub struct BadPattern(#[from] regex::Error);

/// The rules.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    /// Any of the names, wherever: what has none is spared the rules for keys and fields.
    named: Option<Regex>,
    /// A key in JSON, up to its value.
    keys: Option<Regex>,
    /// `name: value` in text.
    fields: Option<Regex>,
    query: Option<Regex>,
    patterns: Vec<Regex>,
}

fn any_of(names: &str) -> Option<String> {
    let names: Vec<String> = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty() && *name != "-")
        .map(regex::escape)
        .collect();
    (!names.is_empty()).then(|| names.join("|"))
}

impl Redactor {
    /// `names` and `query` are lists of names with commas between them (`-` for none), `patterns` regular expressions
    /// with white space between them.
    ///
    /// # Errors
    /// A pattern is no regular expression.
    pub fn new(names: &str, query: &str, patterns: &str) -> Result<Self, BadPattern> {
        // Names of headers are ASCII; without Unicode's case folding they are found at memory speed.
        let names = any_of(names).map(|names| match names.is_ascii() {
            true => format!("(?i-u:{names})"),
            false => format!("(?i:{names})"),
        });
        let rule = |text: Option<String>| text.map(|text| Regex::new(&text)).transpose();
        Ok(Self {
            keys: rule(names.as_ref().map(|names| format!(r#"(\\*)"{names}(\\*)"\s*:\s*"#)))?,
            fields: rule(names.as_ref().map(|names| format!(r#"({names}[ \t]*[:=][ \t]*)[^"\\\r\n]+"#)))?,
            named: rule(names)?,
            query: rule(any_of(query).map(|query| format!(r#"(?i)([?&;](?:{query})=)[^&#\s"'\\<>]+"#)))?,
            patterns: patterns.split_whitespace().map(Regex::new).collect::<Result<_, _>>()?,
        })
    }

    /// As [`Redactor::new`], with the defaults where nothing is configured.
    ///
    /// # Errors
    /// As [`Redactor::new`].
    pub fn configured(
        names: Option<&str>,
        query: Option<&str>,
        patterns: Option<&str>,
    ) -> Result<Self, BadPattern> {
        Self::new(
            names.unwrap_or(DEFAULT_NAMES),
            query.unwrap_or(DEFAULT_QUERY),
            patterns.unwrap_or_default(),
        )
    }

    /// The rules that hold unless configured otherwise.
    ///
    /// # Errors
    /// Never: the defaults are patterns.
    pub fn standard() -> Result<Self, BadPattern> {
        Self::new(DEFAULT_NAMES, DEFAULT_QUERY, "")
    }

    /// The entry as it may be stored.
    #[must_use]
    pub fn entry<'a>(&self, kind: EntryKind, raw: &'a str) -> Cow<'a, str> {
        let text = self.named(raw);
        if self.patterns.is_empty() {
            return text;
        }
        let matched = self.patterns.iter().any(|pattern| pattern.is_match(&text));
        match kind {
            _ if !matched => text,
            EntryKind::Json => Cow::Owned(in_strings(&text, |inside| self.patterned(inside))),
            EntryKind::WorkerText | EntryKind::PlainText => {
                let mut text = text.into_owned();
                for pattern in &self.patterns {
                    text = pattern.replace_all(&text, MASK).into_owned();
                }
                Cow::Owned(text)
            }
        }
    }

    /// The sample of a bad record as it may be kept: no longer than before.
    #[must_use]
    pub fn sample(&self, sample: String) -> String {
        let mut redacted = self.named(&sample).into_owned();
        for pattern in &self.patterns {
            redacted = pattern.replace_all(&redacted, MASK).into_owned();
        }
        redacted.truncate(redacted.floor_char_boundary(MAX_SAMPLE_BYTES));
        redacted
    }

    fn named<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(raw);
        let named = self.named.as_ref().is_some_and(|named| named.is_match(raw));
        let (keys, fields) = if named { (&self.keys, &self.fields) } else { (&None, &None) };
        if let Some(keys) = keys.as_ref().filter(|keys| keys.is_match(&text)) {
            text = Cow::Owned(mask_values(keys, &text));
        }
        for rule in [fields, &self.query].into_iter().flatten() {
            if rule.is_match(&text) {
                let masked = rule.replace_all(&text, |found: &Captures<'_>| format!("{}{MASK}", &found[1]));
                text = Cow::Owned(masked.into_owned());
            }
        }
        text
    }

    /// The inside of a JSON string, between its quotes. An escape is replaced whole or not at all.
    fn patterned(&self, inside: &str) -> String {
        let mut text = inside.to_owned();
        for pattern in &self.patterns {
            let mut out = String::with_capacity(text.len());
            let mut from = 0;
            for found in pattern.find_iter(&text) {
                let (mut start, mut end) = (found.start(), found.end());
                start -= backslashes_before(text.as_bytes(), start) % 2;
                end += escape_rest(&text, end);
                if start < from || start == end {
                    continue;
                }
                out.push_str(&text[from..start]);
                out.push_str(MASK);
                from = end;
            }
            out.push_str(&text[from..]);
            text = out;
        }
        text
    }
}

/// How many backslashes stand right before `at`.
fn backslashes_before(text: &[u8], at: usize) -> usize {
    text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count()
}

/// What is left at `end` of an escape that began before it (bytes).
fn escape_rest(text: &str, end: usize) -> usize {
    if backslashes_before(text.as_bytes(), end) % 2 == 1 {
        return text[end..].chars().next().map_or(0, char::len_utf8);
    }
    0
}

/// Replaces the values behind the keys that `keys` finds.
fn mask_values(keys: &Regex, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut from, mut search) = (0, 0);
    while let Some(found) = keys.captures_at(text, search) {
        let Some(whole) = found.get(0) else { break };
        // The closing quote's: the opening one's may belong to what stands before it.
        let depth = found.get(2).map_or(0, |escapes| escapes.len());
        let end = value_end(text.as_bytes(), whole.end(), depth);
        out.push_str(&text[from..whole.end()]);
        let escapes = &"\\".repeat(depth);
        out.push_str(&format!("{escapes}\"{MASK}"));
        // A value that the text breaks off in stays broken.
        if end.whole {
            out.push_str(&format!("{escapes}\""));
        }
        (from, search) = (end.at, end.at);
    }
    out.push_str(&text[from..]);
    out
}

struct ValueEnd {
    at: usize,
    whole: bool,
}

/// Where the JSON value that begins at `start` ends, in text whose quotes carry `depth` backslashes.
fn value_end(text: &[u8], start: usize, depth: usize) -> ValueEnd {
    let (mut at, mut open, mut in_string, mut began) = (start, 0u32, false, false);
    let mut run = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'\\' => run += 1,
            b'"' if run < depth => return ValueEnd { at: at - run, whole: true },
            b'"' if run % (2 * (depth + 1)) == depth => {
                in_string = !in_string;
                if !in_string && open == 0 {
                    return ValueEnd { at: at + 1, whole: true };
                }
            }
            b'{' | b'[' if !in_string => open += 1,
            b'}' | b']' if !in_string => {
                if open == 0 {
                    return ValueEnd { at, whole: true };
                }
                open -= 1;
                if open == 0 {
                    return ValueEnd { at: at + 1, whole: true };
                }
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' if !in_string && open == 0 && began => {
                return ValueEnd { at, whole: true };
            }
            _ => {}
        }
        began = true;
        run = if byte == b'\\' { run } else { 0 };
        at += 1;
    }
    ValueEnd { at, whole: false }
}

/// Applies `change` to the inside of each string of a JSON text.
fn in_strings(json: &str, change: impl Fn(&str) -> String) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(open) = rest.find('"') {
        let inside = &rest[open + 1..];
        let is_end = |&(at, byte): &(usize, u8)| {
            byte == b'"' && backslashes_before(inside.as_bytes(), at).is_multiple_of(2)
        };
        let Some((end, _)) = inside.bytes().enumerate().find(is_end) else { break };
        out.push_str(&rest[..=open]);
        out.push_str(&change(&inside[..end]));
        out.push('"');
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn check(raw: &str, expect: &str) {
        let rules = Redactor::new(DEFAULT_NAMES, DEFAULT_QUERY, r"\d{4}-\d{4}-\d{4}-\d{4} pin\\?\w").unwrap();
        let kind = if raw.starts_with('{') { EntryKind::Json } else { EntryKind::PlainText };
        assert_eq!(rules.entry(kind, raw), expect, "{raw}");
        assert_eq!(rules.entry(kind, expect), expect, "a second time");
        if kind == EntryKind::Json {
            serde_json::from_str::<serde_json::Value>(expect).unwrap();
        }
    }

    #[test]
    fn values_of_headers_and_fields_are_replaced_wherever_they_stand() {
        check(r#"{"a":1,"b":"author"}"#, r#"{"a":1,"b":"author"}"#);
        check(r#"{"Authorization":"Bearer x\"y","b":2}"#, r#"{"Authorization":"[redacted]","b":2}"#);
        check(
            r#"{"req":{"headers":{"x-api-key" : 12,"host":"h","set-cookie":["a=1","b]"]}}}"#,
            r#"{"req":{"headers":{"x-api-key" : "[redacted]","host":"h","set-cookie":"[redacted]"}}}"#,
        );
        check(r#"{"COOKIE":{"a":"}"},"c":null}"#, r#"{"COOKIE":"[redacted]","c":null}"#);
        check(r#"{"cookie":"x\\"}"#, r#"{"cookie":"[redacted]"}"#);
        check(
            r#"{"body":"{\"cookie\":\"s\\\"t\",\"a\":1}"}"#,
            r#"{"body":"{\"cookie\":\"[redacted]\",\"a\":1}"}"#,
        );
        check(r#"{"msg":"sent Authorization: Basic abc="}"#, r#"{"msg":"sent Authorization: [redacted]"}"#);
        check("GET / Cookie: a=1; b=2", "GET / Cookie: [redacted]");
    }

    #[test]
    fn token_like_query_parameters_and_patterns_are_replaced() {
        check(r#"{"url":"/x?a=1&token=abc.def&b=2"}"#, r#"{"url":"/x?a=1&token=[redacted]&b=2"}"#);
        check("GET /x?X-Amz-Signature=00ff", "GET /x?X-Amz-Signature=[redacted]");
        check(r#"{"card":"a 1234-1234-1234-1234 b"}"#, r#"{"card":"a [redacted] b"}"#);
        check(r#"{"card":"pin\n"}"#, r#"{"card":"[redacted]"}"#);
    }

    #[test]
    fn without_rules_nothing_changes() {
        let raw = r#"{"authorization":"x","url":"?token=1"}"#;
        assert!(
            matches!(Redactor::default().entry(EntryKind::Json, raw), Cow::Borrowed(same) if same == raw)
        );
    }

    #[test]
    fn a_sample_that_breaks_off_inside_a_secret_keeps_none_of_it() {
        let rules = Redactor::standard().unwrap();
        assert_eq!(
            rules.sample(r#"{"authorization":"Bearer abc"#.to_owned()),
            r#"{"authorization":"[redacted]"#
        );
        let long = format!("{}\"cookie\":\"1\"", "x".repeat(MAX_SAMPLE_BYTES - 12));
        assert!(rules.sample(long).len() <= MAX_SAMPLE_BYTES);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let text = prop_oneof![
            Just("Bearer SECRET".to_owned()),
            Just("{\"cookie\":\"SECRET\"}".to_owned()),
            Just("?token=SECRET&a=1".to_owned()),
            ".{0,8}",
        ];
        let leaf = prop_oneof![
            text.clone().prop_map(serde_json::Value::from),
            any::<i32>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null),
        ];
        let key = prop_oneof![Just("cookie".to_owned()), Just("Authorization".to_owned()), ".{0,4}"];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::vec((key.clone(), inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_stays_json_and_named_values_are_gone(value in json(), nested in any::<bool>()) {
            let entry = if nested { serde_json::json!({"body": value.to_string()}) } else { serde_json::json!({"v": value}) };
            static RULES: LazyLock<[Redactor; 2]> = LazyLock::new(|| {
                let all = Redactor::new(DEFAULT_NAMES, DEFAULT_QUERY, r"[a-z\\]{2}");
                [Redactor::standard().unwrap(), all.unwrap()]
            });
            for rules in RULES.iter() {
                let redacted = rules.entry(EntryKind::Json, &entry.to_string()).into_owned();
                prop_assert!(serde_json::from_str::<serde_json::Value>(&redacted).is_ok(), "{} {}", entry, redacted);
                for leak in ["token=SECRET", "cookie\\\":\\\"SECRET", "\"Authorization\":\"Bearer"] {
                    prop_assert!(!redacted.contains(leak), "{} {}", entry, redacted);
                }
            }
        }
    }
}
