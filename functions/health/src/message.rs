//! Notifications of state changes. They are short, whatever a tenant or its server writes. Pure.

use logferry_core::model::alert::AlertRule;
use logferry_core::model::app::{App, AppId};
use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::alerts::{AlertEvent, AlertKey, AlertStatus, Sample};
use logferry_health_checks::notifier::Notification;
use logferry_health_checks::redacted::public_part;
use logferry_health_checks::rows::{Health, HealthChange, RecentResult, UrlState};
use logferry_health_checks::state::RECENT_CONDITIONS;
use serde_json::{Value, json};

/// Maximum length of a subject (bytes). SNS requires less than 100 characters, no control characters, and a
/// letter, digit or punctuation first (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>).
const MAX_SUBJECT_BYTES: usize = 99;
/// Maximum length of an email text (bytes). SNS accepts 262,144 bytes for all forms of a message together.
/// With the limits below, text and JSON are far smaller.
const MAX_TEXT_BYTES: usize = 10 * 1024;
/// Maximum length of one text from a tenant or its server (bytes): a name, a URL, an error, a condition
/// with its value.
const MAX_PART_BYTES: usize = 300;
/// Maximum number of results in a message.
const MAX_RESULTS: usize = 5;

/// Returns the message about a change, with the first failed conditions and the last results.
#[must_use]
pub fn about(app_id: &AppId, name: Option<&str>, state: &UrlState, change: &HealthChange) -> Notification {
    let target = part(public_part(&state.target));
    let name = name.map(part);
    let called = name.as_deref().unwrap_or(&target);
    let word = match change.to {
        Health::Down => "DOWN",
        Health::Up => "RECOVERED",
        Health::Unknown => "UNKNOWN",
    };
    let last = state.recent.iter().rev().find(|result| !result.ok).filter(|_| change.to == Health::Down);
    let failed_conditions = last.map(conditions).unwrap_or_default();

    let mut text = format!(
        "{called} of {app_id} went from {} to {} at {}.\n\n{target}\n",
        change.from.as_str(),
        change.to.as_str(),
        rfc3339_ms(change.slot_ms)
    );
    if !failed_conditions.is_empty() {
        text.push_str("\nFailed conditions:\n");
        failed_conditions.iter().for_each(|condition| text.push_str(&format!("  {condition}\n")));
    }
    text.push_str("\nLast results:\n");
    let results = || state.recent.iter().rev().take(MAX_RESULTS);
    results().for_each(|result| text.push_str(&format!("  {}\n", line(result))));

    let recent: Vec<_> = results()
        .map(|result| {
            json!({"slot": rfc3339_ms(result.slot_ms), "ok": result.ok, "status": result.status, "latency_ms": result.latency_ms,
                   "error": result.error.as_deref().map(part), "failed_conditions": conditions(result)})
        })
        .collect();
    let json = json!({
        "app_id": app_id, "url": target, "name": name, "from": change.from, "to": change.to, "at": rfc3339_ms(change.slot_ms),
        "error": last.and_then(|result| result.error.as_deref()).map(part), "failed_conditions": failed_conditions,
        "last_results": recent,
    });
    Notification {
        subject: subject(&format!("{word} [{app_id}] {called}")),
        text: cut(text, MAX_TEXT_BYTES),
        json: json.to_string(),
        attributes: vec![("app_id", app_id.to_string()), ("state", change.to.as_str().to_owned())],
    }
}

/// Returns the notification of an alert's change. `id` is the same however often it is sent.
#[must_use]
pub fn about_alert(app: &App, rule: &AlertRule, event: &AlertEvent) -> Notification {
    let AlertRule { name, threshold, window_minutes, quiet_minutes, .. } = rule;
    let app_id = &app.app_id;
    let headline = match event.window {
        Some(window) => format!(
            "{name} of {app_id}: {} records in {window_minutes} minutes (threshold {threshold})",
            window.count
        ),
        None => format!("{name} of {app_id}: resolved after {quiet_minutes} quiet minutes"),
    };
    let window = event
        .window
        .map(|window| json!({"since": rfc3339_ms(window.start_ms), "until": rfc3339_ms(window.end_ms)}));
    let samples: Vec<_> = event.samples.iter().map(sample).collect();
    let mut text = format!("{headline}.\n");
    if let Some(window) = event.window {
        let (since, until) = (rfc3339_ms(window.start_ms), rfc3339_ms(window.end_ms));
        text.push_str(&format!("\nWindow: {since} to {until}\n"));
    }
    for sample in &event.samples {
        let (time, level) = (&sample.timestamp, sample.level.as_str());
        text.push_str(&format!("  {time}  {level}  {}\n", part(&sample.message)));
    }
    let json = json!({
        "id": AlertKey::of(app, rule).notification_id(event.seq), "app_id": app_id, "alert": name,
        "state": event.to, "at": rfc3339_ms(event.at_ms), "text": headline,
        "threshold": threshold, "window_minutes": window_minutes, "window": window,
        "count": event.window.map(|window| window.count), "samples": samples,
    });
    let word = match event.to {
        AlertStatus::Firing => "ALERT",
        AlertStatus::Ok => "RESOLVED",
    };
    Notification {
        subject: subject(&format!("{word} [{app_id}] {name}")),
        text: cut(text, MAX_TEXT_BYTES),
        json: json.to_string(),
        attributes: vec![
            ("app_id", app_id.to_string()),
            ("alert", name.to_string()),
            ("state", event.to.as_str().to_owned()),
        ],
    }
}

fn sample(sample: &Sample) -> Value {
    json!({"id": sample.id, "timestamp": sample.timestamp, "level": sample.level,
           "message": part(&sample.message)})
}

/// Returns the first failed conditions, and the number of further ones, as the state keeps them.
fn conditions(result: &RecentResult) -> Vec<String> {
    result.failed_conditions.iter().take(RECENT_CONDITIONS + 1).map(|condition| part(condition)).collect()
}

fn line(result: &RecentResult) -> String {
    let verdict = if result.ok { "ok  " } else { "FAIL" };
    let error = result.error.as_deref().map(|error| format!("  {}", part(error))).unwrap_or_default();
    format!(
        "{}  {verdict}  status {}  {} ms{error}",
        rfc3339_ms(result.slot_ms),
        result.status,
        result.latency_ms
    )
}

/// Sanitizes a tenant's text: one line, left to right, limited in length.
fn part(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    cut(text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect(), MAX_PART_BYTES)
}

fn cut(mut text: String, max_bytes: usize) -> String {
    const MARK: &str = "...";
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes - MARK.len()));
        text.push_str(MARK);
    }
    text
}

/// Makes one line of plain ASCII, as SNS requires, without characters that mail programs interpret.
fn subject(headline: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " []()-_.,:;/@+=&%#~!'*$^|{}".contains(c);
    cut(headline.chars().map(|c| if plain(c) { c } else { '?' }).collect(), MAX_SUBJECT_BYTES)
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
        assert_eq!(message.subject, "DOWN [shop] Shop");
        assert_eq!(
            message.text,
            "Shop of shop went from up to down at 2023-11-14T22:23:20.000Z.\n\nhttps://shop.example/\n\n\
             Failed conditions:\n  [STATUS] (503) == 200\n\nLast results:\n  \
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
    fn a_subject_is_short_ascii_and_names_the_app_before_what_the_tenant_wrote() {
        let change = HealthChange { from: Health::Down, to: Health::Up, slot_ms: 0 };
        for (name, expect) in [
            ("ü".repeat(120), format!("RECOVERED [shop] {}...", "?".repeat(79))),
            ("a\r\nBcc: x <b@c>".to_owned(), "RECOVERED [shop] a  Bcc: x ?b@c?".to_owned()),
        ] {
            let message = about(&"shop".parse().unwrap(), Some(&name), &failing(), &change);
            assert_eq!(message.subject, expect);
            assert!(message.subject.len() < 100);
        }
    }

    #[test]
    fn a_message_names_no_query_of_a_url() {
        let change = HealthChange { from: Health::Up, to: Health::Down, slot_ms: 0 };
        let state = UrlState { target: "https://shop.example/a?token=s3cr3t".to_owned(), ..failing() };
        for name in [None, Some("Shop")] {
            let message = about(&"shop".parse().unwrap(), name, &state, &change);
            assert!(!format!("{message:?}").contains("s3cr3t"));
            assert!(message.json.contains(r#""url":"https://shop.example/a""#), "{}", message.json);
        }
    }

    #[test]
    fn the_largest_message_is_short() {
        let result = RecentResult {
            slot_ms: 1_700_000_000_000,
            ok: false,
            status: 500,
            latency_ms: u32::MAX,
            error: Some("\"".repeat(10_000)),
            failed_conditions: vec!["\\😀\n".repeat(500); 4],
        };
        let mut state = watched_since(&format!("https://shop.example/{}", "x".repeat(980)), 0, 0);
        state.recent = vec![result; 50];
        let change = HealthChange { from: Health::Up, to: Health::Down, slot_ms: 1_700_000_000_000 };
        let message = about(&"shop".parse().unwrap(), Some(&"😀".repeat(64)), &state, &change);
        assert!(message.text.len() <= MAX_TEXT_BYTES && message.json.len() <= 32 * 1024);
        assert_eq!(message.text.lines().filter(|line| line.contains("FAIL")).count(), MAX_RESULTS);
    }
}
