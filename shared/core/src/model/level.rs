//! Severity levels, and counts of records per level.

use std::fmt;
use std::ops::{Add, AddAssign, Index, Sub};
use std::str::FromStr;

/// Severity of a record. Ordered: `Debug < Info < Warn < Error`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    #[default]
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warn, Self::Error];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// Converts a pino level: below 30 DEBUG, below 40 INFO, below 50 WARN, else ERROR.
    #[must_use]
    pub fn from_pino(number: f64) -> Self {
        if number < 30.0 {
            Self::Debug
        } else if number < 40.0 {
            Self::Info
        } else if number < 50.0 {
            Self::Warn
        } else {
            Self::Error
        }
    }
}

impl Level {
    /// The level that a name means, case-blind; `None` for a name that no logger is known to use.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut lower = [0; LONGEST_NAME_BYTES];
        let name = name.trim_ascii();
        // Go's slog counts from a name: `ERROR+2`.
        let name = match name.split_once(['+', '-']) {
            Some(("DEBUG" | "INFO" | "WARN" | "ERROR", steps)) if steps.parse::<u8>().is_ok() => {
                &name[..name.len() - steps.len() - 1]
            }
            _ => name,
        };
        let name = name.as_bytes();
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"debug" | b"debg" | b"trace" | b"trce" | b"verbose" | b"silly" | b"fine" | b"finer"
            | b"finest" => Self::Debug,
            b"info" | b"notice" | b"information" | b"informational" => Self::Info,
            b"warn" | b"warning" => Self::Warn,
            b"err" | b"erro" | b"error" | b"severe" | b"critical" | b"crit" | b"alert" | b"emerg"
            | b"emergency" | b"fatal" | b"panic" | b"dpanic" => Self::Error,
            _ => return None,
        })
    }

    /// A syslog severity: 7 DEBUG, 6 and 5 INFO, 4 WARN, else ERROR.
    #[must_use]
    pub fn from_syslog(number: f64) -> Self {
        if number >= 7.0 {
            Self::Debug
        } else if number >= 5.0 {
            Self::Info
        } else if number >= 4.0 {
            Self::Warn
        } else {
            Self::Error
        }
    }

    /// A severity number of OpenTelemetry: below 9 DEBUG, below 13 INFO, below 17 WARN, else ERROR.
    /// <https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber>
    #[must_use]
    pub fn from_opentelemetry(number: f64) -> Self {
        if number < 9.0 {
            Self::Debug
        } else if number < 13.0 {
            Self::Info
        } else if number < 17.0 {
            Self::Warn
        } else {
            Self::Error
        }
    }

    /// The level of an HTTP status: 5xx ERROR, 4xx WARN, else INFO.
    #[must_use]
    pub fn from_status(status: u16) -> Self {
        match status {
            500.. => Self::Error,
            400..500 => Self::Warn,
            ..400 => Self::Info,
        }
    }
}

/// No name of a level is longer (bytes).
const LONGEST_NAME_BYTES: usize = 16;

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Error: the text is not a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("level must be one of DEBUG, INFO, WARN, ERROR")]
pub struct BadLevel;

impl FromStr for Level {
    type Err = BadLevel;

    /// As [`Level::from_name`].
    fn from_str(text: &str) -> Result<Self, BadLevel> {
        Self::from_name(text).ok_or(BadLevel)
    }
}

/// Number of records per level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct LevelCounts([i64; 4]);

impl LevelCounts {
    #[must_use]
    pub fn new(debug: i64, info: i64, warn: i64, error: i64) -> Self {
        Self([debug, info, warn, error])
    }

    pub fn count(&mut self, level: Level) {
        self.add(level, 1);
    }

    pub fn add(&mut self, level: Level, records: i64) {
        self.0[level as usize] += records;
    }

    #[must_use]
    pub fn total(&self) -> i64 {
        self.0.iter().sum()
    }

    /// Returns the number of records at this level or above.
    #[must_use]
    pub fn at_least(&self, level: Level) -> i64 {
        self.0[level as usize..].iter().sum()
    }

    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Level, i64)> + '_ {
        Level::ALL.into_iter().map(|level| (level, self[level]))
    }
}

impl Index<Level> for LevelCounts {
    type Output = i64;

    fn index(&self, level: Level) -> &i64 {
        &self.0[level as usize]
    }
}

impl AddAssign for LevelCounts {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Add for LevelCounts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sub for LevelCounts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn level_names_of_all_loggers_have_a_place_and_are_case_blind() {
        for (names, level) in [
            ("Debug trace verbose SILLY fine finer FINEST", Level::Debug),
            ("iNFO notice Information", Level::Info),
            ("warn WARNING", Level::Warn),
            ("err error SEVERE critical crit alert emerg emergency FATAL panic dpanic", Level::Error),
        ] {
            for name in names.split(' ') {
                assert_eq!(name.parse(), Ok(level), "{name}");
            }
        }
        for name in ["", "loud", "30", "errors", "a name that is longer than any"] {
            assert_eq!(name.parse::<Level>(), Err(BadLevel), "{name}");
        }
    }

    #[test]
    fn numbers_of_syslog_opentelemetry_and_http_fall_into_four_levels() {
        use Level::{Debug, Error, Info, Warn};
        let syslog = [0.0, 3.0, 4.0, 5.0, 6.0, 7.0].map(Level::from_syslog);
        assert_eq!(syslog, [Error, Error, Warn, Info, Info, Debug]);
        let otel = [1.0, 8.0, 9.0, 13.0, 17.0, 24.0].map(Level::from_opentelemetry);
        assert_eq!(otel, [Debug, Debug, Info, Warn, Error, Error]);
        assert_eq!([200, 304, 404, 503].map(Level::from_status), [Info, Info, Warn, Error]);
    }

    #[test]
    fn pino_numbers_fall_into_four_levels() {
        let levels = [10.0, 29.9, 30.0, 39.0, 40.0, 49.9, 50.0, 60.0, -1.0, 1e9].map(Level::from_pino);
        use Level::{Debug, Error, Info, Warn};
        assert_eq!(levels, [Debug, Debug, Info, Info, Warn, Warn, Error, Error, Debug, Error]);
    }
}
