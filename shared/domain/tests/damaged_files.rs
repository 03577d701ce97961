//! Files that are not as they should be: every one ends in a documented state, keeps what was good
//! before the damage, and nothing panics or grows.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

use std::io::{Read, Write};

use logferry_domain::block::Payload;
use logferry_domain::hex128::Seed;
use logferry_domain::intake::{IntakeLimits, Sink, Stopped, take_in};
use logferry_domain::ledger::{Outcome, Quarantined, ReasonCode};
use logferry_domain::pack::{PackSource, Packed};
use serde_json::Value;

const ARRIVED_MS: i64 = 1_743_532_441_581;

/// Mutated inputs; more by `LOGFERRY_MUTATIONS`.
const MUTATIONS: u64 = 20_000;

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

    fn quarantined(&mut self, record: Quarantined) -> Result<(), Stopped> {
        self.bad.push(record);
        Ok(())
    }
}

struct Done {
    records: Vec<String>,
    bad: Vec<Quarantined>,
    outcome: Outcome,
}

impl Done {
    fn code(&self) -> Option<ReasonCode> {
        self.outcome.reason.as_ref().map(|reason| reason.code)
    }
}

/// Takes a file in. Every ordinal is there once, good or bad.
fn run(bytes: &[u8]) -> Done {
    let app_id = "app".parse().unwrap();
    let seed = Seed::of(&[b"object"]);
    let source = PackSource {
        app_id: &app_id,
        seed: &seed,
        source: "s3://b/k",
        epoch_ms: 1,
        arrived_ms: ARRIVED_MS,
        retention_days: 30,
        pruned_before_ms: None,
    };
    let mut kept = Kept::default();
    let outcome = take_in(bytes, source, &IntakeLimits::default(), &mut kept).unwrap();
    kept.records.sort();
    assert_eq!(outcome.counts.ok as usize, kept.records.len());
    assert_eq!(outcome.counts.quarantined as usize, kept.bad.len());
    let good = kept.records.iter().map(|(ordinal, _)| *ordinal);
    let mut ordinals: Vec<u64> = good.chain(kept.bad.iter().map(|bad| bad.ordinal)).collect();
    ordinals.sort_unstable();
    assert_eq!(ordinals, (0..ordinals.len() as u64).collect::<Vec<_>>());
    Done { records: kept.records.into_iter().map(|(_, raw)| raw).collect(), bad: kept.bad, outcome }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn random(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

fn lines(count: usize) -> Vec<String> {
    let mut state = 7;
    (0..count)
        .map(|i| {
            let time = ARRIVED_MS + i as i64;
            format!("{{\"time\":{time},\"i\":{i},\"x\":\"{:x}\"}}", random(&mut state))
        })
        .collect()
}

/// A gzip file of at least so many bytes, and its lines.
fn file_of(bytes: usize) -> (Vec<u8>, Vec<String>) {
    let mut count = 1;
    loop {
        let all = lines(count);
        let file = gzip(all.join("\n").as_bytes());
        if file.len() >= bytes {
            return (file, all);
        }
        count += 4;
    }
}

#[test]
fn a_gzip_file_cut_anywhere_keeps_a_prefix_and_says_so() {
    let (file, all) = file_of(4096);
    for cut in 2..file.len() {
        let done = run(&file[..cut]);
        assert!(all.starts_with(&done.records), "cut at {cut}");
        assert_eq!(done.code(), Some(ReasonCode::GzipTruncated), "cut at {cut}");
    }
    assert_eq!((run(&file).code(), run(&file).records), (None, all));
    assert_eq!((run(b"").code(), run(b"").records.len()), (None, 0));
}

#[test]
fn a_flipped_bit_of_a_gzip_file_changes_no_record_unnoticed() {
    let (file, all) = file_of(512);
    // Behind the magic number: without that the file is no gzip file.
    for bit in 16..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let done = run(&damaged);
        match done.code() {
            None => assert_eq!(done.records, all, "bit {bit}"),
            Some(
                ReasonCode::GzipCorrupt
                | ReasonCode::GzipTruncated
                | ReasonCode::GzipTrailingGarbage
                | ReasonCode::ExpansionLimit,
            ) => {}
            other => panic!("bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn all_members_are_read_and_zeros_behind_them_are_padding() {
    let all = lines(500);
    for members in 1..=50 {
        let each = all.len() / members;
        let mut file: Vec<u8> = Vec::new();
        for member in 0..members {
            let to = if member + 1 == members { all.len() } else { (member + 1) * each };
            let text: String = all[member * each..to].iter().map(|line| format!("{line}\n")).collect();
            file.extend(gzip(text.as_bytes()));
        }
        let done = run(&file);
        assert_eq!((done.code(), done.records == all), (None, true), "{members} members");
        let padded = [file.as_slice(), &[0; 1000]].concat();
        let done = run(&padded);
        assert_eq!((done.code(), done.records == all), (None, true), "{members} members and zeros");
        let done = run(&[file.as_slice(), b"garbage"].concat());
        let code = Some(ReasonCode::GzipTrailingGarbage);
        assert_eq!((done.code(), done.records == all), (code, true), "{members} members and garbage");
    }
}

#[test]
fn a_wrong_length_or_checksum_is_told() {
    let (file, all) = file_of(2000);
    for behind in 1..=8 {
        let mut damaged = file.clone();
        let at = damaged.len() - behind;
        damaged[at] ^= 0x55;
        let done = run(&damaged);
        assert_eq!(done.code(), Some(ReasonCode::GzipCorrupt), "byte {behind} from the end");
        assert!(all.starts_with(&done.records));
    }
}

#[test]
fn a_bomb_costs_no_more_than_the_cap_allows() {
    const MIB: u64 = 1 << 20;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    std::io::copy(&mut std::io::repeat(b'\n').take(300 * MIB), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    let done = run(&bomb);
    assert_eq!(done.code(), Some(ReasonCode::ExpansionLimit));
    let most = MIB + 200 * bomb.len() as u64 + MIB;
    assert!(done.outcome.counts.bytes <= most, "{} bytes of {}", done.outcome.counts.bytes, 300 * MIB);
}

fn json_cases() -> Vec<(String, String)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/json-test-suite/parsing.ndjson.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| {
            let case: Value = serde_json::from_str(line).unwrap();
            (case["name"].as_str().unwrap().to_owned(), case["input"].as_str().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn json_cases_as_lines_are_stored_if_and_only_if_they_are_json() {
    let cases = json_cases();
    assert_eq!(cases.len(), 318);
    for (name, input) in cases.iter().filter(|(_, input)| !input.contains(['\n', '\r'])) {
        let line = format!("{{\"case\":{input}}}");
        let done = run(format!("{{\"before\":1}}\n{line}\n{{\"after\":1}}\n").as_bytes());
        let [before, after] = ["{\"before\":1}".to_owned(), "{\"after\":1}".to_owned()];
        match &name[..2] {
            "y_" => assert_eq!(done.records, [before, line, after], "{name}"),
            "n_" => assert_eq!((done.records, done.bad.len()), (vec![before, after], 1), "{name}"),
            _ => assert_eq!(done.records.len() + done.bad.len(), 3, "{name}"),
        }
        assert_eq!(done.outcome.reason, None, "{name}");
    }
}

#[test]
fn json_cases_as_elements_of_an_array_spoil_none_before_them() {
    for (name, input) in json_cases() {
        let element = format!("{{\"case\":{input}}}");
        let done = run(format!("[{{\"before\":1}},{element},{{\"after\":1}}]").as_bytes());
        assert_eq!(done.records.first().map(String::as_str), Some("{\"before\":1}"), "{name}");
        match &name[..2] {
            "y_" => assert_eq!((done.records.len(), done.bad.len(), done.code()), (3, 0, None), "{name}"),
            "n_" => assert!(!done.records.contains(&element), "{name}"),
            _ => {}
        }
    }
}

#[test]
fn json_cases_as_whole_files_end_in_a_documented_state() {
    for (name, input) in json_cases() {
        let is_object = serde_json::from_str::<Value>(&input).is_ok_and(|value| value.is_object());
        for file in [input.clone().into_bytes(), gzip(input.as_bytes())] {
            let done = run(&file);
            if name.starts_with("y_") && is_object && !input.contains('\n') {
                assert_eq!(done.records, [input.trim()], "{name}");
            }
        }
    }
}

#[test]
fn mutated_files_neither_panic_nor_lose_count() {
    let mutations = std::env::var("LOGFERRY_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let text = lines(12).join("\n");
    let array = format!("[{}]", lines(12).join(","));
    let worker = "2024-01-01T00:00:00.000Z [INFO] a\n  b\n2024-01-01T00:00:01.000Z [WARN] c\n".repeat(4);
    let packed = gzip(text.as_bytes());
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let seeds = [text.into_bytes(), array.into_bytes(), worker.into_bytes(), packed, zstd];
    let mut state = 42;
    for number in 0..mutations.unwrap_or(MUTATIONS) {
        let mut bytes = seeds[number as usize % seeds.len()].clone();
        for _ in 0..=random(&mut state) % 4 {
            let at = random(&mut state) % bytes.len();
            match random(&mut state) % 5 {
                0 => bytes[at] = random(&mut state) as u8,
                1 => bytes[at] ^= 1 << (random(&mut state) % 8),
                2 => bytes.truncate(at.max(1)),
                3 => drop(bytes.drain(at..bytes.len().min(at + 1 + random(&mut state) % 9))),
                _ => bytes.insert(at, b"{}[]\",\\\n\0\xff"[random(&mut state) % 10]),
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        run(&bytes);
    }
}
