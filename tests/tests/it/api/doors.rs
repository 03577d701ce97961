//! Bodies of other protocols, and of our own, in every encoding: stored once, or refused, whatever they hold.

use std::io::Write as _;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use logferry_core::model::fault::FaultClass;
use logferry_core::model::quota::Quota;
use logferry_core::model::time::{MS_PER_DAY, MS_PER_HOUR, rfc3339_ms};
use logferry_service::http::MAX_BODY_BYTES;
use logferry_sim::{How, T0};
use logferry_tests::api::{Api, routes};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
const T0_NS: u64 = T0.cast_unsigned() * 1_000_000;

/// A request of a door: path, content type, body.
type Sent = (&'static str, &'static str, Vec<u8>);

/// A field of a protobuf message.
pub(super) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}

fn otlp(time_ns: u64) -> Vec<u8> {
    let attribute = [field(1, b"n"), field(2, &[3 << 3, 7])].concat();
    let body = field(5, &field(1, b"one"));
    let time = [&[1 << 3 | 1][..], &time_ns.to_le_bytes()].concat();
    let record = [time, vec![2 << 3, 17], body, field(6, &attribute), field(9, &[7; 16])].concat();
    let resource = field(1, &field(1, &[field(1, b"service.name"), field(2, &field(1, b"shop"))].concat()));
    field(1, &[resource, field(2, &[field(1, &field(1, b"scope")), field(2, &record)].concat())].concat())
}

/// What POSTLogger of Chime sends.
fn chime(range: std::ops::Range<i64>) -> Vec<u8> {
    let levels = ["DEBUG", "INFO", "WARN", "ERROR"];
    let log = |n: i64| {
        json!({"sequenceNumber": n, "message": format!("log {n}"), "timestampMs": T0 + n,
            "logLevel": levels[n as usize % 4]})
    };
    json!({"appName": "meet", "logs": range.map(log).collect::<Vec<_>>()}).to_string().into_bytes()
}

/// A request of every door, of one ERROR `one` at `T0`.
fn requests() -> Vec<Sent> {
    let otlp_json = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"timeUnixNano": T0_NS.to_string(), "severityNumber": 17, "body": {"stringValue": "one"}}]}]}]});
    let loki_json =
        json!({"streams": [{"stream": {"level": "error"}, "values": [[T0_NS.to_string(), "one"]]}]});
    let time =
        [&[1 << 3][..], &varint(T0_NS / 1_000_000_000), &[2 << 3], &varint(T0_NS % 1_000_000_000)].concat();
    let entry =
        [field(1, &time), field(2, b"one"), field(3, &[field(1, b"k"), field(2, b"v")].concat())].concat();
    let loki = field(1, &[field(1, br#"{level="error", app="shop"}"#), field(2, &entry)].concat());
    let bulk = format!(
        "{{\"create\":{{\"_id\":\"1\"}}}}\n{}\n",
        json!({"@timestamp": T0, "log": {"level": "error"}, "message": "one"})
    );
    let data = json!({"time": T0, "level": "error", "msg": "one"}).to_string();
    let chime = json!({"appName": "meet", "logs": [
        {"sequenceNumber": 0, "message": "one", "timestampMs": T0, "logLevel": "ERROR"}]});
    let firehose = json!({"requestId": "r", "timestamp": 1,
        "records": [{"data": base64::prelude::BASE64_STANDARD.encode(data)}]});
    vec![
        ("/v1/logs", PROTOBUF, otlp(T0_NS)),
        ("/otlp/v1/logs", PROTOBUF, otlp(T0_NS)),
        ("/v1/logs", JSON, otlp_json.to_string().into_bytes()),
        ("/otlp/v1/logs", JSON, otlp_json.to_string().into_bytes()),
        ("/loki/api/v1/push", JSON, loki_json.to_string().into_bytes()),
        ("/loki/api/v1/push", PROTOBUF, snappy(&loki)),
        ("/_bulk", "application/x-ndjson", bulk.clone().into_bytes()),
        ("/shop/_bulk", "application/vnd.elasticsearch+x-ndjson; compatible-with=9", bulk.into_bytes()),
        ("/firehose", JSON, firehose.to_string().into_bytes()),
        ("/chime/logs", "text/plain;charset=UTF-8", chime.to_string().into_bytes()),
    ]
}

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A block of snappy with one literal.
fn snappy(plain: &[u8]) -> Vec<u8> {
    let last = u8::try_from(plain.len() - 1).unwrap();
    let tag = if last < 60 { vec![last << 2] } else { vec![60 << 2, last] };
    [varint(plain.len() as u64), tag, plain.to_vec()].concat()
}

/// A block of snappy with literals of 60 bytes.
pub(super) fn snappy_of_literals(plain: &[u8]) -> Vec<u8> {
    let literals = plain.chunks(60).flat_map(|chunk| [&[(chunk.len() as u8 - 1) << 2][..], chunk].concat());
    varint(plain.len() as u64).into_iter().chain(literals).collect()
}

async fn send(api: &Api, key: &str, (path, media_type, body): &Sent) -> u16 {
    let headers = [
        ("authorization", format!("Bearer {key}")),
        ("content-type", (*media_type).to_owned()),
        ("x-amz-firehose-request-id", "r".to_owned()),
    ];
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    api.send("POST", path, &headers, body).await.status
}

#[tokio::test]
async fn loki_alone_takes_a_body_whose_encoding_is_named_snappy() {
    for request in requests() {
        let (path, media_type, body) = &request;
        let api = Api::new();
        let key = api.register("shop").await;
        let headers =
            [("x-api-key", key.as_str()), ("content-type", *media_type), ("content-encoding", "snappy")];
        let answer = api.send("POST", path, &headers, body).await;
        let is_loki = *path == "/loki/api/v1/push";
        assert_eq!(answer.status, if is_loki { 204 } else { 415 }, "{request:?}: {}", answer.text);
        assert_eq!(api.records(&key, "").await.len(), usize::from(is_loki), "{request:?}");
    }
}

#[tokio::test]
async fn every_door_stores_an_entry_once_however_often_its_request_is_sent() {
    for request in requests() {
        let api = Api::new();
        let key = api.register("shop").await;
        for _ in 0..2 {
            let status = send(&api, &key, &request).await;
            assert!([200, 204].contains(&status), "{request:?}: {status}");
        }
        let records = api.records(&key, "").await;
        let said = records.iter().map(|record| [&record["timestamp"], &record["level"], &record["message"]]);
        let said: Vec<_> = said.collect();
        assert_eq!(said, [[&json!(rfc3339_ms(T0)), &json!("ERROR"), &json!("one")]], "{request:?}");
        assert_eq!(api.counted(&key, "shop").await, [0, 0, 0, 1]);
    }
}

/// The numbers of Chime's entries, each as often as it is stored.
async fn numbers(api: &Api, key: &str) -> Vec<i64> {
    let records = api.records(key, "").await;
    let number = |record: &serde_json::Value| record["message"].as_str()?.strip_prefix("log ")?.parse().ok();
    let mut numbers: Vec<i64> = records.iter().filter_map(number).collect();
    assert_eq!(records.len(), numbers.len());
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn entries_of_chime_are_stored_once_in_whatever_bodies_they_come() {
    for bodies in [
        vec![0..10, 0..10, 10..20, 20..30],
        vec![0..10, 0..20, 0..30, 30..30],
        // An answer was lost; what a page sends when it is left begins where the lost body began.
        vec![0..20, 0..10, 0..30],
        vec![0..10, 10..20, 0..30, 10..30],
    ] {
        for at_once in [false, true] {
            let api = Api::new();
            let key = api.register("shop").await;
            let post = |body: &std::ops::Range<i64>| {
                let (api, key, body) = (&api, &key, chime(body.clone()));
                async move {
                    let path = format!("/chime/logs?key={key}");
                    let answer = api.send("POST", &path, &[("content-type", "text/plain")], &body).await;
                    assert_eq!(answer.status, 200, "{}", answer.text);
                }
            };
            if at_once {
                // A body of later entries is sent only after the earlier ones are answered.
                let from_start: Vec<_> = bodies.iter().filter(|body| body.start == 0).collect();
                futures::future::join_all(from_start.into_iter().map(post)).await;
            }
            for body in &bodies {
                post(body).await;
            }
            assert_eq!(numbers(&api, &key).await, (0..30).collect::<Vec<_>>(), "{bodies:?} {at_once}");
        }
    }
    // Two loggers that say the same at different times.
    let api = Api::new();
    let key = api.register("shop").await;
    for (app_name, ms) in [("a", T0), ("a", T0 + 1), ("b", T0), ("b", T0)] {
        let log = json!({"sequenceNumber": 0, "message": "log 0", "timestampMs": ms, "logLevel": "INFO"});
        let body = json!({"appName": app_name, "logs": [log]}).to_string();
        send(&api, &key, &("/chime/logs", JSON, body.into_bytes())).await;
    }
    assert_eq!(numbers(&api, &key).await, [0; 3]);
}

#[tokio::test]
async fn entries_of_chime_without_a_time_are_all_stored() {
    let api = Api::new();
    let key = api.register("shop").await;
    for last in [1, 2] {
        let log = |n: u32| json!({"sequenceNumber": n, "message": format!("log {n}"), "logLevel": "INFO"});
        let body = json!({"logs": [log(0), log(last)]}).to_string();
        assert_eq!(send(&api, &key, &("/chime/logs", JSON, body.into_bytes())).await, 200);
    }
    assert_eq!(numbers(&api, &key).await, [0, 0, 1, 2]);
}

#[tokio::test]
async fn whichever_call_of_a_chime_body_fails_its_entries_are_stored_once_in_the_end() {
    for how in [How::Before(FaultClass::Transient), How::ReplyLost(FaultClass::Timeout)] {
        for call in 0.. {
            let api = Api::new();
            let key = api.register("shop").await;
            api.cloud.fail_call(api.cloud.calls() + call, how);
            let path = format!("/chime/logs?key={key}");
            let mut refused = 0;
            for body in [chime(0..10), chime(0..20), chime(0..20)] {
                let answer = api.send("POST", &path, &[], &body).await;
                assert!([200, 503].contains(&answer.status), "{}", answer.text);
                refused += u32::from(answer.status == 503);
            }
            if api.cloud.faults_hit() == 0 {
                assert!(call > 5, "{call}");
                break;
            }
            assert!(refused <= 1);
            assert_eq!(numbers(&api, &key).await, (0..20).collect::<Vec<_>>(), "call {call} {how:?}");
        }
    }
}

#[tokio::test]
async fn a_key_in_the_url_opens_only_the_door_of_clients_that_know_nothing_else() {
    let api = Api::new();
    let key = api.register("shop").await;
    let shown = format!("?key={key}");
    for (method, path, scope) in routes() {
        let path = path.replace("{id}", "shop").replace("{index}", "shop");
        if scope.is_none() || path == "/chime/logs" {
            continue;
        }
        let status = api.send(method.as_str(), &format!("{path}{shown}"), &[], b"").await.status;
        // Badges that are not public do not say that they exist.
        let refused = [400, 401].contains(&status) || (path.contains("/badges/") && status == 404);
        assert!(refused, "{method} {path}: {status}");
    }
    let post =
        async |query: &str| api.send("POST", &format!("/chime/logs{query}"), &[], &chime(0..1)).await.status;
    assert_eq!(post(&shown).await, 200);
    for (query, status) in [("", 401), ("?key=", 401), ("?key=guess", 401)] {
        assert_eq!(post(query).await, status, "{query}");
    }
    assert_eq!(post(&format!("{shown}&key={key}")).await, 401, "a key that is shown twice");
    let read_only = api.app(&key, "POST", "/apps/shop/keys", &json!({"scopes": ["read"]})).await.data();
    assert_eq!(post(&format!("?key={}", read_only["api_key"].as_str().unwrap())).await, 403);
}

#[tokio::test]
async fn a_firehose_request_of_the_limit_is_taken_and_one_byte_more_is_413() {
    let api = Api::new();
    let key = api.register("shop").await;
    for (bytes, status) in [(MAX_BODY_BYTES, 200), (MAX_BODY_BYTES + 1, 413)] {
        let mut body = br#"{"requestId":"r","timestamp":1,"records":[{"data":"b25l"}]}"#.to_vec();
        body.resize(bytes, b' ');
        assert_eq!(send(&api, &key, &("/firehose", JSON, body)).await, status, "{bytes}");
    }
}

#[tokio::test]
async fn every_way_in_which_a_client_can_send_a_key_is_accepted() {
    let api = Api::new();
    let key = api.register("shop").await;
    let basic = format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("user:{key}")));
    let (bearer, lower_case) = (format!("Bearer {key}"), format!("bearer {key}"));
    for (name, value) in [
        ("x-api-key", key.as_str()),
        ("authorization", &bearer),
        ("authorization", &lower_case),
        ("authorization", &basic),
    ] {
        let entry = br#"{"level":"INFO","message":"x"}"#;
        assert_eq!(api.send("POST", "/logs", &[(name, value)], entry).await.status, 200, "{name}");
        assert_eq!(api.send("GET", "/logs", &[(name, value)], b"").await.status, 200, "{name}");
    }
    let firehose = [("x-amz-firehose-access-key", key.as_str())];
    assert_eq!(api.send("POST", "/firehose", &firehose, br#"{"records":[]}"#).await.status, 200);
    let read_only = json!({"scopes": ["read"]});
    let minted = api.app(&key, "POST", "/apps/shop/keys", &read_only).await.data();
    for request in requests() {
        assert_eq!(send(&api, minted["api_key"].as_str().unwrap(), &request).await, 403, "{request:?}");
        assert_eq!(send(&api, "guess", &request).await, 401, "{request:?}");
    }
}

#[tokio::test]
async fn our_own_route_takes_ndjson_arrays_and_compressed_bodies() {
    let api = Api::new();
    let key = api.register("shop").await;
    let lines = b"{\"level\":50,\"msg\":\"a\"}\n{\"date\":1760011200.5,\"log\":\"b\"}\n";
    let array = br#"[{"level":"critical","message":"a"},{"log":"b"}]"#;
    let gzip = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let zlib = |plain: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = |plain: &[u8]| {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let bodies: [(&str, &str, Vec<u8>); 8] = [
        ("application/x-ndjson", "identity", lines.to_vec()),
        ("application/json", "identity", lines.to_vec()),
        ("application/json", "identity", array.to_vec()),
        ("application/x-ndjson", "gzip", gzip(lines)),
        ("application/json", "gzip", gzip(array)),
        ("application/json", "deflate", zlib(array)),
        ("application/json", "deflate", deflate(array)),
        ("application/x-ndjson", "zstd", zstd::encode_all(&lines[..], 1).unwrap()),
    ];
    let count = bodies.len() as i64;
    for (media_type, coding, body) in bodies {
        let headers =
            [("x-api-key", key.as_str()), ("content-type", media_type), ("content-encoding", coding)];
        let stored = api.send("POST", "/logs", &headers, &body).await.data();
        assert_eq!((&stored[0]["level"], &stored[1]["level"]), (&json!("ERROR"), &json!("INFO")), "{stored}");
        assert_eq!((&stored[0]["message"], &stored[1]["message"]), (&json!("a"), &json!("b")), "{stored}");
    }
    assert_eq!(api.counted(&key, "shop").await, [0, count, 0, count]);
    for (media_type, coding, body, status) in [
        ("application/json", "br", &array[..], 415),
        ("text/csv", "identity", array, 415),
        ("application/json", "gzip", array, 400),
        ("application/x-ndjson", "identity", b"{\"level\":\"LOUD\"}", 400),
        ("application/json", "gzip", &gzip(&vec![b' '; 10 * 1024 * 1024 + 1]), 413),
    ] {
        let headers =
            [("x-api-key", key.as_str()), ("content-type", media_type), ("content-encoding", coding)];
        assert_eq!(api.send("POST", "/logs", &headers, body).await.status, status, "{media_type} {coding}");
    }
}

#[tokio::test]
async fn a_batch_of_months_is_stored_whole_and_its_retry_stores_nothing() {
    let api = Api::new();
    let key = api.register("shop").await;
    let values: Vec<_> = (0..150)
        .map(|i: i64| json!([((T0 - i * MS_PER_DAY / 2) * 1_000_000).to_string(), format!("line {i}")]))
        .collect();
    let body = json!({"streams": [{"stream": {"app": "shop"}, "values": values}]}).to_string().into_bytes();
    let request = ("/loki/api/v1/push", JSON, body);
    for _ in 0..2 {
        assert_eq!(send(&api, &key, &request).await, 204);
    }
    let records = api.records(&key, "").await;
    assert_eq!(records.len(), 150);
    assert!(records.iter().all(|record| record["context"]["app"] == "shop"));
}

#[tokio::test]
async fn a_batch_in_parts_is_completed_by_a_retry_after_an_hour_and_a_prune() {
    // The first attempt fails at some call; before the second an hour begins, and a prune excludes some entries.
    let lines: Vec<_> = (0..12_000)
        .map(|i: i64| {
            let time =
                if i % 3 == 0 { String::new() } else { format!("\"time\":{},", T0 - i % 50 * MS_PER_HOUR) };
            format!("{{\"create\":{{\"_id\":\"{i}\"}}}}\n{{{time}\"n\":{i}}}\n")
        })
        .collect();
    let request = ("/_bulk", "application/x-ndjson", lines.concat().into_bytes());
    for fails in 0..8 {
        let api = Api::new();
        let key = api.register("shop").await;
        api.cloud.clock().advance_ms(MS_PER_HOUR - 60_000);
        api.cloud.fail_call(api.cloud.calls() + fails, How::Before(FaultClass::Permanent));
        let first = send(&api, &key, &request).await;
        api.cloud.clock().advance_ms(120_000);
        let before = json!({"before": T0 - 20 * MS_PER_HOUR});
        assert_eq!(api.app(&key, "POST", "/apps/shop/prune", &before).await.status, 200);
        assert_eq!(send(&api, &key, &request).await, 200, "call {fails}, first {first}");
        let stored = api.records(&key, "").await;
        let mut stored: Vec<_> =
            stored.iter().map(|record| record["fields"]["n"].as_i64().unwrap()).collect();
        stored.sort_unstable();
        let expected: Vec<i64> = (0..12_000).filter(|i| i % 3 == 0 || i % 50 <= 20).collect();
        assert!(stored == expected, "call {fails}, first {first}: {} of {}", stored.len(), expected.len());
    }
}

#[tokio::test]
async fn what_a_door_cannot_store_is_said_in_its_protocols_way_and_the_rest_is_stored() {
    let api = Api::new();
    let key = api.register("shop").await;
    let before = json!({"before": T0 - 1000});
    assert_eq!(api.app(&key, "POST", "/apps/shop/prune", &before).await.status, 200);
    let headers = |media_type| [("x-api-key", key.as_str()), ("content-type", media_type)];
    let record =
        |ms: i64| json!({"timeUnixNano": (ms * 1_000_000).to_string(), "body": {"stringValue": "x"}});
    let logs = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [record(T0), record(T0 - 2000)]}]}]});
    let answer = api.call("POST", "/otlp/v1/logs", &headers(JSON), &logs).await;
    assert_eq!((answer.status, &answer.json()["partialSuccess"]["rejectedLogRecords"]), (200, &json!("1")));

    let value = |ms: i64| json!([(ms * 1_000_000).to_string(), "x"]);
    let push = json!({"streams": [{"stream": {}, "values": [value(T0), value(T0 - 2000)]}]});
    let answer = api.call("POST", "/loki/api/v1/push", &headers(JSON), &push).await;
    let text = "1 of 2 entries were not stored, the first: entries[1].timestamp: timestamp is older than the app's prune watermark\n";
    assert_eq!((answer.status, answer.text.as_str()), (400, text));

    let bulk =
        format!("{{\"create\":{{}}}}\n{{\"time\":{}}}\n{{\"index\":{{}}}}\n{{\"time\":{T0}}}\n", T0 - 2000);
    let answer = api.send("POST", "/_bulk", &headers("application/x-ndjson"), bulk.as_bytes()).await;
    let items = answer.json();
    assert_eq!(answer.headers["x-elastic-product"], "Elasticsearch");
    assert_eq!((&items["errors"], &items["items"][0]["create"]["status"]), (&json!(true), &json!(400)));
    assert_eq!(items["items"][1]["index"]["status"], 201);
    assert_eq!(api.records(&key, "").await.len(), 3);
}

#[tokio::test]
async fn a_used_up_quota_is_429_with_a_pause_at_every_door() {
    for request in requests() {
        let api = Api::with_quota(Quota::of(0, 1, 0));
        let key = api.register("shop").await;
        let entry = json!({"level": "INFO", "message": "x"});
        assert_eq!(api.app(&key, "POST", "/logs", &entry).await.status, 200);
        let (path, media_type, body) = &request;
        let headers = [("x-api-key", key.as_str()), ("content-type", media_type)];
        let answer = api.send("POST", path, &headers, body).await;
        assert_eq!(answer.status, 429, "{request:?}");
        assert!(answer.headers.contains_key("retry-after"), "{request:?}");
    }
}

/// Changes, removes or adds some bytes.
fn mutated(body: &[u8], random: &mut SmallRng) -> Vec<u8> {
    let mut body = body.to_vec();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=body.len());
        match random.random_range(0..5) {
            0 if at < body.len() => body[at] = random.random(),
            1 if at < body.len() => body[at] ^= 1 << random.random_range(0..8),
            2 => body.truncate(at),
            3 => {
                let piece = body[at..body.len().min(at + 20)].to_vec();
                let to = random.random_range(0..=body.len());
                body.splice(to..to, piece);
            }
            _ => body.insert(at, b"{}[]\",:\x00\xff0"[random.random_range(0..10)]),
        }
    }
    body
}

#[tokio::test]
async fn twenty_thousand_mutated_bodies_are_stored_or_refused_and_never_answered_5xx() {
    let api = Api::new();
    let key = api.register("shop").await;
    let mut random = SmallRng::seed_from_u64(17);
    let requests = requests();
    let mut refused = 0;
    for round in 0..20_000 {
        let (path, media_type, body) = &requests[round % requests.len()];
        let request = (*path, *media_type, mutated(body, &mut random));
        let status = send(&api, &key, &request).await;
        assert!(matches!(status, 200 | 204 | 400 | 413 | 415 | 422), "{request:?}: {status}");
        refused += u32::from(status >= 400);
    }
    assert!((2_000..19_000).contains(&refused), "{refused} were refused");
}

#[tokio::test]
async fn a_body_of_the_worst_shape_is_refused_before_it_fills_the_memory() {
    let api = Api::new();
    let key = api.register("shop").await;
    const BYTES: usize = 4 * 1024 * 1024 - 64;
    // Empty records, of 2 bytes each.
    let records = [0x12, 0].repeat(BYTES / 2);
    let empty_records = field(1, &field(2, &records));
    let empty_resources = [0x0a, 0].repeat(BYTES / 2);
    let json = |open: &str, element: &str, close: &str| {
        let elements = vec![element; (BYTES - 100) / (element.len() + 1)].join(",");
        format!("{open}{elements}{close}").into_bytes()
    };
    for (request, status) in [
        (("/otlp/v1/logs", PROTOBUF, empty_records), 413),
        (("/otlp/v1/logs", PROTOBUF, empty_resources), 200),
        (("/otlp/v1/logs", JSON, json(r#"{"resourceLogs":["#, "{}", "]}")), 413),
        (
            (
                "/otlp/v1/logs",
                JSON,
                json(r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":["#, "{}", "]}]}]}"),
            ),
            413,
        ),
        (("/loki/api/v1/push", JSON, json(r#"{"streams":["#, "{}", "]}")), 413),
        (("/logs", JSON, json("[", "{}", "]")), 400),
        (("/_bulk", "application/x-ndjson", b"{\"index\":{}}\n{}\n".repeat(BYTES / 15)), 413),
        (("/firehose", JSON, json(r#"{"records":["#, r#"{"data":""}"#, "]}")), 413),
        (("/chime/logs", JSON, json(r#"{"logs":["#, "{}", "]}")), 413),
    ] {
        assert_eq!(send(&api, &key, &request).await, status, "{} {}", request.0, request.1);
    }
    assert_eq!(api.cloud.blocks_stored(), 0);
}

#[test]
fn the_page_of_clients_names_every_door() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/integrations.md")).unwrap();
    for (path, ..) in requests() {
        assert!(page.contains(&path.replace("shop", "{index}")), "{path}");
    }
}
