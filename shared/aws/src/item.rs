//! Reads and writes attributes of DynamoDB items. Unexpected attributes are faults, never panics.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::{Expiring, NEVER};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::level::{Level, LevelCounts};
use logferry_core::model::time::Day;

pub type Item = HashMap<String, AttributeValue>;

#[must_use]
pub fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

#[must_use]
pub fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[must_use]
pub fn b(bytes: Vec<u8>) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Returns the key of an item.
#[must_use]
pub fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    HashMap::from([("pk".to_owned(), s(pk)), ("sk".to_owned(), s(sk))])
}

/// Sets attributes of an item; `None` omits one.
pub trait Put {
    fn put(&mut self, name: &str, value: AttributeValue);
    fn put_some(&mut self, name: &str, value: Option<AttributeValue>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }
}

impl Put for Item {
    fn put(&mut self, name: &str, value: AttributeValue) {
        self.insert(name.to_owned(), value);
    }
}

/// Reads attributes. A missing one is `None`; one of the wrong type is a [`Fault`], since only we write
/// items.
pub trait Get {
    /// Returns a text.
    ///
    /// # Errors
    /// The attribute is missing or not a string.
    fn text(&self, name: &'static str) -> Result<&str, Fault>;
    fn text_opt(&self, name: &str) -> Option<&str>;
    /// Returns a number.
    ///
    /// # Errors
    /// The attribute is missing or not a number of this type.
    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, Fault>;
    fn number_opt<T: std::str::FromStr>(&self, name: &str) -> Option<T>;
}

/// Returns the fault of an item that is not as we write it.
#[must_use]
pub fn malformed(attribute: &'static str) -> Fault {
    Fault::new(
        FaultClass::Permanent,
        "reading an item",
        format!("attribute {attribute} is missing or invalid"),
    )
}

impl Get for Item {
    fn text(&self, name: &'static str) -> Result<&str, Fault> {
        self.text_opt(name).ok_or_else(|| malformed(name))
    }

    fn text_opt(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_s().ok().map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, Fault> {
        self.number_opt(name).ok_or_else(|| malformed(name))
    }

    fn number_opt<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name)?.as_n().ok()?.parse().ok()
    }
}

/// Returns the attribute name of a level's counter.
#[must_use]
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// Returns a map of the levels that occur.
#[must_use]
pub fn levels_to_map(levels: &LevelCounts) -> AttributeValue {
    let some = levels.iter().filter(|(_, count)| *count != 0);
    AttributeValue::M(some.map(|(level, count)| (level_name(level).to_owned(), n(count))).collect())
}

/// Selects one of the counts.
type CountOf = fn(&DayCounts) -> i64;

/// Returns the attributes for the counts of an expiry day, and which count each holds.
pub(crate) fn count_attributes(expires_on: Day) -> [(String, CountOf); 5] {
    let name = |letter: char, name: &str| match expires_on {
        NEVER => name.to_owned(),
        Day(day) => format!("{letter}{day}"),
    };
    [
        (name('d', "debug"), |counts| counts.levels[Level::Debug]),
        (name('i', "info"), |counts| counts.levels[Level::Info]),
        (name('w', "warn"), |counts| counts.levels[Level::Warn]),
        (name('e', "error"), |counts| counts.levels[Level::Error]),
        (name('b', "bytes"), |counts| counts.bytes),
    ]
}

/// Parses the counts of a counter row, by expiry day.
#[must_use]
pub fn expiring_from(item: &Item) -> Expiring {
    let mut all = Expiring::default();
    for (name, value) in item {
        let (letter, day) = match name.as_str() {
            "debug" | "info" | "warn" | "error" | "bytes" => (&name[..1], NEVER),
            _ => match name.split_at_checked(1).map(|(letter, day)| (letter, day.parse())) {
                Some((letter, Ok(day))) => (letter, Day(day)),
                _ => continue,
            },
        };
        let Some(number) = value.as_n().ok().and_then(|number| number.parse::<i64>().ok()) else { continue };
        let mut counts = DayCounts::default();
        match letter {
            "d" => counts.levels = LevelCounts::new(number, 0, 0, 0),
            "i" => counts.levels = LevelCounts::new(0, number, 0, 0),
            "w" => counts.levels = LevelCounts::new(0, 0, number, 0),
            "e" => counts.levels = LevelCounts::new(0, 0, 0, number),
            "b" => counts.bytes = number,
            _ => continue,
        }
        all.add(day, counts);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_back_from_their_attributes() {
        let counts = DayCounts { levels: LevelCounts::new(1, -2, 3, 4), bytes: 50 };
        let mut all = Expiring::one(Day(20_512), counts);
        all.add(NEVER, counts);
        let mut item = key("app", "2024-10-04#1#7");
        for (day, counts) in all.iter() {
            item.extend(count_attributes(day).map(|(name, of)| (name, n(of(&counts)))));
        }
        item.put("expires_at", n(7));
        item.put("revision", n(7));
        assert_eq!(expiring_from(&item), all);
    }
}
