//! Pins the bytes of blocks. They may change only together with the packing fingerprint; otherwise a run
//! that resumes a file stores records twice or loses them.
//!
//! After an intended change, increase `VERSION` in `packing.rs` (a new zstd version changes the fingerprint
//! by itself) and run this test with `LOGFERRY_GOLDEN=write`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write;
use std::path::Path;

use logferry_core::logfile::fingerprint::fingerprint;
use logferry_core::logfile::pack::{PackSource, Packed};
use logferry_core::logfile::quarantine::Quarantined;
use logferry_core::logfile::read::{IntakeLimits, Sink, Stopped, read_log_file};
use logferry_core::model::ids::Seed;
use logferry_core::model::redact::Redactor;
use sha2::{Digest, Sha256};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/blocks.txt");
const ARRIVED_MS: i64 = 1_743_532_441_581;
const EPOCH_MS: i64 = 1_700_000_000_000;

#[derive(Default)]
struct Lines(String);

impl Sink for Lines {
    fn packed(&mut self, packed: Packed) -> Result<(), Stopped> {
        let block = packed.block.unwrap();
        let hash: String = Sha256::digest(&block.data)[..16].iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        let header = &block.header;
        let (partition, sort_key) = (header.partition().key(), header.sort_key());
        writeln!(self.0, "{} {partition} {sort_key} {} records {hash}", packed.sequence, header.count)
            .unwrap();
        Ok(())
    }

    fn quarantined(&mut self, row: Quarantined) -> Result<(), Stopped> {
        writeln!(self.0, "bad {} {} {}..{}", row.ordinal, row.reason.as_str(), row.start, row.end).unwrap();
        Ok(())
    }
}

/// Entries as services write them: mostly in order, some late, some bad, some without time, some in the
/// future.
fn file() -> String {
    let mut state = 7u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut text = String::new();
    for i in 0..12_000i64 {
        let time = ARRIVED_MS - 4 * 3_600_000 + i * 1_100 - next(90_000) as i64;
        match next(400) {
            0 => text.push_str("{broken\n"),
            1 => writeln!(text, "{{\"msg\":\"no time {i}\"}}").unwrap(),
            2 => writeln!(text, "{{\"time\":{},\"msg\":\"ahead\"}}", time + 90_000_000).unwrap(),
            _ => {
                let (level, id, took) = (next(6) * 10 + 10, next(u64::MAX >> 34), next(3_000));
                writeln!(
                    text,
                    "{{\"level\":{level},\"time\":{time},\"pid\":{},\"hostname\":\"web-{}\",\"req\":{{\"id\":\"{id:x}\",\
                     \"url\":\"/orders/{}\"}},\"responseTime\":{took},\"msg\":\"request completed\"}}",
                    next(5) + 100,
                    next(7),
                    next(100_000)
                )
                .unwrap();
            }
        }
    }
    text
}

#[test]
fn the_bytes_of_blocks_change_only_with_the_packings_fingerprint() {
    let app_id = "golden".parse().unwrap();
    let seed = Seed::of(&[b"golden"]);
    let source = PackSource {
        app_id: &app_id,
        seed: &seed,
        source: "s3://b/k",
        registered_ms: EPOCH_MS,
        arrived_ms: ARRIVED_MS,
        retention_days: 30,
        pruned_before_ms: None,
    };
    let mut lines = Lines::default();
    let limits = IntakeLimits::default();
    read_log_file(file().as_bytes(), source, &limits, &mut lines).unwrap();
    let packing = fingerprint(&limits, &Redactor::default(), EPOCH_MS, 30);
    let made = format!("packing {}\n{}", packing.as_str(), lines.0);
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    if made == golden {
        return;
    }
    assert_ne!(
        made.lines().next(),
        golden.lines().next(),
        "other blocks under the same fingerprint: raise VERSION in packing.rs"
    );
    if std::env::var("LOGFERRY_GOLDEN").is_ok_and(|value| value == "write") {
        std::fs::create_dir_all(Path::new(GOLDEN).parent().unwrap()).unwrap();
        std::fs::write(GOLDEN, &made).unwrap();
        return;
    }
    panic!("the packing's fingerprint has changed. If that is meant: LOGFERRY_GOLDEN=write. Now:\n{made}");
}
