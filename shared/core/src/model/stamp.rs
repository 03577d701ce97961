//! Times as loggers write them, read to the millisecond below. One reading for files and for the API.

use crate::model::time::MS_PER_DAY;

/// A time that an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub ms: i64,
    /// The text leaves out its offset (UTC is assumed) or its year (the file's is assumed).
    pub assumed: bool,
}

/// How far a time without a year, and perhaps of a zone east of UTC, may lie after the file's own (ms).
const YEARLESS_FUTURE_MS: i64 = MS_PER_DAY;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Reads a text that is a time and nothing else, or a number of seconds to nanoseconds. `near_ms`: the
/// time of the file, for forms without a year.
#[must_use]
pub fn read_time(text: &str, near_ms: i64) -> Option<Stamp> {
    let text = text.trim();
    let text = text.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')).unwrap_or(text);
    let whole = |read: Option<(Stamp, usize)>| read.filter(|&(_, length)| length == text.len());
    let (stamp, _) = match text.bytes().next()? {
        b'0'..=b'9' => match number_ms(text) {
            Some(ms) => return Some(Stamp { ms, assumed: false }),
            None => whole(iso(text)).or_else(|| whole(clf(text))).or_else(|| whole(rfc2822(text)))?,
        },
        b'A'..=b'Z' | b'a'..=b'z' => {
            whole(rfc2822(text)).or_else(|| whole(ctime(text))).or_else(|| whole(yearless(text, near_ms)))?
        }
        _ => return None,
    };
    Some(stamp)
}

/// A number of seconds, milliseconds, microseconds or nanoseconds since the epoch, distinguished by its size.
#[must_use]
pub fn number_ms(text: &str) -> Option<i64> {
    const SECONDS_BELOW: i64 = 100_000_000_000;
    const MILLIS_BELOW: i64 = SECONDS_BELOW * 1000;
    const MICROS_BELOW: i64 = MILLIS_BELOW * 1000;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        let number = text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)?;
        // Such as 1.7e12. What is out of range saturates, and is no time.
        return number_ms(&format!("{number:.3}")).filter(|_| text.contains(['e', 'E']));
    }
    let number: i64 = whole.parse().ok()?;
    Some(match number {
        ..SECONDS_BELOW => {
            let millis = fraction.bytes().chain(*b"000").take(3);
            number * 1000 + millis.fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        }
        SECONDS_BELOW..MILLIS_BELOW => number,
        MILLIS_BELOW..MICROS_BELOW => number / 1000,
        MICROS_BELOW.. => number / 1_000_000,
    })
}

/// RFC 3339 and its relatives at the beginning of `text`: a space for the `T`, slashes in the date, a comma
/// before the fraction, `+0100`, `+01`, ` UTC`, no offset. Returns how many bytes it takes.
#[must_use]
pub fn iso(text: &str) -> Option<(Stamp, usize)> {
    let bytes = text.as_bytes();
    let year = number(bytes, 0, 4)?;
    let separator = *bytes.get(4).filter(|byte| matches!(byte, b'-' | b'/'))?;
    let month = number(bytes, 5, 2)?;
    (bytes.get(7) == Some(&separator)).then_some(())?;
    let day = number(bytes, 8, 2)?;
    matches!(bytes.get(10), Some(b'T' | b't' | b' ' | b'_')).then_some(())?;
    let (mut ms, mut at) = clock(bytes, 11)?;
    ms += day_ms(year, month, day)?;
    let offset = offset(bytes, at);
    at += offset.map_or(0, |(_, length)| length);
    let stamp = Stamp { ms: ms - offset.map_or(0, |(ms, _)| ms), assumed: offset.is_none() };
    Some((stamp, at))
}

/// The time of Common Log Format at the beginning of `text`: `10/Oct/2000:13:55:36 -0700`.
#[must_use]
pub fn clf(text: &str) -> Option<(Stamp, usize)> {
    let bytes = text.as_bytes();
    let day = number(bytes, 0, 2)?;
    let month = month(text.get(3..6)?)?;
    let year = number(bytes, 7, 4)?;
    let separators = [bytes.get(2)?, bytes.get(6)?, bytes.get(11)?];
    matches!(separators, [b'/', b'/', b':'] | [b'/', b'/', b' ']).then_some(())?;
    let (ms, at) = clock(bytes, 12)?;
    let offset = offset(bytes, at);
    let ms = ms + day_ms(year, month, day)? - offset.map_or(0, |(ms, _)| ms);
    Some((Stamp { ms, assumed: offset.is_none() }, at + offset.map_or(0, |(_, length)| length)))
}

/// RFC 2822 and RFC 1123 at the beginning of `text`: `Tue, 01 Apr 2025 18:34:01 +0000`, the day's name
/// being optional.
#[must_use]
pub fn rfc2822(text: &str) -> Option<(Stamp, usize)> {
    let bytes = text.as_bytes();
    let mut at = if bytes.get(3) == Some(&b',') { 4 } else { 0 };
    at += spaces(bytes, at);
    let digits = if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 };
    let day = number(bytes, at, digits)?;
    at += digits + spaces(bytes, at + digits);
    let month = month(text.get(at..at + 3)?)?;
    at += 3 + spaces(bytes, at + 3);
    let year = number(bytes, at, 4)?;
    (bytes.get(at + 4) == Some(&b' ')).then_some(())?;
    let (ms, at) = clock(bytes, at + 5)?;
    let offset = offset(bytes, at);
    let ms = ms + day_ms(year, month, day)? - offset.map_or(0, |(ms, _)| ms);
    Some((Stamp { ms, assumed: offset.is_none() }, at + offset.map_or(0, |(_, length)| length)))
}

/// `Wed Oct 11 14:32:52.123456 2000`, as Apache's error log has it.
#[must_use]
pub fn ctime(text: &str) -> Option<(Stamp, usize)> {
    let rest = text.get(4..).filter(|_| text.as_bytes().get(3) == Some(&b' '))?;
    let (month, day, ms, at) = month_day_clock(rest)?;
    let at = at + 4;
    (text.as_bytes().get(at) == Some(&b' ')).then_some(())?;
    let year = number(text.as_bytes(), at + 1, 4)?;
    Some((Stamp { ms: ms + day_ms(year, month, day)?, assumed: true }, at + 5))
}

/// The year-less time of syslog at the beginning of `text`: `Oct 11 22:14:15`. The year is the last one in which
/// the time does not lie after `near_ms` by more than a day: at New Year, it may be the next one.
#[must_use]
pub fn yearless(text: &str, near_ms: i64) -> Option<(Stamp, usize)> {
    let (month, day, ms, at) = month_day_clock(text)?;
    Some((in_year_of(near_ms, month, day, ms)?, at))
}

/// A day and a time of day without a year.
pub(crate) fn in_year_of(near_ms: i64, month: i64, day: i64, ms_of_day: i64) -> Option<Stamp> {
    let year = year_of(near_ms);
    let of_year = |year| day_ms(year, month, day).map(|start| start + ms_of_day);
    let is_near = |ms: &i64| ms - near_ms <= YEARLESS_FUTURE_MS;
    let ms = [year + 1, year, year - 1].into_iter().find_map(|year| of_year(year).filter(is_near))?;
    Some(Stamp { ms, assumed: true })
}

/// `14:32:52.123` at `at`: milliseconds of the day and where it ends.
pub(crate) fn clock(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let (hour, minute) = (number(bytes, at, 2)?, number(bytes, at + 3, 2)?);
    let second = number(bytes, at + 6, 2)?;
    let colons = bytes.get(at + 2) == Some(&b':') && bytes.get(at + 5) == Some(&b':');
    (colons && hour < 24 && minute < 60 && second <= 60).then_some(())?;
    // A leap second is the last millisecond of its minute.
    let mut ms = (hour * 3600 + minute * 60 + second) * 1000 - i64::from(second == 60);
    let mut end = at + 8;
    if matches!(bytes.get(end), Some(b'.' | b',')) {
        let (mut digits, mut fraction, mut unit) = (0, 0, 100);
        // More than nine digits after a comma are the next column.
        let most = if bytes[end] == b'.' { usize::MAX } else { 9 };
        for byte in bytes[end + 1..].iter().take_while(|byte| byte.is_ascii_digit()) {
            fraction += unit * i64::from(byte - b'0');
            unit /= 10;
            digits += 1;
        }
        if (1..=most).contains(&digits) {
            ms += if second == 60 { 0 } else { fraction };
            end += 1 + digits;
        }
    }
    Some((ms, end))
}

/// Milliseconds from the epoch to the beginning of a day of the calendar.
pub(crate) fn day_ms(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then_some(())?;
    // Days since the epoch, by eras of 400 years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    Some((era * 146_097 + day_of_era - 719_468) * MS_PER_DAY)
}

fn year_of(ms: i64) -> i64 {
    let guess = 1970 + ms.div_euclid(MS_PER_DAY) / 365;
    (guess - 2..=guess)
        .rev()
        .find(|&year| day_ms(year, 1, 1).is_some_and(|start| start <= ms))
        .unwrap_or(guess)
}

/// `Oct 11 22:14:15.123` or `Oct  1 …`.
fn month_day_clock(text: &str) -> Option<(i64, i64, i64, usize)> {
    let bytes = text.as_bytes();
    let month = month(text.get(..3)?)?;
    let at = 3 + spaces(bytes, 3);
    let digits = if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) { 2 } else { 1 };
    let day = number(bytes, at, digits)?;
    (at > 3 && bytes.get(at + digits) == Some(&b' ')).then_some(())?;
    let (ms, at) = clock(bytes, at + digits + 1)?;
    Some((month, day, ms, at))
}

fn month(name: &str) -> Option<i64> {
    let at = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    i64::try_from(at + 1).ok()
}

fn spaces(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..).unwrap_or_default().iter().take_while(|&&byte| byte == b' ').count()
}

/// A number of exactly this many digits.
pub(crate) fn number(bytes: &[u8], at: usize, digits: usize) -> Option<i64> {
    let mut sum = 0;
    for byte in bytes.get(at..at + digits)? {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        sum = sum * 10 + i64::from(digit);
    }
    Some(sum)
}

/// An offset from UTC at `at`: milliseconds, and how many bytes it takes.
fn offset(bytes: &[u8], at: usize) -> Option<(i64, usize)> {
    let mut skipped = usize::from(bytes.get(at) == Some(&b' '));
    let mut rest = bytes.get(at + skipped..)?;
    let ends = |rest: &[u8], length: usize| !rest.get(length).is_some_and(u8::is_ascii_alphanumeric);
    if matches!(rest, [b'U', b'T', b'C', ..] | [b'G', b'M', b'T', ..]) {
        (skipped, rest) = (skipped + 3, &rest[3..]);
        if !matches!(rest, [b'+' | b'-', b'0'..=b'9', ..]) {
            return ends(rest, 0).then_some((0, skipped));
        }
    }
    let sign = match rest.first()? {
        b'Z' | b'z' if ends(rest, 1) => return Some((0, skipped + 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(rest, 1, 2)?;
    let (minutes, length) = match rest.get(3) {
        Some(b':') => (number(rest, 4, 2)?, 6),
        _ => match number(rest, 3, 2) {
            Some(minutes) => (minutes, 5),
            // ` -12` may be a part of the message.
            None if skipped != 1 => (0, 3),
            None => return None,
        },
    };
    (hours <= 23 && minutes < 60 && ends(rest, length))
        .then_some((sign * (hours * 60 + minutes) * 60_000, skipped + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::{parse_rfc3339_ms, rfc3339_ms};
    use proptest::prelude::*;

    const MS: i64 = 1_743_532_441_581;

    #[test]
    fn times_are_read_in_the_forms_that_loggers_write() {
        for (text, ms, assumed) in [
            ("2025-04-01T18:34:01.581Z", MS, false),
            ("2025-04-01T20:34:01.5819+02:00", MS, false),
            ("2025-04-01T20:34:01.5812345678901+02:00", MS, false),
            ("2025-04-01T18:34:01,581+0000", MS, false),
            ("2025-04-01 19:34:01.581+01", MS, false),
            ("2025-04-01 18:34:01.581 +00:00", MS, false),
            ("2025-04-01 18:34:01.581 UTC", MS, false),
            ("2025-04-01 20:34:01.581 GMT+0200", MS, false),
            ("2025-04-01 17:34:01.581 UTC-01", MS, false),
            ("2025/04/01 18:34:01.581", MS, true),
            ("2025-04-01 18:34:01,581", MS, true),
            ("2025-04-01T18:34:01", MS - 581, true),
            ("01/Apr/2025:18:34:01 +0000", MS - 581, false),
            ("[01/Apr/2025:11:34:01 -0700]", MS - 581, false),
            ("Tue, 01 Apr 2025 18:34:01 +0000", MS - 581, false),
            ("1 Apr 2025 18:34:01 GMT", MS - 581, false),
            ("Tue Apr  1 18:34:01.581234 2025", MS, true),
            ("Apr  1 18:34:01", MS - 581, true),
            ("Apr 2 18:34:01", MS - 581 + 86_400_000, true),
            ("Dec 31 18:34:01", 1_735_670_041_000, true),
            ("1743532441581", MS, false),
            ("1743532441.581", MS, false),
            ("1743532441581999", MS, false),
            ("1743532441581999999", MS, false),
            ("1.743532441581e12", MS, false),
        ] {
            assert_eq!(read_time(text, MS), Some(Stamp { ms, assumed }), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_year_may_be_the_next_year_s_first_day() {
        let at = |text| parse_rfc3339_ms(text).unwrap();
        for (file, text, expect) in [
            ("2025-12-31T16:00:00Z", "Jan  1 01:00:00", "2026-01-01T01:00:00Z"),
            ("2025-12-31T16:00:00Z", "Dec 31 23:00:00", "2025-12-31T23:00:00Z"),
            ("2025-12-31T16:00:00Z", "Jan  2 01:00:00", "2025-01-02T01:00:00Z"),
            ("2026-01-01T02:00:00Z", "Dec 31 23:00:00", "2025-12-31T23:00:00Z"),
            ("2025-03-01T02:00:00Z", "Feb 29 23:00:00", "2024-02-29T23:00:00Z"),
        ] {
            let stamp = Stamp { ms: at(expect), assumed: true };
            assert_eq!(read_time(text, at(file)), Some(stamp), "{text}");
        }
    }

    #[test]
    fn digits_after_a_comma_are_no_fraction_if_they_are_too_many() {
        assert_eq!(iso("2025-04-01 18:34:01,1743532441581,x").map(|(_, length)| length), Some(19));
        assert_eq!(iso("2025-04-01 18:34:01,581234567,x").map(|(_, length)| length), Some(29));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2025-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2025-04-01",
            "2025-04-01T24:00:00Z",
            "2025-04-01T18:34:01Zulu",
            "2025-04-01T18:34:01 and more",
            "-1743532441581",
            "1e999",
            "NaN",
            "inf",
            "12:00",
            "Foo  1 18:34:01",
        ] {
            assert_eq!(read_time(text, MS), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn times_agree_with_the_library_that_writes_them(ms in 0i64..4_102_444_800_000) {
            let text = rfc3339_ms(ms);
            prop_assert_eq!(read_time(&text, 0), Some(Stamp { ms, assumed: false }));
            prop_assert_eq!(parse_rfc3339_ms(&text), Some(ms));
        }

        #[test]
        fn no_text_makes_a_reading_panic(text in "\\PC{0,40}", time in "[0-9A-Za-z:,. /+-]{0,40}") {
            for text in [text, time] {
                let _ = read_time(&text, MS);
                let _ = (iso(&text), clf(&text), rfc2822(&text), ctime(&text), yearless(&text, MS));
            }
        }
    }
}
