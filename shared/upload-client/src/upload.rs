//! Uploads one file through one session, resumed where an earlier process stopped: S3 lists the parts it
//! has, and only the rest is sent.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::client::{Client, Completed, Flow};
use crate::error::Error;
use crate::event::{Event, Watcher};
use crate::pace::{Throttle, at_first, patiently};
use crate::state::{FileState, Saved, Store};

/// Default number of parts in flight.
const PARALLEL: usize = 3;
const CONTENT_TYPE: &str = "application/octet-stream";

/// Maximum rounds of sending the parts that the service reports as missing.
const ROUNDS: u32 = 3;

/// Location of a finished file, and the bytes sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    pub key: String,
    pub location: String,
    pub size_bytes: u64,
    /// Bytes sent by this run; the rest was already stored.
    pub sent_bytes: u64,
}

/// The upload of one file. A run that ends early for any reason is resumed by the next one. The future may
/// be dropped at any time, which pauses the upload.
#[derive(Debug, Clone)]
pub struct Upload {
    client: Client,
    path: PathBuf,
    state_dir: PathBuf,
    content_type: String,
    parallel: usize,
    bytes_per_sec: Option<u64>,
    watcher: Watcher,
}

/// State of a run.
struct Run<'a> {
    upload: &'a Upload,
    /// The canonical path.
    path: PathBuf,
    throttle: Arc<Throttle>,
    position: Arc<Position>,
    sent_bytes: AtomicU64,
}

/// Progress within the file.
#[derive(Debug)]
struct Position {
    bytes: AtomicU64,
    watcher: Watcher,
}

impl Position {
    fn set(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    fn forward(&self, by: u64) {
        let bytes = self.bytes.fetch_add(by, Ordering::Relaxed) + by;
        self.watcher.tell(&Event::Progress { bytes });
    }

    fn back(&self, by: u64) {
        let bytes = self.bytes.fetch_sub(by, Ordering::Relaxed) - by;
        self.watcher.tell(&Event::Progress { bytes });
    }
}

/// A range of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    number: u32,
    offset: u64,
    size: u64,
}

fn plan(size: u64, part_size: u64) -> impl Iterator<Item = Part> {
    (1..)
        .zip((0..size).step_by(usize::try_from(part_size.max(1)).unwrap_or(usize::MAX)))
        .map(move |(number, offset)| Part { number, offset, size: part_size.min(size - offset) })
}

fn file_state(path: &Path) -> Result<FileState, Error> {
    let metadata = std::fs::metadata(path).map_err(Error::file(path))?;
    if !metadata.is_file() {
        return Err(Error::NotAFile { path: path.to_owned() });
    }
    let modified = metadata.modified().map_err(Error::file(path))?;
    let modified = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(FileState { size: metadata.len(), modified_ns: modified.as_nanos() })
}

impl Upload {
    /// Creates an upload of the file at `path`. `state_dir` is the folder that stores the state of
    /// interrupted uploads; uploads can share it.
    pub fn new(client: Client, path: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            client,
            path: path.into(),
            state_dir: state_dir.into(),
            content_type: CONTENT_TYPE.to_owned(),
            parallel: PARALLEL,
            bytes_per_sec: None,
            watcher: Watcher::default(),
        }
    }

    /// Sets the file's content type. Default `application/octet-stream`.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = content_type.into();
        self
    }

    /// Sets the number of parts sent in parallel. Default 3.
    #[must_use]
    pub fn parallel(mut self, parts: usize) -> Self {
        self.parallel = parts.max(1);
        self
    }

    /// Sets the maximum bytes per second, for all parts together.
    #[must_use]
    pub fn limit_rate(mut self, bytes_per_sec: u64) -> Self {
        self.bytes_per_sec = Some(bytes_per_sec);
        self
    }

    /// Sets the receiver of events. It is called often and must not block.
    #[must_use]
    pub fn on_event(mut self, watch: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        self.watcher = Watcher(Some(Arc::new(watch)));
        self
    }

    fn open(&self) -> Result<(PathBuf, Store), Error> {
        let path = std::fs::canonicalize(&self.path).map_err(Error::file(&self.path))?;
        let store = Store::open(&self.state_dir, self.client.base(), &path)?;
        Ok((path, store))
    }

    /// Uploads the file, or the rest of it that S3 does not have.
    ///
    /// # Errors
    /// See [`Error`]. After a failed call or connection, the next run resumes.
    pub async fn run(&self) -> Result<Uploaded, Error> {
        let file = file_state(&self.path)?;
        if file.size == 0 {
            return Err(Error::Empty { path: self.path.clone() });
        }
        let (path, store) = self.open()?;
        let position = Position { bytes: AtomicU64::new(0), watcher: self.watcher.clone() };
        let run = Run {
            upload: self,
            path,
            throttle: Arc::new(Throttle::new(self.bytes_per_sec)),
            position: Arc::new(position),
            sent_bytes: AtomicU64::new(0),
        };
        run.whole(store, file).await
    }

    /// Aborts the interrupted upload of the file and frees its parts. `false` if there is none.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::InUse`] while it is running.
    pub async fn cancel(&self) -> Result<bool, Error> {
        let (_, store) = self.open()?;
        let Some(saved) = store.load()? else {
            store.remove()?;
            return Ok(false);
        };
        let abort = || self.client.abort(&saved.upload_id, &saved.key);
        let ended = patiently(&self.watcher, abort).await;
        match ended {
            Err(error) if error.refused_status() != Some(404) => Err(error),
            _ => store.remove().map(|()| true),
        }
    }
}

impl Run<'_> {
    async fn whole(&self, store: Store, file: FileState) -> Result<Uploaded, Error> {
        if let Some(saved) = store.load()? {
            if saved.file != file {
                self.forget(&saved).await;
            } else if let Some(done) = self.go_on(&saved).await? {
                store.remove()?;
                return Ok(self.uploaded(done, &saved));
            }
        }
        let saved = match self.begin(file).await {
            Ok(saved) => saved,
            Err(error) => {
                // There is nothing to resume. A remaining state file does no harm, and the error that
                // prevented the upload is more important than one of removing it.
                let _ = store.remove();
                return Err(error);
            }
        };
        store.save(&saved)?;
        let ended = || Error::Ended { path: self.upload.path.clone() };
        let done = self.go_on(&saved).await?.ok_or_else(ended)?;
        store.remove()?;
        Ok(self.uploaded(done, &saved))
    }

    fn uploaded(&self, done: Completed, saved: &Saved) -> Uploaded {
        Uploaded {
            key: done.key,
            location: done.location,
            size_bytes: saved.file.size,
            sent_bytes: self.sent_bytes.load(Ordering::Relaxed),
        }
    }

    async fn begin(&self, file: FileState) -> Result<Saved, Error> {
        let Upload { client, watcher, content_type, path, .. } = self.upload;
        let filename = path.file_name().map_or_else(|| "file".into(), |name| name.to_string_lossy());
        let created = at_first(watcher, || client.create(&filename, content_type, file.size)).await?;
        Ok(Saved { upload_id: created.upload_id, key: created.key, part_size: created.part_size, file })
    }

    /// Aborts the session of a file that has changed; if that fails, the session expires.
    async fn forget(&self, saved: &Saved) {
        if let Err(error) = self.upload.client.abort(&saved.upload_id, &saved.key).await {
            self.upload.watcher.tell(&Event::LeftToExpire { error: &error });
        }
    }

    /// Sends what S3 does not have, then completes. `None` if the session does not exist any more.
    async fn go_on(&self, saved: &Saved) -> Result<Option<Completed>, Error> {
        let mut round = 1;
        loop {
            let Some(mut parts) = self.stored(saved).await? else {
                // The upload may be complete, with its response lost.
                return match self.complete(saved, &[]).await {
                    Ok(done) => Ok(Some(done)),
                    Err(error) if error.refused_status() == Some(404) => Ok(None),
                    Err(error) => Err(error),
                };
            };
            let sent = self.send_missing(saved, &parts).await;
            if matches!(sent, Err(Error::Changed { .. })) || file_state(&self.path)? != saved.file {
                self.forget(saved).await;
                return Err(Error::Changed { path: self.upload.path.clone() });
            }
            parts.extend(sent?);
            parts.sort_unstable();
            match self.complete(saved, &parts).await {
                Ok(done) => return Ok(Some(done)),
                Err(error) if error.refused_status() == Some(409) && round < ROUNDS => round += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn complete(&self, saved: &Saved, parts: &[(u32, String)]) -> Result<Completed, Error> {
        let Upload { client, watcher, .. } = self.upload;
        patiently(watcher, || client.complete(&saved.upload_id, &saved.key, parts)).await
    }

    /// Returns the parts that S3 has with the correct size.
    async fn stored(&self, saved: &Saved) -> Result<Option<Vec<(u32, String)>>, Error> {
        let Upload { client, watcher, .. } = self.upload;
        let listed = match patiently(watcher, || client.parts(&saved.upload_id, &saved.key)).await {
            Ok(listed) => listed,
            Err(error) if error.refused_status() == Some(404) => return Ok(None),
            Err(error) => return Err(error),
        };
        let sizes: Vec<_> = plan(saved.file.size, saved.part_size).map(|part| part.size).collect();
        let fits = |number: u32, size| sizes.get(number as usize - 1) == Some(&size);
        let fitting =
            listed.into_iter().filter(|part| part.part_number > 0 && fits(part.part_number, part.size));
        Ok(Some(fitting.map(|part| (part.part_number, part.etag)).collect()))
    }

    async fn send_missing(
        &self,
        saved: &Saved,
        stored: &[(u32, String)],
    ) -> Result<Vec<(u32, String)>, Error> {
        let total_bytes = saved.file.size;
        let (there, missing): (Vec<_>, Vec<_>) = plan(total_bytes, saved.part_size)
            .partition(|part| stored.iter().any(|(number, _)| *number == part.number));
        let there_bytes = there.iter().map(|part| part.size).sum();
        self.position.set(there_bytes);
        self.upload.watcher.tell(&Event::Begin { there_bytes, total_bytes });
        stream::iter(missing)
            .map(|part| self.send(saved, part).boxed())
            .buffer_unordered(self.upload.parallel)
            .try_collect()
            .await
    }

    /// Sends one part, with retries.
    async fn send(&self, saved: &Saved, part: Part) -> Result<(u32, String), Error> {
        let etag = patiently(&self.upload.watcher, || self.send_once(saved, part)).await?;
        self.sent_bytes.fetch_add(part.size, Ordering::Relaxed);
        Ok((part.number, etag))
    }

    /// Sends a part through a new URL: an expired or refused URL is not used again.
    async fn send_once(&self, saved: &Saved, part: Part) -> Result<String, Error> {
        let client = &self.upload.client;
        let url = client.sign_part(&saved.upload_id, &saved.key, part.number, part.size).await?;
        let flow = Arc::new(Flow::default());
        let body = self.body(part, &flow).await?;
        let put = client.put(&url, &[], part.size, body, &flow).await;
        if put.is_err() {
            self.position.back(flow.bytes());
        }
        // A new URL may work.
        put.map_err(|error| error.passing(403))
    }

    /// Reads a range of the file at the allowed rate.
    async fn body(
        &self,
        part: Part,
        flow: &Arc<Flow>,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + Send + 'static, Error> {
        let mut file = File::open(&self.path).await.map_err(Error::file(&self.path))?;
        file.seek(SeekFrom::Start(part.offset)).await.map_err(Error::file(&self.path))?;
        let reading = Reading {
            file,
            left: part.size,
            path: self.upload.path.clone(),
            throttle: Arc::clone(&self.throttle),
            position: Arc::clone(&self.position),
            flow: Arc::clone(flow),
        };
        Ok(stream::try_unfold(reading, Reading::next))
    }
}

struct Reading {
    file: File,
    left: u64,
    path: PathBuf,
    throttle: Arc<Throttle>,
    position: Arc<Position>,
    flow: Arc<Flow>,
}

impl Reading {
    async fn next(mut self) -> std::io::Result<Option<(Bytes, Self)>> {
        if self.left == 0 {
            return Ok(None);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let mut chunk = vec![0; self.throttle.chunk_bytes().min(most)];
        let length = match self.file.read(&mut chunk).await {
            Ok(0) => return Err(self.flow.fail(Error::Changed { path: self.path })),
            Ok(length) => length,
            Err(error) => return Err(self.flow.fail(Error::file(&self.path)(error))),
        };
        chunk.truncate(length);
        self.throttle.pass(length).await;
        self.left -= length as u64;
        self.flow.add(length as u64);
        self.position.forward(length as u64);
        Ok(Some((Bytes::from(chunk), self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_without_gap_or_overlap() {
        let parts =
            |size| plan(size, 8).map(|part| (part.number, part.offset, part.size)).collect::<Vec<_>>();
        assert_eq!(parts(20), [(1, 0, 8), (2, 8, 8), (3, 16, 4)]);
        assert_eq!(parts(16), [(1, 0, 8), (2, 8, 8)]);
        assert_eq!(parts(0), []);
    }
}
