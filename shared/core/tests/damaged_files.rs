//! Damaged files: each one ends in a documented state and keeps the valid records before the damage.
//! Nothing panics and memory stays bounded.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod support;

use std::io::{Read, Write};

use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::quarantine::QuarantineReason;
use logferry_core::logfile::read::IntakeLimits;
use serde_json::Value;

use support::{gzip, lines, peak_memory_kib, run, run_within};

/// A gzip file of at least this size, and its lines.
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
    for cut in 1..file.len() {
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
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let done = run(&damaged);
        match done.code() {
            // Without its magic number the file is no gzip file, but lines of whatever they are.
            None | Some(ReasonCode::NothingReadable | ReasonCode::NotALog) if bit < 16 => {
                assert!(!done.records.iter().any(|record| all.contains(record)), "bit {bit}");
            }
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
fn all_members_are_read_and_zeros_after_them_are_padding() {
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
fn a_wrong_length_or_checksum_is_reported() {
    let (file, all) = file_of(2000);
    for from_end in 1..=8 {
        let mut damaged = file.clone();
        let at = damaged.len() - from_end;
        damaged[at] ^= 0x55;
        let done = run(&damaged);
        assert_eq!(done.code(), Some(ReasonCode::GzipCorrupt), "byte {from_end} from the end");
        assert!(all.starts_with(&done.records));
    }
}

/// Files of 10 MiB that decompress to some hundred times as much are read up to the cap and no further,
/// without more memory.
#[test]
fn a_bomb_costs_no_more_than_the_cap_allows() {
    const MIB: usize = 1 << 20;
    const CAP_BYTES: u64 = 4 << 20;
    let line = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text.repeat(10 * MIB / text.len()).as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let mut noise = 7;
    let noisy: Vec<u8> = (0..64 * 1024).map(|_| b'a' + (support::random(&mut noise) % 16) as u8).collect();
    let zstd = zstd::encode_all(vec![b'x'; 10 * MIB].as_slice(), 1).unwrap();
    for (name, first, again) in [
        ("blank lines", vec![], line("\n")),
        ("one line", vec![], line("x")),
        ("bad lines", vec![], line("{\n")),
        ("records", vec![], line("{\"a\":1}\n")),
        ("brackets", vec![], line("[")),
        ("after an honest beginning", gzip(&noisy), line("\n")),
        ("zstd", vec![], zstd),
    ] {
        let mut bomb = first.clone();
        while bomb.len() < 10 * MIB {
            bomb.extend_from_slice(&again);
        }
        let limits = IntakeLimits { max_decompressed_bytes: CAP_BYTES, ..IntakeLimits::default() };
        let done = run_within(&bomb, &limits);
        assert_eq!(done.code(), Some(ReasonCode::ExpansionLimit), "{name}");
        assert_eq!(done.outcome.counts.bytes, CAP_BYTES, "{name}");
    }
    // The bombs themselves, and what was kept of them, are most of it.
    if let Some(peak) = peak_memory_kib() {
        assert!(peak < 256 * 1024, "{peak} KiB");
    }
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

/// Each case as a line of its own: stored when it is an object, kept as bad or as text otherwise.
#[test]
fn json_cases_as_whole_lines_take_no_neighbour_along() {
    for (name, input) in json_cases().into_iter().filter(|(_, input)| !input.contains(['\n', '\r'])) {
        let done = run(format!("{{\"before\":1}}\n{input}\n{{\"after\":1}}\n").as_bytes());
        assert_eq!(done.records.first().map(String::as_str), Some("{\"before\":1}"), "{name}");
        // An array continues to its end, which is not there.
        if input.trim() == "[" {
            continue;
        }
        assert_eq!(done.outcome.reason, None, "{name}");
        assert_eq!(done.records.last().map(String::as_str), Some("{\"after\":1}"), "{name}");
        let stored = (done.records.len(), done.bad.len());
        let is_object = input.trim().starts_with('{');
        match &name[..2] {
            "y_" if is_object => assert_eq!(done.records[1], input.trim(), "{name}"),
            "y_" if input.trim() == "[]" => assert_eq!(stored, (2, 0), "{name}"),
            "y_" if !input.starts_with('[') || !input.contains('{') => {
                assert_eq!(stored, (2, 1), "{name}");
                assert_eq!(done.bad[0].reason, QuarantineReason::NotAnObject, "{name}");
            }
            "n_" if input.trim_matches([' ', ',', '\t', '\u{feff}']).is_empty() => {
                assert_eq!(stored, (2, 0), "{name}")
            }
            // What no bracket begins is text.
            _ => assert!((2..=4).contains(&(stored.0 + stored.1)), "{name}: {stored:?}"),
        }
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
