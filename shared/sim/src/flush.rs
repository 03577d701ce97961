//! Ports of `flush` besides the tables: CloudWatch Logs, its marks and its dead letters.

use std::collections::{BTreeMap, BTreeSet};

use batch_buffer::testing::StrictLogs;
use batch_buffer::{Accepted, ErrorClass, Request, SendError, Sender};
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_core::ports::flush_marks::{FlushMark, FlushMarks, Insertion};
use logferry_core::ports::log_groups::LogGroups;

use super::{How, SimClock, SimCloud};

impl SimCloud {
    /// A cloud with a fixed time and these CloudWatch Logs.
    #[must_use]
    pub fn at(now_ms: i64, logs: StrictLogs) -> Self {
        Self { clock: SimClock::at(now_ms), logs, ..Self::default() }
    }

    /// Returns the files of the failure bucket.
    #[must_use]
    pub fn dead_letters_now(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().dead_letters.clone()
    }

    /// Returns the marks of `flush`.
    #[must_use]
    pub fn flush_marks_now(&self) -> BTreeMap<Insertion, FlushMark> {
        self.state().marks.clone()
    }

    /// Returns the content of CloudWatch Logs.
    #[must_use]
    pub fn logs(&self) -> &StrictLogs {
        &self.logs
    }

    async fn logs_call<T>(&self, call: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
        let how = self.turn().await;
        if let Some(How::Before(class)) = how {
            let class = match class {
                FaultClass::RateLimited => ErrorClass::Throttling,
                _ => ErrorClass::InternalServerError,
            };
            return Err(SendError::new(class, "simulated, before"));
        }
        self.logs.set_now_ms(self.clock.now_ms());
        let answer = call.await;
        match how {
            None => answer,
            Some(How::ReplyLost(_)) => {
                Err(SendError::new(ErrorClass::Connection, "simulated, response lost"))
            }
            Some(_) => std::future::pending().await,
        }
    }
}

impl Sender for SimCloud {
    async fn send(&self, request: Request) -> Result<Accepted, SendError> {
        self.logs_call(self.logs.send(request)).await
    }

    async fn create(&self, group: &str, stream: &str) -> Result<(), SendError> {
        self.logs_call(self.logs.create(group, stream)).await
    }
}

/// Not counted among the calls that fail by number: nothing waits for it. It fails by
/// [`StrictLogs::break_retentions`].
impl LogGroups for SimCloud {
    async fn set_retention(&self, group: &str, days: u32) -> Result<(), Fault> {
        self.logs.set_retention(group, days).await.map_err(|error| {
            let class = match error.class {
                ErrorClass::Throttling => FaultClass::RateLimited,
                ErrorClass::ResourceNotFound => FaultClass::NotFound,
                ErrorClass::AccessDenied => FaultClass::Denied,
                _ => FaultClass::Transient,
            };
            Fault::new(class, "PutRetentionPolicy", error.message)
        })
    }
}

impl FlushMarks for SimCloud {
    async fn find(&self, insertions: &[Insertion]) -> Result<Vec<(Insertion, FlushMark)>, Fault> {
        self.call("BatchGetItem", |state| {
            let mark =
                |insertion: &Insertion| state.marks.get(insertion).map(|mark| (insertion.clone(), *mark));
            Ok(insertions.iter().filter_map(mark).collect())
        })
        .await
    }

    async fn set(&self, marks: &[(Insertion, FlushMark)], _: i64) -> Result<(), Fault> {
        let distinct: BTreeSet<_> = marks.iter().map(|(insertion, _)| insertion).collect();
        assert_eq!(distinct.len(), marks.len(), "BatchWriteItem refuses a key that it holds twice");
        self.call("BatchWriteItem", |state| {
            state.marks.extend(marks.iter().cloned());
            Ok(())
        })
        .await
    }
}

impl DeadLetters for SimCloud {
    async fn put(&self, name: &str, lines: Vec<u8>) -> Result<(), Fault> {
        self.call("PutObject", |state| {
            state.dead_letters.insert(name.to_owned(), lines);
            Ok(())
        })
        .await
    }

    async fn names(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, Fault> {
        self.call("ListObjectsV2", |state| {
            let later =
                |name: &&String| name.starts_with(prefix) && after.is_none_or(|after| name.as_str() > after);
            Ok(state.dead_letters.keys().filter(later).take(1000).cloned().collect())
        })
        .await
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, Fault> {
        self.call("GetObject", |state| {
            let found = state.dead_letters.get(name).cloned();
            found.ok_or_else(|| Fault::new(FaultClass::NotFound, "GetObject", "NoSuchKey"))
        })
        .await
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        self.call("DeleteObject", |state| {
            state.dead_letters.remove(name);
            Ok(())
        })
        .await
    }
}
