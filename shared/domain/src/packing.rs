//! How an object's entries become blocks, as a fingerprint.

use crate::hex128::Seed;
use crate::intake::IntakeLimits;
use crate::redact::Redactor;

/// To be raised with every change after which the same bytes give other records or other bounds of
/// blocks: of the splitter, of redaction, of the packer.
const VERSION: u32 = 1;

/// What, beside the object itself, decides which blocks it becomes: this program's way of packing,
/// the rules of redaction, the limits, and the app's epoch. Runs over one object whose packings are
/// equal make the same blocks; a run that finds blocks of another packing begins anew without them.
/// (Watermark and retention are left out: they change neither bounds nor ids.)
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Packing(String);

impl Packing {
    #[must_use]
    pub fn of(limits: &IntakeLimits, redactor: &Redactor, epoch_ms: i64) -> Self {
        let limits = format!("{limits:?}");
        // The rules print as they were given.
        let rules = format!("{redactor:?}");
        let parts: [&[u8]; 4] =
            [&VERSION.to_be_bytes(), limits.as_bytes(), rules.as_bytes(), &epoch_ms.to_be_bytes()];
        let Seed(hash) = Seed::of(&parts);
        Self(hash[..8].iter().map(|byte| format!("{byte:02x}")).collect())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packing_changes_with_rules_limits_and_epoch_and_with_nothing_else() {
        let limits = IntakeLimits::default();
        let rules = |patterns| Redactor::new("cookie", "-", patterns).unwrap();
        let packing = Packing::of(&limits, &rules("a+"), 5);
        assert_eq!(packing, Packing::of(&limits, &rules("a+"), 5));
        assert_eq!(Packing::from_stored(packing.as_str()), packing);
        let smaller = IntakeLimits { max_record_bytes: 7, ..limits };
        for other in [
            Packing::of(&limits, &rules("a+ b"), 5),
            Packing::of(&smaller, &rules("a+"), 5),
            Packing::of(&limits, &rules("a+"), 6),
        ] {
            assert_ne!(packing, other);
        }
    }
}
