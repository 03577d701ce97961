//! Alert rules of an app about its own records, as they are stored with the app.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// Maximum number of alerts of an app. Every block is matched against each of them.
pub const MAX_ALERTS: usize = 10;
/// Maximum threshold: records per window.
pub const MAX_THRESHOLD: u32 = 1_000_000;
/// Maximum length of a window: one day.
pub const MAX_WINDOW_MINUTES: u32 = 1_440;
/// Maximum time until a quiet alert is resolved: one week.
pub const MAX_QUIET_MINUTES: u32 = 10_080;
/// Maximum length of all filter values of a rule together (bytes). Rules are stored in the app's item,
/// which every request of the app reads.
pub const MAX_FILTER_BYTES: usize = 1_024;

const MS_PER_MINUTE: i64 = 60_000;

/// The name of an alert: `^[a-z0-9][a-z0-9-]{0,62}$`. It is part of a path and of sort keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AlertName(String);

/// Error: the text is not the name of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name must have 1 to 63 characters of a-z, 0-9 and '-', and begin with a letter or digit")]
pub struct BadAlertName;

impl AlertName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AlertName {
    type Err = BadAlertName;

    fn from_str(text: &str) -> Result<Self, BadAlertName> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        match text.as_bytes() {
            [first, rest @ ..]
                if legal(*first)
                    && rest.len() <= 62
                    && rest.iter().all(|&byte| legal(byte) || byte == b'-') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(BadAlertName),
        }
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for AlertName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AlertName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Where the notifications of an alert go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// The topic of the deployment.
    Sns,
    /// A POST to this URL.
    Webhook(String),
}

/// The key that signs what a webhook gets. It is shown once, when the alert is created.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey([u8; 32]);

/// Begins the text of a key, so that it is recognised as one wherever it leaks.
const SIGNING_KEY_PREFIX: &str = "whsec_";

impl SigningKey {
    #[must_use]
    pub fn of(random: [u8; 32]) -> Self {
        Self(random)
    }

    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the key as receivers configure it: `whsec_` and base64.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!("{SIGNING_KEY_PREFIX}{}", STANDARD.encode(self.0))
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.strip_prefix(SIGNING_KEY_PREFIX)?).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// Never shows the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey")
    }
}

impl Serialize for SigningKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for SigningKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not a signing key"))
    }
}

/// An alert: it fires when enough matching records lie in one window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRule {
    pub name: AlertName,
    /// When the rule was created (ms). It distinguishes rules that had the same name one after the other.
    pub created_ms: i64,
    /// Filters by the names of the query parameters: `level`, `search`, `context.user`, …
    pub filter: BTreeMap<String, String>,
    /// Matching records per window, at least 1.
    pub threshold: u32,
    pub window_minutes: u32,
    pub quiet_minutes: u32,
    pub notify: Notify,
    /// Of a webhook. Alerts of earlier versions have none, and are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_key: Option<SigningKey>,
}

impl AlertRule {
    #[must_use]
    pub fn window_ms(&self) -> i64 {
        i64::from(self.window_minutes.max(1)) * MS_PER_MINUTE
    }

    #[must_use]
    pub fn quiet_ms(&self) -> i64 {
        i64::from(self.quiet_minutes) * MS_PER_MINUTE
    }

    /// Returns the start of the window that a time lies in (ms). Windows follow each other from the epoch
    /// on, without gap or overlap.
    #[must_use]
    pub fn window_of(&self, time_ms: i64) -> i64 {
        time_ms - time_ms.rem_euclid(self.window_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_letters_digits_and_dashes() {
        for good in ["a", "5xx", "too-many-errors", &"x".repeat(63)] {
            assert!(good.parse::<AlertName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a#b", "a/b", "ä", &"x".repeat(64)] {
            assert_eq!(bad.parse::<AlertName>(), Err(BadAlertName), "{bad}");
        }
    }

    #[test]
    fn a_rule_reads_back_from_its_json() {
        for notify in [Notify::Sns, Notify::Webhook("https://a.example/".to_owned())] {
            let rule = AlertRule {
                name: "errors".parse().unwrap(),
                created_ms: 7,
                filter: BTreeMap::from([("level".to_owned(), "ERROR".to_owned())]),
                threshold: 3,
                window_minutes: 5,
                quiet_minutes: 10,
                notify,
                signing_key: Some(SigningKey::of([7; 32])),
            };
            assert!(!format!("{rule:?}").contains("BwcH"), "{rule:?}");
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<AlertRule>(&json).unwrap(), rule);
        }
    }

    #[test]
    fn windows_have_no_gap_and_no_overlap() {
        let rule: AlertRule = serde_json::from_str(
            r#"{"name":"a","created_ms":0,"filter":{},"threshold":1,"window_minutes":7,"quiet_minutes":0,"notify":"sns"}"#,
        )
        .unwrap();
        assert_eq!([0, 419_999, 420_000, -1].map(|ms| rule.window_of(ms)), [0, 0, 420_000, -420_000]);
    }
}
