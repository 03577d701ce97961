//! One file through one session, gone on with where an earlier process stopped: S3 is asked what it
//! has, and only the rest is sent.

use std::io::SeekFrom;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::pace::{Throttle, patiently};
use super::service::{CallError, Completed, Service};
use super::store::{FileState, Saved, Store, StoreError};

/// How much of a part is read and sent at once (bytes).
const CHUNK_BYTES: usize = 256 * 1024;

/// Rounds of sending what the service says is missing before giving up.
const ROUNDS: u32 = 3;

/// Why an upload did not get to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the file could not be read: {0}")]
    File(#[from] std::io::Error),
    #[error("the file is empty")]
    Empty,
    #[error("the file changed while it was being uploaded; start again")]
    Changed,
}

/// How to send.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) service: Service,
    pub(crate) parallel: usize,
    pub(crate) throttle: Arc<Throttle>,
    pub(crate) progress: ProgressBar,
    pub(crate) content_type: String,
}

/// The parts' numbers, offsets and sizes.
fn plan(size: u64, part_size: u64) -> impl Iterator<Item = (u32, u64, u64)> {
    (1..)
        .zip((0..size).step_by(usize::try_from(part_size.max(1)).unwrap_or(usize::MAX)))
        .map(move |(number, offset)| (number, offset, part_size.min(size - offset)))
}

pub(crate) fn file_state(path: &Path) -> Result<FileState, std::io::Error> {
    let metadata = std::fs::metadata(path)?;
    let modified = metadata.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(FileState { size: metadata.len(), modified_ns: modified.as_nanos() })
}

impl Transfer {
    /// Uploads the file, or the rest of it.
    pub(crate) async fn run(&self, path: &Path, store: Store) -> Result<Completed, UploadError> {
        let file = file_state(path)?;
        if file.size == 0 {
            return Err(UploadError::Empty);
        }
        if let Some(saved) = store.load()? {
            if saved.file != file {
                self.forget(&saved).await;
            } else if let Some(done) = self.go_on(path, &saved).await? {
                store.remove()?;
                return Ok(done);
            }
        }
        let filename = path.file_name().map_or_else(|| "file".into(), |name| name.to_string_lossy());
        let created = patiently(
            |_| false,
            async || self.service.create(&filename, &self.content_type, file.size).await,
        );
        let created = created.await?;
        let saved =
            Saved { upload_id: created.upload_id, key: created.key, part_size: created.part_size, file };
        store.save(&saved)?;
        let done = self.go_on(path, &saved).await?.ok_or(UploadError::Changed)?;
        store.remove()?;
        Ok(done)
    }

    /// Ends the session that is going on for a file, if there is one.
    pub(crate) async fn cancel(&self, store: Store) -> Result<bool, UploadError> {
        let Some(saved) = store.load()? else {
            store.remove()?;
            return Ok(false);
        };
        let ended =
            patiently(|_| false, async || self.service.abort(&saved.upload_id, &saved.key).await).await;
        match ended {
            Err(error) if error.status().is_none_or(|status| status != 404) => return Err(error.into()),
            _ => store.remove()?,
        }
        Ok(true)
    }

    /// The session of a file that is no longer the same: freed if it can be, else it expires.
    async fn forget(&self, saved: &Saved) {
        if let Err(error) = self.service.abort(&saved.upload_id, &saved.key).await {
            self.progress.println(format!("the earlier upload is left to expire: {error}"));
        }
    }

    /// Sends what S3 does not have and completes. `None`: there is no such session any more.
    async fn go_on(&self, path: &Path, saved: &Saved) -> Result<Option<Completed>, UploadError> {
        let mut round = 1;
        loop {
            let Some(mut parts) = self.stored(saved).await? else {
                // Perhaps it is complete, and the answer was lost.
                return match self.complete(saved, &[]).await {
                    Ok(done) => Ok(Some(done)),
                    Err(error) if error.status().is_some_and(|status| status == 404) => Ok(None),
                    Err(error) => Err(error.into()),
                };
            };
            parts.extend(self.send_missing(path, saved, &parts).await?);
            parts.sort_unstable();
            if file_state(path)? != saved.file {
                self.forget(saved).await;
                return Err(UploadError::Changed);
            }
            match self.complete(saved, &parts).await {
                Ok(done) => return Ok(Some(done)),
                Err(error) if error.status().is_some_and(|status| status == 409) && round < ROUNDS => {
                    round += 1
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn complete(&self, saved: &Saved, parts: &[(u32, String)]) -> Result<Completed, CallError> {
        patiently(|_| false, async || self.service.complete(&saved.upload_id, &saved.key, parts).await).await
    }

    /// The parts that S3 has and that have the right size.
    async fn stored(&self, saved: &Saved) -> Result<Option<Vec<(u32, String)>>, CallError> {
        let listed =
            patiently(|_| false, async || self.service.parts(&saved.upload_id, &saved.key).await).await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) if error.status().is_some_and(|status| status == 404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let sizes: Vec<_> = plan(saved.file.size, saved.part_size).map(|(_, _, size)| size).collect();
        let fits = |number: u32, size| sizes.get(number as usize - 1) == Some(&size);
        let fitting =
            listed.into_iter().filter(|part| part.part_number > 0 && fits(part.part_number, part.size));
        Ok(Some(fitting.map(|part| (part.part_number, part.etag)).collect()))
    }

    async fn send_missing(
        &self,
        path: &Path,
        saved: &Saved,
        stored: &[(u32, String)],
    ) -> Result<Vec<(u32, String)>, CallError> {
        let has = |number: u32| stored.iter().any(|(stored, _)| *stored == number);
        let there: u64 =
            plan(saved.file.size, saved.part_size).filter(|(n, ..)| has(*n)).map(|(_, _, size)| size).sum();
        self.progress.set_length(saved.file.size);
        self.progress.set_position(there);
        self.progress.reset_eta();
        let missing = plan(saved.file.size, saved.part_size).filter(|(number, ..)| !has(*number));
        stream::iter(missing)
            .map(|(number, offset, size)| self.send(path, saved, number, offset, size))
            .buffer_unordered(self.parallel)
            .try_collect()
            .await
    }

    /// Sends one part, each time through a URL of its own: one that expired or was refused is not
    /// used again.
    async fn send(
        &self,
        path: &Path,
        saved: &Saved,
        number: u32,
        offset: u64,
        size: u64,
    ) -> Result<(u32, String), CallError> {
        let is_403 = |error: &CallError| error.status().is_some_and(|status| status == 403);
        let etag = patiently(is_403, async || {
            let url = self.service.sign_part(&saved.upload_id, &saved.key, number, size).await?;
            let sent = Arc::new(std::sync::atomic::AtomicU64::new(0));
            let body = self.body(path, offset, size, &sent).await.map_err(CallError::File)?;
            let put = self.service.put(&url, &[], size, body).await;
            if put.is_err() {
                let sent = sent.load(std::sync::atomic::Ordering::Relaxed);
                self.progress.set_position(self.progress.position().saturating_sub(sent));
            }
            put
        });
        Ok((number, etag.await?))
    }

    /// A stretch of the file as it is read, at the pace that is allowed.
    async fn body(
        &self,
        path: &Path,
        offset: u64,
        size: u64,
        sent: &Arc<std::sync::atomic::AtomicU64>,
    ) -> Result<reqwest::Body, std::io::Error> {
        let mut file = File::open(path).await?;
        file.seek(SeekFrom::Start(offset)).await?;
        let state = (file.take(size), Arc::clone(&self.throttle), self.progress.clone(), Arc::clone(sent));
        let chunks = stream::try_unfold(state, |(mut file, throttle, progress, sent)| async move {
            let mut chunk = vec![0; CHUNK_BYTES];
            let length = file.read(&mut chunk).await?;
            if length == 0 {
                return Ok::<_, std::io::Error>(None);
            }
            chunk.truncate(length);
            throttle.pass(length).await;
            progress.inc(length as u64);
            sent.fetch_add(length as u64, std::sync::atomic::Ordering::Relaxed);
            Ok(Some((Bytes::from(chunk), (file, throttle, progress, sent))))
        });
        Ok(reqwest::Body::wrap_stream(chunks))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_without_gap_or_overlap() {
        assert_eq!(plan(20, 8).collect::<Vec<_>>(), [(1, 0, 8), (2, 8, 8), (3, 16, 4)]);
        assert_eq!(plan(16, 8).collect::<Vec<_>>(), [(1, 0, 8), (2, 8, 8)]);
        assert_eq!(plan(0, 8).count(), 0);
    }
}
