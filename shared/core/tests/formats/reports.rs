//! Files that users of other tools report, by the number of the report.

use crate::seen::{check, fixture, gzip, read};

fn report(name: &str, expect: &[&str]) {
    check(name, &fixture(&format!("reports/{name}")), expect);
}

#[test]
fn objects_without_separators_are_records() {
    let orders = [
        "INFO 2026-11-26T11:57:15.959Z order 0 placed",
        "ERROR 2026-11-26T11:57:15.960Z order 1 refused",
        "WARN 2026-11-26T11:57:15.961Z order 2 late",
        "INFO 2026-11-26T11:57:15.962Z order 3 placed",
        "ERROR 2026-11-26T11:57:15.963Z order 4 refused",
    ];
    let seen = read(&fixture("reports/01-five-objects.json")).lines();
    assert_eq!(seen.len(), orders.len());
    assert!(seen[1].starts_with("ERROR 2026-") && seen[1].ends_with("order 1 refused"), "{}", seen[1]);
    let many: String = (0..2500)
        .map(|i| format!("{{\"level\":50,\"msg\":\"m{i}\",\"pad\":\"{}\"}}", "x".repeat(500)))
        .collect();
    assert!(many.len() > 1 << 20);
    for file in [many.clone().into_bytes(), gzip(many.as_bytes())] {
        let seen = read(&file);
        assert_eq!((seen.records.len(), seen.bad.len(), seen.outcome.reason), (2500, 0, None));
    }
}

#[test]
fn a_cloudwatch_subscription_by_firehose_gives_its_log_events() {
    let message = |n: usize| {
        format!(
            r#"{{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/lambda/shop","logStream":"s{n}","subscriptionFilters":["f"],"logEvents":[{{"id":"{n}1","timestamp":1795694235959,"message":"{{\"level\":\"error\",\"msg\":\"no stock\"}}\n"}},{{"id":"{n}2","timestamp":1795694235960,"message":"REPORT RequestId: 8f507cfc\tDuration: 3.16 ms\tBilled Duration: 4 ms\t\n"}},{{"id":"{n}3","timestamp":1795694235961,"message":"2026-11-20T10:00:00.000Z WARN slow"}}]}}"#
        )
    };
    let control = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"","subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1795694235959,"message":"CWL CONTROL MESSAGE: Checking health of destination Firehose."}]}"#;
    let members: Vec<u8> =
        (0..4).flat_map(|n| gzip(message(n).as_bytes())).chain(gzip(control.as_bytes())).collect();
    let seen = read(&members);
    assert_eq!((seen.records.len(), seen.bad.len()), (12, 0));
    assert_eq!(seen.outcome.tally.skipped.control_messages, 1);
    let [inner, report, text] = &seen.records[..3] else { panic!() };
    assert_eq!((&inner["level"], &inner["message"]), (&"ERROR".into(), &"no stock".into()));
    assert_eq!(inner["timestamp"], "2026-11-26T11:57:15.959Z");
    assert_eq!(inner["context"]["logGroup"], "/aws/lambda/shop");
    assert_eq!(inner["context"]["id"], "01");
    assert!(report["message"].as_str().unwrap().starts_with("REPORT RequestId"));
    assert_eq!((&text["level"], &text["timestamp"]), (&"WARN".into(), &"2026-11-26T11:57:15.961Z".into()));
    check(
        "alone",
        message(0).as_bytes(),
        &read(message(0).as_bytes()).lines().iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

#[test]
fn an_object_over_many_lines_is_one_record() {
    report("03-one-object.json", &["ERROR 2026-11-20T10:00:00.123Z card refused"]);
    report(
        "03-two-objects.json",
        &["ERROR 2026-11-20T10:00:00.123Z card refused", "INFO 2026-11-20T10:00:01.123Z card taken"],
    );
}

#[test]
fn envelopes_give_a_record_for_each_element_however_long_they_are() {
    report(
        "04-cloudtrail-small.json.gz",
        &[
            "INFO 2026-11-20T10:00:00.000Z GetObject0",
            "INFO 2026-11-20T10:00:01.000Z GetObject1",
            "INFO 2026-11-20T10:00:02.000Z GetObject2",
        ],
    );
    report(
        "04-logs-wrapped.json",
        &[
            "ERROR 2026-11-20T10:00:00.000Z saved 0",
            "ERROR 2026-11-20T10:00:00.000Z saved 1",
            "ERROR 2026-11-20T10:00:00.000Z saved 2",
        ],
    );
    let record = |i: usize| {
        format!(r#"{{"eventTime":"2026-11-20T10:00:00Z","eventName":"Put{i}","pad":"{}"}}"#, "x".repeat(700))
    };
    let records: Vec<_> = (0..2000).map(record).collect();
    let large = format!("{{\"Records\":[{}]}}", records.join(","));
    assert!(large.len() > 1 << 20);
    let seen = read(&gzip(large.as_bytes()));
    assert_eq!((seen.records.len(), seen.bad.len(), seen.outcome.reason), (2000, 0, None));
    assert_eq!(seen.outcome.tally.kinds(), [("cloudtrail", 2000)]);
}

#[test]
fn utf16_is_read_with_and_without_its_mark() {
    let lines = [
        "INFO 2026-11-20T10:00:00.120Z spid7s Starting up database 'master'.",
        "ERROR 2026-11-20T10:00:01.500Z 18456, Severity: 14.",
        "INFO 2026-11-20T10:00:02.000Z Server ready for requests.",
    ];
    for name in ["05-le-bom.log", "05-be-bom.log", "05-le-nobom.log"] {
        report(name, &lines);
    }
    assert_eq!(read(&fixture("reports/05-le-bom.ndjson")).records.len(), 3);
    let mut bytes = fixture("reports/05-le-bom.log");
    bytes.extend("x\0y\n".encode_utf16().flat_map(u16::to_le_bytes));
    let seen = read(&bytes);
    let (length, bad) = (bytes.len() as u64, &seen.bad[0]);
    assert_eq!((bad.start, bad.end), (length - 8, length - 2));
}

#[test]
fn nuls_at_the_head_hide_no_record() {
    let objects = "{\"level\":50,\"msg\":\"a\"}\n".repeat(3);
    for nuls in [4096, 3 << 20] {
        let file = [vec![0; nuls], objects.clone().into_bytes()].concat();
        for file in [file.clone(), gzip(&file)] {
            let seen = read(&file);
            assert_eq!(seen.lines(), ["ERROR - a", "ERROR - a", "ERROR - a"]);
            assert_eq!(seen.outcome.tally.skipped.nul_bytes, nuls as u64);
        }
    }
}

#[test]
fn text_before_and_between_objects_is_kept() {
    check(
        "banner",
        b"npm start\n{\"level\":50,\"msg\":\"a\"}\n\xe1\nlistening\n{\"level\":30,\"msg\":\"b\"}\n",
        &["INFO - npm start", "ERROR - a", "INFO - listening", "INFO - b", "! INVALID_UTF8"],
    );
}

#[test]
fn a_line_like_the_worker_s_swallows_no_objects() {
    for count in [10, 12_000] {
        let object = "{\"level\":50,\"time\":1795694271069,\"msg\":\"json line\"}\n";
        let file =
            format!("2026-11-20T10:00:00.000Z [INFO] entrypoint: migrations done\n{}", object.repeat(count));
        let seen = read(file.as_bytes());
        assert_eq!((seen.records.len(), seen.bad.len()), (count + 1, 0));
        assert_eq!(seen.outcome.counts.ok, count as u64 + 1);
        assert_eq!(seen.lines()[0], "INFO 2026-11-20T10:00:00.000Z entrypoint: migrations done");
    }
}

#[test]
fn names_of_severe_levels_are_error_and_unknown_ones_are_marked() {
    let levels = |name: &str| -> Vec<String> {
        let lines = read(&fixture(name)).lines();
        lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    };
    assert_eq!(levels("reports/13-severe.ndjson"), ["ERROR"; 10]);
    let mild = ["INFO", "INFO", "INFO", "DEBUG", "DEBUG", "INFO?", "WARN", "WARN", "DEBUG", "DEBUG"];
    assert_eq!(levels("reports/13-mild.ndjson"), mild);
}

#[test]
fn archives_fail_and_are_named() {
    for (name, what) in [
        ("20-logs.bz2", "bzip2"),
        ("20-logs.tar.gz", "tar"),
        ("20-logs.xz", "xz"),
        ("20-logs.zip", "zip"),
        ("20-stored.zip", "zip"),
        ("20-p.parquet", "Parquet"),
    ] {
        let seen = read(&fixture(&format!("reports/{name}")));
        assert_eq!(seen.lines(), ["NOT_A_LOG"], "{name}");
        let reason = seen.outcome.reason.unwrap();
        assert!(reason.message.contains(what), "{name}: {}", reason.message);
    }
}

#[test]
fn two_layers_of_compression_are_undone() {
    let text = b"{\"level\":50,\"msg\":\"a\"}\n";
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    for file in [gzip(&gzip(text)), zstd(&gzip(text)), gzip(&zstd(text)), gzip(&gzip(&gzip(text)))] {
        check("layers", &file, &["ERROR - a"]);
    }
}

#[test]
fn a_byte_order_mark_at_each_part_is_skipped() {
    let part = "\u{feff}{\"level\":50,\"msg\":\"a\"}\n";
    let members: Vec<u8> = (0..3).flat_map(|_| gzip(part.as_bytes())).collect();
    check("members", &members, &["ERROR - a"; 3]);
    let worker = "\u{feff}2026-11-20T10:00:00.000Z [WARN] a\n";
    check("worker", worker.repeat(3).as_bytes(), &["WARN 2026-11-20T10:00:00.000Z a"; 3]);
}

#[test]
fn honest_logs_that_repeat_themselves_are_read_whole() {
    let kernel = "Nov 20 10:00:00 web-1 kernel: nf_conntrack: table full, dropping packet\n".repeat(60_000);
    let seen = read(&gzip(kernel.as_bytes()));
    assert_eq!((seen.records.len(), seen.outcome.reason), (60_000, None));
    assert_eq!(seen.records[0]["timestamp"], "2026-11-20T10:00:00.000Z");
    let frames = "\tat org.apache.http.util.Asserts.check(Asserts.java:34)\n".repeat(30);
    let java = format!(
        "2026-11-20 10:00:00 ERROR c.e.Shop - failed\njava.lang.IllegalStateException: Connection pool shut down\n{frames}"
    );
    let seen = read(&gzip(java.repeat(2_000).as_bytes()));
    assert_eq!((seen.records.len(), seen.outcome.reason), (2_000, None));
    assert!(seen.records[0]["message"].as_str().unwrap().contains("IllegalStateException"));
    let pino = format!(
        "{{\"level\":50,\"msg\":\"x\",\"err\":{{\"stack\":\"{}\"}}}}\n",
        "at f (a.js:1)\\n".repeat(60)
    );
    let seen = read(&zstd::encode_all(pino.repeat(20_000).as_bytes(), 3).unwrap());
    assert_eq!((seen.records.len(), seen.outcome.reason), (20_000, None));
}

#[test]
fn a_first_line_that_looks_like_json_decides_nothing() {
    let body: String =
        (0..30).map(|i| format!("2026-11-20 10:00:{i:02} request {i} took {} ms\n", i * 3)).collect();
    for first in [
        "[Thu Nov 20 10:00:00.123456 2025] [core:notice] AH00094",
        "{ port: 3000, env: 'production' }",
        "{\n  port: 3000,\n  env: 'production'\n}",
        "[    0.000000] Linux version 6.1",
        "[0.004s][info][gc] Using G1",
        "{a=1, b=2} loaded",
        "null",
        "[12, 345] connection accepted",
        "[20-Nov-2025 10:00:00] NOTICE: ready",
        "[\"web\"] Started GET /",
        "[1234] 20 Nov 10:00:00.000 # Server started",
        "{http-nio-8080-exec-1} INFO started",
    ] {
        let seen = read(format!("{first}\n{body}").as_bytes());
        assert_eq!((seen.bad.len(), seen.outcome.reason.as_ref()), (0, None), "{first}");
        assert_eq!(seen.records.len(), 30 + first.lines().count(), "{first}");
        let last = &seen.records[seen.records.len() - 1];
        assert_eq!(last["timestamp"], "2026-11-20T10:00:29.000Z", "{first}");
    }
}

#[test]
fn commas_carriage_returns_and_record_separators_stand_between_objects() {
    let objects: Vec<_> = (0..6).map(|i| format!("{{\"level\":50,\"msg\":\"m{i}\"}}")).collect();
    for (name, text) in [
        ("comma", objects.join(",\n")),
        ("carriage return", objects.join("\r")),
        ("tab", objects.join("\t")),
        ("rfc 7464", objects.iter().map(|object| format!("\u{1e}{object}\n")).collect()),
        ("spaces", objects.join("   ")),
        ("nothing", objects.concat()),
    ] {
        let seen = read(text.as_bytes());
        assert_eq!((seen.records.len(), seen.bad.len()), (6, 0), "{name}");
        assert!(seen.records.iter().all(|record| record["level"] == "ERROR"), "{name}");
    }
}

#[test]
fn half_an_emoji_is_replaced_where_it_is_shown_and_kept_where_it_is_raw() {
    let seen = read(b"{\"level\":30,\"msg\":\"\\ud83d!\"}\n{\"level\":30,\"msg\":\"b\"}\n");
    assert_eq!(seen.records.len(), 2);
    assert!(seen.records[0]["message"].as_str().unwrap().contains('\u{fffd}'));
}
