//! Single probes against servers that are up, down, slow, hanging, resetting and worse.

use std::sync::Arc;

use logferry_health::probe::{Finding, Prober};
use logferry_health_checks::check::{Check, CheckKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

use crate::servers::{Identity, Server, page, read_head, status};
use crate::world::{Zone, local, prober};

const NOW: i64 = 1_700_000_000_000;

async fn probe_with(prober: &Prober, check: Value) -> Finding {
    let check = Check::from_value(&check, "check", &prober.policy).unwrap();
    let CheckKind::Probe(probe) = check.kind else { panic!("not a probe") };
    prober.probe(&probe, NOW).await
}

async fn probe(check: Value) -> Finding {
    probe_with(&prober(local()), check).await
}

/// A finding as text, without the latency.
fn shown(finding: &Finding) -> String {
    let verdict = if finding.ok { "ok" } else { "fail" };
    let mut text = format!("{verdict} {}", finding.status);
    for part in finding.error.iter().chain(&finding.failed_conditions).chain(&finding.redirect_to) {
        text.push_str(" | ");
        text.push_str(part);
    }
    text
}

#[tokio::test]
async fn an_answer_from_200_to_399_is_up_and_others_are_down() {
    for (line, expect) in [
        ("200 OK", "ok 200"),
        ("204 No Content", "ok 204"),
        ("304 Not Modified", "ok 304"),
        ("400 Bad Request", "fail 400"),
        ("404 Not Found", "fail 404"),
        ("500 Internal Server Error", "fail 500"),
        ("503 Service Unavailable", "fail 503"),
    ] {
        let server = Server::answering(move |_| status(line)).await;
        assert_eq!(shown(&probe(json!(server.url("/"))).await), expect);
        assert_eq!(server.accepted(), if expect.starts_with("ok") { 1 } else { 2 });
    }
}

#[tokio::test]
async fn a_closed_port_is_a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(shown(&probe(json!(url)).await), "fail 0 | connect: connection refused");
}

#[tokio::test]
async fn latency_is_the_time_to_the_answer() {
    let slow = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        let _ = stream.write_all(&status("200 OK")).await;
    })
    .await;
    let finding =
        probe(json!({"url": slow.url("/"), "conditions": ["[RESPONSE_TIME] >= 120", "[STATUS] == 200"]}))
            .await;
    assert_eq!(shown(&finding), "ok 200");
    assert!(finding.latency_ms >= 120);
}

#[tokio::test]
async fn a_server_that_hangs_is_a_time_out_that_says_where() {
    let mute = Server::start(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let check = json!({"url": mute.url("/"), "timeout_ms": 100});
    assert_eq!(
        shown(&probe(check).await),
        "fail 0 | time-out: no answer within 100 ms, while waiting for the answer"
    );
    let secure = json!({"url": mute.url("/").replace("http:", "https:"), "timeout_ms": 100});
    assert_eq!(
        shown(&probe(secure).await),
        "fail 0 | time-out: no answer within 100 ms, while agreeing on TLS"
    );
    let dripping = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab").await;
        std::future::pending::<()>().await;
    })
    .await;
    let check = json!({"url": dripping.url("/"), "timeout_ms": 100, "conditions": ["[BODY] == ab"]});
    assert_eq!(
        shown(&probe(check).await),
        "fail 200 | time-out: no answer within 100 ms, while reading the body | [BODY] () == ab"
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_keeps_its_status_and_fails() {
    let server = Server::answering(|_| b"HTTP/1.1 203 OK\r\nContent-Length: 100\r\n\r\nab".to_vec()).await;
    let check = json!({"url": server.url("/"), "conditions": ["[STATUS] == 203", "[BODY] == pat(*)"]});
    assert_eq!(
        shown(&probe(check).await),
        "fail 203 | http: the connection was closed before the answer ended"
    );
}

#[tokio::test]
async fn a_full_backlog_is_a_time_out_while_connecting() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let connect = tokio::net::TcpStream::connect(address);
        match tokio::time::timeout(std::time::Duration::from_millis(200), connect).await {
            Ok(stream) => waiting.push(stream.unwrap()),
            Err(_) => break,
        }
    }
    let check = json!({"url": format!("http://{address}/"), "timeout_ms": 100});
    assert_eq!(shown(&probe(check).await), "fail 0 | time-out: no answer within 100 ms, while connecting");
}

#[tokio::test]
async fn a_reset_and_a_closed_connection_are_distinguished() {
    let resetting = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.set_zero_linger();
    })
    .await;
    assert_eq!(shown(&probe(json!(resetting.url("/"))).await), "fail 0 | http: connection reset");
    let closing = Server::answering(|_| Vec::new()).await;
    assert_eq!(
        shown(&probe(json!(closing.url("/"))).await),
        "fail 0 | http: the connection was closed before the answer ended"
    );
}

#[tokio::test]
async fn what_is_not_http_is_said_to_be_so() {
    let ssh = Server::answering(|_| b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()).await;
    assert_eq!(shown(&probe(json!(ssh.url("/"))).await), "fail 0 | http: the answer is not HTTP/1.1");
    let plain = Server::start(|mut stream| async move {
        let _ = stream.write_all(&status("400 Bad Request")).await;
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let https = plain.url("/").replace("http:", "https:");
    assert_eq!(shown(&probe(json!(https)).await), "fail 0 | tls: the answer is not TLS");
}

#[tokio::test]
async fn head_is_asked_first_and_get_where_head_is_answered_with_an_error() {
    for line in
        ["400 Bad Request", "403 Forbidden", "404 Not Found", "405 Method Not Allowed", "501 Not Implemented"]
    {
        let server = Server::answering(
            move |head| if head.starts_with("HEAD ") { status(line) } else { page("hello") },
        )
        .await;
        assert_eq!(shown(&probe(json!(server.url("/"))).await), "ok 200");
        assert_eq!(server.accepted(), 2);
        let answer = probe(json!({"url": server.url("/"), "method": "HEAD"})).await;
        assert!(!answer.ok && answer.status >= 400);
    }
    let server = Server::answering(|head| {
        if head.starts_with("HEAD ") { status("404 Not Found") } else { status("410 Gone") }
    })
    .await;
    assert_eq!((shown(&probe(json!(server.url("/"))).await).as_str(), server.accepted()), ("fail 410", 2));
}

#[tokio::test]
async fn a_redirect_is_recorded_and_not_followed() {
    let private = Server::answering(|_| page("secret")).await;
    let location = private.url("/latest/meta-data/");
    for code in [301, 302, 303, 307, 308] {
        let to = location.clone();
        let server = Server::answering(move |_| {
            format!("HTTP/1.1 {code} Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
        })
        .await;
        assert_eq!(shown(&probe(json!(server.url("/"))).await), format!("ok {code} | {location}"));
        let check = json!({"url": server.url("/"), "conditions": ["[STATUS] == 200"]});
        assert_eq!(
            shown(&probe(check).await),
            format!("fail {code} | [STATUS] ({code}) == 200 | {location}")
        );
    }
    assert_eq!(private.accepted(), 0);
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_to_be_so() {
    let finding =
        probe(json!({"url": "http://nowhere.example.com/", "conditions": ["[CONNECTED] == true"]})).await;
    assert_eq!(
        shown(&finding),
        "fail 0 | dns: nowhere.example.com does not resolve | [CONNECTED] (false) == true"
    );
}

#[tokio::test]
async fn conditions_judge_body_method_and_headers() {
    let server = Server::answering(|head| {
        let ok = head.starts_with("POST /api?x=1 HTTP/1.1\r\n")
            && head.contains("\r\nauthorization: Bearer t\r\n")
            && head.contains("\r\nhost: 127.0.0.1:");
        page(&format!(r#"{{"status":"UP","items":[1,2],"ok":{ok}}}"#))
    })
    .await;
    let check = |conditions: Value| json!({"url": server.url("/api?x=1"), "method": "post", "headers": {"Authorization": "Bearer t"}, "body": "{}", "conditions": conditions});
    let good = json!([
        "[STATUS] == 200",
        "[BODY].status == UP",
        "len([BODY].items) == 2",
        "has([BODY].errors) == false",
        "[BODY].ok == true"
    ]);
    assert_eq!(shown(&probe(check(good)).await), "ok 200");
    let bad = json!(["[STATUS] == any(201, 204)", "[BODY].status == DOWN"]);
    assert_eq!(
        shown(&probe(check(bad)).await),
        "fail 200 | [STATUS] (200) == any(201, 204) | [BODY].status (UP) == DOWN"
    );
}

#[tokio::test]
async fn a_flood_of_headers_or_body_is_cut_off() {
    let headers =
        Server::answering(|_| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(500)).into_bytes())
            .await;
    let error = shown(&probe(json!(headers.url("/"))).await);
    assert_eq!(error, "fail 0 | http: the answer's head is longer than 32768 bytes or 100 headers");
    let long =
        Server::answering(|_| format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(1 << 20)).into_bytes())
            .await;
    let error = shown(&probe(json!(long.url("/"))).await);
    assert_eq!(error, "fail 0 | http: the answer's head is longer than 32768 bytes or 100 headers");
    let endless = Server::start(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let check =
        json!({"url": endless.url("/"), "conditions": ["len([BODY]) == 262144", "[BODY] == pat(aaa*)"]});
    assert_eq!(shown(&probe(check).await), "ok 200");
}

#[tokio::test]
async fn tls_is_checked_with_the_name_of_the_url_and_its_expiry_is_known() {
    let identity = Identity::new("shop.example.com", 2090);
    let server = Server::secure(&identity, |head| {
        let kept =
            head.starts_with("sni: shop.example.com\r\n") && head.contains("\r\nhost: shop.example.com:");
        page(&kept.to_string())
    })
    .await;
    let zone = Zone::default()
        .with("shop.example.com", &[&["127.0.0.1"]])
        .with("other.example.com", &[&["127.0.0.1"]]);
    let prober = Prober { resolver: Arc::new(zone), tls: identity.trusted(), ..prober(local()) };
    let url = format!("https://shop.example.com:{}/", server.address.port());
    let finding = probe_with(
        &prober,
        json!({"url": url, "conditions": ["[BODY] == true", "[CERTIFICATE_EXPIRATION] > 48h"]}),
    )
    .await;
    assert_eq!(shown(&finding), "ok 200");
    assert_eq!(finding.certificate_expires_ms, Some(3_786_912_000_000));
    let soon =
        probe_with(&prober, json!({"url": url, "conditions": ["[CERTIFICATE_EXPIRATION] > 876000h"]})).await;
    assert_eq!(shown(&soon), "fail 200 | [CERTIFICATE_EXPIRATION] (579697h46m40s) > 876000h");
    let other = url.replace("shop", "other");
    assert_eq!(
        shown(&probe_with(&prober, json!(other)).await),
        "fail 0 | tls: the certificate is for another name"
    );
}

#[tokio::test]
async fn an_expired_or_unknown_certificate_is_said_to_be_so() {
    let expired = Identity::new("localhost", 2020);
    let server = Server::secure(&expired, |_| status("200 OK")).await;
    let url = format!("https://localhost:{}/", server.address.port());
    let trusting = Prober { tls: expired.trusted(), ..prober(local()) };
    assert_eq!(shown(&probe_with(&trusting, json!(url)).await), "fail 0 | tls: the certificate has expired");
    let unknown = Identity::new("localhost", 2090);
    let server = Server::secure(&unknown, |_| status("200 OK")).await;
    let url = format!("https://localhost:{}/", server.address.port());
    assert_eq!(shown(&probe(json!(url)).await), "fail 0 | tls: the certificate's issuer is not trusted");
}

#[tokio::test]
async fn conditions_see_the_content_of_compressed_bodies_and_of_json_after_a_byte_order_mark() {
    use std::io::Write;
    let json = "\u{feff}{\"status\":\"UP\"}";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    gzip.write_all(json.as_bytes()).unwrap();
    let compressed = gzip.finish().unwrap();
    for (encoding, body) in [("identity", json.as_bytes().to_vec()), ("gzip", compressed)] {
        let server = Server::answering(move |head| {
            assert!(head.to_ascii_lowercase().contains("accept-encoding: gzip"), "{head}");
            let length = body.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {length}\r\n\r\n"
            );
            [head.as_bytes(), &body].concat()
        })
        .await;
        let check = json!({"url": server.url("/"), "conditions": ["[BODY].status == UP"]});
        assert_eq!(shown(&probe(check).await), "ok 200", "{encoding}");
    }
}
