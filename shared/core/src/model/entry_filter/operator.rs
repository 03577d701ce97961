//! What a condition asks of a value: the operators, as they are written at the beginning of a value, and the
//! comparison with a value of an entry.

use std::cmp::Ordering;

use serde_json::Number;

use super::needle::Needle;
use crate::model::json;

/// The test of a condition.
#[derive(Debug, Clone)]
pub(super) enum Operator {
    /// `value` or `=value`
    Equal(Operand),
    /// `>`, `>=`, `<`, `<=`
    Order { accepted: &'static [Ordering], operand: Operand },
    /// `~value`, case-insensitive
    Contains(Box<Needle>),
    /// `*`: there is a value, and it is not null.
    Exists,
}

/// The operator of a condition, and whether it must not hold.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) operator: Operator,
    pub(super) negated: bool,
}

/// Parses a value with its operator. `Err` says what is wrong with it.
pub(super) fn parse(value: &str) -> Result<Asked, String> {
    let asked = |operator: Operator, negated: bool| Ok(Asked { operator, negated });
    let equal = |text: &str| Operator::Equal(Operand::new(text));
    let contains = |sign: &str, text: &str| match text {
        "" => Err(format!("nothing stands after {sign}; write {sign}text for a part of a text")),
        _ => Ok(Operator::Contains(Box::new(Needle::case_blind(text)))),
    };
    if value == "*" {
        return asked(Operator::Exists, false);
    }
    if let Some(text) = value.strip_prefix('=') {
        return asked(equal(text), false);
    }
    if let Some(text) = value.strip_prefix('~') {
        return asked(contains("~", text)?, false);
    }
    if let Some(rest) = value.strip_prefix('!') {
        return match rest.as_bytes() {
            b"" => {
                Err("nothing stands after !; write !value, !* (is missing) or != (is not empty)".to_owned())
            }
            b"*" => asked(Operator::Exists, true),
            [b'=', ..] => asked(equal(&rest[1..]), true),
            [b'~', ..] => asked(contains("!~", &rest[1..])?, true),
            [b'<' | b'>', ..] => Err(format!(
                "there is no operator !{0}; write the opposite comparison, or !={0} for a text that begins so",
                &rest[..1]
            )),
            _ => asked(equal(rest), true),
        };
    }
    const SIGNS: [(&str, &[Ordering]); 4] = [
        (">=", &[Ordering::Greater, Ordering::Equal]),
        ("<=", &[Ordering::Less, Ordering::Equal]),
        (">", &[Ordering::Greater]),
        ("<", &[Ordering::Less]),
    ];
    for (sign, accepted) in SIGNS {
        if let Some(text) = value.strip_prefix(sign) {
            if text.is_empty() {
                return Err(format!(
                    "nothing stands after {sign}; write a number or a text, such as {sign}500"
                ));
            }
            return asked(Operator::Order { accepted, operand: Operand::new(text) }, false);
        }
    }
    asked(equal(value), false)
}

impl Operator {
    /// Whether a value, as JSON, passes the test.
    pub(super) fn accepts(&self, value: &str) -> bool {
        match self {
            Self::Exists => value != "null",
            Self::Equal(operand) => operand.is(value),
            Self::Order { accepted, operand } => {
                operand.ordering_of(value).is_some_and(|ordering| accepted.contains(&ordering))
            }
            Self::Contains(needle) => contains(value, needle),
        }
    }
}

/// What a value is compared with.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    text: String,
    number: Option<Number>,
}

impl Operand {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), number: serde_json::from_str(text).ok() }
    }

    /// The text that stands in the bytes of an entry with this value, unless escapes hide it. `None` if there are
    /// several ways to write the value.
    pub(super) fn as_written(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !text.is_empty() && self.number.is_none())
    }

    /// Strings by their text; numbers by value; true, false and null by name.
    fn is(&self, value: &str) -> bool {
        match value.as_bytes().first() {
            Some(b'"') => json::string(value).is_some_and(|text| *text == *self.text),
            Some(b't' | b'f' | b'n') => value == self.text,
            Some(b'-' | b'0'..=b'9') => {
                let numbers = self.number.as_ref().zip(serde_json::from_str(value).ok());
                numbers.is_some_and(|(wanted, number)| compared(&number, wanted) == Some(Ordering::Equal))
            }
            _ => false,
        }
    }

    /// How the value compares with this operand. A number is compared with numbers, and with strings that hold a number;
    /// anything else with strings, byte by byte.
    fn ordering_of(&self, value: &str) -> Option<Ordering> {
        let text = json::string(value);
        match &self.number {
            Some(wanted) => {
                let number: Number = serde_json::from_str(text.as_deref().unwrap_or(value)).ok()?;
                compared(&number, wanted)
            }
            None => Some(text?.as_bytes().cmp(self.text.as_bytes())),
        }
    }
}

fn compared(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// Whether a JSON value contains a text: a string in its text; a number, true or false as written; an object or array as
/// written, or in one of its strings. Null contains nothing.
pub(super) fn contains(value: &str, needle: &Needle) -> bool {
    match value.as_bytes().first() {
        Some(b'"') => json::string(value).is_some_and(|text| needle.is_in(&text)),
        Some(b'{' | b'[') => needle.is_in(value) || is_in_a_string(value, needle),
        Some(b'n') | None => false,
        Some(_) => needle.is_in(value),
    }
}

/// Whether a string with escapes, of valid JSON, contains the text when decoded.
fn is_in_a_string(json: &str, needle: &Needle) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(start) = memchr::memchr(b'"', &bytes[at..]).map(|found| at + found) {
        let mut end = start + 1;
        let mut escapes = false;
        while let Some(next) = memchr::memchr2(b'"', b'\\', &bytes[end.min(bytes.len())..]) {
            end += next;
            if bytes[end] == b'"' {
                break;
            }
            escapes = true;
            end += 2;
        }
        let string = json.get(start..=end).unwrap_or_default();
        if escapes && json::string(string).is_some_and(|text| needle.is_in(&text)) {
            return true;
        }
        at = (end + 1).min(bytes.len());
    }
    false
}
