//! Log groups and their streams. One lane creates them while the other lanes wait for it. Setting a
//! retention must not delay events: it is done after the lanes, for a few groups per invocation, and
//! failures are retried later.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use batch_buffer::{Accepted, ErrorClass, Request, SendError, Sender};
use logferry_core::model::fault::{FaultClass, chain};
use logferry_core::ports::log_groups::LogGroups;

/// Maximum number of retentions that an invocation sets. PutRetentionPolicy allows 5 requests per second
/// and account, and this quota cannot be raised.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/cloudwatch_limits_cwl.html>
const RETENTIONS_AT_ONCE: usize = 5;

/// Maximum time that an invocation waits for all of them.
const RETENTIONS_TIME: Duration = Duration::from_secs(2);

/// Pause after a failure to set a retention (ms).
const RETENTION_PAUSE_MS: i64 = 60_000;

/// The sender, and what this execution environment knows about the groups that it sends to.
#[derive(Debug)]
pub struct Groups<S> {
    sender: S,
    creations: Mutex<HashMap<String, Arc<Creation>>>,
    retentions: Mutex<Retentions>,
}

/// Serializes the creation of streams in one group.
#[derive(Debug, Default)]
struct Creation {
    done: AtomicU64,
    /// The stream that was created last.
    last: tokio::sync::Mutex<String>,
}

#[derive(Debug, Default)]
struct Retentions {
    groups: HashMap<String, Retention>,
    none_before_ms: i64,
}

#[derive(Debug, Default)]
struct Retention {
    /// Wanted retention in days; `None` means that events never expire, the default of a group.
    wanted: Option<u32>,
    /// The retention that this environment has set.
    set: Option<u32>,
    /// A stream of the group was created here, so the group may be new. Its retention must be set here: the
    /// process that created the group may have died.
    may_be_new: bool,
}

impl Retentions {
    /// Returns the groups whose retention has to be set, with the days.
    fn due(&self, now_ms: i64) -> Vec<(String, u32)> {
        if now_ms < self.none_before_ms {
            return Vec::new();
        }
        let due = self.groups.iter().filter_map(|(group, known)| {
            let days = known.wanted.filter(|days| known.set != Some(*days))?;
            (known.may_be_new || known.set.is_some()).then(|| (group.clone(), days))
        });
        due.take(RETENTIONS_AT_ONCE).collect()
    }
}

impl<S> Groups<S> {
    pub(crate) fn new(sender: S) -> Self {
        Self { sender, creations: Mutex::default(), retentions: Mutex::default() }
    }

    fn creation(&self, group: &str) -> Arc<Creation> {
        let mut creations = self.creations.lock().unwrap_or_else(PoisonError::into_inner);
        creations.entry(group.to_owned()).or_default().clone()
    }

    fn retentions(&self) -> MutexGuard<'_, Retentions> {
        self.retentions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the wanted retention of a group.
    pub(crate) fn keep(&self, group: &str, days: Option<u32>) {
        let mut retentions = self.retentions();
        match retentions.groups.get_mut(group) {
            Some(known) => known.wanted = days,
            None => {
                let known = Retention { wanted: days, ..Retention::default() };
                retentions.groups.insert(group.to_owned(), known);
            }
        }
    }
}

impl<S: LogGroups> Groups<S> {
    /// Sets the retentions that are due. Returns how many could not be set.
    pub(crate) async fn set_retentions(&self, now_ms: i64) -> u64 {
        let due = self.retentions().due(now_ms);
        if due.is_empty() {
            return 0;
        }
        let why = match tokio::time::timeout(RETENTIONS_TIME, self.set_each(due)).await {
            Ok(Ok(())) => return 0,
            Ok(Err(why)) => why,
            Err(_) => "timed out".to_owned(),
        };
        tracing::warn!(error.message = why, "failed to set the retention of a log group");
        self.retentions().none_before_ms = now_ms + RETENTION_PAUSE_MS;
        1
    }

    async fn set_each(&self, due: Vec<(String, u32)>) -> Result<(), String> {
        for (group, days) in due {
            let answer = self.sender.set_retention(&group, days).await;
            let mut retentions = self.retentions();
            match (answer, retentions.groups.get_mut(&group)) {
                (Ok(()), Some(known)) => (known.set, known.may_be_new) = (Some(days), false),
                // The group was deleted. Its next creation sets the retention.
                (Err(fault), Some(known)) if fault.class == FaultClass::NotFound => {
                    (known.set, known.may_be_new) = (None, false);
                }
                (Err(fault), _) => return Err(format!("{group}: {}", chain(&fault))),
                (Ok(()), None) => {}
            }
        }
        Ok(())
    }
}

impl<S: Sender> Sender for Groups<S> {
    async fn send(&self, request: Request) -> Result<Accepted, SendError> {
        let (group, stream) = (request.group.clone(), request.stream.clone());
        match self.sender.send(request).await {
            Err(error) if error.class == ErrorClass::ResourceNotFound => {
                let creation = self.creation(&group);
                if *creation.last.lock().await != *stream {
                    return Err(error);
                }
                // The stream was created here and does not exist: that answer was wrong, or the stream was
                // deleted since. Try once more; a second "not found" would discard the events.
                self.create(&group, &stream).await?;
                Err(SendError::new(ErrorClass::ServiceUnavailable, error.message))
            }
            answer => answer,
        }
    }

    async fn create(&self, group: &str, stream: &str) -> Result<(), SendError> {
        let creation = self.creation(group);
        let before = creation.done.load(Ordering::SeqCst);
        let mut last = creation.last.lock().await;
        if creation.done.load(Ordering::SeqCst) != before && *last == stream {
            // Another lane created it while this one waited.
            return Ok(());
        }
        self.sender.create(group, stream).await?;
        stream.clone_into(&mut last);
        creation.done.fetch_add(1, Ordering::SeqCst);
        let mut retentions = self.retentions();
        let known = retentions.groups.entry(group.to_owned()).or_default();
        (known.set, known.may_be_new) = (None, true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_due_for_a_group_that_may_be_new_and_when_its_days_change() {
        let groups = Groups::new(());
        let due = |now_ms| groups.retentions().due(now_ms);
        groups.keep("/a", Some(30));
        assert_eq!(due(0), [], "it was there before");
        groups.retentions().groups.get_mut("/a").unwrap().may_be_new = true;
        assert_eq!(due(0), [("/a".to_owned(), 30)]);
        groups.retentions().none_before_ms = 1;
        assert_eq!(due(0), []);
        let known = Retention { wanted: Some(30), set: Some(30), may_be_new: false };
        groups.retentions().groups.insert("/a".to_owned(), known);
        groups.keep("/a", Some(30));
        assert_eq!(due(1), []);
        groups.keep("/a", Some(7));
        assert_eq!(due(1), [("/a".to_owned(), 7)]);
        groups.keep("/a", None);
        assert_eq!(due(1), [], "the default is not set");
    }
}
