//! The files of dead letters: what is in them, what they are called, and how to send them again.
//!
//! A file is JSON lines, one per event:
//! `{"group","stream","timestamp","message","reason","detail","sequenceNumber"}`. `timestamp` (ms) and
//! `message` are the event as it was last tried; `reason` is a stable word, `detail` for people.
//! Name: `dead-letters/{app_id}/{yyyy-mm-dd}/{shard}/{sequence number}-{entry:06}.jsonl` after the
//! first event in it, so that the same work done again replaces the file.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch_buffer::{DeadLetter, Event, Limits, RetryPolicy, Sender, deliver, plan};
use logferry_domain::block::Partition;
use logferry_domain::fault::{Fault, FaultClass};
use logferry_ports::{Clock, DeadLetters};
use serde::{Deserialize, Serialize};

use crate::stream::SequenceNumber;

/// Where the files begin.
pub const PREFIX: &str = "dead-letters/";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub group: String,
    pub stream: String,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    pub message: String,
    pub reason: String,
    pub detail: String,
    pub sequence_number: String,
}

#[must_use]
pub fn name(partition: &Partition, first: &SequenceNumber, entry: u32) -> String {
    let Partition { app_id, day, shard } = partition;
    format!("{PREFIX}{app_id}/{day}/{shard}/{}-{entry:06}.jsonl", first.as_str())
}

/// The content of a file.
#[must_use]
pub fn lines(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in lines {
        if let Ok(json) = serde_json::to_vec(line) {
            out.extend_from_slice(&json);
            out.push(b'\n');
        }
    }
    out
}

#[must_use]
pub fn line(group: &str, stream: &str, letter: &DeadLetter, sequence: &SequenceNumber) -> Line {
    Line {
        group: group.to_owned(),
        stream: stream.to_owned(),
        timestamp: letter.event.timestamp_ms,
        message: letter.event.message.clone(),
        reason: letter.reason.code().to_owned(),
        detail: letter.reason.to_string(),
        sequence_number: sequence.as_str().to_owned(),
    }
}

/// What became of the files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Redriven {
    /// Files that are gone because all their events were sent.
    pub files_done: u64,
    pub files_kept: u64,
    pub events_sent: u64,
    /// Events still in files.
    pub events_kept: u64,
}

/// Sends dead letters again, file by file: what is sent leaves its file, what is dead again or
/// cannot be sent now stays in it. Run twice, it sends nothing twice but where it was killed
/// between sending and rewriting a file.
///
/// # Errors
/// A file could not be listed, read or written; the files before it are done.
pub async fn redrive<D: DeadLetters, S: Sender, C: Clock>(
    letters: &D,
    sender: &S,
    clock: &C,
    prefix: &str,
    policy: &RetryPolicy,
) -> Result<Redriven, Fault> {
    let mut redriven = Redriven::default();
    let mut after: Option<String> = None;
    loop {
        let names = letters.names(prefix, after.as_deref()).await?;
        let Some(last) = names.last() else { return Ok(redriven) };
        after = Some(last.clone());
        for name in names.iter().filter(|name| name.ends_with(".jsonl")) {
            redrive_file(letters, sender, clock, name, policy, &mut redriven).await?;
        }
    }
}

async fn redrive_file<D: DeadLetters, S: Sender, C: Clock>(
    letters: &D,
    sender: &S,
    clock: &C,
    name: &str,
    policy: &RetryPolicy,
    redriven: &mut Redriven,
) -> Result<(), Fault> {
    let bytes = letters.read(name).await?;
    let parsed: Result<Vec<Line>, _> = bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
        .collect();
    let parsed = parsed.map_err(|error| {
        Fault::new(FaultClass::Permanent, "reading dead letters", name.to_owned()).with_source(error)
    })?;

    let mut streams: BTreeMap<(String, String), Vec<Event>> = BTreeMap::new();
    for (index, line) in parsed.iter().enumerate() {
        let event = Event::new(line.timestamp, line.message.clone()).tagged(index as u64);
        streams.entry((line.group.clone(), line.stream.clone())).or_default().push(event);
    }
    let mut kept = vec![false; parsed.len()];
    let mut keep = |tag: u64| {
        if let Some(kept) = usize::try_from(tag).ok().and_then(|index| kept.get_mut(index)) {
            *kept = true;
        }
    };
    for ((group, stream), events) in streams {
        let (group, stream) = (Arc::<str>::from(group), Arc::<str>::from(stream));
        let planned = plan(events, clock.now_ms(), &Limits::default());
        planned.refused.iter().for_each(|event| keep(event.tag));
        let mut token = None;
        for batch in planned.batches {
            let delivery =
                deliver(sender, &group, &stream, batch, &mut token, policy, &|| clock.now_ms()).await;
            delivery.dead.iter().for_each(|letter| keep(letter.event.tag));
            delivery.unsent.iter().for_each(|event| keep(event.tag));
        }
    }
    let left: Vec<Line> =
        parsed.iter().zip(&kept).filter(|(_, kept)| **kept).map(|(line, _)| line.clone()).collect();
    redriven.events_sent += (parsed.len() - left.len()) as u64;
    redriven.events_kept += left.len() as u64;
    if left.is_empty() {
        letters.remove(name).await?;
        redriven.files_done += 1;
    } else {
        if left.len() < parsed.len() {
            letters.put(name, lines(&left)).await?;
        }
        redriven.files_kept += 1;
    }
    Ok(())
}
