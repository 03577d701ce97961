//! Files read as `ingest` reads them, in a form made to be compared.

use std::io::Write;

use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file};
use logferry_core::model::block::Payload;
use logferry_core::model::ids::Seed;
use logferry_core::model::record_view::LogRecord;
use serde_json::Value;

/// 2026-11-27T12:00:00Z, when all files arrived.
pub(crate) const ARRIVED_MS: i64 = 1_795_780_800_000;

/// What a file became.
pub(crate) struct Seen {
    /// As queries answer them, with `rawData`, in the file's order.
    pub(crate) records: Vec<Value>,
    pub(crate) bad: Vec<Quarantined>,
    pub(crate) outcome: Outcome,
}

#[derive(Default)]
struct Kept {
    records: Vec<(u64, Value)>,
    bad: Vec<Quarantined>,
}

impl Sink for Kept {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        let payload = Payload::decode(&packed.block.unwrap().data).unwrap();
        for record in payload.records() {
            let view = LogRecord::read(&record);
            let mut json = Vec::new();
            view.write_json(&mut json, None, true);
            // Raw data may have halves of surrogate pairs, which this reader of JSON does not take.
            let value = serde_json::from_slice(&json).unwrap_or_else(|_| {
                json.clear();
                view.write_json(&mut json, None, false);
                serde_json::from_slice(&json).unwrap()
            });
            let _: Value = serde_json::from_str(&view.to_line()).unwrap();
            self.records.push((record.entry.ordinal, value));
        }
        Ok(())
    }

    fn quarantined(&mut self, row: Quarantined) -> Result<(), Stopped> {
        self.bad.push(row);
        Ok(())
    }
}

pub(crate) fn read(bytes: &[u8]) -> Seen {
    let app_id = "app".parse().unwrap();
    let seed = Seed::of(&[b"object"]);
    let source = PackSource {
        app_id: &app_id,
        seed: &seed,
        source: "s3://b/k",
        registered_ms: 1,
        arrived_ms: ARRIVED_MS,
        retention_days: 30,
        pruned_before_ms: None,
    };
    let mut kept = Kept::default();
    let outcome = read_log_file(bytes, source, &IntakeLimits::default(), &mut kept).unwrap();
    kept.records.sort_by_key(|(ordinal, _)| *ordinal);
    let records = kept.records.into_iter().map(|(_, record)| record).collect();
    Seen { records, bad: kept.bad, outcome }
}

impl Seen {
    /// `LEVEL time message` of each record, `-` for the file's time; then `! REASON` of each bad one; then
    /// the code or the warning, if there is one.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.records.iter().map(line).collect();
        lines.extend(self.bad.iter().map(|row| format!("! {}", row.reason.as_str())));
        lines.extend(self.outcome.reason.iter().map(|reason| reason.code.as_str().to_owned()));
        lines.extend(self.outcome.warning.iter().map(|warning| warning.as_str().to_owned()));
        lines
    }
}

fn line(record: &Value) -> String {
    let level = record["level"].as_str().unwrap();
    let unknown = if record["levelUnknown"] == true { "?" } else { "" };
    let time = if record["timestampFallback"] == true { "-" } else { record["timestamp"].as_str().unwrap() };
    format!("{level}{unknown} {time} {}", record["message"].as_str().unwrap())
}

/// A file of the fixtures.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/fixtures/formats/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Compares what a file became with what is expected.
#[track_caller]
pub(crate) fn check(name: &str, bytes: &[u8], expect: &[&str]) {
    assert_eq!(read(bytes).lines(), expect, "{name}");
}
