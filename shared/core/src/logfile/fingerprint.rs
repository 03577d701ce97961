//! Computes the packing fingerprint.

use super::decode::{CHUNK_BYTES, EXPANSION_FREE_BYTES};
use super::head::MAX_NESTING;
use super::pack;
use super::read::{IntakeLimits, MAX_FUTURE_MS};
use crate::model::block;
use crate::model::fingerprint::PackFingerprint;
use crate::model::ids::Seed;
use crate::model::redact::Redactor;
use crate::model::time::{EARLIEST_MS, LATEST_MS};

/// To be raised with every change of code after which the same bytes give other records or other bounds
/// of blocks: of the splitter, of redaction, of the packer. Numbers take part by themselves, see
/// [`fingerprint`]; `tests/golden_blocks.rs` turns red where this was forgotten.
const VERSION: u32 = 6;

/// `registered_ms`: when the app was registered; 0 where there is none.
#[must_use]
pub fn fingerprint(
    limits: &IntakeLimits,
    redactor: &Redactor,
    registered_ms: i64,
    retention_days: u32,
) -> PackFingerprint {
    let limits = format!("{limits:?}");
    // `Debug` prints the rules as they were configured.
    let rules = format!("{redactor:?}");
    let times = [EARLIEST_MS, LATEST_MS, MAX_FUTURE_MS].map(i64::unsigned_abs);
    let reading = [CHUNK_BYTES as u64, EXPANSION_FREE_BYTES, u64::from(MAX_NESTING)];
    let kept = [u64::from(retention_days)];
    let numbers = [&block::shape()[..], &pack::BOUNDS, &times, &reading, &kept].concat();
    let numbers: Vec<u8> = numbers.into_iter().flat_map(u64::to_be_bytes).collect();
    let parts: [&[u8]; 5] =
        [&VERSION.to_be_bytes(), limits.as_bytes(), rules.as_bytes(), &numbers, &registered_ms.to_be_bytes()];
    let Seed(hash) = Seed::of(&parts);
    let mut text = hex::encode(&hash[..8]);
    if registered_ms != 0 {
        text.push_str(&format!(".{registered_ms}"));
    }
    PackFingerprint::from_stored(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packing_changes_with_rules_limits_epoch_and_retention_and_with_nothing_else() {
        let limits = IntakeLimits::default();
        let rules = |patterns| Redactor::new("cookie", "-", patterns).unwrap();
        let packing = fingerprint(&limits, &rules("a+"), 5, 30);
        assert_eq!(packing, fingerprint(&limits, &rules("a+"), 5, 30));
        assert_eq!(PackFingerprint::from_stored(packing.as_str()), packing);
        for other in [
            fingerprint(&limits, &rules("a+ b"), 5, 30),
            fingerprint(&IntakeLimits { max_record_bytes: 7, ..limits }, &rules("a+"), 5, 30),
            fingerprint(&IntakeLimits { max_days: 7, ..limits }, &rules("a+"), 5, 30),
            fingerprint(&IntakeLimits { max_decompressed_bytes: 7, ..limits }, &rules("a+"), 5, 30),
            fingerprint(&limits, &rules("a+"), 6, 30),
            fingerprint(&limits, &rules("a+"), 5, 31),
        ] {
            assert_ne!(packing, other);
        }
    }

    #[test]
    fn a_packing_tells_its_epoch() {
        let packing =
            |registered_ms| fingerprint(&IntakeLimits::default(), &Redactor::default(), registered_ms, 30);
        assert_eq!(packing(1_760_000_000_000).registered_ms(), Some(1_760_000_000_000));
        assert_eq!(packing(0).registered_ms(), None);
        assert_eq!(PackFingerprint::from_stored("0123456789abcdef").registered_ms(), None);
    }
}
