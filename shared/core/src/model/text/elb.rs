//! Access logs of load balancers: Application, Network and Classic.
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-access-logs.html>
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-access-logs.html>
//! <https://docs.aws.amazon.com/elasticloadbalancing/latest/classic/access-log-collection.html>

use super::access::{address, line, request_line, seconds_ms, status};
use super::cursor::{Cursor, present};
use super::{AccessRequest, Ask, Example, Line, Recogniser, digit};
use crate::model::level::Level;
use crate::model::stamp::{Stamp, iso};

const ALB_EXAMPLE: &str = r#"https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 0.048 0.037 504 200 0 57 "GET https://www.example.com:443/ HTTP/1.1" "curl/7.46.0" ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:123456789012:certificate/12345678" 1 2018-07-02T22:22:48.364000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_123456"#;
const NLB_EXAMPLE: &str = "tls 2.0 2018-12-20T02:59:40 net/my-network-loadbalancer/c6e77e28c25b2234 g3d4b5e8bb8464cd 72.21.218.154:51341 172.100.100.185:443 5 2 98 246 - arn:aws:acm:us-east-2:671290407336:certificate/2a108f19 - ECDHE-RSA-AES128-SHA tlsv12 - my-network-loadbalancer.elb.us-east-2.amazonaws.com - - - 2018-12-20T02:59:30";
const CLASSIC_EXAMPLE: &str = r#"2015-05-13T23:39:43.945958Z my-loadbalancer 192.168.131.39:2817 10.0.0.1:80 0.000073 0.001048 0.000057 404 200 0 29 "GET http://www.example.com:80/ HTTP/1.1" "curl/7.38.0" - -"#;

pub(super) static ALB: Recogniser = Recogniser {
    name: "alb",
    title: "Application Load Balancer access log",
    begins: |byte| matches!(byte, b'h' | b'w' | b'g'),
    read: alb,
    examples: &[Example {
        line: ALB_EXAMPLE,
        time: "2018-07-02T22:23:00.186Z",
        level: Level::Error,
        message: ALB_EXAMPLE,
    }],
};

pub(super) static NLB: Recogniser = Recogniser {
    name: "nlb",
    title: "Network Load Balancer access log",
    begins: |byte| byte == b't',
    read: nlb,
    examples: &[Example {
        line: NLB_EXAMPLE,
        time: "2018-12-20T02:59:40.000Z",
        level: Level::Info,
        message: NLB_EXAMPLE,
    }],
};

pub(super) static CLASSIC: Recogniser = Recogniser {
    name: "elb",
    title: "Classic Load Balancer access log",
    begins: digit,
    read: classic,
    examples: &[Example {
        line: CLASSIC_EXAMPLE,
        time: "2015-05-13T23:39:43.945Z",
        level: Level::Warn,
        message: CLASSIC_EXAMPLE,
    }],
};

/// A time that is a whole word. The services write UTC, with or without saying so.
fn time(word: &str) -> Option<Stamp> {
    let (stamp, length) = iso(word)?;
    (length == word.len()).then_some(Stamp { assumed: false, ..stamp })
}

/// AccessRequest, target and response times together; -1 stands for none.
fn total_ms(times: [&str; 3]) -> Option<f64> {
    let times = times.map(seconds_ms);
    times.into_iter().try_fold(0.0, |sum, time| Some(sum + time?)).map(|ms| (ms * 1e3).round() / 1e3)
}

fn alb<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let kind =
        cursor.word().filter(|kind| matches!(*kind, "http" | "https" | "h2" | "grpcs" | "ws" | "wss"))?;
    let stamp = time(cursor.word()?)?;
    let balancer = cursor.word()?;
    let (remote_address, remote_port) = address(cursor.word()?);
    let target = cursor.word()?;
    let times = [cursor.word()?, cursor.word()?, cursor.word()?];
    let status = status(cursor.word()?);
    let target_status = cursor.word()?;
    let (received, sent) = (cursor.word()?, cursor.word()?);
    let (method, url) = request_line(cursor.quoted_or_word()?);
    let agent = cursor.quoted_or_word();
    let (cipher, protocol, group) = (cursor.word(), cursor.word(), cursor.word());
    let trace = cursor.quoted_or_word();
    let request = AccessRequest {
        id: trace.and_then(present),
        method,
        url,
        remote_address,
        remote_port,
        status,
        processing_ms: total_ms(times),
    };
    let mut read = line(Some(stamp), request);
    if ask.fields {
        let all = [
            ("type", Some(kind)),
            ("elb", Some(balancer)),
            ("target", Some(target)),
            ("targetStatus", Some(target_status)),
            ("receivedBytes", Some(received)),
            ("sentBytes", Some(sent)),
            ("userAgent", agent),
            ("sslCipher", cipher),
            ("sslProtocol", protocol),
            ("targetGroup", group),
        ];
        read.more =
            all.into_iter().filter_map(|(name, value)| Some((name, value.and_then(present)?))).collect();
    }
    Some(read)
}

fn nlb<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    cursor.eat("tls ")?;
    let _version = cursor.word()?;
    let stamp = time(cursor.word()?)?;
    let (balancer, listener) = (cursor.word()?, cursor.word()?);
    let (remote_address, remote_port) = address(cursor.word()?);
    let destination = cursor.word()?;
    let connection_ms = cursor.word()?;
    let (handshake, received, sent, alert) = (cursor.word()?, cursor.word()?, cursor.word()?, cursor.word()?);
    let processing_ms = connection_ms.parse().ok().filter(|ms: &f64| ms.is_finite() && *ms >= 0.0);
    let request = AccessRequest { remote_address, remote_port, processing_ms, ..AccessRequest::default() };
    let mut read = line(Some(stamp), request);
    if ask.fields {
        let all = [
            ("elb", balancer),
            ("listener", listener),
            ("target", destination),
            ("handshakeMs", handshake),
            ("receivedBytes", received),
            ("sentBytes", sent),
            ("tlsAlert", alert),
        ];
        read.more = all.into_iter().filter(|(_, value)| present(value).is_some()).collect();
    }
    Some(read)
}

fn classic<'a>(text: &'a str, ask: &Ask) -> Option<Line<'a>> {
    let mut cursor = Cursor::new(text);
    let (stamp, length) = ask.leading?;
    cursor.skip(length);
    cursor.eat(" ")?;
    let balancer = cursor.word()?;
    let client = cursor.word()?;
    let (remote_address, remote_port) = address(client);
    remote_port?;
    let backend = cursor.word()?;
    let times = [cursor.word()?, cursor.word()?, cursor.word()?];
    times[0].parse::<f64>().ok()?;
    let status = status(cursor.word()?);
    let (backend_status, received, sent) = (cursor.word()?, cursor.word()?, cursor.word()?);
    let (method, url) = request_line(cursor.quoted_or_word()?);
    let agent = cursor.quoted_or_word();
    let processing_ms = total_ms(times);
    let request = AccessRequest { id: None, method, url, remote_address, remote_port, status, processing_ms };
    let mut read = line(Some(Stamp { assumed: false, ..stamp }), request);
    if ask.fields {
        let all = [
            ("elb", Some(balancer)),
            ("target", Some(backend)),
            ("targetStatus", Some(backend_status)),
            ("receivedBytes", Some(received)),
            ("sentBytes", Some(sent)),
            ("userAgent", agent),
        ];
        read.more =
            all.into_iter().filter_map(|(name, value)| Some((name, value.and_then(present)?))).collect();
    }
    Some(read)
}
