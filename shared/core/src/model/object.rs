//! Objects in S3, and their identity.

use crate::model::ids::Seed;

/// A version of an object key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ObjectVersion {
    /// The version id of a versioned bucket.
    Id(String),
    /// The ETag, without quotes, if the bucket has no versions.
    ETag(String),
}

impl ObjectVersion {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Id(text) | Self::ETag(text) => text,
        }
    }

    /// Returns the text of the version in stored rows.
    #[must_use]
    pub fn to_stored(&self) -> String {
        match self {
            Self::Id(id) => format!("v#{id}"),
            Self::ETag(etag) => format!("v#etag:{etag}"),
        }
    }

    /// Parses the text of [`ObjectVersion::to_stored`].
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        text.strip_prefix("v#").map(|version| match version.strip_prefix("etag:") {
            Some(etag) => Self::ETag(etag.to_owned()),
            None => Self::Id(version.to_owned()),
        })
    }
}

/// One object: bucket, key (decoded, as S3 stores it) and version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectRef {
    pub bucket: String,
    pub key: String,
    pub version: ObjectVersion,
}

impl ObjectRef {
    /// Returns the seed of all ids derived from this object.
    #[must_use]
    pub fn seed(&self) -> Seed {
        Seed::of(&[self.bucket.as_bytes(), self.key.as_bytes(), self.version.as_str().as_bytes()])
    }
}

/// Metadata of an object from S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    pub size_bytes: u64,
    pub last_modified_ms: i64,
    /// Without quotes.
    pub etag: String,
    pub version_id: Option<String>,
}
