//! What an upload tells while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// What happens while an upload goes on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Sending begins; S3 has `there_bytes` already, of an earlier run.
    Begin { there_bytes: u64, total_bytes: u64 },
    /// So much of the file is there or on its way. A part that fails takes back what it had sent.
    Progress { bytes: u64 },
    /// Something failed that may pass; it is tried again after `wait`.
    Retry { error: &'a Error, wait: Duration },
    /// An earlier session of the file could not be ended; it will expire.
    LeftToExpire { error: &'a Error },
}

type Watch = dyn Fn(&Event<'_>) + Send + Sync;

/// Who is told of events, if anybody.
#[derive(Clone, Default)]
pub(crate) struct Watcher(pub(crate) Option<Arc<Watch>>);

impl Watcher {
    pub(crate) fn tell(&self, event: &Event<'_>) {
        if let Some(watch) = &self.0 {
            watch(event);
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher(..)")
    }
}
