//! What the adapters really send, seen by a server on loopback: the conditions of writes.
#![cfg(all(feature = "dynamodb", feature = "s3"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use logferry_aws::apps::DynamoApps;
use logferry_aws::client::AwsEnv;
use logferry_aws::ledger::DynamoLedger;
use logferry_aws::objects::S3Objects;
use logferry_aws::sessions::DynamoSessions;
use logferry_core::ledger::checkpoint::Checkpoint;
use logferry_core::ledger::claim::{EndedBy, Lease, Ledger};
use logferry_core::logfile::outcome::Outcome;
use logferry_core::logfile::quarantine::{BadRecord, QuarantineReason, Quarantined};
use logferry_core::model::day_counts::DayCounts;
use logferry_core::model::expiry::Expiring;
use logferry_core::model::level::LevelCounts;
use logferry_core::model::object::{ObjectRef, ObjectVersion};
use logferry_core::model::time::Day;
use logferry_core::ports::app_admin::AppAdmin;
use logferry_core::ports::apps::Apps;
use logferry_core::ports::objects::ObjectStore;
use logferry_core::uploads::table::Sessions;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, Clone, Default)]
struct Seen {
    /// By lower-case name.
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Seen {
    fn operation(&self) -> &str {
        let target = self.headers.get("x-amz-target").map_or("", String::as_str);
        target.rsplit('.').next().unwrap_or_default()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = Seen::default();
        let mut line = String::new();
        while stream.read_line(&mut line).await.is_ok_and(|read| read > 2) {
            if let Some((name, value)) = line.split_once(": ") {
                request.headers.insert(name.to_lowercase(), value.trim().to_owned());
            }
            line.clear();
        }
        if request.headers.is_empty() {
            return;
        }
        let length = request.headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.unwrap();
        request.body = serde_json::from_slice(&body).unwrap_or_default();
        let is_s3 = !request.headers.contains_key("x-amz-target");
        seen.lock().unwrap().push(request);
        let answer = if is_s3 {
            "HTTP/1.1 200 OK\r\netag: \"e\"\r\nlast-modified: Thu, 09 Oct 2025 08:53:20 GMT\r\ncontent-length: 1\r\n\r\nx"
        } else {
            "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: 2\r\n\r\n{}"
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

async fn server() -> (AwsEnv, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let calls = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, calls.clone()));
        }
    });
    let env = AwsEnv::from_lookup(|name| match name {
        "AWS_REGION" => Some("eu-west-1".into()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".into()),
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        _ => None,
    });
    (env.unwrap(), seen)
}

fn object(version: ObjectVersion) -> ObjectRef {
    ObjectRef { bucket: "bucket".to_owned(), key: "logs/my-app/x".to_owned(), version }
}

fn lease() -> Lease {
    let app_id = Some("my-app".parse().unwrap());
    Lease {
        object: object(ObjectVersion::Id("v".to_owned())),
        app_id,
        registered_ms: 1,
        pruned_before_ms: Some(5),
        fence: 7,
        claimed_ms: 5_000,
        checkpoint: Checkpoint::default(),
    }
}

/// The action's table and condition.
fn action(item: &Value) -> (String, String) {
    let action = item.as_object().unwrap().values().next().unwrap();
    let text = |name: &str| action[name].as_str().unwrap_or_default().to_owned();
    (text("TableName"), text("ConditionExpression"))
}

#[tokio::test]
async fn an_end_and_its_counters_are_written_under_the_fence_in_one_transaction() {
    let (aws, seen) = server().await;
    let ledger = DynamoLedger::new(aws.dynamodb(), "files", "stats");
    let day = DayCounts { levels: LevelCounts::new(0, 3, 0, 0), bytes: 9 };
    let days = (0..120).map(|n| (Day(20_000 + n), Expiring::one(Day(20_200), day))).collect();
    let outcome = Outcome { days, ..Outcome::default() };
    ledger.finish(&lease(), &outcome, 5).await.unwrap();
    let seen = seen.lock().unwrap();
    let writes: Vec<_> = seen.iter().filter(|call| call.operation() != "Query").collect();
    assert_eq!(writes.len(), 3);
    for (number, call) in writes.iter().enumerate() {
        assert_eq!(call.operation(), "TransactWriteItems");
        let items = call.body["TransactItems"].as_array().unwrap();
        assert!(items.len() <= 100);
        let (table, condition) = action(&items[0]);
        assert_eq!(
            (table.as_str(), condition.as_str()),
            ("files", "fence = :fence AND #status = :processing")
        );
        assert_eq!(number == 2, items[0].get("Update").is_some(), "the last one ends the file");
        let counters = items.iter().filter(|item| action(item).0 == "stats").count();
        assert!(items.iter().filter(|item| action(item).0 == "stats").all(|item| {
            action(item).1.ends_with("(attribute_not_exists(pruned_to) OR pruned_to <= :first)")
        }));
        let day_rows = items[1..].iter().filter(|item| action(item).0 == "files").count();
        assert_eq!(counters, day_rows);
        assert!(counters > 0);
    }
}

#[tokio::test]
async fn a_release_is_written_under_the_fence() {
    let (aws, seen) = server().await;
    let ledger = DynamoLedger::new(aws.dynamodb(), "files", "stats");
    ledger.release(&lease(), Checkpoint::default(), EndedBy::Itself, 1, 1).await.unwrap();
    let seen = seen.lock().unwrap();
    let condition = seen[0].body["ConditionExpression"].as_str().unwrap();
    assert!(condition.contains("fence = :fence"), "{condition}");
}

#[tokio::test]
async fn bad_records_hang_under_their_file_and_are_kept_as_long() {
    let (aws, seen) = server().await;
    let ledger = DynamoLedger::new(aws.dynamodb(), "files", "stats");
    let reason = QuarantineReason::BrokenJson;
    let row = Quarantined::single(BadRecord { ordinal: 3, reason, start: 1, end: 2 }, "{");
    ledger.quarantine(&lease(), &[row]).await.unwrap();
    let seen = seen.lock().unwrap();
    let item = &seen[0].body["RequestItems"]["files"][0]["PutRequest"]["Item"];
    assert_eq!(
        (&item["pk"]["S"], &item["sk"]["S"]),
        (&json!("bucket/logs/my-app/x"), &json!("v#v#q#000000000003"))
    );
    assert_eq!(item["expires_at"]["N"], (5 + 97 * 86_400).to_string());
}

#[tokio::test]
async fn an_object_without_versions_is_read_only_if_it_is_still_the_same() {
    let (aws, seen) = server().await;
    let objects = S3Objects::new(aws.s3());
    let _opened = objects.open(&object(ObjectVersion::ETag("abc".to_owned()))).await.unwrap();
    assert_eq!(seen.lock().unwrap()[0].headers.get("if-match").map(String::as_str), Some("\"abc\""));
}

#[tokio::test]
async fn a_key_id_that_is_unknown_is_looked_up_once_until_its_key_is_wanted_as_it_is_now() {
    let (aws, seen) = server().await;
    let apps = DynamoApps::new(aws.dynamodb(), "apps");
    for key_id in ["a", "b", "a", "a", "b"] {
        assert_eq!(apps.find_key(key_id).await.unwrap(), None);
    }
    assert_eq!(seen.lock().unwrap().len(), 2);
    for reads in 3..5 {
        assert_eq!(apps.find_key_now("a").await.unwrap(), None);
        assert_eq!(seen.lock().unwrap().len(), reads);
    }
}

#[tokio::test]
async fn a_page_of_a_subjects_sessions_reads_no_others() {
    let (aws, seen) = server().await;
    let sessions = DynamoSessions::new(aws.dynamodb(), "uploads");
    let (app, jo) = ("my-app".parse().unwrap(), "jo".parse().unwrap());
    sessions.list(&app, Some(&jo), 20, Some("upload-7")).await.unwrap();
    let seen = seen.lock().unwrap();
    let [query] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((&query.body["IndexName"], &query.body["Limit"]), (&json!("by_subject"), &json!(21)));
    assert_eq!(query.body.get("FilterExpression"), None, "what a filter drops was read");
    assert_eq!(query.body["ExpressionAttributeValues"][":partition"], json!({"S": "my-app#jo"}));
    assert_eq!(
        query.body["ExclusiveStartKey"],
        json!({"pk": {"S": "my-app"}, "sk": {"S": "s#upload-7"}, "subject_key": {"S": "my-app#jo"}})
    );
}
