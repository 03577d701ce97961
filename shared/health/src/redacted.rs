//! Redaction of checks: header values are write-only. They are stored to be sent, and never shown again.
//! Queries of URLs are shown to callers with a key only. Pure.

use serde_json::{Map, Value};

use crate::check::STORED_VALUE;
use crate::guard::target::target_of;

/// Returns a target without the query of its URL, which may contain tokens. Status pages, metrics, messages
/// and logs have many readers.
#[must_use]
pub fn public_part(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// Returns an app's `health_checks`, each as it is stored.
#[must_use]
pub fn stored_values(stored: &Value) -> &[Value] {
    stored.get("checks").unwrap_or(stored).as_array().map_or(&[][..], Vec::as_slice)
}

/// Returns an app's stored `health_checks` as an array, with [`STORED_VALUE`] for each header value.
#[must_use]
pub fn redacted(stored: &Value) -> Value {
    let hide = |value: &Value| {
        let mut shown = value.clone();
        for value in headers_mut(&mut shown).into_iter().flat_map(Map::values_mut) {
            *value = STORED_VALUE.into();
        }
        shown
    };
    stored_values(stored).iter().map(hide).collect()
}

/// Returns a caller's checks with the stored value for each header that is [`STORED_VALUE`]. If none is
/// stored for this URL and header, the placeholder stays, and registration refuses it.
#[must_use]
pub(crate) fn with_stored_headers(mut given: Value, stored: &Value) -> Value {
    for check in given.as_array_mut().into_iter().flatten() {
        let Some(url) = check.get("url").and_then(Value::as_str).map(target_of) else { continue };
        let known = stored_values(stored).iter().find(|known| {
            known.get("url").and_then(Value::as_str).is_some_and(|known| target_of(known) == url)
        });
        let Some(known) = known.and_then(|known| known.get("headers")).and_then(Value::as_object) else {
            continue;
        };
        for (name, value) in headers_mut(check).into_iter().flatten() {
            let same = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            if let (Some(STORED_VALUE), Some((_, stored))) = (value.as_str(), same) {
                *value = stored.clone();
            }
        }
    }
    given
}

fn headers_mut(check: &mut Value) -> Option<&mut Map<String, Value>> {
    check.get_mut("headers").and_then(Value::as_object_mut)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_header_value_is_shown_and_everything_else_is() {
        let check =
            json!({"url": "https://a.example/", "headers": {"Authorization": "Bearer s3cr3t", "X": "y"}});
        let shown =
            json!({"url": "https://a.example/", "headers": {"Authorization": "(stored)", "X": "(stored)"}});
        let plain = json!("https://b.example/");
        for stored in [json!([check, plain]), json!({"checks": [check, plain], "public_badges": true})] {
            assert_eq!(redacted(&stored), json!([shown, plain]));
        }
        for nothing in [json!([]), Value::Null, json!({"public_badges": true})] {
            assert_eq!(redacted(&nothing), json!([]));
        }
    }

    #[test]
    fn what_was_shown_and_is_saved_again_keeps_the_stored_values() {
        let stored = json!([
            {"url": "https://a.example/", "headers": {"Authorization": "Bearer s3cr3t", "X": "y"}},
            {"name": "job", "heartbeat": "1h"},
        ]);
        assert_eq!(with_stored_headers(redacted(&stored), &stored), stored);
        let given =
            json!([{"url": "https://A.example#x", "headers": {"authorization": "(stored)", "X": "new"}}]);
        let kept = json!([{"url": "https://A.example#x", "headers": {"authorization": "Bearer s3cr3t", "X": "new"}}]);
        assert_eq!(with_stored_headers(given, &stored), kept);
    }

    #[test]
    fn a_stored_value_never_moves_to_another_url_or_header() {
        let stored = json!([{"url": "https://a.example/", "headers": {"Authorization": "Bearer s3cr3t"}}]);
        for given in [
            json!([{"url": "https://evil.example/", "headers": {"Authorization": "(stored)"}}]),
            json!([{"url": "http://a.example/", "headers": {"Authorization": "(stored)"}}]),
            json!([{"url": "https://a.example/echo", "headers": {"Authorization": "(stored)"}}]),
            json!([{"url": "https://a.example/", "headers": {"X-Other": "(stored)"}}]),
            json!([{"headers": {"Authorization": "(stored)"}}]),
            json!({"url": "https://a.example/"}),
            json!(["https://a.example/", 7, null]),
        ] {
            assert_eq!(with_stored_headers(given.clone(), &stored), given);
        }
    }
}
