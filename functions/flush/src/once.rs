//! Sending outside of an invocation: what `logferry redrive-dead-letters` needs of flush.

use std::sync::Arc;

use batch_buffer::{DeadLetter, Event, Sender, deliver, plan};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::app::AppId;
use logferry_core::model::fault::Fault;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_core::ports::flush_marks::FlushMarks;
use logferry_core::ports::log_groups::LogGroups;

use crate::app_cache::AppSetting;
use crate::lane::{State, lanes};
use crate::stream::StreamEvent;
use crate::{Flush, Tally};

/// Events that were not accepted.
#[derive(Debug, Default)]
pub struct NotSent {
    /// Refused permanently.
    pub dead: Vec<DeadLetter>,
    /// May be sent later.
    pub left: Vec<Event>,
    /// What stopped a request.
    pub error: Option<String>,
}

/// The outcome of a stream record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordEnd {
    Through,
    Undecodable,
    /// Not sent, or not yet.
    Open,
    AppDeleted,
}

/// A batch of the stream after it was sent, or only read.
#[derive(Debug)]
pub struct SentBatch {
    /// Each record's sequence number, outcome and counts.
    pub records: Vec<(String, RecordEnd, Tally)>,
    /// What stopped a lane.
    pub error: Option<String>,
}

impl<B, A, S, D, M, C> Flush<B, A, S, D, M, C>
where
    B: BlockTable,
    A: Apps,
    S: Sender + LogGroups,
    D: DeadLetters,
    M: FlushMarks,
    C: Clock,
{
    pub fn dead_letters(&self) -> &D {
        &self.dead_letters
    }

    /// Sets the retentions of log groups that are due.
    pub async fn set_retentions(&self) {
        self.groups.set_retentions(self.clock.now_ms()).await;
    }

    /// The setting of the app that has this id now; `None` if no app has it.
    ///
    /// # Errors
    /// If the setting could not be read.
    pub async fn app_setting(&self, app_id: &AppId) -> Result<Option<AppSetting>, Fault> {
        self.apps.now(app_id).await
    }

    /// Sends events to one log stream of an app with this setting.
    pub async fn send_events(
        &self,
        group: &str,
        stream: &str,
        events: Vec<Event>,
        setting: Option<AppSetting>,
    ) -> NotSent {
        if let Some(setting) = setting {
            self.groups.keep(group, setting.retention_days.or(self.sending.retention_days));
        }
        let (group, stream) = (Arc::<str>::from(group), Arc::<str>::from(stream));
        let planned = plan(events, self.clock.now_ms(), &self.sending.limits());
        let mut not_sent = NotSent { left: planned.refused, ..NotSent::default() };
        let mut token = None;
        for batch in planned.batches {
            let (retry, clock) = (&self.sending.retry, || self.clock.now_ms());
            let sent = deliver(&self.groups, &group, &stream, batch, &mut token, retry, &clock).await;
            not_sent.dead.extend(sent.dead);
            not_sent.left.extend(sent.unsent);
            not_sent.error = sent.error.map(|error| error.to_string()).or(not_sent.error);
        }
        not_sent
    }

    /// Sends a batch of the stream; a dry run only reads it.
    pub async fn send_batch(&self, event: &StreamEvent, dry_run: bool) -> SentBatch {
        let mut lanes = lanes(event, self.clock.now_ms());
        if !dry_run {
            self.send_lanes(&mut lanes, None).await;
        }
        let records = lanes.iter().flat_map(|lane| &lane.records).map(|record| {
            let end = match record.state {
                _ if record.ownerless => RecordEnd::AppDeleted,
                State::Through => RecordEnd::Through,
                State::Bad(_) => RecordEnd::Undecodable,
                State::Open => RecordEnd::Open,
            };
            (record.sequence().to_owned(), end, record.tally())
        });
        SentBatch { records: records.collect(), error: lanes.iter().find_map(|lane| lane.stopped.clone()) }
    }
}
