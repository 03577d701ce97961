//! Doors for clients of other protocols: each reads a body, maps it to entries, stores them as `POST /logs`
//! does, and answers in its protocol's own way.

mod chime;
mod elastic;
mod firehose;
mod loki;
mod otlp;
mod wire;

use logferry_core::logbook::carried::{Carried, Identity};
use logferry_core::logbook::write::{Refused, WriteRequest, carry};
use logferry_core::model::app::App;
use logferry_core::model::few;
use logferry_service::http::{ApiError, Routes};

use crate::writes::write_error;
use crate::{Api, Cloud};

pub(crate) use elastic::about;
pub(crate) use otlp::{is_otlp, otlp_errors, takes_otlp, write_otlp};

/// The routes' part of the document.
const TAG: &str = "Other protocols";

/// Maximum number of entries in a request: a subscription of CloudWatch Logs compresses many into one.
const MAX_ENTRIES: usize = 100_000;
/// Maximum bytes of entries in a request, with what their protocol says beside each.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// An array of a body.
type Few<T> = few::Few<T, MAX_ENTRIES>;

/// Lists the routes of other protocols.
pub(crate) fn routes<C: Cloud, R: Routes<std::sync::Arc<Api<C>>>>(into: R) -> R {
    let into = otlp::routes::<C, R>(into);
    let into = loki::routes::<C, R>(into);
    let into = elastic::routes::<C, R>(into);
    let into = firehose::routes::<C, R>(into);
    chime::routes::<C, R>(into)
}

/// The entries of a request, within limits: what stands once in a body may belong to every entry.
#[derive(Debug, Default)]
struct Batch<'a> {
    entries: Vec<Carried<'a>>,
    bytes: usize,
}

impl<'a> Batch<'a> {
    /// # Errors
    /// 413 beyond the limits.
    fn push(&mut self, entry: Carried<'a>) -> Result<(), ApiError> {
        self.bytes += entry.text.len() + entry.context.len();
        if self.entries.len() >= MAX_ENTRIES || self.bytes > MAX_BYTES {
            return Err(too_many());
        }
        self.entries.push(entry);
        Ok(())
    }
}

/// Returns what is wrong with JSON: 413 if an array has too many elements, as for entries; else what `malformed` says.
fn unread(error: &serde_json::Error, malformed: impl FnOnce(&str) -> ApiError) -> ApiError {
    let why = error.to_string();
    match why.contains(few::EXCESS) {
        true => too_many(),
        false => malformed(&why),
    }
}

fn too_many() -> ApiError {
    let message = format!(
        "a request must have at most {MAX_ENTRIES} entries of {MAX_BYTES} bytes: send smaller batches"
    );
    ApiError::too_large(message)
}

impl<C: Cloud> Api<C> {
    /// Stores a batch. Returns what could not be stored.
    async fn carry(
        &self,
        app: &App,
        now_ms: i64,
        format: &'static str,
        batch: &Batch<'_>,
        identity: Identity<'_>,
    ) -> Result<Vec<Refused>, ApiError> {
        let request = WriteRequest { format, ..self.write_of(app, now_ms)? };
        carry(&self.book, &request, &batch.entries, identity)
            .await
            .map_err(|error| write_error(error, now_ms))
    }
}
