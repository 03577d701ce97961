//! Filters of a query: what its records hold, and a range of time. Level and time are columns of a block and are
//! checked first.

use sha2::{Digest, Sha256};

use crate::logbook::cursor::QuestionHash;
use crate::logbook::new_entry::Invalid;
use crate::model::entry_filter::{BadFilter, EntryFilter};
use crate::model::level::Level;
use crate::model::time_bound::TimeBound;

/// Filters of a query; all must match.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    pub entry: EntryFilter,
    /// Included.
    pub since: Option<TimeBound>,
    /// Excluded.
    pub until: Option<TimeBound>,
}

/// In which order records are answered, by their time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    #[default]
    NewestFirst,
    /// Of one app, and without an offset.
    OldestFirst,
}

impl Order {
    /// Reads `desc`, the default, or `asc`.
    ///
    /// # Errors
    /// The refusal of anything else.
    pub fn parse(text: Option<&str>) -> Result<Self, &'static str> {
        match text {
            None | Some("desc") => Ok(Self::NewestFirst),
            Some("asc") => Ok(Self::OldestFirst),
            Some(_) => Err("order must be desc or asc"),
        }
    }
}

impl From<BadFilter> for Invalid {
    fn from(bad: BadFilter) -> Self {
        Self::new(bad.name, bad.message)
    }
}

impl Filter {
    /// Adds bounds of time, as callers write them.
    ///
    /// # Errors
    /// [`Invalid`], naming the field.
    pub fn new(entry: EntryFilter, since: Option<&str>, until: Option<&str>) -> Result<Self, Invalid> {
        let bound = |name: &str, text: Option<&str>| {
            let parsed = text.map(TimeBound::parse).transpose();
            parsed.map_err(|bad| Invalid::new(name, format!("{name} {bad}")))
        };
        Ok(Self { entry, since: bound("since", since)?, until: bound("until", until)? })
    }

    /// Checks the range of time for a request of `now_ms`.
    ///
    /// # Errors
    /// `until` is not later than `since`.
    pub fn check_range(&self, now_ms: i64) -> Result<(), Invalid> {
        match (self.since.map(|since| since.ms(now_ms)), self.until.map(|until| until.ms(now_ms))) {
            (Some(since_ms), Some(until_ms)) if until_ms <= since_ms => {
                Err(Invalid::new("until", "until must be later than since"))
            }
            _ => Ok(()),
        }
    }

    /// Returns the hash of this query about one app, or about all, in an order.
    #[must_use]
    pub fn question(&self, scope: Option<&str>, order: Order) -> QuestionHash {
        let mut hash = Sha256::new();
        let mut part = |name: u8, text: &[u8]| {
            hash.update([name]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        match scope {
            Some(app_id) => part(b'a', app_id.as_bytes()),
            None => part(b'*', b""),
        }
        if order == Order::OldestFirst {
            part(b'o', b"");
        }
        for level in Level::ALL {
            if self.entry.levels().contains(&level) {
                part(b'l', level.as_str().as_bytes());
            }
        }
        for (name, bound) in [(b's', self.since), (b'u', self.until)] {
            match bound {
                Some(TimeBound::At(ms)) => part(name, &ms.to_be_bytes()),
                // The cursor has the time of the request.
                Some(TimeBound::Ago(ms)) => part(name.to_ascii_uppercase(), &ms.to_be_bytes()),
                None => {}
            }
        }
        for (name, value) in self.entry.pairs().iter().filter(|(name, _)| name != "level") {
            part(b'n', name.as_bytes());
            part(b'v', value.as_bytes());
        }
        let whole: [u8; 32] = hash.finalize().into();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_differ_by_scope_and_by_every_filter() {
        let entry = |name: &str, value: &str| Filter {
            entry: EntryFilter::read([(name, value)]).unwrap(),
            ..Filter::default()
        };
        let filters = [
            Filter::default(),
            entry("level", "ERROR"),
            Filter { since: Some(TimeBound::At(1)), ..Filter::default() },
            Filter { since: Some(TimeBound::Ago(1)), ..Filter::default() },
            Filter { until: Some(TimeBound::At(1)), ..Filter::default() },
            entry("request_id", "1"),
            entry("search", "1"),
            entry("search_in", "all"),
            entry("field.1", ""),
            entry("field.1", "1"),
            entry("context.1", "1"),
        ];
        let (new, old) = (Order::NewestFirst, Order::OldestFirst);
        let mut hashes: Vec<_> = filters
            .iter()
            .flat_map(|f| {
                [
                    f.question(None, new),
                    f.question(Some("a"), new),
                    f.question(Some("b"), new),
                    f.question(None, old),
                ]
            })
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), filters.len() * 4);
        assert_eq!(
            entry("level", "WARN,ERROR").question(None, new),
            entry("level", "error, warn").question(None, new)
        );
    }

    #[test]
    fn a_bound_that_is_none_is_refused_by_its_name() {
        let refused =
            Filter::new(EntryFilter::default(), None, Some("2025-04-01T18:34:01 01:00")).unwrap_err();
        assert!(
            refused.field == "until" && refused.message.starts_with("until has an offset whose + arrived")
        );
    }
}
