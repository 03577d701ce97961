//! What flush talks to beside the tables: CloudWatch Logs, its marks and its dead letters.

use std::collections::BTreeMap;

use batch_buffer::testing::StrictLogs;
use batch_buffer::{Accepted, ErrorClass, Request, SendError, Sender};
use logferry_domain::block::Partition;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_ports::flush_marks::FlushMark;
use logferry_ports::{Clock, DeadLetters, FlushMarks};

use super::{How, SimClock, SimCloud};

impl SimCloud {
    /// A cloud at a time that stands still, with these CloudWatch Logs.
    #[must_use]
    pub fn at(now_ms: i64, logs: StrictLogs) -> Self {
        Self { clock: SimClock::at(now_ms), logs, ..Self::default() }
    }

    /// The files of the failure bucket.
    #[must_use]
    pub fn dead_letters_now(&self) -> BTreeMap<String, Vec<u8>> {
        self.state().dead_letters.clone()
    }

    /// The marks of flush, by partition.
    #[must_use]
    pub fn flush_marks_now(&self) -> BTreeMap<String, FlushMark> {
        self.state().marks.clone()
    }

    /// What CloudWatch Logs holds.
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
            Some(How::ReplyLost(_)) => Err(SendError::new(ErrorClass::Connection, "simulated, reply lost")),
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

impl FlushMarks for SimCloud {
    async fn find(&self, partitions: &[Partition]) -> Result<Vec<(Partition, FlushMark)>, Fault> {
        self.call("BatchGetItem", |state| {
            let mark = |partition: &Partition| {
                state.marks.get(&partition.key()).map(|mark| (partition.clone(), mark.clone()))
            };
            Ok(partitions.iter().filter_map(mark).collect())
        })
        .await
    }

    async fn set(&self, partition: &Partition, mark: &FlushMark, _: i64) -> Result<(), Fault> {
        self.call("PutItem", |state| {
            state.marks.insert(partition.key(), mark.clone());
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
