//! Redaction: replaces secrets before anything of an entry is stored. Pure: the same entry and rules always
//! give the same result.
//!
//! There are three kinds of rules: names of headers and fields (whole values, in JSON, in JSON inside
//! strings, in what programs print of an object, and as `name: value` in text), names of query parameters, and
//! regular expressions. JSON stays valid JSON. ASCII written as `\u` escapes is decoded before matching.

mod extent;
mod suspects;

use std::borrow::Cow;
use std::fmt;

use extent::{ObjectText, in_text};
use regex::{Captures, Regex};
use suspects::Suspects;

use crate::model::record::EntryKind;

/// Maximum size of a row's sample (bytes).
pub const MAX_SAMPLE_BYTES: usize = 1024;

/// The replacement of a secret.
pub const MASK: &str = "[redacted]";

/// Default names of headers and fields. The words of a name may be joined by `-`, `_` or nothing: `api_key`
/// also matches `apiKey`.
pub const DEFAULT_NAMES: &str = "authorization,proxy-authorization,cookie,set-cookie,x-api-key,x-admin-key,\
    x-amz-security-token,x-amz-signature,x-amz-credential,password,passwd,pwd,passphrase,secret,client_secret,\
    private_key,secret_access_key,api_key,token,access_token,refresh_token,id_token,auth_token,session_token,\
    join_token,upload_token";

/// Names whose value in text is the next word or a quoted text. The value of any other name is a quoted text or
/// the rest of the line, as in `Cookie: a=1; b=2`.
const OF_ONE_WORD: [&str; 20] = [
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-credential",
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "client_secret",
    "private_key",
    "secret_access_key",
    "api_key",
    "token",
    "access_token",
    "refresh_token",
    "id_token",
    "auth_token",
    "session_token",
    "join_token",
    "upload_token",
];

/// Default names of query parameters.
pub const DEFAULT_QUERY: &str = "token,access_token,id_token,refresh_token,auth,api_key,apikey,key,secret,\
    client_secret,password,passwd,code,sig,signature,jwt,session,x-amz-signature,x-amz-security-token,x-amz-credential";

/// Default patterns: JSON web tokens, anywhere. The pattern starts with a literal, so text without `eyJ` is
/// scanned at memory speed.
pub const DEFAULT_PATTERNS: &str =
    r"eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)?";

/// Error: a rule is invalid.
#[derive(Debug, thiserror::Error)]
#[error("a redaction pattern is not a valid regular expression")]
pub struct BadPattern(#[from] regex::Error);

/// Compiled redaction rules.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Decides which entries the rules look at: all, if `None`.
    suspects: Option<Box<Suspects>>,
    /// Matches any of the names. An entry without a match skips the rules for keys and fields.
    named: Option<Regex>,
    /// A key in quotes, up to its value.
    keys: Option<Regex>,
    /// Names in text, up to their values: first those whose value is the rest of the line, then those whose
    /// value is a word.
    lines: Option<Regex>,
    words: Option<Regex>,
    query: Option<Regex>,
    patterns: Vec<Regex>,
}

impl fmt::Debug for Redactor {
    /// Prints the rules as they were configured, for the packing fingerprint: without `suspects`, which follow
    /// from them and from what the processor can do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suspects: _, named, keys, lines, words, query, patterns } = self;
        f.debug_struct("Redactor")
            .field("named", named)
            .field("keys", keys)
            .field("lines", lines)
            .field("words", words)
            .field("query", query)
            .field("patterns", patterns)
            .finish()
    }
}

/// Splits a list of names; `-` means none.
fn listed(names: &str) -> impl Iterator<Item = &str> {
    names.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "-")
}

fn listed_patterns(patterns: &str) -> impl Iterator<Item = &str> {
    patterns.split_whitespace().filter(|pattern| *pattern != "-")
}

/// Matches any of the names, case-insensitively, however their words are joined.
fn any_of<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let joined = |name: &str| name.split(['-', '_']).map(regex::escape).collect::<Vec<_>>().join("[-_]?");
    let names: Vec<String> = names.map(joined).collect();
    let names = (!names.is_empty()).then(|| names.join("|"))?;
    // Header names are ASCII. Without Unicode case folding, they are found at memory speed.
    Some(if names.is_ascii() { format!("(?i-u:{names})") } else { format!("(?i:{names})") })
}

impl Redactor {
    /// Compiles the rules. `names` and `query` are comma-separated names, `patterns` are regular
    /// expressions separated by white space; `-` means none.
    ///
    /// # Errors
    /// If a pattern is not a regular expression.
    pub fn new(names: &str, query: &str, patterns: &str) -> Result<Self, BadPattern> {
        let rule = |text: Option<String>| text.map(|text| Regex::new(&text)).transpose();
        let of_one_word = |name: &&str| OF_ONE_WORD.iter().any(|word| word.eq_ignore_ascii_case(name));
        let before_value = |names: String| format!(r"{names}[ \t]*(?::|=>?)[ \t]*");
        let words = any_of(listed(names).filter(of_one_word)).map(before_value);
        let lines = any_of(listed(names).filter(|name| !of_one_word(name))).map(before_value);
        let patterns: Vec<&str> = listed_patterns(patterns).collect();
        let suspects = Suspects::new(names, query, &patterns);
        let names = any_of(listed(names));
        Ok(Self {
            suspects: suspects.map(Box::new),
            keys: rule(names.as_ref().map(|names| format!(r#"["']{names}(\\*)(["'])\s*(?::|=>?)\s*"#)))?,
            lines: rule(lines)?,
            words: rule(words)?,
            named: rule(names)?,
            query: rule(any_of(listed(query)).map(|query| format!(r#"([?&;]{query}=)[^&#\s"'\\<>]+"#)))?,
            patterns: patterns.into_iter().map(Regex::new).collect::<Result<_, _>>()?,
        })
    }

    /// Like [`Redactor::new`], with defaults for `None`.
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
            patterns.unwrap_or(DEFAULT_PATTERNS),
        )
    }

    /// Returns the default rules.
    ///
    /// # Errors
    /// Never: the defaults are valid.
    pub fn standard() -> Result<Self, BadPattern> {
        Self::new(DEFAULT_NAMES, DEFAULT_QUERY, DEFAULT_PATTERNS)
    }

    /// Finds places in a text of many entries, in ascending order: an entry without such a place in it would
    /// not change. `None` if only the entry itself tells.
    #[must_use]
    pub(crate) fn suspects_in(&self, text: &[u8]) -> Option<Vec<usize>> {
        if !self.has_rules() {
            return Some(Vec::new());
        }
        Some(self.suspects.as_ref()?.all_in(text))
    }

    /// Redacts an entry.
    #[must_use]
    pub fn entry<'a>(&self, kind: EntryKind, raw: &'a str) -> Cow<'a, str> {
        if !self.has_rules() || self.suspects.as_ref().is_some_and(|suspects| !suspects.any_in(raw)) {
            return Cow::Borrowed(raw);
        }
        if let Some(plain) = plain_ascii(raw)
            && let Cow::Owned(redacted) = self.masked(kind, &plain)
            && redacted != plain
        {
            return Cow::Owned(redacted);
        }
        self.masked(kind, raw)
    }

    fn has_rules(&self) -> bool {
        self.named.is_some() || self.query.is_some() || !self.patterns.is_empty()
    }

    fn masked<'a>(&self, kind: EntryKind, raw: &'a str) -> Cow<'a, str> {
        let text = self.named(kind, raw);
        if self.patterns.is_empty() {
            return text;
        }
        let matched = self.patterns.iter().any(|pattern| pattern.is_match(&text));
        match kind {
            _ if !matched => text,
            EntryKind::Json => Cow::Owned(in_strings(&text, |inside| self.patterned(inside))),
            EntryKind::WorkerText | EntryKind::PlainText | EntryKind::LogText => {
                let mut text = text.into_owned();
                for pattern in &self.patterns {
                    text = pattern.replace_all(&text, MASK).into_owned();
                }
                Cow::Owned(text)
            }
        }
    }

    /// Leaves every decision to the regular expressions.
    #[cfg(test)]
    fn by_expressions_alone(self) -> Self {
        Self { suspects: None, ..self }
    }

    /// Redacts the sample of a bad record. The result is not longer than the sample.
    #[must_use]
    pub fn sample(&self, sample: String) -> String {
        let mut redacted = self.entry(EntryKind::PlainText, &sample).into_owned();
        redacted.truncate(redacted.floor_char_boundary(MAX_SAMPLE_BYTES));
        redacted
    }

    fn named<'a>(&self, kind: EntryKind, raw: &'a str) -> Cow<'a, str> {
        if !self.named.as_ref().is_some_and(|named| named.is_match(raw)) {
            return self.queried(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
        }
        let json = kind == EntryKind::Json;
        let mut text = Cow::Borrowed(raw);
        if let Some(keys) = &self.keys {
            change(&mut text, |text| mask_values(keys, text, json));
        }
        for (rule, of_one_word) in [(&self.lines, false), (&self.words, true)] {
            if let Some(rule) = rule {
                change(&mut text, |text| mask_in_text(rule, text, json, of_one_word));
            }
        }
        change(&mut text, |text| self.queried(text));
        text
    }

    /// Masks the parameters of queries; `None` if there are none.
    fn queried(&self, text: &str) -> Option<String> {
        let query = self.query.as_ref().filter(|query| query.is_match(text))?;
        let masked = query.replace_all(text, |found: &Captures<'_>| format!("{}{MASK}", &found[1]));
        Some(masked.into_owned())
    }

    /// What is secret in a column of a log whose header line names it, such as `cs(Cookie)`.
    pub(crate) fn column(&self, name: &str) -> Secret {
        let header = name.split_once('(').and_then(|(_, header)| header.strip_suffix(')')).unwrap_or(name);
        if self.keys.as_ref().is_some_and(|keys| keys.is_match(&format!("\"{header}\":"))) {
            Secret::Value
        } else if name.ends_with("-query") {
            Secret::Parameters
        } else {
            Secret::Nothing
        }
    }

    /// Redacts a value of such a column.
    pub(crate) fn column_value<'a>(&self, secret: Secret, value: &'a str) -> Cow<'a, str> {
        match secret {
            Secret::Value if !matches!(value, "-" | "") => Cow::Borrowed(MASK),
            // Its first parameter has no `?` before it.
            Secret::Parameters => {
                let masked = self.queried(&format!("?{value}"));
                masked.map_or(Cow::Borrowed(value), |masked| Cow::Owned(masked[1..].to_owned()))
            }
            Secret::Value | Secret::Nothing => Cow::Borrowed(value),
        }
    }

    /// Applies the patterns to the content of a JSON string. An escape is replaced completely or not at
    /// all.
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

/// What is secret in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secret {
    Nothing,
    /// Parameters of a query.
    Parameters,
    Value,
}

/// Applies a change that may leave the text as it is.
fn change(text: &mut Cow<'_, str>, by: impl Fn(&str) -> Option<String>) {
    if let Some(changed) = by(text) {
        *text = Cow::Owned(changed);
    }
}

/// Decodes `\u0061` to `a`, and likewise all printable ASCII, also in JSON inside strings; a quote becomes `\"`.
/// A backslash stays as it is. `None` if the text has no such escapes.
fn plain_ascii(text: &str) -> Option<String> {
    let mut out: Option<String> = None;
    let (mut from, mut search) = (0, 0);
    while let Some(at) = memchr::memmem::find(&text.as_bytes()[search..], b"\\u00").map(|at| at + search) {
        search = at + 4;
        let code = text.get(at + 4..at + 6).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let Some(byte) = code.filter(|byte| matches!(byte, b' '..=b'~') && *byte != b'\\') else {
            continue;
        };
        let out = out.get_or_insert_with(|| String::with_capacity(text.len()));
        // Inside strings, the backslash itself is escaped.
        let escapes = backslashes_before(text.as_bytes(), at);
        out.push_str(&text[from..at - escapes]);
        if byte == b'"' {
            out.push_str(&"\\".repeat(2 * escapes + 1));
        }
        out.push(char::from(byte));
        (from, search) = (at + 6, at + 6);
    }
    out.map(|out| out + &text[from..])
}

/// Returns the number of backslashes directly before `at`.
fn backslashes_before(text: &[u8], at: usize) -> usize {
    text[..at].iter().rev().take_while(|&&byte| byte == b'\\').count()
}

/// Returns how many bytes after `end` belong to an escape that starts before it.
fn escape_rest(text: &str, end: usize) -> usize {
    if backslashes_before(text.as_bytes(), end) % 2 == 1 {
        return text[end..].chars().next().map_or(0, char::len_utf8);
    }
    0
}

/// Replaces the values of the keys that `keys` finds; `None` if it finds none.
fn mask_values(keys: &Regex, text: &str, json: bool) -> Option<String> {
    let mut out = String::new();
    let (mut from, mut search) = (0, 0);
    while let Some(found) = keys.captures_at(text, search) {
        let Some(whole) = found.get(0) else { break };
        // The depth of the closing quote: the opening one may belong to the preceding text.
        let (escapes, quote) = (&found[1], &found[2]);
        let end = ObjectText::of_key(escapes.len(), quote == "\"", json).value_end(text, whole.end());
        search = end.at.max(whole.end());
        if end.whole && end.at == whole.end() {
            continue;
        }
        out.push_str(&text[from..whole.end()]);
        out.push_str(&format!("{escapes}{quote}{MASK}"));
        // A value that the text cuts off stays incomplete.
        if end.whole {
            out.push_str(&format!("{escapes}{quote}"));
        }
        from = end.at;
    }
    (from > 0).then(|| out + &text[from..])
}

/// Replaces the values after the names that `names` finds; `None` if it finds none.
fn mask_in_text(names: &Regex, text: &str, json: bool, of_one_word: bool) -> Option<String> {
    let mut out = String::new();
    let (mut from, mut search) = (0, 0);
    while let Some(found) = names.find_at(text, search) {
        let value = in_text(text, found.end(), json, of_one_word);
        search = value.end;
        if !value.is_empty() {
            out.push_str(&text[from..value.start]);
            out.push_str(MASK);
            from = value.end;
        }
    }
    (from > 0).then(|| out + &text[from..])
}

/// Applies `change` to the content of each string of a JSON text.
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
    fn the_secrets_of_this_product_and_of_the_usual_ones_are_known_by_name() {
        for name in [
            "x-admin-key",
            "X-Amz-Security-Token",
            "x-amz-credential",
            "x-amz-signature",
            "password",
            "passwd",
            "secret",
            "client_secret",
            "clientSecret",
            "access_token",
            "accessToken",
            "refresh-token",
            "idToken",
            "api_key",
            "apikey",
            "apiKey",
            "token",
            "joinToken",
            "uploadToken",
            "secretAccessKey",
            "X_API_KEY",
        ] {
            check(
                &format!(r#"{{"{name}":"hunter2","n":1}}"#),
                &format!(r#"{{"{name}":"[redacted]","n":1}}"#),
            );
            let text = format!("login {name}=hunter2");
            check(&text, &format!("login {name}=[redacted]"));
        }
        check(
            r#"{"tokens":5,"passwords":"no","secretary":"x"}"#,
            r#"{"tokens":5,"passwords":"no","secretary":"x"}"#,
        );
        check("user=jo password=hunter2 took=3ms", "user=jo password=[redacted] took=3ms");
        check("token: abc, next", "token: [redacted], next");
        check("password: 'hunter2' for jo", "password: '[redacted]' for jo");
        check(r#"{"msg":"password=\"hunter2\" for jo"}"#, r#"{"msg":"password=\"[redacted]\" for jo"}"#);
        check("GET /x?access_token=abc&b=2 200", "GET /x?access_token=[redacted]&b=2 200");
    }

    #[test]
    fn quoted_values_and_names_in_text_are_redacted() {
        for (raw, expect) in [
            (
                r#"level=info msg=req authorization="Bearer abc" cookie="sid=1" x-api-key="k""#,
                r#"level=info msg=req authorization="[redacted]" cookie="[redacted]" x-api-key="[redacted]""#,
            ),
            (r#"{"msg":"cookie=\"s\"","b":1}"#, r#"{"msg":"cookie=\"[redacted]\"","b":1}"#),
            (r#"{"msg":"a cookie: 's' b"}"#, r#"{"msg":"a cookie: '[redacted]' b"}"#),
            (r#"passphrase="correct horse battery" for jo"#, r#"passphrase="[redacted]" for jo"#),
            (r#"password="a,b\"c'd" password='e"f\'g'"#, r#"password="[redacted]" password='[redacted]'"#),
            (r#"{"msg":"password='e\"f' end"}"#, r#"{"msg":"password='[redacted]' end"}"#),
            (r#"{"msg":"password='e","b":"it's"}"#, r#"{"msg":"password='[redacted]","b":"it's"}"#),
            (
                r#"headers={'Authorization': 'Bearer abc', 'password': 'x', 'a': 1}"#,
                r#"headers={'Authorization': '[redacted]', 'password': '[redacted]', 'a': 1}"#,
            ),
            (
                r#"{"m":"{'cookie': ['a', \"it's\"], 'token': None, 'b': 2}"}"#,
                r#"{"m":"{'cookie': '[redacted]', 'token': '[redacted]', 'b': 2}"}"#,
            ),
            (
                r#"('cookie': ('a', "b)"), "token": 'x y', 'pwd': b'it"s', 'b': 2)"#,
                r#"('cookie': '[redacted]', "token": "[redacted]", 'pwd': '[redacted]', 'b': 2)"#,
            ),
            (
                r#"{"password"=>"a b", :token=>"c d", "b"=>1}"#,
                r#"{"password"=>"[redacted]", :token=>"[redacted]", "b"=>1}"#,
            ),
            (r#"Authorization: Digest username="Mufasa", response="6629" end"#, "Authorization: [redacted]"),
            (
                r#"curl -H "Authorization: Basic abc=" -H 'Cookie: a'"#,
                r#"curl -H "Authorization: [redacted]" -H 'Cookie: [redacted]"#,
            ),
            ("{ token: [ 'a', 'b' ], secret: { c: 'd e' } }", "{ token: [redacted], secret: [redacted] }"),
            ("map[Password:[a b] Token:[c]de]", "map[Password:[redacted] Token:[redacted]"),
            (r"Authorization: Basic SHOP\jo:abc", "Authorization: [redacted]"),
            (r#"{"m":"Cookie: a\\b\nHost: h"}"#, r#"{"m":"Cookie: [redacted]\nHost: h"}"#),
            (r#"{"m":"password=\u0022a b\u0022","c":1}"#, r#"{"m":"password=\"[redacted]\"","c":1}"#),
            (
                r#"{"m":"{\u0022token\u0022:\u0022a \\u0022 b\u0022,\u0022c\u0022:1}"}"#,
                r#"{"m":"{\"token\":\"[redacted]\",\"c\":1}"}"#,
            ),
        ] {
            let kind = if raw.starts_with("{\"m") { EntryKind::Json } else { EntryKind::LogText };
            let rules = Redactor::standard().unwrap();
            assert_eq!(rules.entry(kind, raw), expect, "{raw}");
            assert_eq!(rules.entry(kind, expect), expect, "a second time");
            if kind == EntryKind::Json {
                serde_json::from_str::<serde_json::Value>(expect).unwrap();
            }
        }
    }

    #[test]
    fn what_only_stands_beside_a_name_is_not_redacted() {
        for same in [
            r#"{"msg":"set password=","b":"x"}"#,
            r#"{"msg":"set password="}"#,
            r#"{"msg":"no 'cookie':","b":"x"}"#,
            r#"{"body":"{\"cookie\":","b":"x"}"#,
            "password=\"\" user=''",
            "the 'token' is \"invalid\", the user's cookie isn't",
            "it's a secret, isn't it?",
            "the password's hash; 'authorization' failed",
        ] {
            let kind = if same.starts_with('{') { EntryKind::Json } else { EntryKind::PlainText };
            assert_eq!(Redactor::standard().unwrap().entry(kind, same), same);
        }
        // A string that ends in a backslash inside the value.
        check_standard(r#"{"body":"{\"cookie\":\"x\\"}"#, r#"{"body":"{\"cookie\":\"[redacted]\"\\"}"#);
    }

    const JWT: &str =
        "eyJhbGciOiJIUzI1NiIsImtpZCI6InYxIn0.eyJhcHAiOiJzaG9wIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_w";

    fn check_standard(raw: &str, expect: &str) {
        let kind = if raw.starts_with('{') { EntryKind::Json } else { EntryKind::PlainText };
        let rules = Redactor::standard().unwrap();
        assert_eq!(rules.entry(kind, raw), expect, "{raw}");
        assert_eq!(rules.entry(kind, expect), expect, "a second time");
        assert_eq!(rules.sample(raw.to_owned()), expect, "as a sample");
    }

    #[test]
    fn json_web_tokens_are_replaced_wherever_they_stand() {
        check_standard(&format!("POST /t/{JWT}/s3/multipart 200"), "POST /t/[redacted]/s3/multipart 200");
        check_standard(
            &format!(r#"{{"path":"/t/{JWT}/s3","a":"x {JWT}."}}"#),
            r#"{"path":"/t/[redacted]/s3","a":"x [redacted]."}"#,
        );
        check_standard(&format!("jwe {JWT}.abc.def end"), "jwe [redacted] end");
        let escaped = JWT.replace('.', "\\u002e");
        check_standard(&format!(r#"{{"path":"/t/{escaped}"}}"#), r#"{"path":"/t/[redacted]"}"#);
        for plain in ["eyJhbGciOiJIUzI1NiJ9", "eyJ.a.b", "heyJude.and.others"] {
            check_standard(plain, plain);
        }
    }

    #[test]
    fn escapes_hide_no_name_and_other_escapes_stay_as_they_are() {
        check_standard(
            r#"{"\u0070assword":"hunter2","b":"\u00e4"}"#,
            r#"{"password":"[redacted]","b":"\u00e4"}"#,
        );
        check_standard(
            r#"{"body":"{\"\\u0063ookie\":\"s\",\"a\":1}"}"#,
            r#"{"body":"{\"cookie\":\"[redacted]\",\"a\":1}"}"#,
        );
        check_standard(r#"{"url":"/x?a=1\u0026token=abc"}"#, r#"{"url":"/x?a=1&token=[redacted]"}"#);
        for same in
            [r#"{"html":"\u003cb\u003e","q":"\u0022\u005c\u0000"}"#, r#"{"n":"\u00"}"#, r#"{"n":"\\u0041"}"#]
        {
            check_standard(same, same);
        }
    }

    #[test]
    fn no_text_takes_more_than_a_few_passes() {
        // The start of a pattern or name, repeated, without the rest.
        for part in [
            "eyJ",
            "eyJaaaaaaaaaaaa.",
            "\\u0065yJ",
            "\"token\":",
            "password=",
            "?token",
            "\\\\\\",
            "token='",
            "cookie=\"",
            "'token':'",
            "Cookie: a=\"b",
        ] {
            let rules = Redactor::standard().unwrap();
            let long = part.repeat(1_000_000 / part.len());
            let _ = rules.entry(EntryKind::Json, &format!("{{\"m\":\"{long}\"}}"));
            let _ = rules.entry(EntryKind::PlainText, &long);
        }
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
            Just("\\u0070assword=SECRET".to_owned()),
            Just("password=\"SECRET OF ALL\"".to_owned()),
            Just("{'cookie': 'SECRET OF ALL', \"token\"=>'".to_owned()),
            Just("Cookie: a=\"SECRET OF ALL".to_owned()),
            Just("a password=".to_owned()),
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
                for leak in ["token=SECRET", "cookie\\\":\\\"SECRET", "\"Authorization\":\"Bearer", "OF ALL"] {
                    prop_assert!(!redacted.contains(leak), "{} {}", entry, redacted);
                }
            }
        }
    }
}
