//! The stream of the blocks' table: blocks, the records that report them, and `flush` on a simulated cloud.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use batch_buffer::RetryPolicy;
use logferry_core::model::app::AppId;
use logferry_core::model::block::{Block, BlockBuilder, BlockSource};
use logferry_core::model::ids::Seed;
use logferry_core::model::level::Level;
use logferry_core::model::record::{Entry, EntryKind, Marks};
use logferry_flush::stream::StreamEvent;
use logferry_flush::{Flush, Sending};
use serde_json::{Map, Value, json};

use logferry_sim::{SimClock, SimCloud};

/// When the apps of [`blocks`] were registered (ms).
pub const EPOCH_MS: i64 = 1;

/// Flush on the simulated cloud.
pub type SimFlush<M> = Flush<SimCloud, SimCloud, SimCloud, SimCloud, M, SimClock>;

/// Creates `flush` in a fresh environment with this view of its marks.
pub fn flush<M>(cloud: &SimCloud, marks: M) -> SimFlush<M>
where
    M: logferry_core::ports::flush_marks::FlushMarks,
{
    let sending =
        Sending { group_prefix: "/logferry".into(), retention_days: Some(30), retry: RetryPolicy::default() };
    let own = || cloud.clone();
    Flush::new(own(), own(), own(), own(), marks, cloud.clock(), sending)
}

/// Returns the blocks of an app's entries of one hour, in order of their ordinals.
#[must_use]
pub fn blocks(app: &str, source: &str, entries: &[(i64, Level, String)]) -> Vec<Block> {
    let app_id: AppId = app.parse().unwrap_or_else(|error| panic!("{app}: {error}"));
    let seed = Seed::of(&[app.as_bytes(), source.as_bytes()]);
    let mut builder = BlockBuilder::default();
    for (ordinal, (timestamp_ms, level, raw)) in (0u64..).zip(entries) {
        builder.push(&Entry {
            ordinal,
            timestamp_ms: *timestamp_ms,
            level: *level,
            kind: EntryKind::Json,
            timestamp_fallback: false,
            marks: Marks::NONE,
            raw,
        });
    }
    let source = BlockSource {
        app_id: &app_id,
        seed: &seed,
        format: "ndjson",
        source,
        registered_ms: EPOCH_MS,
        expires_at_secs: None,
    };
    builder.build(&source).unwrap_or_else(|error| panic!("no block: {error}"))
}

/// Returns the stream record of a block's insertion at a time.
#[must_use]
pub fn inserted(number: usize, block: &Block, arrived_ms: i64) -> Value {
    let header = &block.header;
    let levels = header.levels.iter().filter(|(_, count)| *count > 0);
    let levels: Map<_, _> = levels
        .map(|(level, count)| (level.as_str().to_lowercase(), json!({"N": count.to_string()})))
        .collect();
    let mut image = json!({
        "pk": {"S": header.partition().key()},
        "sk": {"S": header.sort_key()},
        "first_ms": {"N": header.first_ms.to_string()},
        "last_ms": {"N": header.last_ms.to_string()},
        "count": {"N": header.count.to_string()},
        "levels": {"M": levels},
        "format": {"S": header.format},
        "source": {"S": header.source},
        "epoch": {"N": header.registered_ms.to_string()},
        "data": {"B": STANDARD.encode(&block.data)},
    });
    if let Some(expires_at) = header.expires_at_secs {
        image["expires_at"] = json!({"N": expires_at.to_string()});
    }
    let sequence = (100_000_000_000_000_000_000_u128 + number as u128).to_string();
    let created = arrived_ms / 1000;
    let change =
        json!({"SequenceNumber": sequence, "ApproximateCreationDateTime": created, "NewImage": image});
    json!({"eventName": "INSERT", "dynamodb": change})
}

/// A batch of the stream.
#[must_use]
pub fn event(records: &[Value]) -> StreamEvent {
    let text = json!({ "Records": records }).to_string();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("no event of the stream: {error}"))
}

/// The position of a record.
#[must_use]
pub fn sequence(record: &Value) -> String {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap_or_default().to_owned()
}
