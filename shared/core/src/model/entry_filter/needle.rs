//! Searched texts, compiled. The time of a search is linear in the length of the searched bytes, for any
//! texts.

use memchr::arch::all::packedpair::Pair;
use memchr::memmem::Finder;

#[derive(Debug, Clone)]
pub(super) struct Needle {
    /// Lower case if case-insensitive.
    text: String,
    finder: Finder<'static>,
    /// Has no characters that JSON must escape. ASCII if case-insensitive.
    plain: bool,
    /// Where its rarest byte is, and the two forms of that byte, if case-insensitive.
    rare: (usize, [u8; 2]),
    case_blind: bool,
}

impl Needle {
    pub(super) fn exact(text: &str) -> Self {
        Self::new(text.to_owned(), false)
    }

    pub(super) fn case_blind(text: &str) -> Self {
        Self::new(folded(text), true)
    }

    fn new(text: String, case_blind: bool) -> Self {
        let stands_as_it_is = |c: char| c >= ' ' && !matches!(c, '"' | '\\');
        let plain = !text.is_empty() && text.chars().all(stands_as_it_is) && (!case_blind || text.is_ascii());
        let at = Pair::new(text.as_bytes()).map_or(0, |pair| usize::from(pair.index1()));
        let rarest = text.as_bytes().get(at).copied().unwrap_or_default();
        Self {
            finder: Finder::new(&text).into_owned(),
            text,
            plain,
            rare: (at, [rarest, rarest.to_ascii_uppercase()]),
            case_blind,
        }
    }

    /// Whether it may occur in the strings of a JSON text for which [`hides_text`] is false, or in a text that
    /// is not JSON.
    pub(super) fn may_be_in(&self, raw: &str) -> bool {
        if !self.plain {
            return true;
        }
        match self.case_blind {
            // Non-ASCII letters may have ASCII lower-case forms.
            true => !raw.is_ascii() || self.is_in_blindly(raw.as_bytes()),
            false => self.finder.find(raw.as_bytes()).is_some(),
        }
    }

    pub(super) fn is_in(&self, text: &str) -> bool {
        if !self.case_blind {
            self.finder.find(text.as_bytes()).is_some()
        } else if self.plain && text.is_ascii() {
            self.is_in_blindly(text.as_bytes())
        } else {
            self.finder.find(folded(text).as_bytes()).is_some()
        }
    }

    fn is_in_blindly(&self, haystack: &[u8]) -> bool {
        let needle = self.text.as_bytes();
        let Some(last) = haystack.len().checked_sub(needle.len()) else { return false };
        let (rare_at, [lower, upper]) = self.rare;
        let mut compared = 0;
        for at in memchr::memchr2_iter(lower, upper, &haystack[rare_at..=last + rare_at]) {
            let pairs = haystack[at..].iter().zip(needle);
            let alike = pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
            if alike == needle.len() {
                return true;
            }
            compared += alike;
            if compared > haystack.len() {
                // Both texts are repetitive: comparing at each position would take their product.
                return self.finder.find(&haystack.to_ascii_lowercase()).is_some();
            }
        }
        false
    }
}

/// Whether a JSON text has escapes that may spell a character which JSON does not need to escape. Without
/// them, a plain text that occurs in a string occurs in the bytes as well.
pub(super) fn hides_text(json: &str) -> bool {
    let bytes = json.as_bytes();
    memchr::memchr_iter(b'\\', bytes).any(|at| matches!(bytes.get(at + 1), Some(b'u' | b'/')))
}

/// Whether a text may have colours of terminals. JSON has them only as escapes, for which [`hides_text`] is true.
pub(super) fn has_colours(text: &str) -> bool {
    memchr::memchr(0x1b, text.as_bytes()).is_some()
}

/// A text whose characters have one case. Each character is folded by itself and stays one, so that a part of a
/// text is also a part of the folded text: a sigma is the same within a word as at its end.
fn folded(text: &str) -> String {
    fn one(mut chars: impl Iterator<Item = char>) -> Option<char> {
        chars.next().filter(|_| chars.next().is_none())
    }
    let fold = |c: char| {
        // The dotless i is a letter of its own.
        if c == 'ı' {
            return c;
        }
        let upper = one(c.to_uppercase()).unwrap_or(c);
        one(upper.to_lowercase()).unwrap_or(upper)
    };
    text.chars().map(fold).collect()
}
