//! How an object's entries become blocks, as a fingerprint.

use crate::block;
use crate::decode::{CHUNK_BYTES, EXPANSION_FREE_BYTES};
use crate::entry::MAX_NESTING;
use crate::hex128::Seed;
use crate::intake::{IntakeLimits, MAX_AHEAD_MS};
use crate::pack;
use crate::redact::Redactor;
use crate::time::{EARLIEST_MS, LATEST_MS};

/// To be raised with every change of code after which the same bytes give other records or other bounds
/// of blocks: of the splitter, of redaction, of the packer. Numbers take part by themselves, see
/// [`Packing::of`]; `tests/golden_blocks.rs` turns red where this was forgotten.
const VERSION: u32 = 2;

/// What, beside the object itself, decides which blocks it becomes: this program's way of packing,
/// the compressor, the rules of redaction, the limits, and the app's epoch and retention. Runs over one
/// object whose packings are equal make the same blocks; a run that finds blocks of another packing begins
/// anew without them. (The watermark is left out: it changes neither bounds nor ids nor when they expire.)
///
/// Written `{fingerprint}.{epoch}`: the epoch tells for which registration of its app an object was
/// claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Packing(String);

impl Packing {
    /// `epoch_ms`: when the app was registered; 0 where there is none.
    #[must_use]
    pub fn of(limits: &IntakeLimits, redactor: &Redactor, epoch_ms: i64, retention_days: u32) -> Self {
        let limits = format!("{limits:?}");
        // The rules print as they were given.
        let rules = format!("{redactor:?}");
        let times = [EARLIEST_MS, LATEST_MS, MAX_AHEAD_MS].map(i64::unsigned_abs);
        let reading = [CHUNK_BYTES as u64, EXPANSION_FREE_BYTES, u64::from(MAX_NESTING)];
        let kept = [u64::from(retention_days)];
        let numbers = [&block::shape()[..], &pack::BOUNDS, &times, &reading, &kept].concat();
        let numbers: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
        let parts: [&[u8]; 5] =
            [&VERSION.to_be_bytes(), limits.as_bytes(), rules.as_bytes(), &numbers, &epoch_ms.to_be_bytes()];
        let Seed(hash) = Seed::of(&parts);
        let mut text: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        if epoch_ms != 0 {
            text.push_str(&format!(".{epoch_ms}"));
        }
        Self(text)
    }

    /// As it was stored.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// When the app was registered for which it is (ms); `None` where there was none.
    #[must_use]
    pub fn epoch_ms(&self) -> Option<i64> {
        self.0.split_once('.')?.1.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packing_changes_with_rules_limits_epoch_and_retention_and_with_nothing_else() {
        let limits = IntakeLimits::default();
        let rules = |patterns| Redactor::new("cookie", "-", patterns).unwrap();
        let packing = Packing::of(&limits, &rules("a+"), 5, 30);
        assert_eq!(packing, Packing::of(&limits, &rules("a+"), 5, 30));
        assert_eq!(Packing::from_stored(packing.as_str()), packing);
        for other in [
            Packing::of(&limits, &rules("a+ b"), 5, 30),
            Packing::of(&IntakeLimits { max_record_bytes: 7, ..limits }, &rules("a+"), 5, 30),
            Packing::of(&IntakeLimits { max_days: 7, ..limits }, &rules("a+"), 5, 30),
            Packing::of(&IntakeLimits { max_decompressed_bytes: 7, ..limits }, &rules("a+"), 5, 30),
            Packing::of(&limits, &rules("a+"), 6, 30),
            Packing::of(&limits, &rules("a+"), 5, 31),
        ] {
            assert_ne!(packing, other);
        }
    }

    #[test]
    fn a_packing_tells_its_epoch() {
        let packing = |epoch_ms| Packing::of(&IntakeLimits::default(), &Redactor::default(), epoch_ms, 30);
        assert_eq!(packing(1_760_000_000_000).epoch_ms(), Some(1_760_000_000_000));
        assert_eq!(packing(0).epoch_ms(), None);
        assert_eq!(Packing::from_stored("0123456789abcdef").epoch_ms(), None);
    }
}
