//! Entries of loggers, alone, in an array and in an envelope.

use crate::seen::{check, read};

#[test]
fn json_of_well_known_loggers_says_time_level_and_message() {
    for (name, line, expect) in [
        (
            "ecs",
            r#"{"@timestamp":"2026-11-20T10:00:00.123Z","log.level":"error","message":"x","ecs.version":"1.6.0"}"#,
            "ERROR 2026-11-20T10:00:00.123Z x",
        ),
        (
            "ecs nested",
            r#"{"@timestamp":"2026-11-20T10:00:00.123Z","log":{"level":"warn","logger":"l"},"message":"x"}"#,
            "WARN 2026-11-20T10:00:00.123Z x",
        ),
        (
            "serilog compact",
            r#"{"@t":"2026-11-20T10:00:00.1230000Z","@mt":"x {A}","@l":"Warning","A":1}"#,
            "WARN 2026-11-20T10:00:00.123Z x {A}",
        ),
        (
            "serilog",
            r#"{"Timestamp":"2026-11-20T10:00:00.1230000+00:00","Level":"Error","MessageTemplate":"x"}"#,
            "ERROR 2026-11-20T10:00:00.123Z x",
        ),
        (
            "gelf",
            r#"{"version":"1.1","host":"h","short_message":"x","timestamp":1795694235.959,"level":3}"#,
            "ERROR 2026-11-26T11:57:15.959Z x",
        ),
        (
            "google cloud",
            r#"{"severity":"CRITICAL","textPayload":"x","timestamp":"2026-11-20T10:00:00.123Z","httpRequest":{"requestMethod":"GET","requestUrl":"/a","status":500,"remoteIp":"1.2.3.4"}}"#,
            "ERROR 2026-11-20T10:00:00.123Z x",
        ),
        (
            "journald",
            r#"{"__REALTIME_TIMESTAMP":"1795694235959000","PRIORITY":"4","MESSAGE":"x","_PID":"1"}"#,
            "WARN 2026-11-26T11:57:15.959Z x",
        ),
        (
            "fluent-bit",
            r#"{"date":"2026-11-20T10:00:00.123456Z","log":"x","container_name":"c"}"#,
            "INFO 2026-11-20T10:00:00.123Z x",
        ),
        (
            "docker",
            r#"{"log":"2026-11-20 10:00:00 ERROR x\n","stream":"stderr","time":"2026-11-20T10:00:01.123456789Z"}"#,
            "ERROR 2026-11-20T10:00:01.123Z 2026-11-20 10:00:00 ERROR x",
        ),
        (
            "structlog",
            r#"{"event":"x","level":"critical","timestamp":"2026-11-20T10:00:00.123456Z"}"#,
            "ERROR 2026-11-20T10:00:00.123Z x",
        ),
        (
            "otel",
            r#"{"Timestamp":"1795694235959000000","SeverityText":"FATAL","Body":"x"}"#,
            "ERROR 2026-11-26T11:57:15.959Z x",
        ),
        (
            "zap",
            r#"{"level":"dpanic","ts":1795694235.959,"caller":"a.go:1","msg":"x"}"#,
            "ERROR 2026-11-26T11:57:15.959Z x",
        ),
        ("zap sugared", r#"{"L":"INFO","T":"2026-11-20T10:00:00.123Z","M":"x"}"#, "INFO - "),
        (
            "slog",
            r#"{"time":"2026-11-20T10:00:00.123456789+01:00","level":"WARN","msg":"x"}"#,
            "WARN 2026-11-20T09:00:00.123Z x",
        ),
        (
            "logrus",
            r#"{"level":"panic","msg":"x","time":"2026-11-20T10:00:00Z"}"#,
            "ERROR 2026-11-20T10:00:00.000Z x",
        ),
        (
            "python-json-logger",
            r#"{"asctime":"2026-11-20 10:00:00,123","levelname":"WARNING","message":"x"}"#,
            "WARN 2026-11-20T10:00:00.123Z x",
        ),
        (
            "hclog",
            r#"{"@level":"info","@message":"x","@timestamp":"2026-11-20T10:00:00.123456Z"}"#,
            "INFO 2026-11-20T10:00:00.123Z x",
        ),
        (
            "monolog",
            r#"{"message":"x","context":{},"level":400,"level_name":"ERROR","channel":"app","datetime":"2026-11-20T10:00:00.123456+00:00"}"#,
            "ERROR 2026-11-20T10:00:00.123Z x",
        ),
        (
            "log4j2",
            r#"{"instant":{"epochSecond":1},"time":"2026-11-20T10:00:00.123Z","level":"FATAL","message":"x"}"#,
            "ERROR 2026-11-20T10:00:00.123Z x",
        ),
        ("winston", r#"{"level":"silly","message":"x"}"#, "DEBUG - x"),
        ("unknown", r#"{"level":"loud","message":"x"}"#, "INFO? - x"),
    ] {
        check(name, line.as_bytes(), &[expect]);
        check(name, format!("[{line},\n{line}]").as_bytes(), &[expect, expect]);
        check(name, format!("{{\"records\":[{line}]}}").as_bytes(), &[expect]);
    }
}

#[test]
fn what_is_assumed_of_a_time_is_marked() {
    let record = &read(b"{\"time\":\"2026-11-20 10:00:00,123\",\"msg\":\"x\"}").records[0];
    assert_eq!((&record["timestampAssumed"], &record["timestampFallback"]), (&true.into(), &().into()));
    let record = &read(b"Nov 20 10:00:00 web-1 app[7]: x").records[0];
    assert_eq!(record["timestampAssumed"], true);
    assert_eq!((&record["hostname"], &record["pid"]), (&"web-1".into(), &7.into()));
}

#[test]
fn lines_of_text_loggers_say_time_level_and_message() {
    for (line, expect) in [
        ("2026-11-20 10:00:00,123 [main] ERROR c.e.Shop - x", "ERROR 2026-11-20T10:00:00.123Z c.e.Shop - x"),
        ("10:00:00.123 [main] WARN c.e.Shop - x", "WARN - c.e.Shop - x"),
        ("ERROR:root:x", "ERROR - root:x"),
        ("fail: Shop[0]\n      x", "ERROR - Shop[0]\n      x"),
        ("time=2026-11-20T10:00:00.123Z level=WARN msg=\"x y\"", "WARN 2026-11-20T10:00:00.123Z x y"),
        ("2026/11/20 10:00:00 x", "INFO 2026-11-20T10:00:00.000Z x"),
        ("<11>Nov 20 10:00:00 h app: x", "ERROR 2026-11-20T10:00:00.000Z x"),
        ("E1120 10:00:00.123456   1 a.go:1] x", "ERROR 2026-11-20T10:00:00.123Z x"),
    ] {
        check(line, line.as_bytes(), &[expect]);
        check(line, format!("{line}\r\n{line}\n").as_bytes(), &[expect, expect]);
    }
}
