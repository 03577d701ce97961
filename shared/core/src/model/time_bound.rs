//! A bound of a range of time, as people write it.

use crate::model::time::{Day, MS_PER_DAY, MS_PER_HOUR, parse_rfc3339_ms};

/// A time, or a duration before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeBound {
    /// Milliseconds since the epoch.
    At(i64),
    /// Milliseconds before the request.
    Ago(i64),
}

/// Why a text is no bound. Follows the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTimeBound {
    #[error(
        "has an offset whose + arrived as a space: write %2B in a URL (curl -G --data-urlencode does), or a time in UTC with Z"
    )]
    PlusAsSpace,
    #[error("has no offset: add Z for UTC, or an offset such as +01:00")]
    NoOffset,
    #[error(
        "must be a duration before now such as 15m or 3d (s, m, h, d, w), a day such as 2026-11-23, RFC 3339 with an offset, or milliseconds since the epoch"
    )]
    Unknown,
}

impl TimeBound {
    /// Parses `15m`, `3d` and the like, `2026-11-23` (its beginning in UTC), RFC 3339, or milliseconds since the
    /// epoch. Any year is valid.
    ///
    /// # Errors
    /// [`BadTimeBound`], with what to write instead.
    pub fn parse(text: &str) -> Result<Self, BadTimeBound> {
        let day = || text.parse::<Day>().ok().map(Day::start_ms);
        if let Some(ms) = time_ms(text).or_else(day).or_else(|| text.parse().ok()) {
            return Ok(Self::At(ms));
        }
        if let Some(ms) = duration_ms(text) {
            return Ok(Self::Ago(ms));
        }
        let with_plus = |text: &str| {
            let (time, offset) = text.rsplit_once(' ')?;
            time_ms(&format!("{time}+{offset}"))
        };
        Err(if with_plus(text).is_some() {
            BadTimeBound::PlusAsSpace
        } else if time_ms(&format!("{text}Z")).is_some() {
            BadTimeBound::NoOffset
        } else {
            BadTimeBound::Unknown
        })
    }

    /// Returns the time (ms) for a request of `now_ms`.
    #[must_use]
    pub fn ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ms) => now_ms.saturating_sub(ms),
        }
    }
}

fn time_ms(text: &str) -> Option<i64> {
    // Users write 9999-12-31 for an open end; the library's last time is a little earlier.
    let end_of_days = || parse_rfc3339_ms(&format!("9998-12-31{}", text.strip_prefix("9999-12-31")?));
    parse_rfc3339_ms(text).or_else(end_of_days)
}

fn duration_ms(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => MS_PER_HOUR,
        "d" => MS_PER_DAY,
        "w" => 7 * MS_PER_DAY,
        _ => return None,
    };
    number.parse::<u32>().ok().map(|number| i64::from(number).saturating_mul(unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_people_write_them() {
        const NOW_MS: i64 = 1_743_532_441_581;
        for (text, ms) in [
            ("15m", NOW_MS - 900_000),
            ("90s", NOW_MS - 90_000),
            ("2h", NOW_MS - 7_200_000),
            ("3d", NOW_MS - 3 * MS_PER_DAY),
            ("1w", NOW_MS - 7 * MS_PER_DAY),
            ("2025-04-01", 1_743_465_600_000),
            ("2025-04-01T18:34:01.581Z", NOW_MS),
            ("2025-04-01T20:34:01.581+02:00", NOW_MS),
            ("1743532441581", NOW_MS),
        ] {
            assert_eq!(TimeBound::parse(text).map(|bound| bound.ms(NOW_MS)), Ok(ms), "{text}");
        }
        assert!(TimeBound::parse("9999-12-31T23:59:59.999Z").is_ok());
        assert_eq!(TimeBound::parse("4294967295w").map(|bound| bound.ms(i64::MIN)), Ok(i64::MIN));
    }

    #[test]
    fn what_is_no_bound_is_explained() {
        for (text, expected) in [
            ("2025-04-01T20:34:01 02:00", BadTimeBound::PlusAsSpace),
            ("2025-04-01 20:34:01 02:00", BadTimeBound::PlusAsSpace),
            ("2025-04-01T20:34:01", BadTimeBound::NoOffset),
            ("yesterday", BadTimeBound::Unknown),
            ("", BadTimeBound::Unknown),
            ("d", BadTimeBound::Unknown),
            ("-3d", BadTimeBound::Unknown),
            ("3y", BadTimeBound::Unknown),
            ("3ü", BadTimeBound::Unknown),
            ("2025-13-01", BadTimeBound::Unknown),
        ] {
            assert_eq!(TimeBound::parse(text), Err(expected), "{text}");
        }
    }
}
