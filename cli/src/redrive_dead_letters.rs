//! Redrive of the failure bucket: dead letters of `flush`, blocks that it could not decode, and batches
//! that the event source mapping discarded. Each event is sent once more. Rejected events stay. Nothing is
//! removed from the bucket before it was accepted, so a run that is killed repeats at most its current
//! file.

use std::collections::{BTreeMap, HashSet};

use batch_buffer::{Event, Sender};
use logferry_core::logbook::blocks::BlockTable;
use logferry_core::model::app::AppId;
use logferry_core::model::block::Partition;
use logferry_core::model::embedded_metrics::inert_line;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::model::time::Day;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_core::ports::dead_letters::DeadLetters;
use logferry_core::ports::flush_marks::{FlushMark, FlushMarks, Insertion};
use logferry_core::ports::log_groups::LogGroups;
use logferry_flush::dead_letters::{self, Line, PREFIX, UNDECODABLE};
use logferry_flush::once::RecordEnd;
use logferry_flush::stream::StreamEvent;
use logferry_flush::{Flush, Tally};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Key prefix under which the event source mapping puts discarded batches:
/// `{mapping}/{shard}/{yyyy}/{mm}/{dd}/{time}-{uuid}` follows.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html>
pub const GIVEN_UP: &str = "aws/lambda/";

/// Reason for keeping an event of a deleted app. Another app may use its id and log group by now.
const APP_DELETED: &str = "APP_DELETED";

/// Marks that are only read. Redriven events leave the bucket, so they need no marks.
#[derive(Debug, Clone)]
pub struct KnownMarks<M>(pub M);

impl<M: FlushMarks> FlushMarks for KnownMarks<M> {
    async fn find(&self, insertions: &[Insertion]) -> Result<Vec<(Insertion, FlushMark)>, Fault> {
        self.0.find(insertions).await
    }

    async fn set(&self, _: &[(Insertion, FlushMark)], _: i64) -> Result<(), Fault> {
        Ok(())
    }
}

/// Selects the events to redrive; the default selects all.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Only files whose names start with this prefix.
    pub prefix: Option<String>,
    pub app_id: Option<AppId>,
    /// Only records of this UTC day.
    pub day: Option<Day>,
}

impl Selection {
    fn takes(&self, partition: Option<&Partition>) -> bool {
        match partition {
            Some(partition) => {
                self.app_id.as_ref().is_none_or(|app_id| *app_id == partition.app_id)
                    && self.day.is_none_or(|day| day == partition.day)
            }
            None => self.app_id.is_none() && self.day.is_none(),
        }
    }

    /// Files of `flush` come first: dead letters of a discarded batch wait for the next run.
    fn listed(&self) -> Vec<String> {
        let own = match (&self.prefix, &self.app_id, &self.day) {
            (Some(prefix), ..) => return vec![prefix.clone()],
            (None, Some(app_id), Some(day)) => format!("{app_id}/{day}/"),
            (None, Some(app_id), None) => format!("{app_id}/"),
            (None, None, _) => String::new(),
        };
        vec![format!("{PREFIX}{own}"), format!("{UNDECODABLE}{own}"), GIVEN_UP.to_owned()]
    }
}

/// The result for one file. `events` is the sum of the five counts after it. For dead letters it counts
/// lines; for batches, records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileReport {
    pub file: String,
    pub events: u64,
    pub sent: u64,
    /// Sent by `flush` before the batch was discarded, according to its marks.
    #[serde(skip_serializing_if = "is_zero")]
    pub sent_before: u64,
    /// Skipped because of their app's setting.
    #[serde(skip_serializing_if = "is_zero")]
    pub narrowed: u64,
    /// Now dead letters of `flush`, in files of their own.
    #[serde(skip_serializing_if = "is_zero")]
    pub dead_lettered: u64,
    /// Still in this file.
    pub kept: u64,
    /// Reasons for the kept events.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub reasons: BTreeMap<String, u64>,
    /// Why the file is invalid, could not be changed, or why a request stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl FileReport {
    fn of(file: &str) -> Self {
        Self { file: file.to_owned(), ..Self::default() }
    }

    fn broken(file: &str, error: impl Into<String>) -> Self {
        Self { error: Some(error.into()), ..Self::of(file) }
    }

    fn keep(&mut self, reason: &str, events: u64) {
        self.kept += events;
        *self.reasons.entry(reason.to_owned()).or_default() += events;
    }

    fn add(&mut self, tally: Tally) {
        self.sent += tally.sent;
        self.sent_before += tally.sent_before;
        self.narrowed += tally.narrowed;
        self.dead_lettered += tally.dead_lettered;
    }

    /// Whether nothing of it is left in the bucket.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.kept == 0 && self.dead_lettered == 0 && self.error.is_none()
    }
}

/// The sums over all files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    pub files_done: u64,
    pub files_kept: u64,
    pub events_sent: u64,
    /// Events still in the bucket.
    pub events_kept: u64,
}

impl Redriven {
    fn add(&mut self, report: &FileReport) {
        match report.is_done() {
            true => self.files_done += 1,
            false => self.files_kept += 1,
        }
        self.events_sent += report.sent;
        self.events_kept += report.kept + report.dead_lettered;
    }
}

/// Redrives with flush's own code.
#[derive(Debug)]
pub struct Redrive<B, A, S, D, M, C>(pub Flush<B, A, S, D, KnownMarks<M>, C>);

impl<B, A, S, D, M, C> Redrive<B, A, S, D, M, C>
where
    B: BlockTable,
    A: Apps,
    S: Sender + LogGroups,
    D: DeadLetters,
    M: FlushMarks,
    C: Clock,
{
    /// Sends the selected events once more, file by file, and passes the result of each file to `each`. A
    /// dry run reads and counts only.
    ///
    /// # Errors
    /// If the bucket could not be listed, or if a file or an app's setting could not be read. Earlier files
    /// are done.
    pub async fn run(
        &self,
        selection: &Selection,
        dry_run: bool,
        mut each: impl FnMut(&FileReport),
    ) -> Result<Redriven, Fault> {
        let mut redriven = Redriven::default();
        for prefix in selection.listed() {
            let mut after: Option<String> = None;
            loop {
                let names = self.0.dead_letters().names(&prefix, after.as_deref()).await?;
                let Some(last) = names.last() else { break };
                after = Some(last.clone());
                for name in &names {
                    if let Some(report) = self.redrive_file(name, selection, dry_run).await? {
                        self.0.set_retentions().await;
                        redriven.add(&report);
                        each(&report);
                    }
                }
            }
        }
        Ok(redriven)
    }

    /// Returns `None` if no event of the file is selected, or if the file no longer exists.
    async fn redrive_file(
        &self,
        name: &str,
        selection: &Selection,
        dry_run: bool,
    ) -> Result<Option<FileReport>, Fault> {
        let partition = dead_letters::partition(name);
        if name.starts_with(PREFIX) && !selection.takes(partition.as_ref()) {
            return Ok(None);
        }
        let bytes = match self.0.dead_letters().read(name).await {
            Err(fault) if fault.class == FaultClass::NotFound => return Ok(None),
            bytes => bytes?,
        };
        let (report, left) = if name.starts_with(PREFIX) {
            match (dead_letters::parse(&bytes), partition) {
                (Ok(lines), Some(partition)) => self.redrive_lines(name, &partition, lines, dry_run).await?,
                (Ok(_), None) => (FileReport::broken(name, "the file name does not name an app"), None),
                (Err(line), _) => {
                    (FileReport::broken(name, format!("line {line} is not a dead letter")), None)
                }
            }
        } else if name.starts_with(GIVEN_UP) || name.starts_with(UNDECODABLE) {
            match GivenUp::parse(&bytes, selection) {
                Ok(batch) if batch.chosen.is_empty() => return Ok(None),
                Ok(batch) => self.redrive_batch(name, batch, dry_run).await?,
                Err(problem) => (FileReport::broken(name, problem), None),
            }
        } else {
            (FileReport::broken(name, "the file is neither dead letters nor a discarded batch"), None)
        };
        Ok(Some(match left {
            Some(left) => self.leave(report, left).await,
            None => report,
        }))
    }

    /// Removes the sent events from a file; `left` is its new content.
    async fn leave(&self, mut report: FileReport, left: Vec<u8>) -> FileReport {
        let changed = match left.is_empty() {
            true => self.0.dead_letters().remove(&report.file).await,
            false => self.0.dead_letters().put(&report.file, left).await,
        };
        if let Err(fault) = changed {
            let problem = format!("sent, but not removed from the file: {}", chain(&fault));
            report.error = Some(problem);
        }
        report
    }

    async fn redrive_lines(
        &self,
        name: &str,
        partition: &Partition,
        lines: Vec<Line>,
        dry_run: bool,
    ) -> Result<(FileReport, Option<Vec<u8>>), Fault> {
        let mut report = FileReport { events: lines.len() as u64, ..FileReport::of(name) };
        if dry_run {
            lines.iter().for_each(|line| report.keep(&line.reason, 1));
            return Ok((report, None));
        }
        let setting = self.0.app_setting(&partition.app_id).await?;
        let mut streams: BTreeMap<(&str, &str), Vec<Event>> = BTreeMap::new();
        // The lines that stay, with a new reason and detail if they changed.
        let mut kept: BTreeMap<u64, Option<(&'static str, String)>> = BTreeMap::new();
        for (tag, line) in (0..).zip(&lines) {
            // A line without registration time belongs to this app only if its timestamp is later than the
            // registration.
            let is_own = |registered_ms: i64| match line.epoch {
                Some(epoch) => epoch == registered_ms,
                None => line.timestamp >= registered_ms,
            };
            if !setting.as_ref().is_some_and(|setting| is_own(setting.registered_ms)) {
                let detail = "the app of this event is deleted".to_owned();
                kept.insert(tag, Some((APP_DELETED, detail)));
                continue;
            }
            let event = Event::new(line.timestamp, inert_line(&line.message)).tagged(tag);
            streams.entry((&line.group, &line.stream)).or_default().push(event);
        }
        for ((group, stream), events) in streams {
            let not_sent = self.0.send_events(group, stream, events, setting.clone()).await;
            for letter in not_sent.dead {
                kept.insert(letter.event.tag, Some((letter.reason.code(), letter.reason.to_string())));
            }
            for event in not_sent.left {
                kept.entry(event.tag).or_default();
            }
            report.error = not_sent.error.or(report.error);
        }
        let mut left = Vec::new();
        for (index, mut line) in lines.into_iter().enumerate() {
            match kept.remove(&(index as u64)) {
                None => report.sent += 1,
                Some(again) => {
                    report.keep(again.as_ref().map_or("NOT_SENT", |(code, _)| code), 1);
                    if let Some((code, detail)) = again {
                        (line.reason, line.detail) = (code.to_owned(), detail);
                    }
                    left.push(line);
                }
            }
        }
        // Nothing was sent and only texts changed: keep the file.
        let left = (report.sent > 0).then(|| dead_letters::lines(&left)).transpose()?;
        Ok((report, left))
    }

    async fn redrive_batch(
        &self,
        name: &str,
        batch: GivenUp,
        dry_run: bool,
    ) -> Result<(FileReport, Option<Vec<u8>>), Fault> {
        let mut report = FileReport::of(name);
        let Ok(event) = batch.event() else {
            return Ok((FileReport::broken(name, "the payload is not a stream event"), None));
        };
        let sent = self.0.send_batch(&event, dry_run).await;
        report.error = sent.error;
        let mut open = HashSet::new();
        for (sequence, end, mut tally) in sent.records {
            let reason = match end {
                RecordEnd::AppDeleted => Some(APP_DELETED),
                RecordEnd::Through => None,
                RecordEnd::Undecodable => Some("UNDECODABLE"),
                RecordEnd::Open if dry_run => Some(batch.condition.as_str()),
                RecordEnd::Open => Some("NOT_SENT"),
            };
            if let Some(reason) = reason {
                if end == RecordEnd::AppDeleted {
                    (tally.narrowed, tally.left) = (0, tally.records_in);
                }
                report.keep(reason, tally.left);
                open.insert(sequence);
            }
            report.add(tally);
        }
        report.events =
            report.sent + report.sent_before + report.narrowed + report.dead_lettered + report.kept;
        let left = if dry_run { None } else { batch.without_all_but(&open) };
        Ok((report, left))
    }
}

/// A file that the event source mapping wrote: an invocation record whose `payload` is the event.
struct GivenUp {
    record: Map<String, Value>,
    /// Why the mapping discarded the batch.
    condition: String,
    /// The selected records of the event.
    chosen: Vec<Value>,
    /// All records of the event.
    all: Vec<Value>,
}

fn sequence_of(record: &Value) -> Option<&str> {
    record.pointer("/dynamodb/SequenceNumber")?.as_str()
}

impl GivenUp {
    fn parse(bytes: &[u8], selection: &Selection) -> Result<Self, &'static str> {
        let record: Map<String, Value> =
            serde_json::from_slice(bytes).map_err(|_| "the file is not an invocation record")?;
        let payload = match record.get("payload") {
            None | Some(Value::Null) => {
                return Err("the record has no payload, only the batch's position in the stream");
            }
            Some(Value::String(text)) => {
                serde_json::from_str(text).map_err(|_| "the payload is not a stream event")?
            }
            Some(event) => event.clone(),
        };
        let Some(all) = payload.get("Records").and_then(Value::as_array).cloned() else {
            return Err("the payload is not a stream event");
        };
        let partition = |record: &Value| {
            let key = record.pointer("/dynamodb/NewImage/pk/S").and_then(Value::as_str);
            key.and_then(Partition::parse)
        };
        let chosen =
            all.iter().filter(|record| selection.takes(partition(record).as_ref())).cloned().collect();
        let condition = record.get("requestContext").and_then(|context| context.get("condition"));
        let condition = condition.and_then(Value::as_str).unwrap_or("GIVEN_UP").to_owned();
        Ok(Self { record, condition, chosen, all })
    }

    fn event(&self) -> Result<StreamEvent, serde_json::Error> {
        serde_json::from_str(&json!({ "Records": self.chosen }).to_string())
    }

    /// Returns the file without the selected records that are done. Empty if nothing is left of it, `None`
    /// if it does not change.
    fn without_all_but(mut self, open: &HashSet<String>) -> Option<Vec<u8>> {
        let chosen: HashSet<&str> = self.chosen.iter().filter_map(sequence_of).collect();
        let stays = |record: &&Value| {
            sequence_of(record).is_none_or(|sequence| !chosen.contains(sequence) || open.contains(sequence))
        };
        let left: Vec<Value> = self.all.iter().filter(stays).cloned().collect();
        if left.len() == self.all.len() {
            return None;
        }
        if left.is_empty() {
            return Some(Vec::new());
        }
        self.record.insert("payload".to_owned(), json!({ "Records": left }).to_string().into());
        Some(Value::Object(self.record).to_string().into_bytes())
    }
}
