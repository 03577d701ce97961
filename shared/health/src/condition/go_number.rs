//! Numbers and durations in Go syntax, as Gatus accepts them: `0x1F`, `1_000`, `1h30m`, `1.5s`.

/// Maximum length of a number (bytes): compared values may be whole pages.
const MAX_NUMBER_BYTES: usize = 64;

/// Parses a duration into milliseconds: decimal numbers with units, `ns us µs ms s m h`; also `"0"`.
pub fn parse_duration_ms(text: &str) -> Option<f64> {
    if text.len() > MAX_NUMBER_BYTES {
        return None;
    }
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|len| *len > 0)?;
        let (number, tail) = rest.split_at(number_len);
        let number: f64 = number.parse().ok()?;
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        total += number
            * match unit {
                "ns" => 1e-6,
                "us" | "µs" | "μs" => 1e-3,
                "ms" => 1.0,
                "s" => 1000.0,
                "m" => 60_000.0,
                "h" => 3_600_000.0,
                _ => return None,
            };
        rest = tail;
    }
    Some(if negative { -total } else { total })
}

/// Parses an integer with Go's base prefixes (`0x`, `0o`, `0b`, a leading `0` for octal) and underscores.
pub fn parse_integer(text: &str) -> Option<i64> {
    if text.len() > MAX_NUMBER_BYTES {
        return None;
    }
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = if let Some(hex) = lower.strip_prefix("0x") {
        (16, hex)
    } else if let Some(octal) = lower.strip_prefix("0o") {
        (8, octal)
    } else if let Some(binary) = lower.strip_prefix("0b") {
        (2, binary)
    } else if let Some(octal) = lower.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        (8, octal)
    } else {
        (10, lower.as_str())
    };
    if digits.starts_with(['+', '-']) || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let magnitude = i64::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses an operand of `<`, `<=`, `>` and `>=`: a duration in ms, an integer or a decimal number.
pub fn parse_quantity(text: &str) -> Option<f64> {
    if text.len() > MAX_NUMBER_BYTES {
        return None;
    }
    #[allow(clippy::cast_precision_loss)] // milliseconds and counts, far below 2^53
    parse_duration_ms(text)
        .or_else(|| parse_integer(text).map(|n| n as f64))
        .or_else(|| text.parse::<f64>().ok().filter(|n| n.is_finite()))
}

/// Formats a duration as `336h`, `1h30m`, `45s`: whole seconds without zero parts.
pub fn show_duration_ms(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let seconds = ms.unsigned_abs() / 1000;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, seconds) {
        (0, 0, s) => format!("{sign}{s}s"),
        (0, m, 0) => format!("{sign}{m}m"),
        (0, m, s) => format!("{sign}{m}m{s}s"),
        (h, 0, 0) => format!("{sign}{h}h"),
        (h, m, 0) => format!("{sign}{h}h{m}m"),
        (h, m, s) => format!("{sign}{h}h{m}m{s}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_in_go() {
        for (text, ms) in [
            ("1s", Some(1000.0)),
            ("1h30m", Some(5_400_000.0)),
            ("1.5s", Some(1500.0)),
            ("300ms", Some(300.0)),
            ("48h", Some(172_800_000.0)),
            ("-1m", Some(-60_000.0)),
            ("0", Some(0.0)),
            ("500us", Some(0.5)),
            ("5", None),
            ("1d", None),
            ("h", None),
            ("", None),
            ("1 h", None),
            ("-", None),
            ("1h30", None),
            ("..s", None),
        ] {
            assert_eq!(parse_duration_ms(text), ms, "{text}");
        }
    }

    #[test]
    fn integers_read_as_in_go() {
        for (text, number) in [
            ("200", Some(200)),
            ("-5", Some(-5)),
            ("0x1F", Some(31)),
            ("0o17", Some(15)),
            ("0b10", Some(2)),
            ("017", Some(15)),
            ("0", Some(0)),
            ("1_000", Some(1000)),
            ("1.5", None),
            ("abc", None),
            ("", None),
            ("0x", None),
            ("--1", None),
            ("1__0", None),
        ] {
            assert_eq!(parse_integer(text), number, "{text}");
        }
    }

    #[test]
    fn zero_is_a_quantity_in_every_unit() {
        for text in ["0", "-0", "0s", "0h0m", "0.0"] {
            assert_eq!(parse_quantity(text), Some(0.0), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_without_zero_parts() {
        for (ms, text) in [
            (0, "0s"),
            (1_209_600_000, "336h"),
            (5_400_000, "1h30m"),
            (3_615_000, "1h0m15s"),
            (61_999, "1m1s"),
            (-90_000, "-1m30s"),
        ] {
            assert_eq!(show_duration_ms(ms), text);
        }
    }
}
