//! Decides from a few bytes whether a rule can apply to an entry, so that the regular expressions read few
//! entries. A wrong yes costs time only; a no is certain.
//!
//! Every name contains a pair of letters that is rare in logs. One search at memory speed finds all pairs in
//! any case; what surrounds a pair is then compared with the names of that pair.

use std::collections::BTreeMap;

use aho_corasick::Span;
use aho_corasick::packed::Searcher;
use memchr::memmem;
use regex_syntax::hir::literal::Extractor;

use super::listed;

/// Letters by their frequency in English, the most frequent first.
const BY_FREQUENCY: &[u8] = b"etaoinsrhldcumfpgwybvkxjqz";

/// What begins an escape of JSON, which may hide a name.
const ESCAPE: &[u8] = b"\\u00";

/// Stands for `-`, `_` or nothing between the words of a name.
const JOIN: u8 = b'-';

/// Finds entries to which a rule may apply.
#[derive(Debug, Clone)]
pub(super) struct Suspects {
    anchors: Searcher,
    /// By the number of the anchor: names that contain it.
    names: Vec<Vec<Place>>,
    /// What a match of a pattern begins with.
    literals: Vec<Vec<u8>>,
    /// Names of query parameters in small letters, by their last one.
    query: BTreeMap<u8, Vec<Vec<u8>>>,
}

/// Where in a name an anchor stands.
#[derive(Debug, Clone)]
struct Place {
    /// In small letters, its words joined by [`JOIN`].
    name: Vec<u8>,
    at: usize,
}

impl Suspects {
    /// `None` if the rules or the processor do not allow a decision.
    pub(super) fn new(names: &str, query: &str, patterns: &[&str]) -> Option<Self> {
        let names: Vec<Vec<u8>> = listed(names).map(plain_name).collect::<Option<_>>()?;
        let query = by_last(listed(query).map(plain_name).collect::<Option<_>>()?);
        let mut literals = Vec::new();
        for pattern in patterns {
            let hir = regex_syntax::parse(pattern).ok()?;
            let beginnings = Extractor::new().extract(&hir);
            literals.extend(beginnings.literals()?.iter().map(|literal| literal.as_bytes().to_vec()));
        }
        let mut anchors: BTreeMap<[u8; 2], Vec<Place>> = BTreeMap::new();
        for literal in &literals {
            anchors.entry(*literal.first_chunk()?).or_default();
        }
        let known: Vec<[u8; 2]> = anchors.keys().copied().collect();
        for (pair, places) in pairs_of(names, &known)? {
            for cased in in_any_case(pair) {
                anchors.entry(cased).or_default().extend_from_slice(&places);
            }
        }
        // The searcher has eight classes and begins a new one with each new pair of letters, the next by
        // number: in small letters first, every pair gets its own, and it has hardly any false alarms.
        let mut anchors: Vec<_> = anchors.into_iter().collect();
        anchors.sort_by_key(|(pair, _)| pair.iter().any(u8::is_ascii_uppercase));
        let searcher = Searcher::new(anchors.iter().map(|(pair, _)| pair))?;
        Some(Self {
            anchors: searcher,
            names: anchors.into_iter().map(|(_, names)| names).collect(),
            literals,
            query,
        })
    }

    /// Whether a rule may apply to the entry.
    pub(super) fn any_in(&self, raw: &str) -> bool {
        let raw = raw.as_bytes();
        self.anchored(raw).next().is_some()
            || self.queried(raw).next().is_some()
            || memmem::find(raw, ESCAPE).is_some()
    }

    /// Places in a text of many entries, in ascending order, such that a rule may only apply to an entry with
    /// such a place in it.
    pub(super) fn all_in(&self, text: &[u8]) -> Vec<usize> {
        let escapes = memmem::find_iter(text, ESCAPE);
        let mut places: Vec<_> = self.anchored(text).chain(self.queried(text)).chain(escapes).collect();
        places.sort_unstable();
        places
    }

    fn anchored(&self, raw: &[u8]) -> impl Iterator<Item = usize> {
        let mut from = 0;
        let anchors = std::iter::from_fn(move || {
            let found = self.anchors.find_in(raw, Span::from(from..raw.len()))?;
            from = found.start() + 1;
            Some((found.start(), found.pattern().as_usize()))
        });
        let is_suspect = |&(at, number): &(usize, usize)| {
            let rest = &raw[at..];
            self.literals.iter().any(|literal| rest.starts_with(literal))
                || self.names[number].iter().any(|place| place.names_a_value(raw, at))
        };
        anchors.filter(is_suspect).map(|(at, _)| at)
    }

    /// Parameters of queries: `?name=`, `&name=`, `;name=`.
    fn queried(&self, raw: &[u8]) -> impl Iterator<Item = usize> {
        let equals = (!self.query.is_empty()).then(|| memchr::memchr_iter(b'=', raw));
        let is_suspect = |&equals: &usize| {
            let last = equals.checked_sub(1).map(|last| raw[last].to_ascii_lowercase());
            let names = last.and_then(|last| self.query.get(&last));
            names.into_iter().flatten().any(|name| {
                let begin = matched_before(raw, equals, name);
                begin.is_some_and(|begin| begin > 0 && matches!(raw[begin - 1], b'?' | b'&' | b';'))
            })
        };
        equals.into_iter().flatten().filter(is_suspect)
    }
}

impl Place {
    /// Whether the name stands there, followed by what stands before a value.
    fn names_a_value(&self, raw: &[u8], at: usize) -> bool {
        let (before, from) = self.name.split_at(self.at);
        if matched_before(raw, at, before).is_none() {
            return false;
        }
        let Some(end) = matched_after(raw, at, from) else { return false };
        let mut rest = raw[end..].iter();
        // White space need not be ASCII.
        let between = |&&byte: &&u8| {
            matches!(byte, b'\\' | b'"' | b'\'' | 0x0b) || byte.is_ascii_whitespace() || !byte.is_ascii()
        };
        matches!(rest.find(|byte| !between(byte)), Some(b':' | b'='))
    }
}

/// A name in small letters, its words joined by [`JOIN`]. `None` if it is not made of letters and digits, or
/// does not end with one.
fn plain_name(name: &str) -> Option<Vec<u8>> {
    name.ends_with(|c: char| c.is_ascii_alphanumeric()).then_some(())?;
    let letter = |byte: u8| match byte {
        b'-' | b'_' => Some(JOIN),
        _ => byte.is_ascii_alphanumeric().then(|| byte.to_ascii_lowercase()),
    };
    name.bytes().map(letter).collect()
}

fn by_last(names: Vec<Vec<u8>>) -> BTreeMap<u8, Vec<Vec<u8>>> {
    let mut by_last: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
    for name in names {
        by_last.entry(name.last().copied().unwrap_or(JOIN)).or_default().push(name);
    }
    by_last
}

/// Where a name begins that ends at `end`.
fn matched_before(raw: &[u8], end: usize, name: &[u8]) -> Option<usize> {
    let mut at = end;
    for &letter in name.iter().rev() {
        let before = at.checked_sub(1).map(|before| raw[before]);
        match before {
            Some(b'-' | b'_') if letter == JOIN => at -= 1,
            _ if letter == JOIN => {}
            Some(byte) if byte.to_ascii_lowercase() == letter => at -= 1,
            _ => return None,
        }
    }
    Some(at)
}

/// Where a name ends that begins at `begin`.
fn matched_after(raw: &[u8], begin: usize, name: &[u8]) -> Option<usize> {
    let mut at = begin;
    for &letter in name {
        match raw.get(at) {
            Some(b'-' | b'_') if letter == JOIN => at += 1,
            _ if letter == JOIN => {}
            Some(byte) if byte.to_ascii_lowercase() == letter => at += 1,
            _ => return None,
        }
    }
    Some(at)
}

/// Pairs of letters such that every name contains one, and where; `known` ones cost nothing. `None` if a name
/// has no two letters in a row.
fn pairs_of(mut names: Vec<Vec<u8>>, known: &[[u8; 2]]) -> Option<Vec<([u8; 2], Vec<Place>)>> {
    let mut pairs = Vec::new();
    while !names.is_empty() {
        let pair = best_pair(&names, known)?;
        let at = |name: &[u8]| name.windows(2).position(|window| window == pair);
        let (with, without): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| at(name).is_some());
        let place = |name: Vec<u8>| at(&name).map(|at| Place { name, at });
        pairs.push((pair, with.into_iter().filter_map(place).collect()));
        names = without;
    }
    Some(pairs)
}

/// The pair that is rare in logs and frequent in the names.
fn best_pair(names: &[Vec<u8>], known: &[[u8; 2]]) -> Option<[u8; 2]> {
    let mut names_with: BTreeMap<[u8; 2], usize> = BTreeMap::new();
    for name in names {
        let windows = name.windows(2).filter_map(<[u8]>::first_chunk);
        let mut pairs: Vec<[u8; 2]> = windows.copied().filter(|pair| !pair.contains(&JOIN)).collect();
        pairs.sort_unstable();
        pairs.dedup();
        pairs.into_iter().for_each(|pair| *names_with.entry(pair).or_default() += 1);
    }
    let rarity = |letter: u8| BY_FREQUENCY.iter().position(|&other| other == letter).unwrap_or(0);
    let worth = |pair: [u8; 2]| (known.contains(&pair), (rarity(pair[0]) + rarity(pair[1])).pow(2));
    let all = names_with.into_iter().map(|(pair, names)| (worth(pair).0, worth(pair).1 * names, pair));
    all.max().map(|(_, _, pair)| pair)
}

fn in_any_case([first, second]: [u8; 2]) -> Vec<[u8; 2]> {
    let (upper, last) = (first.to_ascii_uppercase(), second.to_ascii_uppercase());
    let mut all = vec![[first, second], [first, last], [upper, second], [upper, last]];
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::sync::LazyLock;

    use super::super::{DEFAULT_NAMES, DEFAULT_PATTERNS, DEFAULT_QUERY, Redactor};
    use super::*;
    use crate::model::record::EntryKind;

    fn standard() -> Suspects {
        Suspects::new(DEFAULT_NAMES, DEFAULT_QUERY, &[DEFAULT_PATTERNS]).unwrap()
    }

    #[test]
    fn a_name_is_suspect_only_where_a_value_may_follow_it() {
        for (raw, suspect) in [
            (r#"{"apiKey":1}"#, true),
            (r#"{"a":"{\"Set_Cookie\" : 1}"}"#, true),
            ("API-KEY = x", true),
            ("{'token': 'x'}", true),
            ("the token's: x", false),
            ("the token\u{a0}:x", true),
            ("the token is invalid", false),
            (r#"{"tokens":1,"keyboard":2,"secretary":3}"#, false),
            ("GET /x?a=1&Access-Token=2", true),
            ("GET /x?a=1&author=2&monkey=3", false),
            ("GET /key=1", false),
            ("heyJude", true),
            (r#"{"a":"\u0061\u20ac"}"#, true),
            (r#"{"a":"\u20ac"}"#, false),
            ("", false),
            ("k", false),
        ] {
            assert_eq!(standard().any_in(raw), suspect, "{raw}");
        }
    }

    #[test]
    fn rules_that_no_pair_decides_have_no_suspects() {
        assert!(Suspects::new("x,y", "-", &[]).is_none());
        assert!(Suspects::new("größe", "-", &[]).is_none());
        assert!(Suspects::new("-", "a.b", &[]).is_none());
        assert!(Suspects::new("-", "-", &[r"\d+"]).is_none());
        assert!(Suspects::new("pwd", "-", &[]).is_some());
    }

    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-zA-Z_-]{0,3}",
            "[ \\t\u{a0}\"'\\\\:=>?&;]{0,3}",
            prop::sample::select(DEFAULT_NAMES.split(',').map(str::trim).collect::<Vec<_>>())
                .prop_map(|name| name.replace('_', "")),
            prop::sample::select(DEFAULT_NAMES.split(',').map(str::trim).collect::<Vec<_>>())
                .prop_map(str::to_uppercase),
            prop::sample::select(DEFAULT_QUERY.split(',').map(str::trim).collect::<Vec<_>>())
                .prop_map(str::to_owned),
            Just("eyJhbGciOiJIUzI1NiIs.a.b".to_owned()),
            Just("\\u0074oken=x".to_owned()),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_not_suspect_no_rule_would_change(text in text()) {
            static RULES: LazyLock<(Suspects, Redactor)> =
                LazyLock::new(|| (standard(), Redactor::standard().unwrap().by_expressions_alone()));
            let (suspects, rules) = &*RULES;
            for kind in [EntryKind::Json, EntryKind::PlainText] {
                if !suspects.any_in(&text) {
                    prop_assert_eq!(&*rules.entry(kind, &text), &text);
                }
                let longer = format!("{text}\n{text}=");
                let within = suspects.all_in(longer.as_bytes()).iter().any(|&at| at < text.len());
                prop_assert!(within || !suspects.any_in(&text), "{}", text);
            }
        }
    }
}
