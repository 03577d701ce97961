//! Health monitoring: from a registered URL to its history, and to the notification.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use logferry_aws::checks::DynamoChecks;
use logferry_aws::notifier::SnsNotifier;
use logferry_health_checks::notifier::{Notification, Notifier as _};
use logferry_health_checks::testing::keeps_its_promises;
use logferry_tests::stack::{Stack, TestApp, encode, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Five minutes, the schedule's default.
const SLOT_SECS: i64 = 300;

static NEXT_HOUR_SECS: LazyLock<i64> = LazyLock::new(|| {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    (now / 3600 + 1) * 3600
});

#[tokio::test]
async fn the_checks_table_in_dynamodb_keeps_the_promises_of_its_port() {
    let Some(stack) = Stack::running() else { return };
    let table = DynamoChecks::new(stack.aws.dynamodb(), stack.value("TABLE_CHECKS"));
    let app_id = format!("checks-{}", ulid::Ulid::generate()).to_lowercase();
    keeps_its_promises(&table, &app_id.parse().unwrap()).await;
}

#[tokio::test]
async fn a_notification_reaches_the_topics_subscribers() {
    let Some(stack) = Stack::running() else { return };
    let inbox = Inbox::subscribed(&stack).await;
    let app_id = ulid::Ulid::generate().to_string();
    let notification = Notification {
        subject: "DOWN: Shop (shop)".to_owned(),
        text: "Shop is down.\n".to_owned(),
        json: json!({"app_id": app_id, "to": "down"}).to_string(),
        attributes: vec![("app_id", app_id.clone()), ("state", "down".to_owned())],
    };
    let notifier = SnsNotifier::new(stack.aws.sns(), stack.value("HEALTH_TOPIC_ARN"));
    notifier.publish(&notification).await.unwrap();
    let messages = until("the message", async || inbox.about(&app_id).await.pop()).await;
    assert_eq!(messages["to"], "down");
}

/// One test, because a run of the function covers all apps.
#[tokio::test]
async fn a_slot_fired_three_times_is_one_row_and_a_change_of_state_one_message() {
    let Some(stack) = Stack::running() else { return };
    let inbox = Inbox::subscribed(&stack).await;
    let (address, up) = switched_server().await;
    let url = |path: usize| format!("http://{address}/{path}");
    let check = json!({"name": "Shop", "url": url(0), "conditions": ["[STATUS] == 200"]});
    let app = app_with_checks(&stack, "health", json!([check, url(1), url(2), url(3)])).await;
    let results = "++-+--++";
    for (slot, result) in (0..).zip(results.chars()) {
        up.store(result == '+', Ordering::SeqCst);
        for _ in 0..3 {
            fire(&stack, slot).await;
        }
    }

    let rows = history(&stack, &app).await;
    for path in 0..4 {
        let rows = rows.iter().rev().filter(|row| row["url"] == url(path));
        let found: String = rows.map(|row| if row["ok"] == true { '+' } else { '-' }).collect();
        assert_eq!(found, results, "{path}");
    }

    // down and up of four checks, notified once each
    let messages = until("all messages", async || {
        let messages = inbox.about(&app.app_id).await;
        (messages.len() >= 8).then_some(messages)
    })
    .await;
    let shop: Vec<_> = messages.iter().filter(|message| message["name"] == "Shop").collect();
    assert_eq!((messages.len(), shop.len()), (8, 2));
    assert_eq!((&shop[0]["to"], &shop[1]["to"]), (&json!("down"), &json!("up")));
    assert_eq!(shop[0]["failed_conditions"], json!(["[STATUS] (500) == 200"]));

    let path = format!("/health/{}", app.app_id);
    let overview = stack.app(&app, "GET", &format!("{path}/uptime?url=Shop"), None).await.data();
    assert_eq!(overview[0]["state"], "up", "{overview}");
    // A badge needs a key until the app makes it public.
    let badge = format!("{path}/badges/health.json?url=Shop");
    assert_eq!(stack.call("GET", &format!("{badge}&window=1h"), &[], None).await.status, 404);
    let urls = json!({"urls": [check], "public_badges": true});
    let _ = stack.app(&app, "POST", &format!("/apps/{}/health-urls", app.app_id), Some(&urls)).await.data();
    let badge = stack.call("GET", &badge, &[], None).await.json();
    assert_eq!((badge["label"].as_str(), badge["message"].as_str()), (Some("health"), Some("up")));
    let _ = stack.app(&app, "DELETE", &format!("/apps/{}", app.app_id), None).await.data();
}

#[tokio::test]
async fn a_job_reports_itself_and_is_in_its_history() {
    let Some(stack) = Stack::running() else { return };
    let app = app_with_checks(&stack, "job", json!([{"name": "backup", "heartbeat": "26h"}])).await;
    let path = format!("/health/{}", app.app_id);
    let report = json!({"ok": false, "error": "disk full", "duration_ms": 1200});
    let _ = stack.app(&app, "POST", &format!("{path}/backup/push"), Some(&report)).await.data();
    let _ = stack.app(&app, "POST", &format!("{path}/backup/push"), None).await.data();
    assert_eq!(stack.app(&app, "POST", &format!("{path}/other/push"), None).await.status, 404);
    let rows = history(&stack, &app).await;
    let found: Vec<_> = rows.iter().map(|row| (&row["ok"], &row["error"])).collect();
    assert_eq!(found, [(&json!(true), &Value::Null), (&json!(false), &json!("disk full"))]);
    for other in ["reports", "state"] {
        let rows = stack.app(&app, "GET", &format!("{path}?url={other}"), None).await.data();
        assert_eq!(rows, json!([]), "{other}");
    }
    let badge = format!("{path}/badges/uptime.json?window=1h");
    let badge = stack.app(&app, "GET", &badge, None).await.json();
    assert_eq!((badge["label"].as_str(), badge["message"].as_str()), (Some("uptime 1h"), Some("50%")));
}

#[tokio::test]
async fn a_check_that_cannot_be_is_refused_with_its_field_and_reason() {
    let Some(stack) = Stack::running() else { return };
    let app = stack.new_app("refused").await;
    let path = format!("/apps/{}/health-urls", app.app_id);
    let condition = json!({"url": "https://example.com/", "conditions": ["[STATUS]==200"]});
    let checks = json!({"urls": ["http://169.254.169.254/", condition]});
    let answer = stack.app(&app, "POST", &path, Some(&checks)).await;
    assert_eq!(answer.refusal(), (400, "BAD_REQUEST".to_owned()));
    assert!(answer.text.contains("urls[0]") && answer.text.contains("169.254.169.254"), "{}", answer.text);
    assert!(answer.text.contains("urls[1].conditions[0]"), "{}", answer.text);
}

async fn app_with_checks(stack: &Stack, name: &str, urls: Value) -> TestApp {
    let app = stack.new_app(name).await;
    let path = format!("/apps/{}/health-urls", app.app_id);
    let answer = stack.app(&app, "POST", &path, Some(&json!({"urls": urls}))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    app
}

/// Fires the schedule for the nth slot, starting an hour in the future. The real schedule fires for earlier
/// slots, which then change nothing.
async fn fire(stack: &Stack, slot: i64) {
    let start = *NEXT_HOUR_SECS + slot * SLOT_SECS;
    let time = logferry_core::model::time::rfc3339_ms(start * 1000);
    let event = json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "000000000000", "time": time, "region": "us-east-1",
        "resources": [], "detail": {},
    });
    stack.invoke("FN_HEALTH", &event).await;
}

async fn history(stack: &Stack, app: &TestApp) -> Vec<Value> {
    let data = stack.app(app, "GET", &format!("/health/{}?limit=1000", app.app_id), None).await.data();
    data.as_array().cloned().unwrap_or_default()
}

/// Answers 200 or 500, as the switch is set, while the test runs.
async fn switched_server() -> (std::net::SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let up = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&up);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let line = if switch.load(Ordering::SeqCst) { "200 OK" } else { "500 Internal Server Error" };
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let answer = format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    (address, up)
}

/// A queue that is subscribed to the health topic.
pub(super) struct Inbox {
    http: reqwest::Client,
    endpoint: String,
    queue_url: String,
    seen: std::sync::Mutex<Vec<Value>>,
}

impl Inbox {
    pub(super) async fn subscribed(stack: &Stack) -> Inbox {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let name = format!("inbox-{}", ulid::Ulid::generate());
        let endpoint = stack.value("AWS_ENDPOINT_URL").to_owned();
        let arn = format!("arn:aws:sqs:us-east-1:000000000000:{name}");
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        }]})
        .to_string();
        let create = [
            ("Action", "CreateQueue"),
            ("QueueName", &name),
            ("Attribute.1.Name", "Policy"),
            ("Attribute.1.Value", &policy),
        ];
        let created = sqs(&http, &endpoint, &create).await;
        let queue_url = between(&created, "<QueueUrl>", "</QueueUrl>").expect(&created);
        let subscribe = stack
            .aws
            .sns()
            .subscribe()
            .topic_arn(stack.value("HEALTH_TOPIC_ARN"))
            .protocol("sqs")
            .endpoint(arn)
            .attributes("RawMessageDelivery", "true");
        subscribe.send().await.unwrap();
        Inbox { http, endpoint, queue_url, seen: std::sync::Mutex::default() }
    }

    /// Returns the messages about an app so far, in order of their changes.
    pub(super) async fn about(&self, app_id: &str) -> Vec<Value> {
        let request = [
            ("Action", "ReceiveMessage"),
            ("MaxNumberOfMessages", "10"),
            ("VisibilityTimeout", "600"),
            ("QueueUrl", self.queue_url.as_str()),
        ];
        let received = sqs(&self.http, &self.endpoint, &request).await;
        let mut seen = self.seen.lock().unwrap();
        for part in received.split("<Body>").skip(1) {
            let body = part.split("</Body>").next().unwrap_or_default();
            let body = [("&quot;", "\""), ("&gt;", ">"), ("&lt;", "<"), ("&amp;", "&")]
                .iter()
                .fold(body.to_owned(), |text, (entity, plain)| text.replace(entity, plain));
            seen.push(serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")));
        }
        seen.sort_by_key(|message| message["at"].as_str().map(str::to_owned));
        seen.iter().filter(|message| message["app_id"] == app_id).cloned().collect()
    }
}

/// Calls the SQS query API. The emulator only reads the key from the header.
async fn sqs(http: &reqwest::Client, url: &str, form: &[(&str, &str)]) -> String {
    let scope = "Credential=test/20260101/us-east-1/sqs/aws4_request";
    let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    let request = http
        .post(url)
        .header("authorization", format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=x"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("{}&Version=2012-11-05", form.join("&")));
    request.send().await.unwrap().text().await.unwrap()
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    Some(text.split_once(before)?.1.split_once(after)?.0.to_owned())
}
