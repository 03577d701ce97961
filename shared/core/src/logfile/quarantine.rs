//! Quarantine rows for bad records. The first bad records of a file get a row each; later ones are merged
//! into ranges, so a file with only bad lines makes few rows. The rows depend on the object only: a
//! repeated run makes the same rows in the same order.

use std::collections::BTreeMap;

/// Number of bad records of a file that get their own row.
pub const SINGLE_ROWS: u64 = 1_000;

/// Number of ranges without good records. Later ranges may span good records.
pub const GAPLESS_RANGES: u64 = 1_000;

/// This many ranges have at least 2 bad records each, the next ones at least 4, then 8, and so on: a file
/// of five million bad records makes at most 3,600 rows, and no file makes more than 8,300.
const RANGES_OF_A_SIZE: u64 = 100;

/// Why a record is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum QuarantineReason {
    /// Invalid or truncated JSON.
    BrokenJson,
    /// JSON, but not an object.
    NotAnObject,
    /// Larger than the record limit (1 MiB).
    TooLarge,
    InvalidUtf8,
    /// A NUL inside a line of text.
    Nul,
    /// Nested over 64 levels.
    TooDeep,
    /// The stream ended inside it.
    CutOff,
}

impl QuarantineReason {
    pub const ALL: [Self; 7] = [
        Self::BrokenJson,
        Self::NotAnObject,
        Self::TooLarge,
        Self::InvalidUtf8,
        Self::Nul,
        Self::TooDeep,
        Self::CutOff,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BrokenJson => "BROKEN_JSON",
            Self::NotAnObject => "NOT_AN_OBJECT",
            Self::TooLarge => "TOO_LARGE",
            Self::InvalidUtf8 => "INVALID_UTF8",
            Self::Nul => "NUL",
            Self::TooDeep => "TOO_DEEP",
            Self::CutOff => "CUT_OFF",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// One bad record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRecord {
    pub ordinal: u64,
    pub reason: QuarantineReason,
    /// Byte range in the decompressed stream, end excluded.
    pub start: u64,
    pub end: u64,
}

/// A row of the quarantine: a bad record, or a range of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Quarantined {
    /// Ordinal of the first bad record.
    pub ordinal: u64,
    /// Ordinal of the last bad record.
    pub last_ordinal: u64,
    /// Number of bad records. It may be smaller than the ordinals suggest: the other records are valid and
    /// stored.
    pub count: u64,
    /// Why the first one is bad.
    pub reason: QuarantineReason,
    /// Number of bad records per reason.
    pub reasons: BTreeMap<QuarantineReason, u64>,
    /// From the first byte of the first record to the end of the last one (excluded), in decompressed
    /// bytes.
    pub start: u64,
    pub end: u64,
    /// At most [`MAX_SAMPLE_BYTES`](crate::model::redact::MAX_SAMPLE_BYTES) from the start of the first record.
    /// Invalid UTF-8 is replaced.
    pub sample: String,
}

impl Quarantined {
    /// Makes a row of one record.
    #[must_use]
    pub fn single(bad: BadRecord, sample: impl Into<String>) -> Self {
        let BadRecord { ordinal, reason, start, end } = bad;
        Self {
            ordinal,
            last_ordinal: ordinal,
            count: 1,
            reason,
            reasons: BTreeMap::from([(reason, 1)]),
            start,
            end,
            sample: sample.into(),
        }
    }

    fn reach_to(&mut self, bad: BadRecord) {
        self.last_ordinal = bad.ordinal;
        self.end = bad.end;
        self.count += 1;
        *self.reasons.entry(bad.reason).or_default() += 1;
    }
}

/// Merges bad records, which must arrive in order of their ordinals, into rows.
#[derive(Debug, Default)]
pub struct Ranges {
    /// Rows started.
    rows: u64,
    open: Option<Quarantined>,
}

impl Ranges {
    /// Adds a bad record. Returns a row if one is complete. `sample` is only called if the sample is kept.
    pub fn add(&mut self, bad: BadRecord, sample: impl FnOnce() -> String) -> Option<Quarantined> {
        if let Some(open) = &mut self.open
            && (open.last_ordinal + 1 == bad.ordinal || open.count < least_of_row(self.rows - 1))
        {
            open.reach_to(bad);
            return None;
        }
        let row = Quarantined::single(bad, sample());
        self.rows += 1;
        if self.rows <= SINGLE_ROWS {
            return Some(row);
        }
        self.open.replace(row)
    }

    /// Returns the row that is still open at the end of the file.
    #[must_use]
    pub fn finish(self) -> Option<Quarantined> {
        self.open
    }
}

/// Minimum number of bad records in a row before a valid record ends it.
fn least_of_row(row: u64) -> u64 {
    let reaching = row.saturating_sub(SINGLE_ROWS + GAPLESS_RANGES - 1);
    1 << reaching.div_ceil(RANGES_OF_A_SIZE).min(63)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ordinals: impl IntoIterator<Item = u64>) -> Vec<Quarantined> {
        let mut ranges = Ranges::default();
        let bad = |ordinal| BadRecord {
            ordinal,
            reason: QuarantineReason::ALL[ordinal as usize % 2],
            start: ordinal * 10,
            end: ordinal * 10 + 9,
        };
        let mut rows: Vec<_> = ordinals
            .into_iter()
            .filter_map(|ordinal| ranges.add(bad(ordinal), || format!("sample of {ordinal}")))
            .collect();
        rows.extend(ranges.finish());
        rows
    }

    #[test]
    fn the_first_thousand_have_a_row_each_and_later_neighbours_share_one() {
        let rows = rows((0..1_500).chain([1_502, 1_503, 1_600]));
        let shown: Vec<_> =
            rows[998..].iter().map(|row| (row.ordinal, row.last_ordinal, row.count)).collect();
        assert_eq!(
            shown,
            [(998, 998, 1), (999, 999, 1), (1_000, 1_499, 500), (1_502, 1_503, 2), (1_600, 1_600, 1)]
        );
        let range = &rows[1_000];
        assert_eq!((range.start, range.end, range.sample.as_str()), (10_000, 14_999, "sample of 1000"));
        let each =
            BTreeMap::from([(QuarantineReason::BrokenJson, 250), (QuarantineReason::NotAnObject, 250)]);
        assert_eq!((range.reason, &range.reasons), (QuarantineReason::BrokenJson, &each));
    }

    #[test]
    fn rows_stay_few_however_many_bad_records_stand_between_good_ones() {
        for (bad, most) in [(2_000, 2_000), (100_000, 3_000), (5_000_000, 3_600)] {
            let rows = rows((0..bad).map(|i| i * 2));
            assert!(rows.len() <= most, "{} rows of {bad}", rows.len());
            assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), bad);
            assert!(rows.iter().all(|row| row.reasons.values().sum::<u64>() == row.count));
            assert!(
                rows.windows(2).all(|two| two[0].last_ordinal < two[1].ordinal && two[0].end <= two[1].start)
            );
            let gapless = rows.iter().take(2_000);
            assert!(gapless.into_iter().all(|row| row.count == row.last_ordinal - row.ordinal + 1));
        }
        assert_eq!(rows(0..5_000_000).len(), 1_001);
    }

    #[test]
    fn reasons_read_back_from_their_names() {
        for reason in QuarantineReason::ALL {
            assert_eq!(QuarantineReason::parse(reason.as_str()), Some(reason));
            assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
        }
    }
}
