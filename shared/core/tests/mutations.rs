//! Mutated files: no panic, every ordinal once, bounded memory.
//!
//! Split into parts that run in parallel. `LOGFERRY_MUTATIONS` sets the number of mutations.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on stops")]

mod support;

use logferry_core::model::text::ALL;
use support::{gzip, lines, peak_memory_kib, random, run};

const MUTATIONS: u64 = 200_000;
const PARTS: u64 = 8;
/// Maximum memory of the process, test harness included.
const MAX_MEMORY_KIB: u64 = 96 * 1024;

/// Files of all kinds of pieces.
fn seeds() -> Vec<Vec<u8>> {
    let text = lines(4).join("\n");
    let array = format!("[{}]", lines(4).join(","));
    let worker = "2024-01-01T00:00:00.000Z [INFO] a\n  b\n2024-01-01T00:00:01.000Z [WARN] c\n".repeat(2);
    let nested = "{\"a\":[[{\"b\":\"\\u00e4\\\\\"}]],\"time\":1e9,\"level\":\"warn\"}\n".repeat(3);
    let envelope =
        r#"{"owner":"1","logEvents":[{"id":"1","timestamp":1743532441581,"message":"{\"a\":1}"}],"x":2}"#
            .repeat(3);
    let traces =
        "2025-04-01 18:34:01 ERROR a\n\tat b\nTraceback (x)\n  c\nKeyError: d\n#Fields: a b\n1 2\n".repeat(2);
    let examples: Vec<&str> =
        ALL.iter().flat_map(|recogniser| recogniser.examples).map(|example| example.line).collect();
    let packed = gzip(text.as_bytes());
    let twice = gzip(&packed);
    let utf16 = worker.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    let texts = [text, array, worker, nested, envelope, traces, examples.join("\n")];
    texts.into_iter().map(String::into_bytes).chain([packed, twice, utf16, zstd]).collect()
}

fn mutate(bytes: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..=random(state) % 4 {
        let at = random(state) % bytes.len();
        match random(state) % 6 {
            0 => bytes[at] = random(state) as u8,
            1 => bytes[at] ^= 1 << (random(state) % 8),
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.drain(at..bytes.len().min(at + 1 + random(state) % 9))),
            4 => bytes.extend_from_within(at..),
            _ => bytes.insert(at, b"{}[]\",\\\n\0\xff\x1e "[random(state) % 12]),
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

fn part(number: u64) {
    let mutations = std::env::var("LOGFERRY_MUTATIONS")
        .map_or(MUTATIONS, |text| text.parse().expect("LOGFERRY_MUTATIONS is no number"));
    let seeds = seeds();
    let mut state = 42 + number;
    for index in 0..mutations.div_ceil(PARTS) {
        let mut bytes = seeds[index as usize % seeds.len()].clone();
        mutate(&mut bytes, &mut state);
        run(&bytes);
    }
    if let Some(peak) = peak_memory_kib() {
        assert!(peak < MAX_MEMORY_KIB, "{peak} KiB");
    }
}

macro_rules! parts {
    ($($name:ident: $number:literal;)*) => {
        $(#[test] fn $name() { part($number); })*
    };
}

parts! {
    mutated_files_neither_panic_nor_lose_count_nor_grow_1: 0;
    mutated_files_neither_panic_nor_lose_count_nor_grow_2: 1;
    mutated_files_neither_panic_nor_lose_count_nor_grow_3: 2;
    mutated_files_neither_panic_nor_lose_count_nor_grow_4: 3;
    mutated_files_neither_panic_nor_lose_count_nor_grow_5: 4;
    mutated_files_neither_panic_nor_lose_count_nor_grow_6: 5;
    mutated_files_neither_panic_nor_lose_count_nor_grow_7: 6;
    mutated_files_neither_panic_nor_lose_count_nor_grow_8: 7;
}
