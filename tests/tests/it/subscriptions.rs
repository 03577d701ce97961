//! Deliveries of CloudWatch Logs to ingest: stored once, whatever fails around them.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::model::level::{Level, LevelCounts};
use logferry_core::model::quota::Quota;
use logferry_core::model::redact::Redactor;
use logferry_ingest::log_groups::LogGroups;
use logferry_ingest::subscription::{Delivered, Subscriptions, data_of};
use logferry_sim::{How, SimClock, SimCloud, T0};
use logferry_tests::ingest::ingest;
use logferry_tests::stack::gzip;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::ingest::cloud;

/// Time that Lambda gives an invocation, and the attempts that it makes.
const INVOCATION: Duration = Duration::from_secs(900);
const ATTEMPTS: usize = 3;

type Sim = Subscriptions<SimCloud, SimCloud, SimClock>;

fn function(cloud: &SimCloud) -> Sim {
    let groups = "/aws/lambda/shop-*=my-app,/aws/lambda/gone=no-app";
    Subscriptions {
        records: cloud.clone(),
        apps: cloud.clone(),
        clock: cloud.clock(),
        groups: LogGroups::new(groups, "/aws/lambda/own-ingest", "/own").unwrap(),
        settings: ingest(cloud, cloud.clock(), Default::default()).settings,
    }
}

fn events(range: std::ops::Range<i64>) -> Vec<Value> {
    let event = |i| json!({"id": format!("{i:056}"), "timestamp": T0 - i, "message": format!("event {i}\n")});
    range.map(event).collect()
}

fn payload(group: &str, events: &[Value]) -> Value {
    json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": group, "logStream": "s",
        "subscriptionFilters": ["f"], "logEvents": events})
}

fn packed(payload: &str) -> Value {
    json!({"data": BASE64_STANDARD.encode(gzip(payload.as_bytes()))})
}

fn delivery(events: &[Value]) -> Value {
    packed(&payload("/aws/lambda/shop-api", events).to_string())
}

/// The numbers of the stored events, each as often as it is stored; the counters equal them.
#[track_caller]
fn stored(cloud: &SimCloud) -> Vec<i64> {
    let app_id = "my-app".parse().unwrap();
    let number = |raw: String| raw.rsplit(' ').next().unwrap().parse().unwrap();
    let mut stored: Vec<i64> = cloud.records(&app_id).into_iter().map(|(.., raw)| number(raw)).collect();
    let counted: i64 = cloud.counted_days(&app_id, T0 - 1000).values().sum();
    assert_eq!(counted, i64::try_from(stored.len()).unwrap());
    stored.sort_unstable();
    stored
}

/// Delivers as Lambda does: again after an error, and after the process has died.
async fn deliver(cloud: &SimCloud, data: &Value) -> Option<Delivered> {
    for _ in 0..ATTEMPTS {
        let function = function(cloud);
        if let Ok(Ok(delivered)) = tokio::time::timeout(INVOCATION, function.deliver(data)).await {
            return Some(delivered);
        }
    }
    None
}

#[tokio::test]
async fn the_sample_event_becomes_records_with_level_time_group_and_stream() {
    let cloud = cloud();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/ingest/cloudwatch-logs.json");
    let event: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let delivered = function(&cloud).deliver(data_of(&event).unwrap()).await.unwrap();
    assert_eq!(delivered, Delivered { stored: 3, refused: 0 });
    let blocks = cloud.stream();
    let mut levels = LevelCounts::default();
    [Level::Info, Level::Warn, Level::Error].into_iter().for_each(|level| levels.count(level));
    assert_eq!(blocks[0].header.levels, levels);
    assert_eq!((blocks[0].header.first_ms, blocks[0].header.last_ms), (T0 - 1000, T0 - 800));
    let records = cloud.records(&"my-app".parse().unwrap());
    let context = r#"{"owner":"123456789012","logGroup":"/aws/lambda/shop-api","logStream":"2024/01/01/[$LATEST]d9a1"}"#;
    let declined = format!("{context}\n{}", r#"{"level":"error","msg":"card declined","order":7}"#);
    assert!(records.iter().any(|(.., raw)| *raw == declined), "{records:?}");
}

#[tokio::test]
async fn a_delivery_is_stored_once_however_often_and_concurrently_it_comes() {
    let cloud = cloud();
    let (first, second) = (delivery(&events(0..100)), delivery(&events(100..150)));
    let function = function(&cloud);
    let all =
        futures::future::join_all((0..5).flat_map(|_| [&first, &second]).map(|data| function.deliver(data)));
    for delivered in all.await {
        assert!(delivered.is_ok(), "{delivered:?}");
    }
    deliver(&cloud, &first).await.unwrap();
    assert_eq!(stored(&cloud), (0..150).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_that_differ_only_in_their_ids_are_all_stored() {
    let cloud = cloud();
    let beat = |id: &str| json!({"id": id, "timestamp": T0, "message": "beat 1"});
    for events in [[beat("a"), beat("b")], [beat("c"), beat("d")], [beat("e"), beat("e")]] {
        deliver(&cloud, &delivery(&events)).await.unwrap();
    }
    assert_eq!(stored(&cloud), [1; 5], "an id that comes twice in a delivery is one event");
}

#[tokio::test(start_paused = true)]
async fn whichever_call_fails_or_kills_the_function_every_event_is_stored_once() {
    let calls = {
        let cloud = cloud();
        deliver(&cloud, &delivery(&events(0..12_000))).await.unwrap();
        cloud.calls()
    };
    // Two parts, each with a memo, a charge and a transaction.
    assert!(calls >= 7, "{calls} calls");
    for how in [
        How::Before(FaultClass::Transient),
        How::ReplyLost(FaultClass::Timeout),
        How::Hang,
        How::HangAfter,
        How::Stall(Duration::from_secs(3600)),
    ] {
        for call in 0..calls {
            let cloud = cloud();
            cloud.fail_call(call, how);
            let data = delivery(&events(0..12_000));
            assert!(deliver(&cloud, &data).await.is_some(), "call {call} {how:?}");
            // The rest of what a dead process had asked for.
            tokio::time::sleep(Duration::from_secs(7200)).await;
            assert_eq!(cloud.faults_hit(), 1, "call {call} {how:?}");
            assert_eq!(stored(&cloud), (0..12_000).collect::<Vec<_>>(), "call {call} {how:?}");
        }
    }
}

#[tokio::test]
async fn a_prune_between_two_deliveries_stores_nothing_again() {
    let cloud = cloud();
    let data = delivery(&events(0..10));
    deliver(&cloud, &data).await.unwrap();
    let mut app = cloud.apps_now().remove(0);
    app.pruned_before_ms = Some(T0 - 5);
    cloud.set_app(app);
    assert_eq!(deliver(&cloud, &data).await, Some(Delivered { stored: 6, refused: 4 }));
    assert_eq!(stored(&cloud), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn secrets_are_redacted_and_the_quota_holds() {
    let cloud = cloud();
    let mut function = function(&cloud);
    function.settings.redactor = std::sync::Arc::new(Redactor::standard().unwrap().into());
    let event = json!({"id": "1", "timestamp": T0, "message": "{\"password\":\"SECRET\"} 1"});
    function.deliver(&delivery(&[event])).await.unwrap();
    assert!(!format!("{:?}", cloud.records(&"my-app".parse().unwrap())).contains("SECRET"));
    function.settings.quota = Quota::of(0, 5, 0);
    let error = function.deliver(&delivery(&events(2..10))).await.unwrap_err();
    assert!(!error.retryable());
    assert_eq!(stored(&cloud), [1]);
}

#[tokio::test]
async fn a_group_without_an_app_is_an_error_and_one_that_ingest_writes_to_is_left_alone() {
    let cloud = cloud();
    let of = |group: &str| packed(&payload(group, &events(0..2)).to_string());
    for group in ["/aws/lambda/other", "/aws/lambda/gone"] {
        let error = function(&cloud).deliver(&of(group)).await.unwrap_err();
        assert!(!error.retryable() && error.code.contains(group), "{error}");
    }
    for group in ["/aws/lambda/own-ingest", "/own/my-app"] {
        // An error would be retried, and each attempt is an event of the group.
        let delivered = function(&cloud).deliver(&of(group)).await.unwrap();
        assert_eq!(delivered, Delivered { stored: 0, refused: 2 }, "{group}");
    }
    let control = packed(&payload("", &events(0..1)).to_string().replace("DATA_MESSAGE", "CONTROL_MESSAGE"));
    assert_eq!(function(&cloud).deliver(&control).await.unwrap(), Delivered::default());
    assert_eq!(stored(&cloud), [0; 0]);
}

#[tokio::test]
async fn damaged_and_hostile_events_are_permanent_errors_and_never_panics() {
    let cloud = cloud();
    let function = function(&cloud);
    let permanent = |result: Result<Delivered, Fault>| result.is_err_and(|error| !error.retryable());
    let bomb = packed(&"0".repeat(65 * 1024 * 1024));
    let many = packed(
        &payload("/aws/lambda/shop-api", &vec![json!({"id": "", "timestamp": 1, "message": ""}); 100_001])
            .to_string(),
    );
    for bad in [
        json!(null),
        json!({}),
        json!({"data": 1}),
        json!({"data": "***"}),
        json!({"data": "eA=="}),
        packed("x"),
        packed("[]"),
        packed("{}"),
        packed(&payload("/aws/lambda/shop-api", &[json!(1)]).to_string()),
        packed(
            &payload("/aws/lambda/shop-api", &[json!({"id": "1", "timestamp": -1, "message": ""})])
                .to_string(),
        ),
        bomb,
        many,
    ] {
        assert!(permanent(function.deliver(&bad).await), "{}", bad.to_string().len());
    }
    let good = payload("/aws/lambda/shop-api", &events(0..3)).to_string();
    let mut rng = SmallRng::seed_from_u64(17);
    for _ in 0..2_000 {
        let mut text = good.clone().into_bytes();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..text.len());
            text[at] = rng.random();
        }
        let data = json!({"data": BASE64_STANDARD.encode(gzip(&text))});
        // Stored if it still is a delivery.
        let result = function.deliver(&data).await;
        assert!(result.is_ok() || permanent(result), "{}", String::from_utf8_lossy(&text));
    }
}
