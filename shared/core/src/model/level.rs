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

    /// Case-insensitive; `trace` is DEBUG, `warning` WARN, `fatal` ERROR.
    fn from_str(text: &str) -> Result<Self, BadLevel> {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        if is("debug") || is("trace") {
            Ok(Self::Debug)
        } else if is("info") {
            Ok(Self::Info)
        } else if is("warn") || is("warning") {
            Ok(Self::Warn)
        } else if is("error") || is("fatal") {
            Ok(Self::Error)
        } else {
            Err(BadLevel)
        }
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
        self.0[level as usize] += 1;
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
    fn level_names_are_case_blind_and_trace_and_fatal_have_a_place() {
        for (text, level) in [
            ("Debug", Level::Debug),
            ("trace", Level::Debug),
            ("iNFO", Level::Info),
            ("warn", Level::Warn),
            ("FATAL", Level::Error),
        ] {
            assert_eq!(text.parse(), Ok(level));
        }
        assert_eq!("verbose".parse::<Level>(), Err(BadLevel));
    }

    #[test]
    fn pino_numbers_fall_into_four_levels() {
        let levels = [10.0, 29.9, 30.0, 39.0, 40.0, 49.9, 50.0, 60.0, -1.0, 1e9].map(Level::from_pino);
        use Level::{Debug, Error, Info, Warn};
        assert_eq!(levels, [Debug, Debug, Info, Info, Warn, Warn, Error, Error, Debug, Error]);
    }
}
