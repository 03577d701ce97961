//! Gatus's conditions (`[STATUS] == 200`, `len([BODY].items) > 0`), parsed at registration and evaluated by
//! probes.
//!
//! Stricter than Gatus, where Gatus accepts mistakes: an unknown placeholder, a condition without any, an
//! unclosed function and `<` against a word are errors; a missing or non-numeric value fails `<` instead of
//! counting as 0.

pub mod facts;
pub mod glob;
pub mod go_number;
mod operand;
pub mod steps;

use std::fmt;

use crate::condition::facts::Facts;
use crate::condition::go_number::{parse_integer, parse_quantity};
use crate::condition::operand::{Operand, OperandKind};
use crate::condition::steps::{OutOfSteps, Steps};

/// Maximum length of a condition (bytes).
pub const MAX_CONDITION_BYTES: usize = 500;
/// Maximum bytes of a value in a failed condition, and next to a pattern.
const MAX_SHOWN_BYTES: usize = 100;
const MAX_SHOWN_BESIDE_PATTERN_BYTES: usize = 25;

/// A parsed condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    source: String,
    left: Operand,
    operator: Operator,
    right: Operand,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    AtMost,
    AtLeast,
    Above,
    Below,
}

/// A failed condition with the actual value: `[STATUS] (404) == 200`.
pub type Failure = String;

impl Condition {
    /// Parses a condition. The error is the reason, written for the author of the condition.
    pub fn parse(source: &str) -> Result<Condition, String> {
        if source.len() > MAX_CONDITION_BYTES {
            return Err(format!("is longer than {MAX_CONDITION_BYTES} bytes"));
        }
        let (left, operator, right) =
            split(source).ok_or("has no operator: write one of == != <= >= < > with a space on each side")?;
        let condition = Condition {
            source: source.trim().to_string(),
            left: Operand::parse(left)?,
            operator,
            right: Operand::parse(right)?,
        };
        condition.check_sense()?;
        Ok(condition)
    }

    fn check_sense(&self) -> Result<(), String> {
        let sides = [(&self.left, &self.right), (&self.right, &self.left)];
        if !sides.iter().any(|(side, _)| side.is_placeholder()) {
            return Err("has no placeholder such as [STATUS] on either side".to_string());
        }
        let ordering = !matches!(self.operator, Operator::Equal | Operator::NotEqual);
        for (side, other) in sides {
            match &side.kind {
                OperandKind::Pattern(_) | OperandKind::AnyOf(_) if ordering => {
                    return Err("uses pat() or any() with an operator other than == and !=".to_string());
                }
                OperandKind::Literal if ordering && parse_quantity(&side.text).is_none() => {
                    return Err(format!(
                        "compares with {:?}, which is neither a number nor a duration",
                        side.text
                    ));
                }
                OperandKind::Connected | OperandKind::HasBody(_) if ordering => {
                    return Err(format!("orders {}, which is true or false", side.text));
                }
                OperandKind::Connected | OperandKind::HasBody(_)
                    if other.kind == OperandKind::Literal
                        && !matches!(other.text.as_str(), "true" | "false") =>
                {
                    return Err(format!("compares {} with {:?}; it is true or false", side.text, other.text));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the response body must be read.
    pub fn needs_body(&self) -> bool {
        [&self.left, &self.right].iter().any(|side| {
            matches!(side.kind, OperandKind::Body(_) | OperandKind::LenOfBody(_) | OperandKind::HasBody(_))
        })
    }

    /// Evaluates the condition. A failure contains the actual value. A condition without remaining steps
    /// fails.
    pub fn evaluate(&self, facts: &Facts) -> Result<(), Failure> {
        self.judge(facts).unwrap_or_else(|OutOfSteps| {
            Err(format!("{} (not judged: the check's conditions take too many steps)", self.source))
        })
    }

    fn judge(&self, facts: &Facts) -> Result<Result<(), Failure>, OutOfSteps> {
        let (left, right) = (self.left.resolve(facts)?, self.right.resolve(facts)?);
        let (left, right): (Option<&str>, Option<&str>) = (left.as_deref(), right.as_deref());
        let holds = match self.operator {
            Operator::Equal => self.equal(left, right, &facts.steps)?,
            Operator::NotEqual => !self.equal(left, right, &facts.steps)?,
            ordering => match (left.and_then(parse_quantity), right.and_then(parse_quantity)) {
                (Some(left), Some(right)) => match ordering {
                    Operator::AtMost => left <= right,
                    Operator::AtLeast => left >= right,
                    Operator::Above => left > right,
                    Operator::Below | Operator::Equal | Operator::NotEqual => left < right,
                },
                _ => false,
            },
        };
        if holds {
            return Ok(Ok(()));
        }
        let beside_pattern = matches!(self.left.kind, OperandKind::Pattern(_))
            || matches!(self.right.kind, OperandKind::Pattern(_));
        let limit = if beside_pattern { MAX_SHOWN_BESIDE_PATTERN_BYTES } else { MAX_SHOWN_BYTES };
        Ok(Err(format!(
            "{} {} {}",
            self.left.shown(left, limit),
            self.operator,
            self.right.shown(right, limit)
        )))
    }

    /// Gatus's equality: a pattern or list against the other side's text, integers by value, else text.
    fn equal(&self, left: Option<&str>, right: Option<&str>, steps: &Steps) -> Result<bool, OutOfSteps> {
        let (Some(left), Some(right)) = (left, right) else { return Ok(false) };
        Ok(match (&self.left.kind, &self.right.kind) {
            (OperandKind::Pattern(glob), _) => glob.matches(right, steps)?,
            (_, OperandKind::Pattern(glob)) => glob.matches(left, steps)?,
            (OperandKind::AnyOf(options), _) => options.iter().any(|option| option == right),
            (_, OperandKind::AnyOf(options)) => options.iter().any(|option| option == left),
            _ => match (parse_integer(left), parse_integer(right)) {
                (Some(left), Some(right)) => left == right,
                _ => left == right,
            },
        })
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::AtMost => "<=",
            Operator::AtLeast => ">=",
            Operator::Above => ">",
            Operator::Below => "<",
        })
    }
}

/// Gatus's order: `==` is searched first, so that a pattern may contain ` < `.
fn split(source: &str) -> Option<(&str, Operator, &str)> {
    [
        (" == ", Operator::Equal),
        (" != ", Operator::NotEqual),
        (" <= ", Operator::AtMost),
        (" >= ", Operator::AtLeast),
        (" > ", Operator::Above),
        (" < ", Operator::Below),
    ]
    .into_iter()
    .find_map(|(text, operator)| source.split_once(text).map(|(left, right)| (left, operator, right)))
}
