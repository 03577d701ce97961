//! What the worst bodies cost: `cargo nextest run -E 'test(/door_costs/)' --run-ignored all --no-capture` prints time and memory of
//! each. Nothing is asserted of them, because machines differ.

use std::fs;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use logferry_service::http::MAX_BODY_BYTES;
use logferry_sim::T0;
use logferry_tests::api::Api;
use logferry_tests::stack::gzip;

use super::doors::{field, snappy_of_literals, varint};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
/// Entries of a request at most.
const ENTRIES: usize = 100_000;

/// A value of `/proc/self/status` (MiB).
fn status_mib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

fn repeated(open: &str, element: &str, separator: &str, close: &str, bytes: usize) -> Vec<u8> {
    let room = bytes - open.len() - close.len();
    let count = (room / (element.len() + separator.len())).min(ENTRIES);
    format!("{open}{}{close}", vec![element; count].join(separator)).into_bytes()
}

#[tokio::test]
#[ignore = "prints figures"]
async fn the_worst_bodies_of_every_door_and_what_they_cost() {
    let whole = MAX_BODY_BYTES;
    let time = [&[1 << 3][..], &varint(T0.unsigned_abs() / 1000)].concat();
    let loki_entry = field(2, &[field(1, &time), field(2, b"x")].concat());
    let loki = field(1, &[field(1, br#"{a="b"}"#), loki_entry.repeat(ENTRIES)].concat());
    let otlp_record = field(2, &field(5, &field(1, b"x")));
    let attribute = field(6, &[field(1, b"k"), field(2, &field(1, b"v"))].concat());
    let wide_record = field(2, &attribute.repeat(60_000));
    let message = format!(r#"{{"id":"1","timestamp":{T0},"message":"x"}}"#);
    let subscription = repeated(
        r#"{"messageType":"DATA_MESSAGE","logGroup":"g","logStream":"s","logEvents":["#,
        &message,
        ",",
        "]}",
        30 << 20,
    );
    let firehose = |data: &[u8]| {
        format!(r#"{{"records":[{{"data":"{}"}}]}}"#, BASE64_STANDARD.encode(data)).into_bytes()
    };
    let nested = format!(r#"{{"msg":"x","a":{}1{}}}"#, r#"{"a":"#.repeat(60), "}".repeat(60));
    let bodies: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        (
            "OTLP, many small records",
            "/otlp/v1/logs",
            PROTOBUF,
            field(1, &field(2, &otlp_record.repeat(ENTRIES))),
        ),
        ("OTLP, many attributes", "/otlp/v1/logs", PROTOBUF, field(1, &field(2, &wide_record.repeat(5)))),
        (
            "OTLP in JSON, many small records",
            "/otlp/v1/logs",
            JSON,
            repeated(
                r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#,
                r#"{"body":{"stringValue":"x"}}"#,
                ",",
                "]}]}]}",
                whole,
            ),
        ),
        (
            "Loki in JSON, many lines",
            "/loki/api/v1/push",
            JSON,
            repeated(
                r#"{"streams":[{"stream":{"a":"b"},"values":["#,
                &format!(r#"["{T0}000000","x"]"#),
                ",",
                "]}]}",
                whole,
            ),
        ),
        ("Loki, many lines", "/loki/api/v1/push", PROTOBUF, snappy_of_literals(&loki)),
        (
            "Elasticsearch, many documents",
            "/_bulk",
            NDJSON,
            repeated("", "{\"create\":{}}\n{\"a\":1}", "\n", "\n", whole),
        ),
        (
            "Elasticsearch, nested documents",
            "/_bulk",
            NDJSON,
            repeated("", &format!("{{\"create\":{{}}}}\n{nested}"), "\n", "\n", whole),
        ),
        ("Firehose, many lines", "/firehose", JSON, firehose(&gzip(&b"x\n".repeat(ENTRIES)))),
        ("Firehose, a subscription of many events", "/firehose", JSON, firehose(&gzip(&subscription))),
        ("Firehose, 33 MB of zeros", "/firehose", JSON, firehose(&gzip(&vec![b'0'; 33 << 20]))),
        (
            "Chime, many entries",
            "/chime/logs",
            JSON,
            repeated(r#"{"a":"b","logs":["#, r#"{"message":"x"}"#, ",", "]}", whole),
        ),
        ("NDJSON, many entries", "/logs", NDJSON, vec![r#"{"a":1}"#; 10_000].join("\n").into_bytes()),
        (
            "NDJSON, one long text",
            "/logs",
            NDJSON,
            repeated("", &format!(r#"{{"msg":"{}"}}"#, "x".repeat(1_000_000)), "\n", "", whole),
        ),
    ];
    for (what, path, media_type, body) in bodies {
        assert!(body.len() <= whole, "{what}: {}", body.len());
        let api = Api::new();
        let key = api.register("shop").await;
        let authorization = format!("Bearer {key}");
        let headers = [("authorization", authorization.as_str()), ("content-type", media_type)];
        // Resets the peak.
        let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        let (before, begun) = (status_mib("VmRSS"), Instant::now());
        let status = api.send("POST", path, &headers, &body).await.status;
        let (took, peak) = (begun.elapsed(), status_mib("VmHWM").saturating_sub(before));
        println!(
            "{what}: {} bytes, {status}, {:.2} s, {peak} MiB more{}",
            body.len(),
            took.as_secs_f64(),
            if reset { "" } else { " (ever)" }
        );
        assert!(status < 500, "{what}");
    }
}
