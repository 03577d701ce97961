//! Each error class of PutLogEvents through the real SDK client, against a configurable server on loopback.
//! The number of calls is checked.
#![cfg(feature = "logs")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use batch_buffer::{Delivery, ErrorClass, Event, RetryPolicy, deliver};
use logferry_aws::client::AwsEnv;
use logferry_aws::logs::CloudWatchLogs;
use logferry_core::model::fault::FaultClass;
use logferry_core::ports::log_groups::LogGroups;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// 2024-01-01T00:00:00Z
const NOW_MS: i64 = 1_704_067_200_000;

#[derive(Debug, Clone)]
struct Call {
    /// Without the service's prefix.
    operation: String,
    signed: bool,
    body: Value,
}

/// The server's response to a call: status and body, or none.
type Answer = Option<(u16, Value)>;

struct Server {
    calls: Arc<Mutex<Vec<Call>>>,
    logs: CloudWatchLogs,
}

fn ok() -> Answer {
    Some((200, json!({"nextSequenceToken": "next"})))
}

fn error(status: u16, code: &str) -> Answer {
    Some((status, json!({"__type": code, "message": "as configured"})))
}

impl Server {
    /// `answer` receives the number of the call, from 0, and the call.
    async fn start(answer: impl Fn(usize, &Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
        let (seen, answer) = (calls.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, seen.clone(), answer.clone()));
            }
        });
        let env = AwsEnv::from_lookup(|name| match name {
            "AWS_REGION" => Some("eu-west-1".into()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".into()),
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS" => Some(url.clone()),
            _ => None,
        });
        Self { calls, logs: CloudWatchLogs::new(env.unwrap().logs(), Some("INFREQUENT_ACCESS".into())) }
    }

    async fn deliver(&self, messages: &[&str]) -> Delivery {
        let events = messages.iter().map(|message| Event::new(NOW_MS, *message)).collect();
        let policy = RetryPolicy {
            backoff_base: Duration::from_millis(1),
            backoff_max: Duration::from_millis(1),
            ..RetryPolicy::default()
        };
        deliver(&self.logs, &"/g".into(), &"s".into(), events, &mut None, &policy, &|| NOW_MS).await
    }

    fn operations(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|call| call.operation.clone()).collect()
    }
}

async fn serve(
    stream: TcpStream,
    calls: Arc<Mutex<Vec<Call>>>,
    answer: Arc<impl Fn(usize, &Call) -> Answer + Send + Sync + 'static>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut operation, mut signed, mut length) = (String::new(), false, 0);
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                if line == "\r\n" { break } else { continue }
            };
            match name.to_ascii_lowercase().as_str() {
                "x-amz-target" => operation = value.rsplit('.').next().unwrap_or_default().to_owned(),
                "authorization" => signed = value.starts_with("AWS4-HMAC-SHA256 "),
                "content-length" => length = value.parse().unwrap(),
                "x-amzn-logs-format" => panic!("events are asked to be read as metrics: {value}"),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        let call = Call { operation, signed, body: serde_json::from_slice(&body).unwrap() };
        let number = calls.lock().unwrap().len();
        calls.lock().unwrap().push(call.clone());
        // No response: the connection is closed.
        let Some((status, body)) = answer(number, &call) else { return };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_is_one_signed_call_with_the_events_as_they_are() {
    let server = Server::start(|_, _| ok()).await;
    let delivery = server.deliver(&["{\"a\":\"ü\\n\"}", "b"]).await;
    assert_eq!(delivery.sent, 2);
    let calls = server.calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 1);
    assert!(calls[0].signed);
    assert_eq!(
        calls[0].body,
        json!({"logGroupName": "/g", "logStreamName": "s", "logEvents": [
            {"timestamp": NOW_MS, "message": "{\"a\":\"ü\\n\"}"}, {"timestamp": NOW_MS, "message": "b"}]})
    );
}

#[tokio::test]
async fn passing_errors_are_four_calls_at_most_and_one_more_than_the_failures_otherwise() {
    for (status, code, class) in [
        (400, "ThrottlingException", ErrorClass::Throttling),
        (503, "ServiceUnavailableException", ErrorClass::ServiceUnavailable),
        (500, "InternalServerError", ErrorClass::InternalServerError),
        (400, "RequestTimeoutException", ErrorClass::RequestTimeout),
        (429, "SomethingNew", ErrorClass::Throttling),
        (502, "SomethingNew", ErrorClass::InternalServerError),
    ] {
        let server = Server::start(move |_, _| error(status, code)).await;
        let delivery = server.deliver(&["a"]).await;
        assert_eq!(delivery.error.map(|error| error.class), Some(class), "{code}");
        assert_eq!((delivery.unsent.len(), server.operations().len()), (1, 4), "{code}");

        let server =
            Server::start(move |number, _| if number < 2 { error(status, code) } else { ok() }).await;
        assert_eq!((server.deliver(&["a"]).await.sent, server.operations().len()), (1, 3), "{code}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_is_tried_four_times() {
    let server = Server::start(|_, _| None).await;
    let delivery = server.deliver(&["a"]).await;
    assert_eq!(delivery.error.map(|error| error.class), Some(ErrorClass::Connection));
    assert_eq!((delivery.unsent.len(), server.operations().len()), (1, 4));
}

#[tokio::test]
async fn the_expected_token_is_taken_from_the_error() {
    let server = Server::start(|number, _| match number {
        0 => Some((
            400,
            json!({"__type": "InvalidSequenceTokenException", "message": "m", "expectedSequenceToken": "49"}),
        )),
        _ => ok(),
    })
    .await;
    assert_eq!(server.deliver(&["a"]).await.sent, 1);
    let calls = server.calls.lock().unwrap().clone();
    assert_eq!(
        (calls.len(), &calls[0].body["sequenceToken"], &calls[1].body["sequenceToken"]),
        (2, &Value::Null, &json!("49"))
    );
}

#[tokio::test]
async fn data_already_accepted_is_success_at_one_call() {
    let server = Server::start(|_, _| {
        Some((
            400,
            json!({"__type": "DataAlreadyAcceptedException", "message": "m", "expectedSequenceToken": "5"}),
        ))
    })
    .await;
    assert_eq!((server.deliver(&["a", "b"]).await.sent, server.operations().len()), (2, 1));
}

#[tokio::test]
async fn a_batch_refused_as_invalid_is_halved_until_the_poison_stands_alone() {
    let server = Server::start(|_, call| match call.body.to_string().contains("poison") {
        true => error(400, "InvalidParameterException"),
        false => ok(),
    })
    .await;
    let delivery = server.deliver(&["a", "poison", "b", "c"]).await;
    assert_eq!((delivery.sent, delivery.dead.len()), (3, 1));
    // All four, then a and poison, a, poison, and b with c.
    assert_eq!(server.operations().len(), 5);
}

#[tokio::test]
async fn lasting_errors_are_one_call() {
    for (status, code, class) in [
        (400, "AccessDeniedException", ErrorClass::AccessDenied),
        (403, "SomethingNew", ErrorClass::AccessDenied),
        (400, "ResourceAlreadyExistsException", ErrorClass::ResourceAlreadyExists),
        (400, "SomethingNew", ErrorClass::Other),
    ] {
        let server = Server::start(move |_, _| error(status, code)).await;
        let delivery = server.deliver(&["a"]).await;
        assert_eq!((delivery.dead.len(), server.operations().len()), (1, 1), "{code}");
        let reason = delivery.dead[0].reason.to_string();
        assert!(reason.contains(&format!("{class:?}: {code}: as configured")), "{reason}");
    }
}

#[tokio::test]
async fn group_and_stream_are_created_on_first_use() {
    let server = Server::start(|number, _| match number {
        0 | 1 => error(400, "ResourceNotFoundException"),
        2 | 3 => Some((200, json!({}))),
        _ => ok(),
    })
    .await;
    assert_eq!(server.deliver(&["a"]).await.sent, 1);
    assert_eq!(
        server.operations(),
        ["PutLogEvents", "CreateLogStream", "CreateLogGroup", "CreateLogStream", "PutLogEvents"]
    );
    let calls = server.calls.lock().unwrap().clone();
    assert_eq!(calls[2].body, json!({"logGroupName": "/g", "logGroupClass": "INFREQUENT_ACCESS"}));
}

#[tokio::test]
async fn concurrent_creation_is_harmless() {
    let server = Server::start(|number, call| match (number, call.operation.as_str()) {
        (0 | 1, _) => error(400, "ResourceNotFoundException"),
        (2, _) => error(400, "OperationAbortedException"),
        (3 | 4, "CreateLogGroup" | "CreateLogStream") => error(400, "ResourceAlreadyExistsException"),
        _ => ok(),
    })
    .await;
    assert_eq!(server.deliver(&["a"]).await.sent, 1);
    assert_eq!(server.operations()[2..], ["CreateLogGroup", "CreateLogStream", "PutLogEvents"]);
}

#[tokio::test]
async fn a_retention_is_one_call_with_days_that_the_service_knows() {
    let server = Server::start(|number, _| match number {
        0 => Some((200, json!({}))),
        1 => error(400, "ThrottlingException"),
        _ => error(400, "ResourceNotFoundException"),
    })
    .await;
    server.logs.set_retention("/g", 6).await.unwrap();
    assert_eq!(server.logs.set_retention("/g", 30).await.unwrap_err().class, FaultClass::RateLimited);
    assert_eq!(server.logs.set_retention("/g", 30).await.unwrap_err().class, FaultClass::NotFound);
    server.logs.set_retention("/g", 4_000).await.unwrap();
    assert_eq!(server.operations(), ["PutRetentionPolicy"; 3]);
    let calls = server.calls.lock().unwrap().clone();
    assert_eq!(calls[0].body, json!({"logGroupName": "/g", "retentionInDays": 7}));
}

#[tokio::test]
async fn what_still_does_not_exist_after_creating_it_is_dead() {
    let server = Server::start(|_, call| match call.operation.as_str() {
        "PutLogEvents" => error(400, "ResourceNotFoundException"),
        _ => Some((200, json!({}))),
    })
    .await;
    assert_eq!((server.deliver(&["a"]).await.dead.len(), server.operations().len()), (1, 3));
}

#[tokio::test]
async fn what_a_200_rejects_is_sent_once_more() {
    let rejected =
        json!({"rejectedLogEventsInfo": {"tooNewLogEventStartIndex": 2, "tooOldLogEventEndIndex": 1}});
    let server = Server::start(move |number, _| match number {
        0 => Some((200, rejected.clone())),
        _ => ok(),
    })
    .await;
    assert_eq!(server.deliver(&["a", "b", "c"]).await.sent, 3);
    let calls = server.calls.lock().unwrap().clone();
    let again: Vec<_> =
        calls[1].body["logEvents"].as_array().unwrap().iter().map(|event| event["message"].clone()).collect();
    let stamped = |text: &str| json!(format!("{{\"originalTimestamp\":{NOW_MS},\"message\":\"{text}\"}}"));
    assert_eq!((calls.len(), again), (2, vec![stamped("a"), stamped("c")]));
}
