//! Keys of the `stats` table: counters per app, day and level.

use crate::model::ids::Seed;
use crate::model::time::Day;

/// Counter rows per day. With one row, transactions would contend for it.
pub const COUNTERS: u8 = 8;

/// Returns the counter row that a source of records adds to.
#[must_use]
pub fn counter_of(seed: &Seed) -> u8 {
    seed.0[31] % COUNTERS
}

/// `{date}#{registered_ms:013}#{counter}`, under the app's id: the counts of an earlier app with the
/// same id stay separate.
#[must_use]
pub fn sort_key(day: Day, registered_ms: i64, counter: u8) -> String {
    format!("{day}#{registered_ms:013}#{counter}")
}

/// Parses day, epoch and counter of a sort key; `None` for any other text.
#[must_use]
pub fn parse_sort_key(text: &str) -> Option<(Day, i64, u8)> {
    let mut parts = text.split('#');
    let key = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sort_key_reads_back() {
        let key = sort_key(Day(20_000), 1_743_532_441_581, 7);
        assert_eq!(key, "2024-10-04#1743532441581#7");
        assert_eq!(parse_sort_key(&key), Some((Day(20_000), 1_743_532_441_581, 7)));
        assert_eq!(parse_sort_key("2024-10-04"), None);
    }
}
