//! DynamoDB items: attributes in and out, without a panic on what is not as expected.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_domain::record::{Level, LevelCounts};

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

/// The key of an item.
#[must_use]
pub fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    HashMap::from([("pk".to_owned(), s(pk)), ("sk".to_owned(), s(sk))])
}

/// The attributes of an item under construction; `None` leaves one out.
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

/// Reads attributes. An absent one is `None`; one of the wrong type is a [`Fault`], since only we write.
pub trait Get {
    /// A text.
    ///
    /// # Errors
    /// The attribute is absent or no string.
    fn text(&self, name: &'static str) -> Result<&str, Fault>;
    fn text_opt(&self, name: &str) -> Option<&str>;
    /// A number.
    ///
    /// # Errors
    /// The attribute is absent or no number of this type.
    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, Fault>;
    fn number_opt<T: std::str::FromStr>(&self, name: &str) -> Option<T>;
}

/// The fault of an item that we did not write so.
#[must_use]
pub fn malformed(attribute: &'static str) -> Fault {
    Fault::new(FaultClass::Permanent, "reading an item", format!("attribute {attribute} is not as written"))
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

/// The attribute name of a level's counter.
#[must_use]
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

/// A map of the levels that occur.
#[must_use]
pub fn levels_to_map(levels: &LevelCounts) -> AttributeValue {
    let some = levels.iter().filter(|(_, count)| *count != 0);
    AttributeValue::M(some.map(|(level, count)| (level_name(level).to_owned(), n(count))).collect())
}

#[must_use]
pub fn levels_from(item: &Item) -> LevelCounts {
    let of = |level| item.number_opt(level_name(level)).unwrap_or(0);
    LevelCounts::new(of(Level::Debug), of(Level::Info), of(Level::Warn), of(Level::Error))
}
