//! Apps (the tenants) and their settings.

use std::fmt;
use std::str::FromStr;

use crate::model::alert::AlertRule;
use crate::model::level::Level;

/// Default retention of records (days), for apps without a setting, unless the deployment configures
/// another. The template has the same default.
pub const DEFAULT_RETENTION_DAYS: u32 = 90;

/// An app's id: `^[a-z0-9][a-z0-9-]{0,62}$`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(String);

/// Error: the text is not an app id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("app_id must have 1 to 63 characters of a-z, 0-9 and '-', and begin with a letter or digit")]
pub struct BadAppId;

impl AppId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AppId {
    type Err = BadAppId;

    fn from_str(text: &str) -> Result<Self, BadAppId> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let bytes = text.as_bytes();
        match bytes {
            [first, rest @ ..]
                if rest.len() <= 62 && legal(*first) && rest.iter().all(|&b| legal(b) || b == b'-') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(BadAppId),
        }
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for AppId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for AppId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which of an app's records are forwarded to CloudWatch Logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlushSetting {
    #[serde(default = "yes")]
    pub enabled: bool,
    #[serde(default)]
    pub min_level: Level,
}

fn yes() -> bool {
    true
}

impl Default for FlushSetting {
    fn default() -> Self {
        Self { enabled: true, min_level: Level::Debug }
    }
}

/// A permission of an API key. Scopes are independent: `manage` does not include the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Sends records and files.
    Write,
    /// Reads records, counts, files and health.
    Read,
    /// Changes keys, tokens and settings; prunes, redrives and deletes.
    Manage,
}

/// Error: the text is not a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope must be write, read or manage")]
pub struct BadScope;

impl Scope {
    /// The scopes of an app's first key, and of keys from before scopes existed.
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Manage];
    /// The default scopes of a new key.
    pub const DEFAULT: [Self; 2] = [Self::Write, Self::Read];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Manage => "manage",
        }
    }
}

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text).ok_or(BadScope)
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A registered app, without its keys.
#[derive(Debug, Clone, PartialEq)]
pub struct App {
    pub app_id: AppId,
    pub name: String,
    /// When the app was registered (ms since the epoch). It is also the *epoch* of the app's blocks: blocks
    /// of an earlier app with the same id do not belong to this app.
    pub registered_ms: i64,
    /// Record retention in days; `None` for the deployment's default.
    pub retention_days: Option<u32>,
    /// Records older than this are hidden from readers and skipped by later ingests.
    pub pruned_before_ms: Option<i64>,
    pub flush: FlushSetting,
    /// Registered health checks: a JSON array of strings or objects.
    pub health_checks: serde_json::Value,
    pub alerts: Vec<AlertRule>,
}

impl App {
    /// An app without settings, health checks and alerts.
    #[must_use]
    pub fn new(app_id: AppId, name: impl Into<String>, registered_ms: i64) -> Self {
        Self {
            app_id,
            name: name.into(),
            registered_ms,
            retention_days: None,
            pruned_before_ms: None,
            flush: FlushSetting::default(),
            health_checks: serde_json::Value::Null,
            alerts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_ids_are_lower_case_letters_digits_and_dashes_up_to_63() {
        for good in ["a", "0", "my-app", "a--", &"x".repeat(63)] {
            assert!(good.parse::<AppId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a b", "ä", "a#b", &"x".repeat(64)] {
            assert_eq!(bad.parse::<AppId>(), Err(BadAppId), "{bad}");
        }
    }
}
