//! Size limits of responses, and shortened records for responses that would be too long.

use crate::model::app::AppId;
use crate::model::record::StoredRecord;
use crate::model::record_view::LogRecord;
use crate::model::time::rfc3339_ms;

/// Maximum bytes of the records in a query response, counted as embedded in another JSON text: Lambda
/// responses are limited to 6 MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_QUERY_BYTES: usize = 5 * 1024 * 1024;
/// The same for the response to a write, which has no next page.
pub const MAX_WRITE_BYTES: usize = 6_000_000;

/// Maximum characters of the message in a shortened record.
const SHOWN_CHARS: usize = 1_000;

/// Returns the length of a JSON text as a string inside another JSON text.
pub(crate) fn embedded_len(text: &str) -> usize {
    text.len() + text.bytes().filter(|b| matches!(b, b'"' | b'\\' | b'\n' | b'\t' | b'\r')).count()
}

/// Returns a shortened record for a response without room for the whole: its attributes, and at most this
/// many bytes of its message.
pub(crate) fn shortened(record: &StoredRecord<'_>, app_id: Option<&AppId>, most_bytes: usize) -> String {
    let message = LogRecord::read(record).message;
    let mut room = most_bytes;
    let fits = |c: &char| {
        // Maximum length of a character in JSON inside JSON.
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

/// Returns the response to a write: unchanged, or with every record shortened if it would be too long.
pub(crate) fn of_write<'a>(
    answer: Vec<String>,
    records: impl ExactSizeIterator<Item = StoredRecord<'a>>,
) -> Vec<String> {
    if answer.iter().map(|text| embedded_len(text) + 1).sum::<usize>() <= MAX_WRITE_BYTES {
        return answer;
    }
    // Besides the message, a record has at most 200 bytes.
    let each = (MAX_WRITE_BYTES / records.len().max(1)).saturating_sub(200);
    records.map(|record| shortened(&record, None, each)).collect()
}
