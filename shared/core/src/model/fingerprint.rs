//! The packing fingerprint: identifies how an object's entries become blocks.

/// Everything besides the object that determines its blocks: this program's packing, the compressor, the
/// redaction rules, the limits, and the app's epoch and retention. Runs over an object with equal
/// fingerprints make the same blocks. If a file's stored blocks carry a different fingerprint, they are
/// deleted and the file is ingested from the start. (The watermark is not included: it changes neither
/// bounds nor ids nor expiry.)
///
/// Written as `{fingerprint}.{epoch}`. The epoch tells for which registration of its app an object was
/// claimed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct PackFingerprint(String);

impl PackFingerprint {
    /// Restores a stored fingerprint.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns when its app was registered (ms); `None` without an app.
    #[must_use]
    pub fn registered_ms(&self) -> Option<i64> {
        self.0.split_once('.')?.1.parse().ok()
    }
}
