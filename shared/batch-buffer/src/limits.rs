//! Every limit of PutLogEvents in one place, each with its unit and where AWS states it.

/// Events in one request. <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_BATCH_EVENTS: usize = 10_000;

/// Bytes in one request: the UTF-8 length of every message plus [`EVENT_OVERHEAD_BYTES`] each.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_BATCH_BYTES: usize = 1_048_576;

/// Bytes that every event costs beside its message.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const EVENT_OVERHEAD_BYTES: usize = 26;

/// Bytes of one message: what fits a request alone, which is the documented 1 MB an event.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_MESSAGE_BYTES: usize = MAX_BATCH_BYTES - EVENT_OVERHEAD_BYTES;

/// Bytes of the shortest message. <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_InputLogEvent.html>
pub const MIN_MESSAGE_BYTES: usize = 1;

/// Milliseconds between the first and the last event of one request.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_BATCH_SPAN_MS: i64 = 24 * 3_600_000;

/// Milliseconds an event may lie in the past before it is rejected as too old.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_AGE_MS: i64 = 14 * 24 * 3_600_000;

/// Milliseconds an event may lie in the future before it is rejected as too new.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutLogEvents.html>
pub const MAX_FUTURE_MS: i64 = 2 * 3_600_000;

/// Characters of a log group's or a log stream's name.
/// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>
pub const MAX_NAME_CHARS: usize = 512;
