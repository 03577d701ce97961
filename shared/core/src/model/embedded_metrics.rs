//! Member names that make CloudWatch Logs create metrics. An event with such a member at its top level
//! becomes metrics of the account, so the member is renamed before it is sent.
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use crate::model::json;

/// `_aws` is the embedded metric format; `CloudWatchMetrics` is its version 0 (the performance events of
/// Container Insights). Both are case-sensitive and only take effect at the top level.
const ACTING: [&str; 2] = ["_aws", "CloudWatchMetrics"];

/// A member of an object: its name, decoded, and its value as written.
pub(crate) type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// Returns members of the top level of an event with safe names: a reserved name gets underscores appended until
/// it differs from all other names. If a name is reserved, members whose key occurs again later are left out.
pub(crate) fn inert_members<'m, 'a>(members: &'m [Member<'a>]) -> Cow<'m, [Member<'a>]> {
    let acts = |name: &str| ACTING.contains(&name);
    if !members.iter().any(|(name, _)| acts(name)) {
        return Cow::Borrowed(members);
    }
    let mut names = HashSet::with_capacity(members.len());
    let mut last: Vec<_> = members.iter().rev().filter(|(name, _)| names.insert(&**name)).cloned().collect();
    last.reverse();
    for (name, _) in last.iter_mut().filter(|(name, _)| acts(name)) {
        let mut inert = format!("{name}_");
        while names.contains(&*inert) {
            inert.push('_');
        }
        *name = Cow::Owned(inert);
    }
    Cow::Owned(last)
}

/// Renames the reserved members at the top level of `line`. A line that is not a JSON object is returned
/// unchanged: it cannot create metrics.
#[must_use]
pub fn inert_line(line: &str) -> Cow<'_, str> {
    let mut members = Vec::new();
    let object = json::members(line, |name, raw| {
        let name = match name {
            Cow::Borrowed(name) => String::from_utf8_lossy(name),
            Cow::Owned(name) => Cow::Owned(String::from_utf8_lossy(&name).into_owned()),
        };
        members.push((name, raw));
    });
    let Cow::Owned(members) = inert_members(&members) else { return Cow::Borrowed(line) };
    if object.is_none() {
        return Cow::Borrowed(line);
    }
    let mut out = Vec::with_capacity(line.len() + 8);
    for (name, raw) in &members {
        out.push(if out.is_empty() { b'{' } else { b',' });
        json::push_member(&mut out, name, raw);
    }
    out.push(b'}');
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ids::Seed;
    use crate::model::level::Level;
    use crate::model::record::{Entry, EntryKind, Marks, StoredRecord};
    use crate::model::record_view::LogRecord;

    #[test]
    fn a_line_keeps_everything_but_the_names_that_act() {
        for (line, expect) in [
            (r#"{"a":1,"_aws":{"x":1.50}}"#, r#"{"a":1,"_aws_":{"x":1.50}}"#),
            (r#" { "\u005fa\u0077s" : [] } "#, r#"{"_aws_":[]}"#),
            (r#"{"_aws_":1,"_aws":2,"_aws__":3,"_aws":4}"#, r#"{"_aws_":1,"_aws__":3,"_aws___":4}"#),
            (r#"{"Version":"0","CloudWatchMetrics":[]}"#, r#"{"Version":"0","CloudWatchMetrics_":[]}"#),
            (r#"{"req":{"_aws":1},"_AWS":2}"#, r#"{"req":{"_aws":1},"_AWS":2}"#),
            (r#"{"_aws":1"#, r#"{"_aws":1"#),
            (r#"[{"_aws":1}]"#, r#"[{"_aws":1}]"#),
            ("_aws", "_aws"),
        ] {
            assert_eq!(inert_line(line), expect, "{line}");
            assert_eq!(inert_line(&inert_line(line)), expect, "{line}: twice is as good as once");
        }
    }

    #[test]
    fn a_line_with_many_reserved_names_and_all_that_could_replace_them_has_one_of_each() {
        let mut line = format!("{{{}", r#""_aws":0,"#.repeat(50_000));
        for underscores in 1..=900 {
            line.push_str(&format!("\"_aws{}\":0,", "_".repeat(underscores)));
        }
        line.push_str("\"_aws\":1}");
        assert!(line.len() < 1 << 20);
        let renamed = format!("\"_aws{}\":1}}", "_".repeat(901));
        let inert = inert_line(&line);
        assert!(inert.starts_with("{\"_aws_\":0,") && inert.ends_with(&renamed));
        assert_eq!(inert.matches("_aws").count(), 901);
        let entry = Entry {
            ordinal: 0,
            timestamp_ms: 5,
            level: Level::Info,
            kind: EntryKind::Json,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw: &line,
        };
        let event = LogRecord::read(&StoredRecord { id: Seed::of(&[b"test"]).record_id(0), entry }).to_line();
        assert!(event.ends_with(&inert[1..]));
    }

    /// Reserved and similar names, with all JSON escapes of their letters.
    fn name() -> impl Strategy<Value = String> {
        let plain = prop::sample::select(vec![
            "_aws",
            "_aws_",
            "_AWS",
            "aws",
            "CloudWatchMetrics",
            "logId",
            "timestamp",
            "level",
            "msg",
            "req",
            "",
            "é",
        ]);
        (plain, any::<u32>(), any::<bool>()).prop_map(|(plain, mask, upper)| {
            let spell = |(at, letter): (usize, char)| match (mask >> (at % 32) & 1 == 1, upper) {
                (true, true) => format!("\\u{:04X}", u32::from(letter)),
                (true, false) => format!("\\u{:04x}", u32::from(letter)),
                (false, _) => letter.to_string(),
            };
            plain.chars().enumerate().map(spell).collect()
        })
    }

    fn object() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("1".to_owned()),
            Just("null".to_owned()),
            Just(r#""_aws""#.to_owned()),
            Just("[{\"_aws\":1}]".to_owned()),
            Just(
                r#"{"CloudWatchMetrics":[{"Namespace":"Logferry","Dimensions":[[]],"Metrics":[]}]}"#
                    .to_owned()
            ),
        ];
        let object = |value: BoxedStrategy<String>| {
            prop::collection::vec((name(), value, prop::sample::select(vec!["", " ", "\n"])), 0..8).prop_map(
                |members| {
                    let member = |(name, value, space): &(String, String, &str)| {
                        format!("{space}\"{name}\"{space}:{value}")
                    };
                    format!("{{{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
                },
            )
        };
        let nested = object(value.clone().boxed());
        object(prop_oneof![value, nested].boxed())
    }

    proptest! {
        #[test]
        fn whatever_a_record_holds_no_member_of_its_event_acts_on_cloudwatch(
            raw in prop_oneof![object(), ".{0,40}", Just("{\"_aws\":1".to_owned())],
            kind in prop::sample::select(vec![EntryKind::Json, EntryKind::PlainText, EntryKind::WorkerText]),
            timestamp_fallback in any::<bool>(),
        ) {
            let entry = Entry { ordinal: 0, timestamp_ms: 5, level: Level::Info, kind, timestamp_fallback, marks: Marks::NONE, raw: &raw };
            let line = LogRecord::read(&StoredRecord { id: Seed::of(&[b"test"]).record_id(0), entry }).to_line();
            let event: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            prop_assert!(ACTING.iter().all(|name| !event.contains_key(*name)), "{}", line);
            prop_assert_eq!(inert_line(&line), line.as_str());
            // Events written by an earlier version may still wait to be sent.
            let event: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(&inert_line(&raw)).ok();
            prop_assert!(event.is_none_or(|event| ACTING.iter().all(|name| !event.contains_key(*name))));
        }
    }
}
