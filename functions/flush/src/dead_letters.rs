//! Files in the failure bucket: dead letters, and blocks that cannot be decoded.
//!
//! A dead-letter file has one line of JSON per event:
//! `{"group","stream","timestamp","message","reason","detail","sequenceNumber","epoch"}`. `timestamp` (ms)
//! and `message` are the event as last sent. `reason` is a stable code, `detail` is human-readable. `epoch`
//! (ms) is when the event's app was registered.
//! Name: `dead-letters/{app_id}/{yyyy-mm-dd}/{shard}/{sequence number}-{entry:06}.jsonl` after the first
//! event in the file, so a retry of the same work replaces the file.
//!
//! A block that cannot be decoded is a batch of one, in the format in which the event source mapping keeps
//! discarded batches: `{"requestContext":{"condition":"UNDECODABLE"},"detail","payload"}`.
//! Name: `undecodable/{app_id}/{yyyy-mm-dd}/{shard}/{sequence number}.json`, or
//! `undecodable/unknown/{sequence number}.json` if the block does not name its app.

use batch_buffer::DeadLetter;
use logferry_core::model::block::Partition;
use logferry_core::model::fault::{Fault, FaultClass};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::lane::Record;
use crate::stream::StreamRecord;

/// Key prefix of dead-letter files.
pub const PREFIX: &str = "dead-letters/";

/// Key prefix of files with blocks that cannot be decoded.
pub const UNDECODABLE: &str = "undecodable/";

/// One line of a dead-letter file: an event that was rejected.
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
    /// `None` if an earlier version wrote the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
}

#[must_use]
pub fn name(partition: &Partition, first: &str, entry: u32) -> String {
    let Partition { app_id, day, shard } = partition;
    format!("{PREFIX}{app_id}/{day}/{shard}/{first}-{entry:06}.jsonl")
}

#[must_use]
pub fn undecodable_name(partition: Option<&Partition>, sequence: &str) -> String {
    match partition {
        Some(Partition { app_id, day, shard }) => {
            format!("{UNDECODABLE}{app_id}/{day}/{shard}/{sequence}.json")
        }
        None => format!("{UNDECODABLE}unknown/{sequence}.json"),
    }
}

/// Serializes a stream record as a discarded batch of one record.
///
/// # Errors
/// None for a record that was deserialized.
pub fn undecodable(change: &StreamRecord, reason: &str) -> Result<Vec<u8>, Fault> {
    let unwritable =
        |error| Fault::new(FaultClass::Permanent, "writing a block", "unwritable").with_source(error);
    let payload = serde_json::to_string(&Batch { records: [change] }).map_err(unwritable)?;
    let context = json!({"condition": "UNDECODABLE"});
    let file = json!({"requestContext": context, "detail": reason, "payload": payload});
    Ok(file.to_string().into_bytes())
}

#[derive(Serialize)]
struct Batch<'a> {
    #[serde(rename = "Records")]
    records: [&'a StreamRecord; 1],
}

/// Returns the partition of the records in the file of this name.
#[must_use]
pub fn partition(name: &str) -> Option<Partition> {
    let mut parts = name.strip_prefix(PREFIX)?.split('/');
    let key = [parts.next()?, parts.next()?, parts.next()?].join("#");
    Partition::parse(&key)
}

/// Serializes the content of a file.
///
/// # Errors
/// None for lines of text and numbers. No line is ever left out.
pub fn lines(lines: &[Line]) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut out, line).map_err(|error| {
            Fault::new(FaultClass::Permanent, "writing dead letters", "unwritable").with_source(error)
        })?;
        out.push(b'\n');
    }
    Ok(out)
}

/// Parses what [`lines`] wrote.
///
/// # Errors
/// The number, from 1, of the first line that is not a dead letter. The error does not contain the line,
/// which may be a tenant's log.
pub fn parse(bytes: &[u8]) -> Result<Vec<Line>, usize> {
    let lines = bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    lines.map(|(index, line)| serde_json::from_slice(line).map_err(|_| index + 1)).collect()
}

pub(crate) fn line(group: &str, stream: &str, letter: &DeadLetter, record: &Record<'_>) -> Line {
    Line {
        group: group.to_owned(),
        stream: stream.to_owned(),
        timestamp: letter.event.timestamp_ms,
        message: letter.event.message.clone(),
        reason: letter.reason.code().to_owned(),
        detail: letter.reason.to_string(),
        sequence_number: record.sequence().to_owned(),
        epoch: record.registered_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_names_its_app() {
        let partition_of = Partition::parse("my-app#2024-03-01#2").unwrap();
        let name = name(&partition_of, "100", 7);
        assert_eq!(name, "dead-letters/my-app/2024-03-01/2/100-000007.jsonl");
        assert_eq!(partition(&name), Some(partition_of));
        for other in
            ["dead-letters/", "dead-letters/a/b/c/d", "aws/lambda/x", "dead-letters/my-app/2024-03-01"]
        {
            assert_eq!(partition(other), None, "{other}");
        }
    }

    #[test]
    fn a_line_of_an_earlier_version_has_no_epoch() {
        let line = r#"{"group":"/g","stream":"s","timestamp":1,"message":"m","reason":"R","detail":"d","sequenceNumber":"7"}"#;
        assert_eq!(parse(line.as_bytes()).unwrap()[0].epoch, None);
    }

    #[test]
    fn a_broken_file_is_reported_with_its_line() {
        let line = Line {
            group: "/g".into(),
            stream: "s".into(),
            timestamp: 1,
            message: "a\nb".into(),
            reason: "INVALID".into(),
            detail: "refused".into(),
            sequence_number: "7".into(),
            epoch: Some(5),
        };
        let good = lines(&[line.clone(), line.clone()]).unwrap();
        assert_eq!(parse(&good), Ok(vec![line.clone(), line]));
        assert_eq!(parse(&[&good[..], b"{\"group\":1}\n"].concat()), Err(3));
        assert_eq!(parse(&good[..good.len() - 2]), Err(2), "cut short");
        assert_eq!(parse(b"\xff"), Err(1));
    }
}
