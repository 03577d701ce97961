//! The patterns of `pat()`: `*` any text, `?` one character, `[a-z]` one of a class, `\` escapes.

use crate::condition::steps::{OutOfSteps, Steps};

/// One part of a parsed pattern; matches one character.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    One,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// The part between two `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Pieces(Vec<Piece>),
}

/// A parsed pattern. Plain text between two `*` is searched in linear time. With `?` or a class, every
/// position is tried, with one step per compared part, and per range of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// Before the first `*`, or all of a pattern without `*`.
    first: Segment,
    /// After each `*`.
    rest: Vec<Segment>,
}

impl Glob {
    /// Parses a pattern. The error says what is wrong.
    pub fn parse(pattern: &str) -> Result<Glob, String> {
        let (mut segments, mut pieces) = (Vec::new(), Vec::new());
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' => {
                    segments.push(Segment::of(std::mem::take(&mut pieces)));
                    continue;
                }
                '?' => Piece::One,
                '\\' => Piece::Char(chars.next().ok_or("the pattern ends in a backslash")?),
                '[' => parse_class(&mut chars)?,
                other => Piece::Char(other),
            });
        }
        segments.push(Segment::of(pieces));
        let first = segments.remove(0);
        Ok(Glob { first, rest: segments })
    }

    /// Whether the whole text matches.
    ///
    /// # Errors
    /// The steps were used up.
    pub fn matches(&self, text: &str, steps: &Steps) -> Result<bool, OutOfSteps> {
        let Some(mut text) = self.first.strip_from(text, steps)? else { return Ok(false) };
        let Some((last, middle)) = self.rest.split_last() else { return Ok(text.is_empty()) };
        for segment in middle {
            // The first position is the best: a segment always matches the same number of characters.
            let Some(after) = segment.find_in(text, steps)? else { return Ok(false) };
            text = after;
        }
        last.ends(text, steps)
    }
}

impl Segment {
    fn of(pieces: Vec<Piece>) -> Segment {
        let literal = |piece: &Piece| if let Piece::Char(c) = piece { Some(*c) } else { None };
        match pieces.iter().map(literal).collect() {
            Some(text) => Segment::Text(text),
            None => Segment::Pieces(pieces),
        }
    }

    /// Returns the text after the segment, if the text starts with it.
    fn strip_from<'t>(&self, text: &'t str, steps: &Steps) -> Result<Option<&'t str>, OutOfSteps> {
        match self {
            Segment::Text(start) => {
                steps.read(start.len())?;
                Ok(text.strip_prefix(start.as_str()))
            }
            Segment::Pieces(pieces) => {
                let (mut chars, mut compared) = (text.chars(), 0);
                for piece in pieces {
                    compared += piece.steps();
                    if !chars.next().is_some_and(|c| piece.takes(c)) {
                        steps.take(compared)?;
                        return Ok(None);
                    }
                }
                steps.take(compared)?;
                Ok(Some(chars.as_str()))
            }
        }
    }

    /// Returns the text after the first occurrence of the segment.
    fn find_in<'t>(&self, text: &'t str, steps: &Steps) -> Result<Option<&'t str>, OutOfSteps> {
        match self {
            Segment::Text(wanted) => {
                let after = text.split_once(wanted.as_str()).map(|(_, after)| after);
                steps.read(text.len() - after.map_or(0, str::len))?;
                Ok(after)
            }
            Segment::Pieces(_) => {
                for (start, _) in text.char_indices() {
                    if let Some(after) = self.strip_from(text.get(start..).unwrap_or_default(), steps)? {
                        return Ok(Some(after));
                    }
                }
                Ok(None)
            }
        }
    }

    fn ends(&self, text: &str, steps: &Steps) -> Result<bool, OutOfSteps> {
        match self {
            Segment::Text(end) => {
                steps.read(end.len())?;
                Ok(text.ends_with(end.as_str()))
            }
            Segment::Pieces(pieces) => {
                let start = text.char_indices().rev().nth(pieces.len().saturating_sub(1));
                let end = start.and_then(|(start, _)| text.get(start..));
                Ok(end.map(|end| self.strip_from(end, steps)).transpose()?.flatten().is_some())
            }
        }
    }
}

impl Piece {
    /// Returns the steps of a comparison: a class is compared range by range.
    fn steps(&self) -> usize {
        match self {
            Piece::One | Piece::Char(_) => 1,
            Piece::Class { ranges, .. } => ranges.len(),
        }
    }

    fn takes(&self, c: char) -> bool {
        match self {
            Piece::One => true,
            Piece::Char(wanted) => c == *wanted,
            Piece::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn parse_class(chars: &mut std::str::Chars<'_>) -> Result<Piece, String> {
    let unclosed = || "the pattern has a [ without its ]".to_string();
    let mut ranges = Vec::new();
    let mut next = chars.next().ok_or_else(unclosed)?;
    let negated = next == '^';
    if negated {
        next = chars.next().ok_or_else(unclosed)?;
    }
    loop {
        match next {
            ']' if ranges.is_empty() => return Err("the pattern has an empty []".to_string()),
            ']' => return Ok(Piece::Class { negated, ranges }),
            _ => {}
        }
        let low = if next == '\\' { chars.next().ok_or_else(unclosed)? } else { next };
        next = chars.next().ok_or_else(unclosed)?;
        let mut high = low;
        if next == '-' {
            high = chars.next().ok_or_else(unclosed)?;
            next = chars.next().ok_or_else(unclosed)?;
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn patterns_match_the_whole_text() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("john*", "john.doe", true),
            ("john*", "bob", false),
            ("*doe", "john.doe", true),
            ("*o*n*d*", "john.doe", true),
            ("j?hn", "john", true),
            ("j?hn", "jhn", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("*a/b*", "x/a/b/c", true),
            ("4*", "404", true),
            ("4*", "200", false),
            ("*ab*ab*", "abxab", true),
            ("*ab*ab*", "abxa", false),
            ("é?", "éü", true),
            ("**", "x", true),
            ("a**b", "ab", true),
            ("ab*b", "ab", false),
            ("a?*?b", "axb", false),
            ("*[0-9]?*", "x1", false),
            ("*[0-9]?", "x1y2z", true),
            ("*[0-9]?", "x1y", true),
            ("*[ü]é*ß", "aüébß", true),
        ] {
            let found = Glob::parse(pattern).unwrap().matches(text, &Steps::default());
            assert_eq!(found, Ok(matches), "{pattern} {text}");
        }
    }

    #[test]
    fn a_broken_pattern_says_what_is_wrong() {
        assert_eq!(Glob::parse("[ab").unwrap_err(), "the pattern has a [ without its ]");
        assert_eq!(Glob::parse("[]").unwrap_err(), "the pattern has an empty []");
        assert_eq!(Glob::parse("a\\").unwrap_err(), "the pattern ends in a backslash");
    }

    fn taken(pattern: &str, text: &str) -> (Result<bool, OutOfSteps>, usize) {
        let steps = Steps::default();
        (Glob::parse(pattern).unwrap().matches(text, &steps), steps.taken())
    }

    #[test]
    fn plain_texts_are_found_in_steps_of_the_texts_length_however_they_repeat() {
        let page = "a".repeat(256 * 1024);
        let almost = "a".repeat(480);
        for pattern in [
            format!("*{almost}b"),
            format!("*{almost}b*"),
            format!("{almost}*b*"),
            "*a".repeat(240) + "*b*",
            "*a*b".repeat(120),
        ] {
            let (matches, steps) = taken(&pattern, &page);
            assert_eq!(matches, Ok(false), "{pattern}");
            assert!(steps <= page.len() / 16 + 500, "{steps} {pattern}");
        }
    }

    #[test]
    fn a_pattern_that_would_take_text_times_pattern_steps_runs_out_of_them() {
        let page = "a".repeat(256 * 1024);
        for pattern in [
            format!("*?{}b*", "a".repeat(470)),
            format!("*{}[bc]*", "a".repeat(470)),
            format!("*{}[bc]x*", "[a-z]".repeat(95)),
        ] {
            assert_eq!(
                taken(&pattern, &page),
                (Err(OutOfSteps), crate::condition::steps::MAX_STEPS),
                "{pattern}"
            );
        }
        assert_eq!(taken("*[0-9]?x*", &page), (Ok(false), page.len()));
        assert_eq!(taken("*[bcd0-9]*", &page), (Ok(false), 4 * page.len()));
    }
}
