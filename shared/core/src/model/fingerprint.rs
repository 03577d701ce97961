//! How an object's entries become blocks, as a fingerprint.

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
