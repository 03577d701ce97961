//! Badges: SVG in the usual flat look, and the JSON that shields.io reads as an endpoint badge
//! (<https://shields.io/badges/endpoint-badge>). Colours and steps as Gatus has them.

use crate::rows::Health;
use serde_json::{Value, json};

use crate::uptime::Uptime;
use crate::window::Window;

const AWESOME: &str = "#40cc11";
const GREAT: &str = "#94cc11";
const GOOD: &str = "#ccd311";
const PASSABLE: &str = "#ccb311";
const BAD: &str = "#cc8111";
const VERY_BAD: &str = "#c7130a";

/// The text and colour of a badge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    pub label: String,
    pub message: String,
    pub color: &'static str,
}

pub fn health(health: Health) -> Badge {
    let (message, color) = match health {
        Health::Up => ("up", AWESOME),
        Health::Down => ("down", VERY_BAD),
        Health::Unknown => ("?", PASSABLE),
    };
    Badge { label: "health".to_string(), message: message.to_string(), color }
}

pub fn uptime(uptime: &Uptime) -> Badge {
    let (message, color) = match uptime.uptime {
        None => ("?".to_string(), PASSABLE),
        Some(ratio) => (percent(uptime.ok, uptime.checks), uptime_color(ratio)),
    };
    Badge { label: format!("uptime {}", uptime.window), message, color }
}

/// Percent with at most two decimals, truncated, so that 100% means no failure.
pub(crate) fn percent(ok: u64, checks: u64) -> String {
    let hundredths = ok.saturating_mul(10_000).checked_div(checks).unwrap_or_default();
    let text = format!("{}.{:02}", hundredths / 100, hundredths % 100);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn uptime_color(ratio: f64) -> &'static str {
    match ratio {
        r if r >= 0.975 => AWESOME,
        r if r >= 0.95 => GREAT,
        r if r >= 0.9 => GOOD,
        r if r >= 0.8 => PASSABLE,
        r if r >= 0.65 => BAD,
        _ => VERY_BAD,
    }
}

pub fn response_time(uptime: &Uptime) -> Badge {
    let (message, color) = match uptime.average_ms {
        None => ("?".to_string(), PASSABLE),
        Some(ms) => (format!("{ms}ms"), response_time_color(ms)),
    };
    Badge { label: format!("response time {}", uptime.window), message, color }
}

fn response_time_color(ms: u64) -> &'static str {
    match ms {
        0..=50 => AWESOME,
        51..=200 => GREAT,
        201..=300 => GOOD,
        301..=500 => PASSABLE,
        501..=750 => BAD,
        _ => VERY_BAD,
    }
}

/// A badge as named in a path: subject and format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    Health,
    Uptime,
    ResponseTime,
}

/// `health.svg`, `uptime.svg`, `response-time.svg`, or `.json` for shields. `true`: SVG.
pub fn parse_file(file: &str) -> Option<(Subject, bool)> {
    let (name, kind) = file.rsplit_once('.')?;
    let subject = match name {
        "health" => Subject::Health,
        "uptime" => Subject::Uptime,
        "response-time" => Subject::ResponseTime,
        _ => return None,
    };
    match kind {
        "svg" => Some((subject, true)),
        "json" => Some((subject, false)),
        _ => None,
    }
}

/// The default window of a badge.
pub const DEFAULT_WINDOW: Window = Window::Day;

impl Badge {
    pub fn shields(&self) -> Value {
        json!({"schemaVersion": 1, "label": self.label, "message": self.message, "color": self.color})
    }

    pub fn svg(&self) -> String {
        let Badge { label, message, color } = self;
        let (label_width, message_width) = (text_width(label), text_width(message));
        let width = label_width + message_width;
        let (label_x, message_x) = (label_width / 2, label_width + message_width / 2);
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {message}">
  <title>{label}: {message}</title>
  <linearGradient id="s" x2="0" y2="100%"><stop offset="0" stop-color="#bbb" stop-opacity=".1"/><stop offset="1" stop-opacity=".1"/></linearGradient>
  <clipPath id="r"><rect width="{width}" height="20" rx="3" fill="#fff"/></clipPath>
  <g clip-path="url(#r)">
    <rect width="{label_width}" height="20" fill="#555"/>
    <rect x="{label_width}" width="{message_width}" height="20" fill="{color}"/>
    <rect width="{width}" height="20" fill="url(#s)"/>
  </g>
  <g fill="#fff" text-anchor="middle" font-family="Verdana,Geneva,DejaVu Sans,sans-serif" font-size="11">
    <text x="{label_x}" y="15" fill="#010101" fill-opacity=".3">{label}</text>
    <text x="{label_x}" y="14">{label}</text>
    <text x="{message_x}" y="15" fill="#010101" fill-opacity=".3">{message}</text>
    <text x="{message_x}" y="14">{message}</text>
  </g>
</svg>
"##
        )
    }
}

/// About the width of Verdana 11, with 5 pixels on each side. All texts are ours: ASCII without markup.
fn text_width(text: &str) -> usize {
    text.chars()
        .map(|c| {
            if matches!(c, 'i' | 'l' | '.' | ' ' | 't') {
                4
            } else if matches!(c, 'm' | '%') {
                11
            } else {
                7
            }
        })
        .sum::<usize>()
        + 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sums::Sums;
    use crate::uptime::tests::{NOW, history, row};
    use crate::uptime::uptime as uptime_of;

    #[test]
    fn values_equal_those_of_the_rows() {
        let sums = Sums::of_rows(history(30 * 24 * 3_600_000));
        for window in Window::ALL {
            let found = uptime_of(&sums, window, NOW);
            let badge = uptime(&found);
            let shown: f64 = badge.message.trim_end_matches('%').parse().unwrap_or(-1.0);
            assert!((found.ok as f64 * 100.0 / found.checks as f64 - shown).abs() < 0.01, "{badge:?}");
            assert_eq!(response_time(&found).message, format!("{}ms", found.average_ms.unwrap_or_default()));
        }
    }

    #[test]
    fn one_failure_is_never_a_hundred_percent() {
        assert_eq!(percent(99_999, 100_000), "99.99%");
        assert_eq!(
            (percent(1, 1), percent(0, 3), percent(1, 2), percent(2, 3), percent(19, 20)),
            ("100%".into(), "0%".into(), "50%".into(), "66.66%".into(), "95%".into())
        );
    }

    #[test]
    fn an_empty_window_shows_a_question_mark() {
        let empty = uptime_of(&Sums::default(), Window::Hour, NOW);
        assert_eq!(
            uptime(&empty).shields().to_string(),
            r##"{"schemaVersion":1,"label":"uptime 1h","message":"?","color":"#ccb311"}"##
        );
        assert_eq!(response_time(&empty).message, "?");
        let unanswered = uptime_of(&Sums::of_rows(vec![row(NOW, false, 0, 10_000)]), Window::Hour, NOW);
        assert_eq!(
            (uptime(&unanswered).message, response_time(&unanswered).message),
            ("0%".to_string(), "?".to_string())
        );
    }

    #[test]
    fn an_svg_shows_label_message_and_colour() {
        let svg = health(Health::Down).svg();
        assert!(
            svg.starts_with("<svg ")
                && svg.contains(">health</text>")
                && svg.contains(">down</text>")
                && svg.contains(VERY_BAD)
        );
    }

    #[test]
    fn badge_files_name_subject_and_kind() {
        assert_eq!(parse_file("uptime.svg"), Some((Subject::Uptime, true)));
        assert_eq!(parse_file("response-time.json"), Some((Subject::ResponseTime, false)));
        assert_eq!((parse_file("uptime.png"), parse_file("uptime"), parse_file("x.svg")), (None, None, None));
    }
}
