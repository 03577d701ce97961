//! Times in milliseconds since the epoch, days and hours.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub const MS_PER_HOUR: i64 = 3_600_000;
pub const MS_PER_DAY: i64 = 86_400_000;

/// 2000-01-01T00:00:00Z, the earliest time of a record.
pub const EARLIEST_MS: i64 = 946_684_800_000;
/// 2100-01-01T00:00:00Z; a record's time is before it.
pub const LATEST_MS: i64 = 4_102_444_800_000;

/// Whether a record can have this time: 2000 to 2100, end excluded.
#[must_use]
pub fn in_range(ms: i64) -> bool {
    (EARLIEST_MS..LATEST_MS).contains(&ms)
}

/// A UTC day, in days since the epoch. Written as `yyyy-mm-dd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(pub i32);

impl Day {
    #[must_use]
    pub fn of_ms(ms: i64) -> Self {
        Self(i32::try_from(ms.div_euclid(MS_PER_DAY)).unwrap_or(i32::MAX))
    }

    #[must_use]
    pub fn start_ms(self) -> i64 {
        i64::from(self.0) * MS_PER_DAY
    }

    /// Returns the last millisecond of the day.
    #[must_use]
    pub fn end_ms(self) -> i64 {
        self.start_ms() + MS_PER_DAY - 1
    }

    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Returns the first day of the month.
    #[must_use]
    pub fn first_of_month(self) -> Self {
        let start = Timestamp::from_millisecond(self.start_ms()).map(|start| start.to_zoned(TimeZone::UTC));
        // A day that has no date is beyond all records.
        start.map_or(self, |start| Self(self.0 - i32::from(start.day()) + 1))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(i64::from(self.0) * (MS_PER_DAY / 1000)) {
            Ok(start) => write!(f, "{}", start.strftime("%Y-%m-%d")),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

/// Error: the text is not a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a day must be written as yyyy-mm-dd")]
pub struct BadDay;

impl FromStr for Day {
    type Err = BadDay;

    fn from_str(text: &str) -> Result<Self, BadDay> {
        let date = Date::strptime("%Y-%m-%d", text).map_err(|_| BadDay)?;
        let start = date.to_zoned(TimeZone::UTC).map_err(|_| BadDay)?;
        Ok(Self::of_ms(start.timestamp().as_millisecond()))
    }
}

/// Returns the hour since the epoch.
#[must_use]
pub fn hour_of_ms(ms: i64) -> i64 {
    ms.div_euclid(MS_PER_HOUR)
}

/// Formats a time as RFC 3339 with milliseconds and `Z`.
#[must_use]
pub fn rfc3339_ms(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => ms.to_string(),
    }
}

/// Parses an RFC 3339 time; `None` for anything else, including a time without offset.
#[must_use]
pub fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    text.parse::<Timestamp>().ok().map(|time| time.as_nanosecond().div_euclid(1_000_000) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_reads_back_from_its_text() {
        for ms in [0, EARLIEST_MS, 1_743_532_441_581, LATEST_MS - 1] {
            let day = Day::of_ms(ms);
            assert_eq!(day.to_string().parse(), Ok(day));
            assert!((day.start_ms()..=day.end_ms()).contains(&ms));
        }
        assert_eq!(Day::of_ms(1_743_532_441_581).to_string(), "2025-04-01");
        assert_eq!("2025-4-1x".parse::<Day>(), Err(BadDay));
        for (day, first) in
            [("2024-02-29", "2024-02-01"), ("2024-03-01", "2024-03-01"), ("1969-12-31", "1969-12-01")]
        {
            assert_eq!(day.parse::<Day>().unwrap().first_of_month().to_string(), first);
        }
    }

    #[test]
    fn times_are_written_with_milliseconds_and_z() {
        assert_eq!(rfc3339_ms(1_704_067_200_000), "2024-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_ms(1_704_067_200_007), "2024-01-01T00:00:00.007Z");
    }

    #[test]
    fn rfc3339_times_are_read_to_the_millisecond_below() {
        assert_eq!(parse_rfc3339_ms("2024-01-01T00:00:00.000Z"), Some(1_704_067_200_000));
        assert_eq!(parse_rfc3339_ms("2024-01-01T01:00:00.0079+01:00"), Some(1_704_067_200_007));
        assert_eq!(parse_rfc3339_ms("2024-01-01T00:00:00"), None);
        assert_eq!(parse_rfc3339_ms("yesterday"), None);
    }
}
