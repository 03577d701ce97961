//! Uploads log files through `POST /presigned-url`.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use serde_json::json;

use crate::client::{Client, Flow, LogTicket};
use crate::error::Error;
use crate::event::Watcher;
use crate::pace::{at_first, patiently};

/// Maximum length of a file name (characters).
const MAX_FILENAME_CHARS: usize = 100;
/// Maximum size of a compressed file (bytes), which is held in memory. The service's own limit, `MaxPresignedBytes`, is 10 MiB
/// unless it is configured.
const MAX_BYTES: u64 = 256 * 1024 * 1024;
const CHUNK_BYTES: usize = 64 * 1024;
/// How many URLs are requested if S3 refuses the first one.
const TICKETS: u32 = 3;

/// The meeting and attendee of a join token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendee {
    pub meeting: String,
    pub attendee: String,
}

impl Client {
    /// Uploads a log file for ingestion and returns its key. An uncompressed file is compressed while it is
    /// read. With a join token, `attendee` is required; with an API key it is `None`.
    ///
    /// # Errors
    /// If the file cannot be read or is too large, or if the service refused the upload or could not be
    /// reached.
    pub async fn upload_log(&self, path: &Path, attendee: Option<&Attendee>) -> Result<String, Error> {
        let bytes = compressed(path, MAX_BYTES)?;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let mut body = json!({"filename": legal_filename(&name), "contentLength": bytes.len()});
        if let Some(Attendee { meeting, attendee }) = attendee {
            body["meetingId"] = meeting.as_str().into();
            body["attendeeId"] = attendee.as_str().into();
        }
        let watcher = Watcher::default();
        let mut tickets = 1;
        loop {
            let ticket = at_first(&watcher, || self.log_ticket(&body)).await?;
            match patiently(&watcher, || self.put_log(&ticket, &bytes)).await {
                Ok(_) => return Ok(ticket.key),
                // Already uploaded: the response to an earlier attempt was lost.
                Err(error) if error.refused_status() == Some(412) => return Ok(ticket.key),
                // The URL has probably expired during the attempts.
                Err(error) if error.refused_status() == Some(403) && tickets < TICKETS => tickets += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn put_log(&self, ticket: &LogTicket, bytes: &Bytes) -> Result<String, Error> {
        let named = ticket.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // A retry after a lost response must not store, and so ingest, the file twice.
        let headers: Vec<_> = named.chain([("if-none-match", "*")]).collect();
        let flow = Arc::new(Flow::default());
        let chunks = stream::unfold((bytes.clone(), Arc::clone(&flow)), |(mut rest, flow)| async move {
            let chunk = rest.split_to(rest.len().min(CHUNK_BYTES));
            flow.add(chunk.len() as u64);
            (!chunk.is_empty()).then_some((Ok(chunk), (rest, flow)))
        });
        let put = self.put(&ticket.presigned_url, &headers, bytes.len() as u64, chunks, &flow).await;
        // ConditionalRequestConflict: an earlier attempt is still being stored.
        put.map_err(|error| error.passing(409))
    }
}

/// Returns the file unchanged if it is gzip or zstd, else compressed with gzip.
fn compressed(path: &Path, max_bytes: u64) -> Result<Bytes, Error> {
    packed(path, max_bytes).map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Error::TooLarge { path: path.to_owned(), max_bytes },
        _ => Error::file(path)(error),
    })
}

fn packed(path: &Path, max_bytes: u64) -> io::Result<Bytes> {
    let mut file = std::fs::File::open(path)?;
    let mut head = Vec::new();
    (&mut file).take(4).read_to_end(&mut head)?;
    let is_packed = head.starts_with(&[0x1f, 0x8b]) || head == [0x28, 0xb5, 0x2f, 0xfd];
    let mut file = head.as_slice().chain(file);
    let mut packed = Bounded { bytes: Vec::new(), max_bytes };
    if is_packed {
        io::copy(&mut file, &mut packed)?;
    } else {
        let mut encoder = GzEncoder::new(packed, Compression::default());
        io::copy(&mut file, &mut encoder)?;
        packed = encoder.finish()?;
    }
    Ok(packed.bytes.into())
}

/// Bytes in memory, up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    max_bytes: u64,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + bytes.len()) as u64 > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a valid name similar to the file's: `^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`. A long name keeps its
/// end with the extension.
fn legal_filename(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: String = name.chars().map(legal).collect();
    let end = name.get(name.len().saturating_sub(MAX_FILENAME_CHARS)..).unwrap_or_default();
    let name = end.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    if name.is_empty() { "logs".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_in_memory_up_to_a_limit() {
        let path = std::env::temp_dir().join(format!("logferry-client-limit-{}", std::process::id()));
        for content in [&[0x1f, 0x8b, 8, 0, 1, 2, 3][..], b"plain"] {
            std::fs::write(&path, content).unwrap();
            let length = compressed(&path, 1_000).unwrap().len() as u64;
            assert!(compressed(&path, length).is_ok());
            let refused = compressed(&path, length - 1).unwrap_err();
            let said = format!("has more than {} bytes", length - 1);
            assert!(
                matches!(refused, Error::TooLarge { .. }) && refused.to_string().contains(&said),
                "{refused}"
            );
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn names_are_made_legal_and_keep_their_end() {
        for (name, legal) in [
            ("app.log", "app.log"),
            ("a b/ü.log.gz", "a_b__.log.gz"),
            (".hidden", "hidden"),
            ("日本", "logs"),
            ("", "logs"),
        ] {
            assert_eq!(legal_filename(name), legal, "{name}");
        }
        let long = legal_filename(&format!("{}.log", "x".repeat(300)));
        assert_eq!((long.len(), long.ends_with("x.log")), (100, true));
    }
}
