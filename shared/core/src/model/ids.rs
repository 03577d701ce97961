//! 128-bit ids, and the 256-bit seeds that they are derived from.

use std::fmt;

use sha2::{Digest, Sha256};

/// The base of all ids of one source of records: a SHA-256 of the source's identity (an object or an API
/// request).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// Hashes `parts`, each preceded by its length, so that different lists never have the same input.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// Returns the id of the record with this ordinal (0-based) in the source.
    #[must_use]
    pub fn record_id(&self, ordinal: u64) -> RecordId {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(ordinal.to_be_bytes());
        RecordId(first_half(hash.finalize().into()))
    }

    /// Returns the id of the block of `hour` (hours since the epoch) whose first record has this ordinal.
    #[must_use]
    pub fn block_id(&self, hour: i64, first_ordinal: u64) -> BlockId {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(hour.to_be_bytes());
        hash.update(first_ordinal.to_be_bytes());
        hash.update(b"block");
        BlockId(first_half(hash.finalize().into()))
    }
}

fn first_half(bytes: [u8; 32]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&bytes[..16]);
    half
}

/// Number of partitions of an app's day.
pub const SHARDS: u8 = 4;

macro_rules! id128 {
    ($name:ident, $what:literal) => {
        #[doc = $what]
        #[doc = " 16 bytes; written as 32 lower-case hex characters."]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Parses 32 lower-case hex characters; `None` for anything else.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 32 || text.bytes().any(|b| b.is_ascii_uppercase()) {
                    return None;
                }
                let mut bytes = [0; 16];
                hex::decode_to_slice(text, &mut bytes).ok()?;
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 32];
                hex::encode_to_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
                f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id128!(RecordId, "The id of a record. The same input always has the same id.");
id128!(BlockId, "The id of a block.");

impl BlockId {
    /// Returns the shard (0–3) that stores the block.
    #[must_use]
    pub fn shard(&self) -> u8 {
        self.0[15] % crate::model::ids::SHARDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_from_its_text_and_other_texts_do_not() {
        let id = Seed::of(&[b"bucket", b"key"]).record_id(7);
        assert_eq!(RecordId::parse(&id.to_string()), Some(id));
        for bad in ["", "0", "G0000000000000000000000000000000", "AB000000000000000000000000000000"] {
            assert_eq!(RecordId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_are_not_confused_with_each_other() {
        assert_ne!(Seed::of(&[b"ab", b"c"]), Seed::of(&[b"a", b"bc"]));
        assert_ne!(Seed::of(&[b"ab"]), Seed::of(&[b"ab", b""]));
    }
}
