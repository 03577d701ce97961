//! S3 as far as reading goes: versions, delete markers, objects without a version, If-Match, bodies in
//! small pieces.

use bytes::Bytes;
use futures::stream;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::ids::Seed;
use logferry_core::model::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_core::ports::clock::Clock;
use logferry_core::ports::objects::{ByteStream, ObjectEraser, ObjectStore};

use super::SimCloud;

/// Bytes of a body that arrive together.
const PIECE_BYTES: usize = 10_000;

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) meta: ObjectMeta,
    bytes: Bytes,
    /// The body breaks off after this many bytes, once.
    breaks_at: Option<usize>,
    /// Tagged for deletion by the lifecycle.
    refused: bool,
    /// A marker that the older versions are deleted.
    pub(super) delete_marker: bool,
}

impl Stored {
    /// Returns the name of this version in a list.
    pub(super) fn listed_as(&self) -> &str {
        self.meta.version_id.as_deref().unwrap_or("null")
    }
}

/// The bucket without versions.
pub const UNVERSIONED: &str = "unversioned";

impl SimCloud {
    /// Stores an object: as a new version, or in [`UNVERSIONED`] replacing the old object.
    pub fn put_object(&self, bucket: &str, key: &str, bytes: impl Into<Bytes>) -> ObjectRef {
        let bytes = bytes.into();
        // S3 reports whole seconds.
        let last_modified_ms = self.clock.now_ms() / 1000 * 1000;
        let mut state = self.state();
        let versions = state.objects.entry((bucket.to_owned(), key.to_owned())).or_default();
        let version_id = (bucket != UNVERSIONED).then(|| format!("v{}", versions.len()));
        let etag = Seed::of(&[&bytes]).record_id(0).to_string();
        if version_id.is_none() {
            versions.clear();
        }
        let version = version_id.clone().map_or_else(|| ObjectVersion::ETag(etag.clone()), ObjectVersion::Id);
        let meta = ObjectMeta { size_bytes: bytes.len() as u64, last_modified_ms, etag, version_id };
        versions.push(Stored { meta, bytes, breaks_at: None, refused: false, delete_marker: false });
        ObjectRef { bucket: bucket.to_owned(), key: key.to_owned(), version }
    }

    /// Deletes an object without naming a version: its versions stay, below a marker.
    pub fn mark_deleted(&self, bucket: &str, key: &str) {
        let last_modified_ms = self.clock.now_ms();
        let mut state = self.state();
        let versions = state.objects.entry((bucket.to_owned(), key.to_owned())).or_default();
        let version_id = Some(format!("v{}", versions.len()));
        let meta = ObjectMeta { size_bytes: 0, last_modified_ms, etag: String::new(), version_id };
        versions.push(Stored {
            meta,
            bytes: Bytes::new(),
            breaks_at: None,
            refused: false,
            delete_marker: true,
        });
    }

    /// Whether this version of an object exists.
    #[must_use]
    pub fn object_exists(&self, object: &ObjectRef) -> bool {
        let state = self.state();
        let versions = state.objects.get(&(object.bucket.clone(), object.key.clone()));
        versions.into_iter().flatten().any(|stored| stored.is(&object.version))
    }

    /// Whether an object was tagged for deletion.
    #[must_use]
    pub fn is_marked_refused(&self, object: &ObjectRef) -> bool {
        let state = self.state();
        let versions = state.objects.get(&(object.bucket.clone(), object.key.clone()));
        versions.into_iter().flatten().any(|stored| stored.is(&object.version) && stored.refused)
    }

    /// Removes all versions of an object.
    pub fn delete_object(&self, bucket: &str, key: &str) {
        self.state().objects.remove(&(bucket.to_owned(), key.to_owned()));
    }

    /// The next read of this object breaks off after this many bytes.
    pub fn break_body(&self, object: &ObjectRef, after_bytes: usize) {
        let mut state = self.state();
        let versions = state.objects.get_mut(&(object.bucket.clone(), object.key.clone()));
        for stored in versions.into_iter().flatten() {
            stored.breaks_at = Some(after_bytes);
        }
    }
}

impl Stored {
    fn is(&self, version: &ObjectVersion) -> bool {
        match version {
            ObjectVersion::Id(id) => self.meta.version_id.as_ref() == Some(id),
            ObjectVersion::ETag(etag) => self.meta.etag == *etag,
        }
    }
}

fn not_found(operation: &'static str) -> Fault {
    Fault::new(FaultClass::NotFound, operation, "NoSuchKey")
}

impl ObjectStore for SimCloud {
    async fn head(&self, bucket: &str, key: &str, version_id: Option<&str>) -> Result<ObjectMeta, Fault> {
        self.call("HeadObject", |state| {
            let versions = state.objects.get(&(bucket.to_owned(), key.to_owned()));
            let wanted =
                |stored: &&Stored| version_id.is_none_or(|id| stored.meta.version_id.as_deref() == Some(id));
            let found = versions.and_then(|versions| versions.iter().rev().find(wanted));
            let found = found.filter(|stored| !stored.delete_marker);
            found.map(|stored| stored.meta.clone()).ok_or_else(|| not_found("HeadObject"))
        })
        .await
    }

    async fn mark_refused(&self, object: &ObjectRef) -> Result<(), Fault> {
        self.call("PutObjectTagging", |state| {
            let versions = state.objects.get_mut(&(object.bucket.clone(), object.key.clone()));
            let found = versions.into_iter().flatten().find(|stored| stored.is(&object.version));
            found.ok_or_else(|| not_found("PutObjectTagging"))?.refused = true;
            Ok(())
        })
        .await
    }

    async fn open(&self, object: &ObjectRef) -> Result<(ObjectMeta, ByteStream), Fault> {
        self.call("GetObject", |state| {
            let versions = state.objects.get_mut(&(object.bucket.clone(), object.key.clone()));
            let versions = versions.ok_or_else(|| not_found("GetObject"))?;
            let found = match &object.version {
                ObjectVersion::Id(id) => versions.iter_mut().find(|s| s.meta.version_id.as_ref() == Some(id)),
                ObjectVersion::ETag(etag) => match versions.last_mut() {
                    Some(newest) if newest.meta.etag != *etag => {
                        return Err(Fault::new(FaultClass::Conflict, "GetObject", "PreconditionFailed"));
                    }
                    newest => newest,
                },
            };
            let stored = found.filter(|s| !s.delete_marker).ok_or_else(|| not_found("GetObject"))?;
            let breaks_at = stored.breaks_at.take();
            let end = breaks_at.unwrap_or(stored.bytes.len()).min(stored.bytes.len());
            let mut pieces: Vec<Result<Bytes, Fault>> = (0..end)
                .step_by(PIECE_BYTES)
                .map(|from| Ok(stored.bytes.slice(from..end.min(from + PIECE_BYTES))))
                .collect();
            if breaks_at.is_some() {
                pieces.push(Err(Fault::new(FaultClass::Transient, "GetObject", "the body ended early")));
            }
            let body: ByteStream = Box::pin(stream::iter(pieces));
            Ok((stored.meta.clone(), body))
        })
        .await
    }
}

impl ObjectEraser for SimCloud {
    async fn erase(&self, object: &ObjectRef) -> Result<bool, Fault> {
        self.call("DeleteObject", |state| {
            let versions = state.objects.get_mut(&(object.bucket.clone(), object.key.clone()));
            let Some(versions) = versions else { return Ok(false) };
            let before = versions.len();
            versions.retain(|stored| !stored.is(&object.version));
            Ok(versions.len() < before)
        })
        .await
    }
}
