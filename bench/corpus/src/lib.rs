//! Files to measure with, one per kind of content. The same number of records always gives the same bytes.

pub mod pino;

use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use logferry_core::model::time::rfc3339_ms;

/// 2025-04-01T00:00:00Z
const START_MS: i64 = 1_743_465_600_000;
/// When the files arrived (ms): three days after their first entry.
pub const ARRIVED_MS: i64 = 1_743_724_800_000;

/// The kinds of content.
pub const KINDS: [&str; 6] =
    ["NDJSON", "JSON array", "pretty-printed JSON", "text log", "browser lines", "access log"];

/// A file of one kind.
#[derive(Debug)]
pub struct Corpus {
    pub name: &'static str,
    pub records: u64,
    pub raw: Vec<u8>,
    pub gzip: Vec<u8>,
}

impl Corpus {
    /// Makes a file of one of [`KINDS`].
    ///
    /// # Errors
    /// If there is no such kind.
    pub fn of(kind: &str, records: u64) -> Result<Self, Box<dyn Error>> {
        let name = *KINDS.iter().find(|name| **name == kind).ok_or_else(|| format!("no kind {kind}"))?;
        let raw = match name {
            "NDJSON" => entries(records)?.into_bytes(),
            "JSON array" => format!("[{}]", entries(records)?.trim_end().replace('\n', ",\n")).into_bytes(),
            "pretty-printed JSON" => pretty(&entries(records)?)?,
            "text log" => text_log(records),
            "browser lines" => browser_lines(records),
            _ => access_log(records),
        };
        let gzip = gzipped(&raw)?;
        Ok(Self { name, records, raw, gzip })
    }

    #[must_use]
    pub fn megabytes(&self) -> f64 {
        self.raw.len() as f64 / 1e6
    }
}

fn gzipped(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
    gzip.write_all(raw)?;
    gzip.finish()
}

/// Entries of a Node service, one per line.
fn entries(records: u64) -> Result<String, Box<dyn Error>> {
    let mut text = Vec::new();
    pino::write(records, &mut text)?;
    Ok(String::from_utf8(text)?)
}

fn pretty(entries: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut out = Vec::new();
    for line in entries.lines() {
        let value: serde_json::Value = serde_json::from_str(line)?;
        serde_json::to_writer_pretty(&mut out, &value)?;
        out.push(b'\n');
    }
    Ok(out)
}

/// Writes a line per record. Writing to a String cannot fail.
fn each(records: u64, mut line: impl FnMut(&mut String, u64)) -> Vec<u8> {
    let mut text = String::new();
    for i in 0..records {
        line(&mut text, i);
        text.push('\n');
    }
    text.into_bytes()
}

/// Lines of a Java service.
fn text_log(records: u64) -> Vec<u8> {
    let levels = ["INFO ", "WARN ", "ERROR", "DEBUG"];
    each(records, |text, i| {
        let (hour, minute, second, level) = (i / 3_600 % 24, i / 60 % 60, i % 60, levels[i as usize % 4]);
        let (order, user, took) = (i * 7_919, i * 31 % 5_000, i % 997);
        let _ = write!(
            text,
            "2025-04-01 {hour:02}:{minute:02}:{second:02},581 {level} [http-{}] c.e.Orders - order {order} of user {user} took {took} ms",
            i % 13
        );
    })
}

/// Lines of the browser package.
fn browser_lines(records: u64) -> Vec<u8> {
    each(records, |text, i| {
        let time = rfc3339_ms(START_MS + (i * 431) as i64);
        let level = ["INFO", "WARN", "INFO", "ERROR", "INFO", "DEBUG"][i as usize % 6];
        let (tile, bytes, took) = (i * 7_919 % 400, i * 104_729 % 90_000, i % 997);
        let _ = write!(
            text,
            "{time} [{level}] video tile {tile} bound, {bytes} bytes received in {took} ms, attendee a-{}",
            i % 53
        );
    })
}

/// Lines of a web server, in the combined format.
fn access_log(records: u64) -> Vec<u8> {
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "curl/8.5.0",
    ];
    each(records, |text, i| {
        let (hour, minute, second) = (i / 3_600 % 24, i / 60 % 60, i % 60);
        let (a, b) = (i * 31 % 223 + 1, i * 7_919 % 255);
        let status = [200, 200, 200, 304, 200, 404, 200, 502][i as usize % 8];
        let _ = write!(
            text,
            "203.0.{b}.{a} - - [01/Apr/2025:{hour:02}:{minute:02}:{second:02} +0000] \"GET /v1/documents/{}?page={} HTTP/1.1\" {status} {} \"https://app.example.com/\" \"{}\"",
            i * 7_919 % 100_000,
            i % 40,
            i * 104_729 % 90_000,
            agents[i as usize % 3]
        );
    })
}
