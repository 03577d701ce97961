//! How long an answer may be, and what is left of records that are too long for one.

use crate::model::app::AppId;
use crate::model::record::StoredRecord;
use crate::model::record_view::LogRecord;
use crate::model::time::rfc3339_ms;

/// The most bytes of the records that a query answers, counted as they leave the function inside
/// another JSON text: Lambda answers with 6 MB at most.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_QUERY_BYTES: usize = 5 * 1024 * 1024;
/// The same of those that a write answers, which has no next page.
pub const MAX_WRITE_BYTES: usize = 6_000_000;

/// The most characters of a message that stands for the rest.
const SHOWN_CHARS: usize = 1_000;

/// How long a JSON text is as a string inside another.
pub(crate) fn embedded_len(text: &str) -> usize {
    text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\t' | b'\r')).count()
}

/// A record of which an answer has no room for more: what it is, and at most so many bytes of its
/// message.
pub(crate) fn shortened(record: &StoredRecord<'_>, app_id: Option<&AppId>, most_bytes: usize) -> String {
    let message = LogRecord::read(record).message;
    let mut room = most_bytes;
    let fits = |c: &char| {
        // The most that one character takes in JSON inside JSON.
        room = room.saturating_sub(if c.is_ascii() { 7 } else { c.len_utf8() });
        room > 0
    };
    let mut shown = serde_json::json!({
        "id": record.id, "timestamp": rfc3339_ms(record.entry.timestamp_ms), "level": record.entry.level,
        "message": message.chars().take(SHOWN_CHARS).take_while(fits).collect::<String>(),
        "truncated": true,
    });
    if let Some(app_id) = app_id {
        shown["app_id"] = app_id.as_str().into();
    }
    shown.to_string()
}

/// The answer to a write: as it is, or, where that is too long, every record of it shortened.
pub(crate) fn of_write<'a>(
    answer: Vec<String>,
    records: impl ExactSizeIterator<Item = StoredRecord<'a>>,
) -> Vec<String> {
    if answer.iter().map(|text| embedded_len(text) + 1).sum::<usize>() <= MAX_WRITE_BYTES {
        return answer;
    }
    // Beside the message a record has at most 200 bytes.
    let each = (MAX_WRITE_BYTES / records.len().max(1)).saturating_sub(200);
    records.map(|record| shortened(&record, None, each)).collect()
}
