//! All limits of PutLogEvents, with units and links to AWS's documentation.

/// Maximum events per request.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_BATCH_EVENTS: usize = 10_000;

/// Maximum bytes per request: the UTF-8 length of every message plus [`EVENT_OVERHEAD_BYTES`] each.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_BATCH_BYTES: usize = 1_048_576;

/// Bytes that every event costs besides its message.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const EVENT_OVERHEAD_BYTES: usize = 26;

/// Maximum bytes per message: what fits a request alone, the documented 1 MB per event.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES - EVENT_OVERHEAD_BYTES;

/// Minimum bytes per message.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_InputLogEvent.html>
pub const MIN_MESSAGE_BYTES: usize = 1;

/// Maximum milliseconds between the first and the last event of a request.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_BATCH_SPAN_MS: i64 = 24 * 3_600_000;

/// Maximum age of an event in milliseconds; older events are rejected as too old.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_AGE_MS: i64 = 14 * 24 * 3_600_000;

/// Maximum milliseconds that an event may be in the future; later events are rejected as too new.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_FUTURE_MS: i64 = 2 * 3_600_000;

/// Maximum characters of the name of a log group or log stream.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>
pub const MAX_NAME_CHARS: usize = 512;
