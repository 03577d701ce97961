//! Runs files through the pure path and checks the result.
#![allow(dead_code, reason = "each of the test binaries uses a part of it")]

use std::io::Write;

use logferry_core::logfile::outcome::{Outcome, ReasonCode};
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file};
use logferry_core::model::block::Payload;
use logferry_core::model::ids::Seed;

pub(crate) const ARRIVED_MS: i64 = 1_743_532_441_581;

#[derive(Default)]
struct Kept {
    records: Vec<(u64, String)>,
    bad: Vec<Quarantined>,
}

impl Sink for Kept {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        if let Some(block) = packed.block {
            let payload = Payload::decode(&block.data).unwrap();
            self.records.extend(payload.entries().map(|entry| (entry.ordinal, entry.raw.to_owned())));
        }
        Ok(())
    }

    fn quarantined(&mut self, row: Quarantined) -> Result<(), Stopped> {
        self.bad.push(row);
        Ok(())
    }
}

pub(crate) struct Done {
    pub(crate) records: Vec<String>,
    pub(crate) bad: Vec<Quarantined>,
    pub(crate) outcome: Outcome,
}

impl Done {
    pub(crate) fn code(&self) -> Option<ReasonCode> {
        self.outcome.reason.as_ref().map(|reason| reason.code)
    }
}

/// Reads a file. Every ordinal must occur once, valid or bad.
pub(crate) fn run(bytes: &[u8]) -> Done {
    run_within(bytes, &IntakeLimits::default())
}

/// As [`run`], within limits.
pub(crate) fn run_within(bytes: &[u8], limits: &IntakeLimits) -> Done {
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
    let outcome = read_log_file(bytes, source, limits, &mut kept).unwrap();
    kept.records.sort();
    assert_eq!(outcome.counts.ok as usize, kept.records.len());
    assert_eq!(outcome.counts.quarantined, kept.bad.iter().map(|row| row.count).sum::<u64>());
    if kept.bad.iter().all(|row| row.count == 1) {
        let good = kept.records.iter().map(|(ordinal, _)| *ordinal);
        let mut ordinals: Vec<u64> = good.chain(kept.bad.iter().map(|row| row.ordinal)).collect();
        ordinals.sort_unstable();
        assert_eq!(ordinals, (0..ordinals.len() as u64).collect::<Vec<_>>());
    }
    Done { records: kept.records.into_iter().map(|(_, raw)| raw).collect(), bad: kept.bad, outcome }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

pub(crate) fn lines(count: usize) -> Vec<String> {
    let mut state = 7;
    (0..count)
        .map(|i| {
            let time = ARRIVED_MS + i as i64;
            format!("{{\"time\":{time},\"i\":{i},\"x\":\"{:x}\"}}", random(&mut state))
        })
        .collect()
}

/// Peak memory of this process so far (KiB); `None` if the system does not report it.
pub(crate) fn peak_memory_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
