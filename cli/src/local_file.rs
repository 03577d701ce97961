//! A local file as an object. Its content is its identity.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::stream;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::object::{ObjectMeta, ObjectRef, ObjectVersion};
use logferry_core::model::object_key::LOGS_PREFIX;
use logferry_core::ports::objects::{ByteStream, ObjectStore};
use sha2::{Digest, Sha256};

/// Placeholder for the bucket in the ledger.
pub(crate) const LOCAL_BUCKET: &str = "local-files";

/// Bytes per read.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone)]
pub(crate) struct LocalFile {
    path: PathBuf,
    meta: ObjectMeta,
    interrupted: Arc<AtomicBool>,
}

impl LocalFile {
    /// Reads the file once, for its hash.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let modified = file.metadata()?.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut size_bytes = 0;
        loop {
            match file.read(&mut chunk)? {
                0 => break,
                count => {
                    hash.update(&chunk[..count]);
                    size_bytes += count as u64;
                }
            }
        }
        let meta = ObjectMeta {
            size_bytes,
            last_modified_ms: i64::try_from(modified.as_millis()).unwrap_or(i64::MAX),
            etag: hex::encode(hash.finalize()),
            version_id: None,
        };
        Ok(Self { path: path.to_owned(), meta, interrupted: Arc::default() })
    }

    /// Makes reads fail once `interrupted` is set, as those of a service that is busy: the file is then released.
    pub(crate) fn until(self, interrupted: &Arc<AtomicBool>) -> Self {
        Self { interrupted: Arc::clone(interrupted), ..self }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        self.meta.size_bytes
    }

    pub(crate) fn modified_ms(&self) -> i64 {
        self.meta.last_modified_ms
    }

    /// Returns the object that represents this file for an app.
    pub(crate) fn object(&self, app_id: &AppId) -> ObjectRef {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        ObjectRef {
            bucket: LOCAL_BUCKET.to_owned(),
            key: format!("{LOGS_PREFIX}{app_id}/{name}"),
            version: ObjectVersion::ETag(self.meta.etag.clone()),
        }
    }
}

impl ObjectStore for LocalFile {
    async fn head(&self, _: &str, _: &str, _: Option<&str>) -> Result<ObjectMeta, Fault> {
        Ok(self.meta.clone())
    }

    /// A local file is never tagged.
    async fn mark_refused(&self, _: &ObjectRef) -> Result<(), Fault> {
        Ok(())
    }

    async fn open(&self, _: &ObjectRef) -> Result<(ObjectMeta, ByteStream), Fault> {
        let fault = |error: io::Error| {
            Fault::new(FaultClass::NotFound, "open", "the file cannot be read").with_source(error)
        };
        let file = File::open(&self.path).map_err(fault)?;
        let interrupted = Arc::clone(&self.interrupted);
        let body = stream::try_unfold((file, interrupted), move |(mut file, interrupted)| async move {
            if interrupted.load(Ordering::Relaxed) {
                return Err(Fault::new(FaultClass::Transient, "read", "interrupted"));
            }
            let mut chunk = vec![0; CHUNK_BYTES];
            let count = file.read(&mut chunk).map_err(fault)?;
            chunk.truncate(count);
            Ok((count > 0).then(|| (Bytes::from(chunk), (file, interrupted))))
        });
        Ok((self.meta.clone(), Box::pin(body)))
    }
}
