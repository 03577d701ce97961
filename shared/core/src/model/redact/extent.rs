//! Where the value that follows a name begins and ends: in text, and in the text of an object as JSON, Python,
//! JavaScript and Ruby write it.
//!
//! A quote that stands inside strings is escaped once for each of them, by 1, 3, 7, … backslashes. In JSON, one
//! with an even number of backslashes ends the string in which the value stands.

use std::ops::Range;

/// Returns where the value stands that begins at `start` after a name; empty if there is none. `of_one_word`:
/// a value without quotes is a word, else the rest of the line.
pub(super) fn in_text(text: &str, start: usize, json: bool, of_one_word: bool) -> Range<usize> {
    let bytes = text.as_bytes();
    let escapes = backslashes(bytes, start);
    let open = start + escapes;
    let quotes = Quotes { escapes, json };
    match bytes.get(open) {
        Some(b'"') if json && escapes.is_multiple_of(2) => start..start,
        Some(b'"') => open + 1..quotes.double_end(bytes, open + 1),
        Some(b'\'') => open + 1..quotes.single_end(bytes, open + 1),
        first if of_one_word => {
            let ends = |c: char| c.is_whitespace() || "\"'\\&,;)".contains(c);
            let word = text[start..].find(ends).map_or(text.len(), |length| start + length);
            // As in `{ token: [ 'a', 'b' ] }`.
            let is_object = matches!(first, Some(b'[' | b'{')) && escapes == 0;
            let object = is_object.then(|| ObjectText::of_key(0, false, json).value_end(text, start).at);
            start..object.unwrap_or(word).max(word)
        }
        _ => start..line_end(bytes, start, json),
    }
}

/// Returns the end of a line's rest: its end, or the quote that ends the text in which it stands. Texts in quotes
/// belong to it, as in `Digest username="a", realm="b"`.
fn line_end(bytes: &[u8], start: usize, json: bool) -> usize {
    let mut at = start;
    loop {
        at += bytes[at..].iter().take_while(|&&byte| !matches!(byte, b'"' | b'\\' | b'\r' | b'\n')).count();
        let escapes = backslashes(bytes, at);
        let next = at + escapes;
        match bytes.get(next) {
            Some(b'"') if !(json && escapes.is_multiple_of(2)) && begins_text(bytes, at, next) => {
                at = Quotes { escapes, json }.double_end(bytes, next + 1);
                let close = at + backslashes(bytes, at);
                if bytes.get(close) != Some(&b'"') || close - at != escapes {
                    return at;
                }
                at = close + 1;
            }
            Some(b'n' | b'r') if escapes % 2 == 1 => return at,
            Some(b'\r' | b'\n') => return next,
            Some(b'"') | None => return at,
            Some(_) => at = next,
        }
    }
}

/// Whether a quote, whose backslashes begin at `at`, begins a text: `a="b"`, and not the end of `"Basic abc="`.
fn begins_text(bytes: &[u8], at: usize, quote: usize) -> bool {
    let after_sign = at.checked_sub(1).is_some_and(|before| matches!(bytes[before], b'=' | b' '));
    let ends = |byte: &u8| byte.is_ascii_whitespace() || b",;)]}\\\"'".contains(byte);
    after_sign && bytes.get(quote + 1).is_some_and(|byte| !ends(byte))
}

/// How a text in quotes is written: how many backslashes its quotes have, and whether JSON is around it.
struct Quotes {
    escapes: usize,
    json: bool,
}

impl Quotes {
    /// Where the content of a text in `"` ends: before its closing quote, the end of the text around it, or the
    /// end of the line.
    fn double_end(&self, bytes: &[u8], from: usize) -> usize {
        let escaped = |run: usize| (run + 1).is_multiple_of(2 * (self.escapes + 1));
        content_end(bytes, from, |quote, run| quote == b'"' && !escaped(run))
    }

    /// The same of a text in `'`.
    fn single_end(&self, bytes: &[u8], from: usize) -> usize {
        content_end(bytes, from, |quote, run| match quote {
            b'\'' => run <= self.escapes,
            _ => self.json && run.is_multiple_of(2),
        })
    }
}

/// `ends`: whether a quote after this many backslashes ends the text.
fn content_end(bytes: &[u8], from: usize, ends: impl Fn(u8, usize) -> bool) -> usize {
    let mut run = 0;
    for (at, &byte) in bytes.iter().enumerate().skip(from) {
        match byte {
            b'\\' => run += 1,
            b'"' | b'\'' if ends(byte, run) => return at - run,
            b'\r' | b'\n' => return at,
            _ => run = 0,
        }
    }
    bytes.len()
}

fn backslashes(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().take_while(|&&byte| byte == b'\\').count()
}

/// How the text of an object is written: how many backslashes its quotes have.
pub(super) struct ObjectText {
    double: usize,
    single: usize,
}

/// Where a value ends.
pub(super) struct ValueEnd {
    pub(super) at: usize,
    /// It is not cut off.
    pub(super) whole: bool,
}

impl ObjectText {
    /// `escapes`: of the quote that closes the key, which is `double` or single. What has single quotes stands
    /// in a string if it stands in JSON.
    pub(super) fn of_key(escapes: usize, double: bool, json: bool) -> Self {
        if double {
            Self { double: escapes, single: 0 }
        } else {
            Self { double: usize::from(json), single: escapes }
        }
    }

    /// Returns the end of the value that begins at `start`.
    pub(super) fn value_end(&self, text: &str, start: usize) -> ValueEnd {
        let text = text.as_bytes();
        let end = |at| ValueEnd { at, whole: true };
        let (mut at, mut open, mut quote) = (start, 0u32, None);
        let mut run = 0;
        while let Some(&byte) = text.get(at) {
            match byte {
                b'\\' => run += 1,
                // The string ends in which the object stands.
                b'"' if run & self.double != self.double => return end(at - run),
                b'"' | b'\'' if quote == Some(byte) && self.is_quote(byte, run) => {
                    quote = None;
                    if open == 0 {
                        return end(at + 1);
                    }
                }
                b'"' if quote.is_none() && self.is_quote(byte, run) => quote = Some(byte),
                // Python writes b'…'; in a word, it is an apostrophe.
                b'\''
                    if quote.is_none()
                        && self.is_quote(byte, run)
                        && (at <= start + run + 1 || !text[at - run - 1].is_ascii_alphanumeric()) =>
                {
                    quote = Some(byte);
                }
                b'\r' | b'\n' if quote == Some(b'\'') => return end(at),
                _ if quote.is_some() => {}
                b'{' | b'[' | b'(' => open += 1,
                b')' if open == 0 => {}
                b'}' | b']' | b')' => {
                    if open == 0 {
                        return end(at);
                    }
                    open -= 1;
                    if open == 0 {
                        return end(at + 1);
                    }
                }
                b',' | b' ' | b'\t' | b'\r' | b'\n' if open == 0 && at > start => return end(at),
                _ => {}
            }
            run = if byte == b'\\' { run } else { 0 };
            at += 1;
        }
        ValueEnd { at, whole: false }
    }

    /// Whether a quote after this many backslashes begins or ends a string of the object.
    fn is_quote(&self, quote: u8, run: usize) -> bool {
        if quote == b'"' { run % (2 * (self.double + 1)) == self.double } else { run == self.single }
    }
}
