//! Health monitoring: from a registered URL to its history, and to the message people get.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use logferry_aws::checks::DynamoChecks;
use logferry_aws::notifier::SnsNotifier;
use logferry_health_checks::testing::keeps_its_promises;
use logferry_ports::Notifier as _;
use logferry_ports::notifier::Notification;
use logferry_tests::stack::{Stack, TestApp, encode, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Five minutes, the schedule's default.
const SLOT_SECS: i64 = 300;

#[tokio::test]
async fn the_checks_table_in_dynamodb_keeps_the_promises_of_its_port() {
    let stack = Stack::new();
    let table = DynamoChecks::new(stack.aws.dynamodb(), stack.value("TABLE_CHECKS"));
    let app_id = format!("checks-{}", ulid::Ulid::generate()).to_lowercase();
    keeps_its_promises(&table, &app_id.parse().unwrap()).await;
}

#[tokio::test]
async fn a_notification_reaches_the_topics_subscribers() {
    let stack = Stack::new();
    let inbox = Inbox::subscribed(&stack).await;
    let app_id = ulid::Ulid::generate().to_string();
    let notification = Notification {
        subject: "DOWN: Shop (shop)".to_owned(),
        text: "Shop is down.\n".to_owned(),
        json: json!({"app_id": app_id, "to": "down"}).to_string(),
        attributes: vec![("app_id", app_id.clone()), ("state", "down".to_owned())],
    };
    let notifier = SnsNotifier::new(stack.aws.sns(), stack.value("ALERTS_TOPIC_ARN"));
    notifier.publish(&notification).await.unwrap();
    let told = until("the message", async || inbox.about(&app_id).await.pop()).await;
    assert_eq!(told["to"], "down");
}

#[tokio::test]
async fn one_slot_fired_three_times_leaves_one_row_per_url() {
    let stack = Stack::new();
    let (address, _up) = switched_server().await;
    let urls: Vec<String> = (0..10).map(|n| format!("http://{address}/{n}")).collect();
    let app = app_with_checks(&stack, "slots", json!(urls)).await;
    for _ in 0..3 {
        fire(&stack, 0).await;
    }
    let rows = history(&stack, &app).await;
    assert_eq!(rows.len(), 10, "{rows:?}");
    let good = |row: &Value| row["ok"] == true && row["status"] == 200 && row["error"].is_null();
    assert!(rows.iter().all(good), "{rows:?}");
}

#[tokio::test]
async fn up_flap_down_and_recover_tell_exactly_down_and_recovered() {
    let stack = Stack::new();
    let inbox = Inbox::subscribed(&stack).await;
    let (address, up) = switched_server().await;
    let check =
        json!({"name": "Shop", "url": format!("http://{address}/"), "conditions": ["[STATUS] == 200"]});
    let app = app_with_checks(&stack, "states", json!([check])).await;
    let results = "++-+--++";
    for (slot, result) in (1..).zip(results.chars()) {
        up.store(result == '+', Ordering::SeqCst);
        fire(&stack, slot).await;
    }
    let told = until("both messages", async || {
        let told = inbox.about(&app.app_id).await;
        (told.len() >= 2).then_some(told)
    })
    .await;
    let states: Vec<_> = told.iter().map(|message| message["to"].as_str().unwrap_or_default()).collect();
    assert_eq!(states, ["down", "up"]);
    assert_eq!(told[0]["failed_conditions"], json!(["[STATUS] (500) == 200"]));

    let rows = history(&stack, &app).await;
    let found: String = rows.iter().rev().map(|row| if row["ok"] == true { '+' } else { '-' }).collect();
    assert_eq!(found, results);
    let overview = stack.app(&app, "GET", &format!("/health/{}/uptime", app.app_id), None).await.data();
    assert_eq!(overview[0]["state"], "up", "{overview}");
    let badge = format!("/health/{}/badges/uptime.json?url=Shop&window=24h", app.app_id);
    let badge = stack.app(&app, "GET", &badge, None).await.json();
    assert_eq!((badge["label"].as_str(), badge["message"].as_str()), (Some("uptime 24h"), Some("62.5%")));
}

#[tokio::test]
async fn a_check_that_cannot_be_is_refused_with_its_field_and_reason() {
    let stack = Stack::new();
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

/// Fires the schedule for the nth slot since an hour ago; the real one may fire for now's.
async fn fire(stack: &Stack, slot: i64) {
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let start = (now / 3600) * 3600 - 3600 + slot * SLOT_SECS;
    let time = logferry_domain::time::rfc3339_ms(start * 1000);
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

/// Answers 200 or 500 as the switch says, for as long as the test runs.
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

/// A queue that is subscribed to the alerts topic.
struct Inbox {
    http: reqwest::Client,
    endpoint: String,
    queue_url: String,
    seen: std::sync::Mutex<Vec<Value>>,
}

impl Inbox {
    async fn subscribed(stack: &Stack) -> Inbox {
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
            .topic_arn(stack.value("ALERTS_TOPIC_ARN"))
            .protocol("sqs")
            .endpoint(arn)
            .attributes("RawMessageDelivery", "true");
        subscribe.send().await.unwrap();
        Inbox { http, endpoint, queue_url, seen: std::sync::Mutex::default() }
    }

    /// The messages about an app so far, in the order of what they tell.
    async fn about(&self, app_id: &str) -> Vec<Value> {
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

/// A call of the SQS query API. The emulator reads the key from the header and no more.
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
