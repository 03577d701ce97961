//! The patterns of `pat()`: `*` any text, `?` one character, `[a-z]` one of a class, `\` quotes.

/// One part of a parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Char(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A parsed pattern; matching takes at most text × pattern steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Piece>);

impl Glob {
    /// The error says what is wrong with the pattern.
    pub fn parse(pattern: &str) -> Result<Glob, String> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            pieces.push(match c {
                '*' if pieces.last() == Some(&Piece::Any) => continue,
                '*' => Piece::Any,
                '?' => Piece::One,
                '\\' => Piece::Char(chars.next().ok_or("the pattern ends in a backslash")?),
                '[' => parse_class(&mut chars)?,
                other => Piece::Char(other),
            });
        }
        Ok(Glob(pieces))
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut t, mut p) = (0, 0);
        // where to go back to: the piece after the last `*`, and the text it would next swallow
        let mut retry: Option<(usize, usize)> = None;
        while t < text.len() {
            match self.0.get(p) {
                Some(Piece::Any) => {
                    p += 1;
                    retry = Some((p, t));
                }
                Some(piece) if text.get(t).is_some_and(|c| piece.takes(*c)) => {
                    p += 1;
                    t += 1;
                }
                _ => match retry {
                    Some((piece, start)) => {
                        p = piece;
                        t = start + 1;
                        retry = Some((piece, start + 1));
                    }
                    None => return false,
                },
            }
        }
        self.0.iter().skip(p).all(|piece| *piece == Piece::Any)
    }
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Piece::Any => false,
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
        ] {
            assert_eq!(Glob::parse(pattern).unwrap().matches(text), matches, "{pattern} {text}");
        }
    }

    #[test]
    fn a_broken_pattern_says_what_is_wrong() {
        assert_eq!(Glob::parse("[ab").unwrap_err(), "the pattern has a [ without its ]");
        assert_eq!(Glob::parse("[]").unwrap_err(), "the pattern has an empty []");
        assert_eq!(Glob::parse("a\\").unwrap_err(), "the pattern ends in a backslash");
    }

    #[test]
    fn a_hostile_pattern_takes_bounded_time() {
        let text = "a".repeat(20_000);
        assert!(!Glob::parse("*a*a*a*a*a*a*a*a*a*a*b").unwrap().matches(&text));
    }
}
