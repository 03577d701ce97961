//! What people are told when a check changes its state. Pure.

use logferry_domain::app::AppId;
use logferry_domain::time::rfc3339_ms;
use logferry_ports::checks::{Health, HealthChange, RecentResult, UrlState};
use logferry_ports::notifier::Notification;
use serde_json::json;

/// SNS: a subject has at most 100 characters (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>).
const MAX_SUBJECT_CHARS: usize = 100;

/// The message about a change, with the failing conditions and the last results.
#[must_use]
pub fn about(app_id: &AppId, name: Option<&str>, state: &UrlState, change: &HealthChange) -> Notification {
    let target = state.target.as_str();
    let called = name.unwrap_or(target);
    let headline = match change.to {
        Health::Down => format!("DOWN: {called} ({app_id})"),
        Health::Up => format!("RECOVERED: {called} ({app_id})"),
        Health::Unknown => format!("UNKNOWN: {called} ({app_id})"),
    };
    let last = state.recent.iter().rev().find(|result| !result.ok).filter(|_| change.to == Health::Down);
    let failed_conditions = last.map(|result| result.failed_conditions.as_slice()).unwrap_or_default();

    let mut text = format!(
        "{called} of {app_id} went from {} to {} at {}.\n\n{target}\n",
        change.from.as_str(),
        change.to.as_str(),
        rfc3339_ms(change.slot_ms)
    );
    if !failed_conditions.is_empty() {
        text.push_str("\nConditions that do not hold:\n");
        failed_conditions.iter().for_each(|condition| text.push_str(&format!("  {condition}\n")));
    }
    text.push_str("\nLast results:\n");
    state.recent.iter().rev().for_each(|result| text.push_str(&format!("  {}\n", line(result))));

    let recent: Vec<_> = state
        .recent
        .iter()
        .rev()
        .map(|result| {
            json!({"slot": rfc3339_ms(result.slot_ms), "ok": result.ok, "status": result.status, "latency_ms": result.latency_ms,
                   "error": result.error, "failed_conditions": result.failed_conditions})
        })
        .collect();
    let json = json!({
        "app_id": app_id, "url": target, "name": name, "from": change.from, "to": change.to, "at": rfc3339_ms(change.slot_ms),
        "error": last.and_then(|result| result.error.as_deref()), "failed_conditions": failed_conditions, "last_results": recent,
    });
    Notification {
        subject: subject(&headline),
        text,
        json: json.to_string(),
        attributes: vec![("app_id", app_id.to_string()), ("state", change.to.as_str().to_owned())],
    }
}

fn line(result: &RecentResult) -> String {
    let verdict = if result.ok { "ok  " } else { "FAIL" };
    let error = result.error.as_deref().map(|error| format!("  {error}")).unwrap_or_default();
    format!(
        "{}  {verdict}  status {}  {} ms{error}",
        rfc3339_ms(result.slot_ms),
        result.status,
        result.latency_ms
    )
}

/// One line of printable ASCII, as SNS wants it.
fn subject(headline: &str) -> String {
    let ascii: String =
        headline.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    if ascii.len() <= MAX_SUBJECT_CHARS {
        ascii
    } else {
        format!("{}...", ascii.chars().take(MAX_SUBJECT_CHARS - 3).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use logferry_health_checks::state::watched_since;

    fn failing() -> UrlState {
        let result = |slot_ms, ok, status, error: Option<&str>, failed: &[&str]| RecentResult {
            slot_ms,
            ok,
            status,
            latency_ms: 12,
            error: error.map(str::to_owned),
            failed_conditions: failed.iter().map(|c| (*c).to_owned()).collect(),
        };
        let mut state = watched_since("https://shop.example/", 0, 0);
        state.recent = vec![
            result(1_700_000_000_000, true, 200, None, &[]),
            result(
                1_700_000_300_000,
                false,
                0,
                Some("connect: connection refused"),
                &["[STATUS] (0) == 200"],
            ),
            result(1_700_000_600_000, false, 503, None, &["[STATUS] (503) == 200"]),
        ];
        state
    }

    #[test]
    fn a_message_names_the_failing_conditions_and_the_last_results() {
        let change = HealthChange { from: Health::Up, to: Health::Down, slot_ms: 1_700_000_600_000 };
        let message = about(&"shop".parse().unwrap(), Some("Shop"), &failing(), &change);
        assert_eq!(message.subject, "DOWN: Shop (shop)");
        assert_eq!(
            message.text,
            "Shop of shop went from up to down at 2023-11-14T22:23:20.000Z.\n\nhttps://shop.example/\n\n\
             Conditions that do not hold:\n  [STATUS] (503) == 200\n\nLast results:\n  \
             2023-11-14T22:23:20.000Z  FAIL  status 503  12 ms\n  \
             2023-11-14T22:18:20.000Z  FAIL  status 0  12 ms  connect: connection refused\n  \
             2023-11-14T22:13:20.000Z  ok    status 200  12 ms\n"
        );
        let json: serde_json::Value = serde_json::from_str(&message.json).unwrap();
        assert_eq!(
            (json["to"].as_str(), json["failed_conditions"][0].as_str()),
            (Some("down"), Some("[STATUS] (503) == 200"))
        );
        assert_eq!(message.attributes, [("app_id", "shop".to_owned()), ("state", "down".to_owned())]);
    }

    #[test]
    fn a_subject_is_short_ascii() {
        let change = HealthChange { from: Health::Down, to: Health::Up, slot_ms: 0 };
        let message = about(&"shop".parse().unwrap(), Some(&"ü".repeat(120)), &failing(), &change);
        assert!(
            message.subject.len() == 100
                && message.subject.is_ascii()
                && message.subject.starts_with("RECOVERED: ??")
        );
    }
}
