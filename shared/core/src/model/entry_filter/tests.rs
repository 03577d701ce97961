use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::ids::Seed;
use crate::model::record::Marks;

type Accepts = fn(Ordering) -> bool;

fn record(kind: EntryKind, raw: &str) -> StoredRecord<'_> {
    StoredRecord {
        id: Seed::of(&[b"x"]).record_id(0),
        entry: Entry {
            ordinal: 0,
            timestamp_ms: 0,
            level: Level::Info,
            kind,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw,
        },
    }
}

fn filter(pairs: &[(&str, &str)]) -> EntryFilter {
    EntryFilter::read(pairs.iter().copied()).unwrap()
}

fn matches(pairs: &[(&str, &str)], raw: &str) -> bool {
    matches_of(EntryKind::Json, pairs, raw)
}

fn matches_of(kind: EntryKind, pairs: &[(&str, &str)], raw: &str) -> bool {
    let (filter, record) = (filter(pairs), record(kind, raw));
    let holds = filter.holds(&record);
    assert!(filter.may_match(&record.entry) || !holds, "{pairs:?} {raw}");
    let among_others = format!("{{\"a\":1}}{raw}2024-03-01 plain");
    assert!(filter.may_match_in(&among_others) || !holds, "{pairs:?} {raw}");
    holds
}

const PINO: &str = r#"{"level":50,"time":1743532441581,"pid":46,"req":{"id":"r-1","method":"GET","url":"/pay"},
    "res":{"statusCode":500},"responseTime":12.5,"err":{"type":"CardError","stack":"CardError: declined\n    at pay"},
    "userId":"u-42","port":"8080","tags":["a","b"],"empty":null,"msg":"request errored"}"#;

#[test]
fn every_member_of_a_pino_entry_is_found_by_its_path() {
    for (name, value) in [
        ("field.userId", "u-42"),
        ("field.userId", "!u-43"),
        ("field.res.statusCode", "500"),
        ("field.res.statusCode", "500.0"),
        ("field.res.statusCode", ">=500"),
        ("field.res.statusCode", "<600"),
        ("field.res.statusCode>", "500"),
        ("field.res.statusCode<", "500"),
        ("field.res.statusCode!", "404"),
        ("field.responseTime", ">12"),
        ("field.port", ">=8080"),
        ("field.port", "8080"),
        ("field.err.type", "=CardError"),
        ("field.err.type~", "card"),
        ("field.err", "~declined"),
        ("field.err", "*"),
        ("field.err.code", "!*"),
        ("field.empty", "!*"),
        ("field.empty", "null"),
        ("field.err.type", "!~timeout"),
        ("field.err.type", ">Card"),
        ("field.req.id", "r-1"),
        ("field.tags.1", "b"),
        ("field.tags", "~b"),
        // The record's own names for what the entry has below req.
        ("field.method", "GET"),
        ("field.request_id", "r-1"),
        ("field.message", "~ERRORED"),
    ] {
        assert!(matches(&[(name, value)], PINO), "{name} {value}");
    }
    for (name, value) in [
        ("field.userId", "u-4"),
        ("field.userId", "!u-42"),
        ("field.res.statusCode", ">500"),
        ("field.res.statusCode", "<500"),
        ("field.res", "500"),
        ("field.res", ">1"),
        ("field.err", "!*"),
        ("field.err", "!~declined"),
        ("field.port", "8080.0"),
        ("field.userId", ">5"),
        ("field.empty", "*"),
        ("field.empty", "~nul"),
        ("field.tags.2", "*"),
        ("field.nothing", "*"),
    ] {
        assert!(!matches(&[(name, value)], PINO), "{name} {value}");
    }
    assert!(matches(&[("field.res.statusCode", ">=500"), ("field.res.statusCode", "<501")], PINO));
    assert!(!matches(&[("field.res.statusCode", ">=500"), ("field.userId", "u-1")], PINO));
}

#[test]
fn a_value_may_begin_with_the_sign_of_an_operator_after_an_equals_sign() {
    for sign in ["*", "!x", ">x", "<x", "~x", "=x"] {
        let raw = json!({"msg": "", "a": sign}).to_string();
        assert!(matches(&[("field.a", &format!("={sign}"))], &raw), "{sign}");
        assert!(!matches(&[("field.a", &format!("!={sign}"))], &raw), "{sign}");
    }
}

#[test]
fn lines_of_text_have_the_fields_that_are_read_from_them() {
    let nginx = r#"10.0.0.7 - - [10/Oct/2024:13:55:36 +0000] "GET /pay HTTP/1.1" 502 12 "-" "curl""#;
    let line = record(EntryKind::LogText, nginx);
    for (name, value, expected) in [
        ("field.method", "GET", true),
        ("field.url", "~/PAY", true),
        ("context.status", ">=500", true),
        ("context.status", "<500", false),
        ("field.userId", "*", false),
        ("field.userId", "!*", true),
        ("search_in", "all", true),
    ] {
        assert_eq!(filter(&[(name, value)]).matches(&line), expected, "{name} {value}");
    }
    let all = [("search", "CURL"), ("search_in", "all")];
    assert!(filter(&all).matches(&line));
}

#[test]
fn a_line_with_colours_is_found_by_its_message_without_them() {
    let tracing = "\u{1b}[2m2025-04-01T18:34:01.581234Z\u{1b}[0m \u{1b}[33m WARN\u{1b}[0m \
        \u{1b}[2morders\u{1b}[0m\u{1b}[2m:\u{1b}[0m slow";
    let logfmt = "level=info msg=\"said \\\"no\\\" twice\"";
    for (raw, sought) in [(tracing, "Orders: slow"), (logfmt, "said \"no\"")] {
        let found = |pairs: &[(&str, &str)]| matches_of(EntryKind::LogText, pairs, raw);
        assert!(found(&[("search", sought)]), "{sought}");
        assert!(found(&[("search", sought), ("search_in", "all")]), "{sought}");
        assert!(found(&[("field.message", &format!("~{sought}"))]), "{sought}");
        assert!(
            !found(&[("search", "orders: fast")]) && !found(&[("search", sought), ("request_id", "r-1")])
        );
    }
}

#[test]
fn a_search_in_all_finds_text_as_written_and_as_meant() {
    let raw = r#"{"msg":"x","err":{"stack":"Error: \u00fcber\n at \"pay\""},"n":1.50}"#;
    for text in ["ERROR: über", "at \"PAY\"", "\"n\":1.50", "stack", "über\n"] {
        assert!(matches(&[("search", text), ("search_in", "all")], raw), "{text}");
        assert!(!matches(&[("search", text)], raw), "{text}");
    }
    assert!(!matches(&[("search", "nowhere"), ("search_in", "all")], raw));
}

#[test]
fn what_a_filter_cannot_be_is_explained() {
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    let deep = format!("field.{}", ".".repeat(MAX_PATH_STEPS));
    for (name, value, message) in [
        ("lvl_", "ERROR", "lvl_ is not a filter"),
        ("search_in", "context", "search_in must be message or all"),
        ("field.", "x", "field. needs a path, such as field.res.statusCode"),
        ("field.a", ">", "field.a: nothing stands after >; write a number or a text, such as >500"),
        ("field.a", "~", "field.a: nothing stands after ~; write ~text for a part of a text"),
        ("field.a>5", "", "field.a>5 has no = sign: write field.a=>5"),
        ("context.b.c<5", "", "context.b.c<5 has no = sign: write context.b.c=<5"),
        (&deep, "x", &format!("{deep} must have at most 64 steps")),
        ("search", &long, "search must be at most 8192 bytes"),
    ] {
        assert_eq!(EntryFilter::read([(name, value)]).unwrap_err().message, message);
    }
    assert!(
        EntryFilter::read([("field.a", "!")]).is_err() && EntryFilter::read([("field.a", "!>5")]).is_err()
    );
    assert!(EntryFilter::read([("search", "a"), ("search", "b")]).is_err());
    let many = vec![("field.a", "1"); MAX_CONDITIONS + 1];
    assert!(EntryFilter::read(many.clone()).is_err() && EntryFilter::read(many[1..].to_vec()).is_ok());
}

#[test]
fn a_filter_reads_back_from_its_pairs_and_from_json() {
    let mut object = json!({
        "level": "WARN,ERROR", "search": "x", "search_in": "all", "limit": 3,
        "field": {"res.statusCode": ">=500", "ok": true}, "context": {"user": 7},
    });
    let object = object.as_object_mut().unwrap();
    let from_json = EntryFilter::take_from(object).unwrap();
    assert_eq!(object.keys().collect::<Vec<_>>(), ["limit"]);
    let pairs = [
        ("level", "WARN,ERROR"),
        ("search", "x"),
        ("search_in", "all"),
        ("field.res.statusCode", ">=500"),
        ("field.ok", "true"),
        ("context.user", "7"),
    ];
    assert_eq!(from_json, filter(&pairs));
    assert_eq!(EntryFilter::read(from_json.pairs().iter().cloned()), Ok(from_json));
    for wrong in
        [json!({"level": [50]}), json!({"level": 50.5}), json!({"field": {"a": []}}), json!({"context": "x"})]
    {
        assert!(EntryFilter::take_from(&mut wrong.as_object().unwrap().clone()).is_err(), "{wrong}");
    }
}

#[test]
fn a_level_is_a_name_of_any_logger_or_a_number_of_pino() {
    for (text, levels) in [
        ("50", &[Level::Error][..]),
        ("40, 60", &[Level::Warn, Level::Error]),
        ("critical,30", &[Level::Error, Level::Info]),
    ] {
        assert_eq!(filter(&[("level", text)]).levels(), levels, "{text}");
    }
    let from_json = EntryFilter::take_from(json!({"level": 50}).as_object_mut().unwrap());
    assert_eq!(from_json.unwrap().levels(), [Level::Error]);
    for bad in ["", "loud", "-1", "NaN", "50.5", "ERROR,"] {
        let said = EntryFilter::read([("level", bad)]).unwrap_err().message;
        assert_eq!(said, "level must be DEBUG, INFO, WARN or ERROR, or a number of pino such as 50", "{bad}");
    }
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
        assert!(matches(&[(&format!("context.{path}"), value)], raw), "{path}={value}");
    }
    for (path, value) in [
        ("user.id", "8"),
        ("user.name", "7.0"),
        ("user", "7"),
        ("user.id.x", "7"),
        ("user.ok", "1"),
        ("list.1.x", "y"),
        ("list.x", "y"),
        ("__proto__", "7"),
    ] {
        assert!(!matches(&[(&format!("context.{path}"), value)], raw), "{path}={value}");
    }
    assert!(!matches(&[("context.a", "b")], r#"{"msg":"x"}"#));
}

#[test]
fn search_is_case_blind_and_sees_the_message_alone() {
    let raw = r#"{"msg":"User \"Jo\" LOGGED in über","other":"needle"}"#;
    for text in ["logged IN", "\"jo\"", "ÜBER", ""] {
        assert!(matches(&[("search", text)], raw), "{text}");
    }
    assert!(!matches(&[("search", "needle")], raw));
    assert!(matches(&[("search", "kelvin")], "{\"msg\":\"\u{212a}elvin\"}"));
    assert!(matches(&[("search", "a")], r#"{"msg":"\u0041"}"#));
    assert!(matches(&[("search", "/pay")], r#"{"msg":"POST \/pay"}"#));
}

#[test]
fn a_part_of_a_word_is_found_whatever_the_word_ends_in() {
    for text in ["ΣΊΣ", "ΊΣ", "σίς", "ΣΊΣΥΦΟΣ", "υφος", "ΥΦΟς"] {
        assert!(matches(&[("search", text)], r#"{"msg":"ΣΊΣΥΦΟΣ"}"#), "{text}");
    }
}

#[test]
fn entries_without_the_bytes_of_a_match_are_left_out_together() {
    let entries = PINO.repeat(3);
    for (pairs, may_match) in [
        (&[("search", "REQUEST ERR")][..], true),
        (&[("search", "request was")], false),
        (&[("search", "n\"x")], true),
        (&[("request_id", "r-1")], true),
        (&[("request_id", "r-2")], false),
        (&[("field.userId", "u-42")], true),
        (&[("field.userId", "u-43")], false),
        (&[("field.userId", "!=u-43")], true),
        (&[("field.userId", "u-42"), ("search", "nothing")], false),
        (&[("level", "ERROR")], true),
    ] {
        assert_eq!(filter(pairs).may_match_in(&entries), may_match, "{pairs:?}");
        let escaped = format!(r#"{entries}{{"msg":"\u0061"}}"#);
        assert!(filter(pairs).may_match_in(&escaped), "{pairs:?}");
    }
}

#[test]
fn texts_that_repeat_themselves_are_looked_through_once() {
    // Comparing at each position would take some 10^10 steps.
    let raw = format!(r#"{{"msg":"{0}","context":{{"k":"{0}"}}}}"#, "aA".repeat(500_000));
    let sought = format!("{}b", "a".repeat(MAX_TEXT_BYTES - 2));
    assert!(
        !matches(&[("search", &sought)], &raw) && !matches(&[("context.k", &format!("~{sought}"))], &raw)
    );
    assert!(!matches(&[("request_id", &sought)], &raw));
    assert!(matches(&[("search", &"a".repeat(MAX_TEXT_BYTES))], &raw));
}

#[test]
fn a_path_of_many_steps_goes_as_deep_as_the_entry() {
    let nested = |depth: usize| format!("{}1{}", r#"{"a.a":"#.repeat(depth), "}".repeat(depth));
    let raw = format!(r#"{{"msg":"x","top":{}}}"#, nested(31));
    let path = |steps: usize| format!("field.top.{}", ["a"].repeat(steps).join("."));
    assert!(matches(&[(&path(62), "1.0")], &raw));
    assert!(!matches(&[(&path(62), "2")], &raw));
    assert!(!matches(&[(&path(61), "1")], &raw));
}

/// The values at a path, by trying every way to combine its steps into keys.
fn plainly_at<'v>(value: &'v Value, steps: &[&str], into: &mut Vec<&'v Value>) {
    if steps.is_empty() {
        into.push(value);
        return;
    }
    for count in 1..=steps.len() {
        if let Some(next) = value.as_object().and_then(|members| members.get(&steps[..count].join("."))) {
            plainly_at(next, &steps[count..], into);
        }
    }
    let item = value.as_array().and_then(|items| items.get(steps[0].parse::<usize>().ok()?));
    if let Some(item) = item {
        plainly_at(item, &steps[1..], into);
    }
}

fn plain_number(text: &str) -> Option<f64> {
    text.trim_matches([' ', '\n']).parse::<f64>().ok()
}

/// Whether a value passes what was asked, written once more without anything compiled.
fn plainly_accepts(value: &Value, asked: &str) -> bool {
    let text = match value {
        Value::String(text) => Some(text.as_str()),
        _ => None,
    };
    let equal = |wanted: &str| match value {
        Value::String(text) => text == wanted,
        Value::Number(number) => plain_number(wanted).is_some_and(|wanted| number.as_f64() == Some(wanted)),
        Value::Bool(flag) => wanted == flag.to_string(),
        Value::Null => wanted == "null",
        Value::Array(_) | Value::Object(_) => false,
    };
    let order = |wanted: &str, accepts: fn(Ordering) -> bool| match plain_number(wanted) {
        Some(wanted) => {
            let number = value.as_f64().or_else(|| plain_number(text?));
            number.and_then(|number| number.partial_cmp(&wanted)).is_some_and(accepts)
        }
        None => text.is_some_and(|text| accepts(text.as_bytes().cmp(wanted.as_bytes()))),
    };
    let signs: [(&str, Accepts); 4] =
        [(">=", Ordering::is_ge), ("<=", Ordering::is_le), (">", Ordering::is_gt), ("<", Ordering::is_lt)];
    if asked == "*" {
        return !value.is_null();
    }
    match signs.into_iter().find_map(|(sign, accepts)| Some((asked.strip_prefix(sign)?, accepts))) {
        Some((wanted, accepts)) => order(wanted, accepts),
        None => equal(asked.strip_prefix('=').unwrap_or(asked)),
    }
}

fn plainly_contains(value: &Value, wanted: &str) -> bool {
    let within = |text: &str| text.to_lowercase().contains(&wanted.to_lowercase());
    match value {
        // A number is found as it was written, which this reading does not know.
        Value::Null | Value::Number(_) => false,
        Value::String(text) => within(text),
        Value::Array(items) => items.iter().any(|item| plainly_contains(item, wanted)),
        Value::Object(members) => {
            members.iter().any(|(key, value)| within(key) || plainly_contains(value, wanted))
        }
        Value::Bool(flag) => within(&flag.to_string()),
    }
}

/// JSON texts, with values and keys in every JSON spelling.
fn json_texts(deep: u32) -> impl Strategy<Value = String> {
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
        "\"b\\/a\"",
        "\"7.5\"",
        "\"line\\nA\"",
        "\"2026-11-23T00:00:00Z\"",
    ]);
    let key = prop::sample::select(vec![
        "a", "b", "a.b", "\\u0061", "", "0", "1", "ü", "\\u00fc", "b.", ".", "a.0", "a\\\"b", "method",
        "context",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(deep, 24, 3, move |inner| {
        let member = (key.clone(), inner.clone()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec(member, 1..4).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

fn entries() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b", "a.b", "ü", "req", "context", "method", "userId", "0"]);
    let member = (name, json_texts(3)).prop_map(|(name, value)| format!("\"{name}\" : {value}"));
    prop::collection::vec(member, 0..5).prop_map(|members| {
        let members: String = members.iter().map(|member| format!(",{member}")).collect();
        format!(r#"{{"msg":"x"{members}}}"#)
    })
}

fn paths() -> impl Strategy<Value = String> {
    let first = prop::sample::select(vec![
        "a", "b", "ü", "context", "method", "req", "userId", "0", "msg", "message",
    ]);
    let step = prop::sample::select(vec!["a", "b", "0", "1", "ü", "", "a\"b", "method"]);
    (first, prop::collection::vec(step, 0..4))
        .prop_map(|(first, rest)| std::iter::once(first).chain(rest).collect::<Vec<_>>().join("."))
}

proptest! {
    #[test]
    fn a_search_finds_what_a_plain_one_finds(message in "[a-cA-CüéÜσςΣίΊµμſsSßẞиИıİiI\"\\\\ \u{212a}k]{0,12}", sought in "[a-cA-CüÜσςΣίΊµμſSßẞиИıİiI\"k ]{0,3}") {
        let raw = json!({"msg": message}).to_string();
        // The library for regular expressions folds characters by Unicode's own table.
        let reference = regex::Regex::new(&format!("(?i){}", regex::escape(&sought))).unwrap();
        prop_assert_eq!(matches(&[("search", &sought)], &raw), reference.is_match(&message));
        if !sought.is_empty() {
            prop_assert_eq!(matches(&[("field.msg~", &sought)], &raw), reference.is_match(&message));
        }
    }

    #[test]
    fn a_line_is_found_by_each_part_of_the_message_that_is_shown(
        words in prop::collection::vec("(\u{1b}\\[[0-9;]{0,3}m)?[abAü: ]{0,3}(\u{1b}\\[0m|\u{1b})?", 0..5),
        sought in "[abü: ]{1,3}",
    ) {
        let raw = format!("2025-04-01 18:34:01.581 INFO x{}", words.concat());
        let shown = LogRecord::read(&record(EntryKind::LogText, &raw)).message.into_owned();
        let expected = shown.to_lowercase().contains(&sought);
        prop_assert_eq!(matches_of(EntryKind::LogText, &[("search", &sought)], &raw), expected, "{:?}", shown);
        if expected {
            prop_assert!(matches_of(EntryKind::LogText, &[("search", &sought), ("search_in", "all")], &raw));
        }
    }

    /// The reference reads the entry, and the record as a query answers it, with another parser.
    #[test]
    fn a_filter_accepts_what_a_plain_reading_accepts(
        raw in entries(),
        conditions in prop::collection::vec(
            (paths(), prop::sample::select(vec![
                "1", "1.0", " 1", "1e0", "100", "0", "a", "true", "null", "", "ü", "a\"b", "a b", "b/a", "*", "=a",
                ">1", ">=1", "<1", "<=1", ">a", "<=a", ">=2026-11-01", "<7.50", ">0.5",
            ]), any::<bool>()),
            1..3,
        ),
    ) {
        let record = record(EntryKind::Json, &raw);
        let mut answer = Vec::new();
        LogRecord::read(&record).write_json(&mut answer, None, false);
        let entry: Value = serde_json::from_str(&raw).unwrap();
        let mut answer: Value = serde_json::from_slice(&answer).unwrap();
        for own in ["id", "timestamp", "level", "fields"] {
            answer.as_object_mut().unwrap().remove(own);
        }
        let mut pairs = Vec::new();
        let mut expected = true;
        for (path, asked, negated) in &conditions {
            let negated = *negated && !matches!(asked.as_bytes().first(), None | Some(b'>' | b'<'));
            pairs.push((format!("field.{path}"), if negated { format!("!{asked}") } else { (*asked).to_owned() }));
            let steps: Vec<&str> = path.split('.').collect();
            let mut found = Vec::new();
            plainly_at(&entry, &steps, &mut found);
            plainly_at(&answer, &steps, &mut found);
            let any = found.into_iter().any(|value| plainly_accepts(value, asked));
            expected &= any != negated;
        }
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        prop_assert_eq!(matches(&pairs, &raw), expected, "{:?} {}", pairs, raw);
    }

    #[test]
    fn a_part_is_found_wherever_a_plain_reading_finds_it(
        raw in entries(),
        path in paths(),
        wanted in prop::sample::select(vec!["a", "B", "ü", "a\"b", "line\na", "1", "100", "rue", "b/a", "2026"]),
    ) {
        let entry: Value = serde_json::from_str(&raw).unwrap();
        let mut found = Vec::new();
        plainly_at(&entry, &path.split('.').collect::<Vec<_>>(), &mut found);
        let name = format!("field.{path}");
        // As written, an object or array has more than its strings and numbers.
        let expected = found.iter().any(|value| plainly_contains(value, wanted));
        if expected {
            prop_assert!(matches(&[(&name, &format!("~{wanted}"))], &raw), "{} {} {}", name, wanted, raw);
        }
        if plainly_contains(&entry, wanted) {
            prop_assert!(matches(&[("search", wanted), ("search_in", "all")], &raw));
        }
        let own = ["message", "method", "context"].iter().any(|own| path.starts_with(own));
        if !own && found.iter().all(|value| value.is_string() || value.is_null()) {
            prop_assert_eq!(matches(&[(&name, &format!("~{wanted}"))], &raw), expected, "{} {} {}", name, wanted, raw);
        }
    }
}
