//! What the worst bodies cost, each of the size that a request may have before its compression:
//! `cargo nextest run --workspace -E 'test(/door_costs/)' --run-ignored all --no-capture` prints time and memory
//! of each. Nothing is asserted of them, because machines differ.

use std::fs;
use std::time::Instant;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use logferry_service::http::{MAX_BODY_BYTES, MAX_DECODED_BYTES};
use logferry_sim::T0;
use logferry_tests::api::Api;
use logferry_tests::stack::gzip;

use super::doors::{field, snappy_of_literals, varint};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
/// Entries of a request at most.
const ENTRIES: usize = 100_000;
/// Records of Firehose, which are compressed in themselves, with the context of each.
const RECORDS_BYTES: usize = 24 << 20;

/// A value of `/proc/self/status` (MiB).
fn status_mib(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or_default() / 1024
}

/// As many elements as fit, each padded so that all of them fill the bytes.
fn filling(
    bytes: usize,
    open: &str,
    element: impl Fn(usize, &str) -> String,
    separator: &str,
    close: &str,
) -> Vec<u8> {
    let room = bytes - open.len() - close.len();
    let most = element(ENTRIES, "").len() + separator.len();
    let count = (room / most).min(ENTRIES);
    let padding = "x".repeat(room / count - most);
    let elements: Vec<_> = (0..count).map(|i| element(i, &padding)).collect();
    format!("{open}{}{close}", elements.join(separator)).into_bytes()
}

fn repeated(open: &str, element: impl Fn(usize, &str) -> String, separator: &str, close: &str) -> Vec<u8> {
    filling(MAX_DECODED_BYTES, open, element, separator, close)
}

fn pairs(count: usize, pair: impl Fn(usize) -> String) -> String {
    (0..count).map(pair).collect::<Vec<_>>().join(",")
}

/// The shapes of each door: what, path, content type, body before compression.
fn bodies() -> Vec<(&'static str, &'static str, &'static str, Vec<u8>)> {
    const HALF: usize = MAX_DECODED_BYTES / 2;
    let time = |i: usize| [&[1 << 3][..], &varint(T0.unsigned_abs() / 1000 - i as u64)].concat();
    let pair = |i: usize| [field(1, format!("{i:06}").as_bytes()), field(2, b"v")].concat();
    let line = |i: usize, said: &[u8]| field(2, &[field(1, &time(i)), field(2, said)].concat());
    let loki = |labels: &str, entries: Vec<u8>| {
        snappy_of_literals(&field(1, &[field(1, labels.as_bytes()), entries].concat()))
    };
    let metadata: Vec<u8> = (0..HALF / 17).flat_map(|i| field(3, &pair(i))).collect();
    let otlp = |records: Vec<u8>| field(1, &field(2, &records));
    let attributes = |count: usize| -> Vec<u8> {
        let pair = |i: usize| [field(1, format!("{i:06}").as_bytes()), field(2, &field(1, b"v"))].concat();
        (0..count).flat_map(|i| field(6, &pair(i))).collect()
    };
    let otlp_json = |record: &dyn Fn(usize, &str) -> String| {
        repeated(r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#, record, ",", "]}]}]}")
    };
    let attribute = |i: usize| format!(r#"{{"key":"{i:06}","value":{{"stringValue":"v"}}}}"#);
    let deep = (0..29).fold(field(1, b"x"), |value, _| field(5, &field(1, &value)));
    let nested = format!(r#"{{"a":{}1{}}}"#, r#"{"a":"#.repeat(60), "}".repeat(60));
    let event = |i: usize, pad: &str| format!(r#"{{"id":"{i}","timestamp":{T0},"message":"{pad}"}}"#);
    let subscription = filling(
        RECORDS_BYTES,
        r#"{"messageType":"DATA_MESSAGE","logGroup":"g","logStream":"s","logEvents":["#,
        event,
        ",",
        "]}",
    );
    let firehose = |data: &[u8]| {
        format!(r#"{{"records":[{{"data":"{}"}}]}}"#, BASE64_STANDARD.encode(data)).into_bytes()
    };
    let create = |i: usize, document: &str| format!("{{\"create\":{{\"_id\":\"{i}\"}}}}\n{document}");
    let filled = |bytes: usize, one: &[u8]| one.repeat((bytes / one.len()).min(ENTRIES));
    let ns = |i: usize| T0.unsigned_abs() * 1_000_000 - i as u64 * 3_600_000_000_000;
    vec![
        (
            "many small records",
            "/otlp/v1/logs",
            PROTOBUF,
            otlp(field(2, &field(5, &field(1, &[b'x'; 80]))).repeat(ENTRIES)),
        ),
        ("many attributes", "/otlp/v1/logs", PROTOBUF, otlp(field(2, &attributes(60_000)).repeat(8))),
        (
            "deep values",
            "/otlp/v1/logs",
            PROTOBUF,
            otlp(filled(MAX_DECODED_BYTES - 64, &field(2, &field(5, &deep)))),
        ),
        (
            "many small records",
            "/otlp/v1/logs",
            JSON,
            otlp_json(&|_, pad| format!(r#"{{"body":{{"stringValue":"{pad}"}}}}"#)),
        ),
        (
            "many attributes",
            "/otlp/v1/logs",
            JSON,
            otlp_json(&|_, _| format!(r#"{{"attributes":[{}]}}"#, pairs(20_000, attribute))),
        ),
        (
            "many lines",
            "/loki/api/v1/push",
            PROTOBUF,
            loki("{}", (0..ENTRIES).flat_map(|_| line(0, &[b'x'; 80])).collect()),
        ),
        (
            "a line in each hour",
            "/loki/api/v1/push",
            PROTOBUF,
            loki("{}", (0..20_000).flat_map(|i| line(i * 3600, b"x")).collect()),
        ),
        (
            "many labels and as much metadata",
            "/loki/api/v1/push",
            PROTOBUF,
            loki(
                &format!("{{{}}}", pairs(HALF / 12, |i| format!("l{i:06}=\"\""))),
                field(2, &[field(1, &time(0)), metadata].concat()),
            ),
        ),
        (
            "many lines",
            "/loki/api/v1/push",
            JSON,
            repeated(
                r#"{"streams":[{"stream":{"a":"b"},"values":["#,
                |_, pad| format!(r#"["{}","{pad}"]"#, ns(0)),
                ",",
                "]}]}",
            ),
        ),
        (
            "many labels and as much metadata",
            "/loki/api/v1/push",
            JSON,
            format!(
                r#"{{"streams":[{{"stream":{{{}}},"values":[["{}","x",{{{}}}]]}}]}}"#,
                pairs(HALF / 14, |i| format!(r#""l{i:06}":"""#)),
                ns(0),
                pairs(HALF / 14, |i| format!(r#""m{i:06}":"""#)),
            )
            .into_bytes(),
        ),
        (
            "many documents",
            "/_bulk",
            NDJSON,
            repeated("", |i, pad| create(i, &format!(r#"{{"a":"{pad}"}}"#)), "\n", "\n"),
        ),
        ("nested documents", "/_bulk", NDJSON, repeated("", |i, _| create(i, &nested), "\n", "\n")),
        (
            "many lines",
            "/firehose",
            JSON,
            firehose(&gzip(&filling(RECORDS_BYTES, "", |_, pad| format!("x{pad}"), "\n", ""))),
        ),
        (
            "many objects in a line",
            "/firehose",
            JSON,
            firehose(&gzip(&filling(RECORDS_BYTES, "", |_, pad| format!(r#"{{"a":"{pad}"}}"#), "", ""))),
        ),
        ("a subscription of many events", "/firehose", JSON, firehose(&gzip(&subscription))),
        ("33 MB of zeros", "/firehose", JSON, firehose(&gzip(&vec![b'0'; 33 << 20]))),
        (
            "many entries",
            "/chime/logs",
            JSON,
            repeated(
                r#"{"a":"b","logs":["#,
                |i, pad| {
                    format!(
                        r#"{{"sequenceNumber":{i},"message":"{pad}","timestampMs":{T0},"logLevel":"INFO"}}"#
                    )
                },
                ",",
                "]}",
            ),
        ),
        (
            "many entries",
            "/logs",
            NDJSON,
            vec![format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000)); 10_000].join("\n").into_bytes(),
        ),
        (
            "one long text",
            "/logs",
            NDJSON,
            repeated("", |_, _| format!(r#"{{"msg":"{}"}}"#, "x".repeat(1_000_000)), "\n", ""),
        ),
    ]
}

#[tokio::test]
#[ignore = "prints figures"]
async fn the_worst_bodies_of_every_door_and_what_they_cost() {
    for (what, path, media_type, body) in bodies() {
        let packed = gzip(&body);
        assert!(packed.len() <= MAX_BODY_BYTES, "{path} {what}: {}", packed.len());
        let api = Api::new();
        let key = api.register("shop").await;
        let authorization = format!("Bearer {key}");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", media_type),
            ("content-encoding", "gzip"),
        ];
        // Resets the peak.
        let reset = fs::write("/proc/self/clear_refs", "5").is_ok();
        let (before, begun) = (status_mib("VmRSS"), Instant::now());
        let answer = api.send("POST", path, &headers, &packed).await;
        let (took, peak) = (begun.elapsed(), status_mib("VmHWM").saturating_sub(before));
        println!(
            "{path} {media_type}, {what}: {} bytes, {}, {:.2} s, {peak} MiB more{}",
            body.len(),
            answer.status,
            took.as_secs_f64(),
            if reset { "" } else { " (ever)" }
        );
        assert!(answer.status < 500, "{path} {what}: {}", answer.text);
    }
}
