//! Events of a running upload.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;

/// Events of a running upload.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Sending starts. S3 already has `there_bytes` from an earlier run.
    Begin { there_bytes: u64, total_bytes: u64 },
    /// This many bytes are stored or in flight. If a part fails, its bytes are subtracted.
    Progress { bytes: u64 },
    /// A transient failure. It is retried after `wait`.
    Retry { error: &'a Error, wait: Duration },
    /// An earlier session of the file could not be aborted; it will expire.
    LeftToExpire { error: &'a Error },
}

type Watch = dyn Fn(&Event<'_>) + Send + Sync;

/// The receiver of events, if any.
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
