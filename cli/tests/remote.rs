//! The commands that ask the service, against a server that answers what a test says.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use logferry_core::model::time::rfc3339_ms;
use logferry_core::ports::clock::Clock as _;
use logferry_service::clock::SystemClock;

/// Serves these answers, one a request, with its URL where they say URL; a status of 0 closes the connection
/// instead. Returns its URL, and the heads of the requests.
fn service_with_heads(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let own = url.clone();
    let serving = std::thread::spawn(move || {
        let mut heads = Vec::new();
        for (status, body) in answers {
            let (mut socket, _) = listener.accept().unwrap();
            heads.push(read_request(&socket));
            let body = body.replace("URL", &own);
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {}\r\netag: \"1\"\r\nconnection: close\r\n\r\n",
                body.len()
            );
            if status > 0 {
                socket.write_all(head.as_bytes()).unwrap();
                socket.write_all(body.as_bytes()).unwrap();
            }
        }
        heads
    });
    (url, serving)
}

/// Reads a request to its end and returns its head.
fn read_request(socket: &TcpStream) -> String {
    let (mut reader, mut head, mut length) = (BufReader::new(socket), String::new(), 0);
    for line in reader.by_ref().lines().map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
        head.push('\n');
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    head
}

/// As [`service_with_heads`], with the paths that were asked for.
fn service(answers: Vec<(u16, &'static str)>) -> (String, JoinHandle<Vec<String>>) {
    let (url, serving) = service_with_heads(answers);
    let path = |head: &String| head.split(' ').nth(1).unwrap().to_owned();
    (url, std::thread::spawn(move || serving.join().unwrap().iter().map(path).collect()))
}

/// A header of a request.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let headers = head.lines().filter_map(|line| line.split_once(": "));
    headers.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn logferry(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).unwrap())
}

const KEY: (&str, &str) = ("LOGFERRY_API_KEY", "k");

#[test]
fn a_query_follows_its_cursors_and_prints_each_record_as_it_was_answered() {
    let (url, serving) = service(vec![
        (200, r#"{"ok":true,"data":[{"id":"1","n":1.50,"message":"a"}],"cursor":"c1","skipped":0}"#),
        (200, r#"{"ok":true,"data":[],"cursor":"c2","skipped":0}"#),
        (
            200,
            "{\"ok\":true,\"data\":[{\"id\":\"2\",\n\"message\":\"b\u{9b}31m\"}],\"cursor\":null,\"skipped\":0}",
        ),
    ]);
    let args = ["query", "--since", "3d", "--level", "ERROR", "res.statusCode>=500", "err", "-n", "5"];
    let output = logferry(&args, &[("LOGFERRY_URL", &url), KEY]);
    assert_eq!(said(&output), (Some(0), String::new()));
    let printed =
        "{\"id\":\"1\",\"n\":1.50,\"message\":\"a\"}\n{\"id\":\"2\", \"message\":\"b\\u009b31m\"}\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), printed);
    let filters = "field.res.statusCode=%3E%3D500&field.err=*&level=ERROR&since=3d";
    let expected = [
        format!("/v1/logs?{filters}&limit=5"),
        format!("/v1/logs?{filters}&limit=4&cursor=c1"),
        format!("/v1/logs?{filters}&limit=4&cursor=c2"),
    ];
    assert_eq!(serving.join().unwrap(), expected);
}

#[test]
fn columns_have_no_control_character_and_what_could_not_be_read_is_an_error() {
    let (url, serving) = service(vec![(
        200,
        r#"{"ok":true,"data":[{"id":"1","timestamp":"2026-11-26T10:00:00.000Z","level":"ERROR","message":"a\u001b[2Jb","fields":{"res":{"statusCode":500}}}],"cursor":null,"skipped":2}"#,
    )]);
    let output = logferry(&["query", "--text"], &[("LOGFERRY_URL", &url), KEY]);
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(printed, "2026-11-26 10:00:00.000 ERROR a\\u{1b}[2Jb  res.statusCode=500\n");
    let error = "logferry: 2 blocks could not be read: their records are missing here\n";
    assert_eq!(said(&output), (Some(1), error.to_owned()));
    serving.join().unwrap();
}

#[test]
fn a_tail_follows_its_cursors_and_marks_what_is_late() {
    let record = |id: &str, minute: u8| {
        format!(
            r#"{{"id":"{id}","timestamp":"2024-03-01T10:{minute:02}:00.000Z","level":"INFO","message":"{id}","arrived_at":"2024-03-01T10:30:00.000Z"}}"#
        )
    };
    let page = |records: &[String], cursor: &str, more: bool| {
        let records = records.join(",");
        let body =
            format!(r#"{{"ok":true,"data":[{records}],"cursor":"{cursor}","skipped":0,"more":{more}}}"#);
        (200, &*Box::leak(body.into_boxed_str()))
    };
    let (url, serving) = service(vec![
        page(&[record("a", 29), record("b", 2)], "c1", true),
        page(&[], "c2", false),
        page(&[record("c", 30)], "c3", false),
    ]);
    let args = ["tail", "--since", "15m", "-n", "3", "--interval", "1", "--text", "--level", "INFO"];
    let output = logferry(&args, &[("LOGFERRY_URL", &url), KEY]);
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    let expected = [
        "2024-03-01 10:29:00.000 INFO  a",
        "2024-03-01 10:02:00.000 INFO  b  late=28m",
        "2024-03-01 10:30:00.000 INFO  c",
    ];
    assert_eq!(
        (printed.lines().collect::<Vec<_>>(), said(&output)),
        (expected.to_vec(), (Some(0), String::new()))
    );
    let expected = [("15m", 3), ("c1", 1), ("c2", 1)]
        .map(|(after, limit)| format!("/v1/logs?level=INFO&after={after}&limit={limit}"));
    assert_eq!(serving.join().unwrap(), expected);
}

#[test]
fn a_tail_goes_on_after_a_lost_connection() {
    let (url, serving) = service(vec![
        (200, r#"{"ok":true,"data":[{"id":"1"}],"cursor":"c1","more":true}"#),
        (0, ""),
        (200, r#"{"ok":true,"data":[{"id":"2"}],"cursor":"c2"}"#),
    ]);
    let output = logferry(&["tail", "-n", "2"], &[("LOGFERRY_URL", &url), KEY]);
    let (code, error) = said(&output);
    assert_eq!((code, &*output.stdout), (Some(0), &b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n"[..]), "{error}");
    assert!(error.ends_with("; retrying in 1 s\n"), "{error}");
    let expected = ["/v1/logs?after=1m&limit=2", "/v1/logs?after=c1&limit=1", "/v1/logs?after=c1&limit=1"];
    assert_eq!(serving.join().unwrap(), expected);
}

#[test]
fn a_view_token_reads_and_an_insecure_address_is_warned_of() {
    let (url, serving) = service_with_heads(vec![(200, r#"{"ok":true,"data":[],"cursor":null}"#)]);
    let output = logferry(&["files"], &[("LOGFERRY_URL", &url), ("LOGFERRY_API_KEY", "a.b.c")]);
    assert_eq!(said(&output), (Some(0), String::new()));
    let head = &serving.join().unwrap()[0];
    assert_eq!((header(head, "authorization"), header(head, "x-api-key")), (Some("Bearer a.b.c"), None));
    // This address is reserved for documentation, and the port is none.
    let (_, error) = said(&logferry(&["files"], &[("LOGFERRY_URL", "http://192.0.2.1:0"), KEY]));
    let warning = "http://192.0.2.1:0 is not encrypted: the credential can be read on the network";
    assert_eq!(error.matches(warning).count(), 1, "{error}");
}

#[test]
fn what_is_shown_once_is_created_once_though_its_answer_is_lost() {
    const CREATED: (u16, &str) = (201, r#"{"ok":true,"data":{"api_key":"k1"}}"#);
    const BUSY: (u16, &str) = (503, r#"{"ok":false,"error":{"message":"busy"}}"#);
    let mut seen = Vec::new();
    for args in [&["keys", "create", "--app", "shop"][..], &["apps", "create", "shop"]] {
        let (url, serving) = service_with_heads(vec![(0, ""), BUSY, CREATED]);
        let output = logferry(args, &[("LOGFERRY_URL", &url), ("LOGFERRY_ADMIN_KEY", "a")]);
        assert_eq!(said(&output), (Some(0), String::new()));
        assert!(String::from_utf8(output.stdout).unwrap().contains("k1"));
        let heads = serving.join().unwrap();
        let once = header(&heads[0], "idempotency-key").unwrap().to_owned();
        assert!(heads.iter().all(|head| header(head, "idempotency-key") == Some(&once)), "{heads:?}");
        assert!(!seen.contains(&once));
        seen.push(once);
    }
}

#[test]
fn a_key_that_the_command_line_names_goes_before_a_token_of_the_environment() {
    for (args, sent) in [
        (&["--api-key", "k2"][..], [Some("k2"), None]),
        (&["--token", "t2"], [None, Some("Bearer t2")]),
        (&[], [None, Some("Bearer t")]),
    ] {
        let (url, serving) = service_with_heads(vec![TICKET, (200, "")]);
        let args = [&["upload-logs", "Cargo.toml"][..], args].concat();
        let output = logferry(&args, &[("LOGFERRY_URL", &url), KEY, ("LOGFERRY_TOKEN", "t")]);
        assert_eq!(said(&output), (Some(0), String::new()));
        let head = &serving.join().unwrap()[0];
        assert_eq!(["x-api-key", "authorization"].map(|name| header(head, name)), sent, "{args:?}");
    }
}

#[test]
fn an_erasure_is_started_unless_one_in_progress_covers_it() {
    const FOUND: (u16, &str) = (200, r#"{"ok":true,"data":{"records":3,"complete":true}}"#);
    const STARTED: (u16, &str) = (202, r#"{"ok":true,"data":{"job_id":"j2","state":"pending"}}"#);
    let minutes_ago = rfc3339_ms(SystemClock.now_ms() - 5 * 60_000);
    for (args, until, job) in [
        (&["--since", "2024-03-02"][..], &*minutes_ago, "j1"),
        (&["--since", "2024-03-02"], "2024-04-01T00:00:00.000Z", "j2"),
        (&["--since", "2024-03-03", "--until", "2024-03-31"], "2024-04-01T00:00:00.000Z", "j1"),
        (&["--since", "2024-03-01"], &minutes_ago, "j2"),
        (&["--since", "2024-03-03", "--until", "2024-04-02"], "2024-04-01T00:00:00.000Z", "j2"),
    ] {
        let jobs = format!(
            r#"{{"ok":true,"data":[{{"job_id":"j1","state":"pending","filter":{{"field.userId":"u-42"}},
                "since":"2024-03-02T00:00:00.000Z","until":"{until}"}}]}}"#
        );
        let mut answers = vec![FOUND, (200, &*Box::leak(jobs.into_boxed_str()))];
        answers.extend((job == "j2").then_some(STARTED));
        let (url, serving) = service(answers);
        let args = [&["erase", "--app", "shop", "userId=u-42", "--yes"][..], args].concat();
        let output = logferry(&args, &[("LOGFERRY_URL", &url), KEY]);
        let printed = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(printed.contains(&format!(r#""job_id":"{job}""#)), "{args:?}: {printed} {:?}", said(&output));
        serving.join().unwrap();
    }
}

#[test]
fn an_erasure_of_nothing_is_not_started() {
    let (url, serving) = service(vec![(200, r#"{"ok":true,"data":{"records":0,"complete":true}}"#)]);
    let args = ["erase", "--app", "shop", "--since", "3d", "userIdd=u-42", "--yes"];
    let (code, error) = said(&logferry(&args, &[("LOGFERRY_URL", &url), KEY]));
    assert_eq!(code, Some(2));
    assert!(error.contains("no record matches, so nothing is erased"), "{error}");
    assert_eq!(serving.join().unwrap(), ["/v1/apps/shop/erase"]);
}

#[test]
fn errors_say_what_to_do_in_words_of_the_command_line() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{free}");
    let refused = format!("nothing answers at {closed} (connection refused): is the service running?");
    for (args, env, message) in [
        (&["query"][..], &[][..], "which service? Set LOGFERRY_URL, pass --url, or name it in a profile"),
        (&["query"], &[("LOGFERRY_URL", "")], "LOGFERRY_URL is empty"),
        (&["query"], &[("API_URL", "x")], "API_URL must begin with http:// or https://, and is x"),
        (
            &["query"],
            &[("LOGFERRY_URL", "http://x")],
            "which key? Set LOGFERRY_API_KEY, or name it in a profile",
        ),
        (&["query"], &[("LOGFERRY_URL", &closed), KEY], &refused),
        (
            &["upload-logs", "Cargo.toml"],
            &[("LOGFERRY_URL", &closed), KEY],
            &format!("Cargo.toml: {refused}"),
        ),
        (
            &["apps", "create", "x"],
            &[("LOGFERRY_URL", &closed), KEY],
            "which administrator's key? Set LOGFERRY_ADMIN_KEY, or name it in a profile",
        ),
        (
            &["erase", "--app", "a", "--since", "3d"],
            &[("LOGFERRY_URL", &closed), KEY],
            "which records? Name a condition such as userId=u-42, --level or --search",
        ),
        (&["ingest", "src"], &[], "src is a folder; name the files in it"),
    ] {
        let (code, error) = said(&logferry(args, env));
        assert!(error.starts_with(&format!("logferry: {message}\n")), "{args:?}: {error}");
        assert!(code == Some(2) || args[0] == "upload-logs", "{args:?}");
    }
    for (status, body, message) in [
        (
            401,
            r#"{"ok":false,"error":{"message":"the API key is not valid"}}"#,
            "the key from LOGFERRY_API_KEY is not valid at URL",
        ),
        (
            403,
            r#"{"ok":false,"error":{"message":"m","details":{"scope":"read"}}}"#,
            "the key from LOGFERRY_API_KEY may not do this: it needs the scope read",
        ),
        (
            400,
            r#"{"ok":false,"error":{"message":"since has no offset: add Z","details":{"field":"since"}}}"#,
            "--since has no offset: add Z",
        ),
        (404, r#"{"ok":false,"error":{"message":"no such app"},"request_id":"r"}"#, "no such app"),
        (404, "<html>", "URL does not answer as Logferry does: is it the service's URL?"),
        (502, "<html>", "the service at URL failed, or is none of Logferry; try again later"),
        (
            500,
            r#"{"ok":false,"error":{"message":"internal error"},"request_id":"r-1"}"#,
            "internal error (request r-1)",
        ),
    ] {
        let (url, serving) = service(vec![(status, body)]);
        let (code, error) = said(&logferry(&["query"], &[("LOGFERRY_URL", &url), KEY]));
        assert_eq!((code, error.replace(&url, "URL")), (Some(2), format!("logferry: {message}\n")));
        serving.join().unwrap();
    }
}

const ROWS: (u16, &str) = (200, r#"{"ok":true,"data":[{"status":"PROCESSING"}],"cursor":null}"#);
const TICKET: (u16, &str) =
    (200, r#"{"presignedUrl":"URL/put","method":"PUT","key":"logs/a/1-Cargo.toml","headers":{}}"#);

#[test]
fn waiting_for_an_uploaded_file_has_an_end_and_says_what_is_known() {
    let (url, serving) = service(vec![ROWS, TICKET, (200, ""), ROWS]);
    let output = logferry(&["upload-logs", "Cargo.toml", "--wait=1"], &[("LOGFERRY_URL", &url), KEY]);
    let late = "not read in time: it is PROCESSING; `logferry files` shows what becomes of it";
    let expected = format!("logferry: Cargo.toml: {late}\nlogferry: 1 of 1 files failed\n");
    assert_eq!(said(&output), (Some(1), expected));
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["key"], "logs/a/1-Cargo.toml");
    assert_eq!((&line["status"], &line["error"]), (&"PROCESSING".into(), &late.into()));
    let asked = ["/v1/files?limit=1", "/presigned-url?", "/put", "/v1/files?key=logs%2Fa%2F1-Cargo.toml"];
    assert_eq!(serving.join().unwrap(), asked);
}

#[test]
fn waiting_survives_a_failed_answer_and_names_the_files_whose_state_cannot_be_read() {
    const DONE: (u16, &str) =
        (200, r#"{"ok":true,"data":[{"status":"COMPLETED","counts":{"ok":2,"quarantined":0}}]}"#);
    const FAILED: (u16, &str) = (500, r#"{"ok":false,"error":{"message":"internal error"}}"#);
    const REFUSED: (u16, &str) = (401, r#"{"ok":false,"error":{"message":"m"}}"#);
    let (url, serving) =
        service(vec![ROWS, TICKET, (200, ""), TICKET, (200, ""), REFUSED, FAILED, (0, ""), DONE]);
    let args = ["upload-logs", "Cargo.toml", "Cargo.toml", "--wait"];
    let output = logferry(&args, &[("LOGFERRY_URL", &url), KEY]);
    let (code, error) = said(&output);
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (Some(1), 2), "{error}");
    assert!(lines.iter().all(|line| line["key"] == "logs/a/1-Cargo.toml"), "{printed}");
    let unknown = lines[0]["error"].as_str().unwrap();
    assert!(unknown.starts_with("uploaded, but its state cannot be read: the key"), "{unknown}");
    assert_eq!(lines[1]["status"], "COMPLETED");
    assert!(error.ends_with("logferry: 1 of 2 files failed\n"), "{error}");
    serving.join().unwrap();
}

#[test]
fn a_file_is_named_on_standard_error_if_standard_output_cannot_be_written() {
    let (url, serving) = service(vec![TICKET, (200, "")]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(["upload-logs", "Cargo.toml"]).env_clear().envs([("LOGFERRY_URL", &*url), KEY]);
    let (code, error) = said(&command.stdin(Stdio::null()).stdout(full).output().unwrap());
    let line = "{\"file\":\"Cargo.toml\",\"key\":\"logs/a/1-Cargo.toml\"}\n";
    assert!(code == Some(0) && error.ends_with(line), "{error}");
    serving.join().unwrap();
}

#[test]
fn a_key_that_may_not_see_files_cannot_wait_and_uploads_nothing() {
    let refused = r#"{"ok":false,"error":{"message":"m","details":{"scope":"read"}}}"#;
    let (url, serving) = service(vec![(403, refused)]);
    let output = logferry(&["upload-logs", "Cargo.toml", "--wait"], &[("LOGFERRY_URL", &url), KEY]);
    let expected = "logferry: --wait cannot read the states of files: the key from LOGFERRY_API_KEY may not do this: it \
                    needs the scope read\n";
    assert_eq!(said(&output), (Some(2), expected.to_owned()));
    assert_eq!(serving.join().unwrap(), ["/v1/files?limit=1"]);
}

#[test]
fn an_app_can_be_named_as_an_argument_or_is_that_of_the_key() {
    const APP: (u16, &str) = (200, r#"{"ok":true,"data":{"app_id":"shop"}}"#);
    for (args, paths) in [
        (&["apps", "show", "shop"][..], &["/v1/apps/shop"][..]),
        (&["apps", "usage", "--app", "shop"], &["/v1/apps/shop/usage"]),
        (&["apps", "show"], &["/v1/apps", "/v1/apps/shop"]),
        (&["apps", "stats", "shop", "--days", "2"], &["/v1/stats/shop?days=2"]),
    ] {
        let list = (200, r#"{"ok":true,"data":["shop"]}"#);
        let answers = if paths.len() > 1 { vec![list, APP] } else { vec![APP] };
        let (url, serving) = service(answers);
        let output = logferry(args, &[("LOGFERRY_URL", &url), KEY]);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {:?}", said(&output));
        assert_eq!(serving.join().unwrap(), paths);
    }
}

#[test]
fn misspelt_commands_options_and_conditions_are_answered_with_what_was_probably_meant() {
    for (args, message) in [
        (&["ingst"][..], "'ingest'"),
        (&["ingest", "x", "--summaryy"], "'--summary'"),
        (&["query", "--leveel", "ERROR"], "'--level'"),
        (&["keys", "create", "--scopes", "reads"], "'read'"),
        (&["query", ">500"], "write path=value, path!=value, path>=500, path~text or path"),
    ] {
        let (code, error) = said(&logferry(args, &[]));
        assert!(code == Some(2) && error.contains(message), "{args:?}: {error}");
    }
    let script = logferry(&["completions", "bash"], &[]);
    assert!(String::from_utf8(script.stdout).unwrap().contains("--oldest-first"));
}

#[test]
fn standard_input_is_a_file_too() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(["ingest", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"level\":50,\"msg\":\"from a pipe\"}\n").unwrap();
    let printed = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert!(printed.contains("\"message\":\"from a pipe\""), "{printed}");
}

/// Uploads standard input. Returns the exit code and what was said on standard error.
fn upload_standard_input(url: &str, meanwhile: impl FnOnce(u32)) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(["upload", "-"]).env_clear().envs([("LOGFERRY_URL", url), KEY, ("HOME", "/nowhere")]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from a pipe").unwrap();
    meanwhile(child.id());
    said(&child.wait_with_output().unwrap())
}

const SESSION: (u16, &str) = (200, r#"{"key":"k","uploadId":"u1","partSize":8388608}"#);

#[test]
fn a_failed_upload_of_standard_input_is_aborted() {
    let refused = (403, r#"{"error":"s3: no"}"#);
    let (url, serving) = service_with_heads(vec![SESSION, (200, "[]"), refused, (200, "{}")]);
    let (code, error) = upload_standard_input(&url, |_| {});
    assert!(code == Some(2) && error.ends_with(": no\n"), "{error}");
    let heads = serving.join().unwrap();
    assert!(heads[3].starts_with("DELETE /s3/multipart/u1?key=k "), "{heads:?}");
}

#[test]
fn an_interrupted_upload_of_standard_input_is_aborted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (asked, is_asked) = mpsc::channel();
    let serving = std::thread::spawn(move || {
        let answer = |socket: &mut TcpStream, body: &str| {
            let head =
                format!("HTTP/1.1 200 x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            socket.write_all(head.as_bytes()).unwrap();
            socket.write_all(body.as_bytes()).unwrap();
        };
        let accepted = || {
            let (socket, _) = listener.accept().unwrap();
            (read_request(&socket), socket)
        };
        answer(&mut accepted().1, SESSION.1);
        // The list of parts is never answered.
        let _parts = accepted();
        asked.send(()).unwrap();
        let (head, mut socket) = accepted();
        answer(&mut socket, "{}");
        head
    });
    let (code, error) = upload_standard_input(&url, |id| {
        is_asked.recv().unwrap();
        assert!(Command::new("kill").args(["-INT", &id.to_string()]).status().unwrap().success());
    });
    let expected = "stopped: an upload of standard input cannot be resumed\n";
    assert!(code == Some(130) && error.ends_with(expected), "{code:?} {error}");
    assert!(serving.join().unwrap().starts_with("DELETE /s3/multipart/u1?key=k "));
}
