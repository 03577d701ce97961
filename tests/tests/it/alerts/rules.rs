//! Rules come and go with their apps, and do not touch each other.

use std::collections::BTreeMap;

use logferry_core::model::alert::{AlertRule, Notify, SigningKey};
use logferry_core::model::app::App;
use logferry_core::model::level::Level;
use logferry_core::ports::alerts::Delivery;
use logferry_health_checks::guard::{Policy, Ports};
use logferry_service::webhook_signature::signed;
use logferry_tests::stream::EPOCH_MS;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::world::{NOW_MS, World, rule};

fn filter(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn only_records_that_match_every_filter_count() {
    let filter = filter(&[
        ("level", "ERROR,WARN"),
        ("search", "TimeOut"),
        ("context.shop.id", "7"),
        ("field.res.statusCode", ">=500"),
    ]);
    let world = World::with(vec![AlertRule { filter, threshold: 2, ..rule() }]);
    let entry = |level, message: &str, id: u32| {
        let raw =
            json!({"msg": message, "context": {"shop": {"id": id}}, "res": {"statusCode": 503}}).to_string();
        (NOW_MS, level, raw)
    };
    let near_misses = [
        entry(Level::Info, "a timeout", 7),
        entry(Level::Error, "a failure", 7),
        entry(Level::Error, "a timeout", 8),
        entry(Level::Error, "a timeout", 7),
    ];
    world.deliver(&[world.block(&near_misses)]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), [""; 0]);
    world.deliver(&[world.block(&[entry(Level::Warn, "TIMEOUT of 7", 7)])]).await;
    world.pass(1).await;
    assert_eq!(world.received()[0]["samples"][0]["message"], "TIMEOUT of 7");
}

#[tokio::test(start_paused = true)]
async fn rules_of_one_app_fire_by_themselves() {
    let other = AlertRule { name: "any".parse().unwrap(), filter: BTreeMap::new(), threshold: 1, ..rule() };
    let never = AlertRule { name: "never".parse().unwrap(), threshold: 1_000, ..rule() };
    let world = World::with(vec![rule(), never, other]);
    world.deliver(&[world.errors_now(2)]).await;
    world.pass(1).await;
    let fired = world.received();
    assert_eq!(fired.iter().map(|json| json["alert"].as_str().unwrap()).collect::<Vec<_>>(), ["any"]);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_rule_or_app_notifies_of_nothing() {
    for delete_app in [false, true] {
        let world = World::new();
        let key = world.key();
        world.deliver(&[world.errors_now(3)]).await;
        let app = world.cloud.apps_now().remove(0);
        // The app's id is used by another registration, which has the same rule.
        let registered_ms = if delete_app { NOW_MS } else { EPOCH_MS };
        let alerts = if delete_app { app.alerts.clone() } else { Vec::new() };
        world.cloud.set_app(App { registered_ms, alerts, ..app });
        world.pass(20).await;
        assert_eq!(world.notified(), [""; 0]);
        assert_eq!(world.cloud.alert_events(&key).len(), 1, "it is not even resolved");
        // Records of the former app do not count for the present one.
        world.deliver(&[world.errors_now(3)]).await;
        world.pass(1).await;
        assert_eq!(world.notified(), [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_is_created_again_starts_from_nothing() {
    let world = World::new();
    world.deliver(&[world.errors_now(2)]).await;
    let app = world.cloud.apps_now().remove(0);
    let alerts = vec![AlertRule { created_ms: NOW_MS + 1, ..rule() }];
    world.cloud.set_app(App { alerts, ..app });
    world.deliver(&[world.errors_now(1)]).await;
    world.pass(1).await;
    assert_eq!(world.notified(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_webhook_into_a_private_network_is_not_called() {
    for url in ["http://127.0.0.1/", "http://169.254.169.254/latest/meta-data", "http://[::ffff:10.0.0.1]/"] {
        let world = World::with(vec![AlertRule { notify: Notify::Webhook(url.to_owned()), ..rule() }]);
        world.deliver(&[world.errors_now(3)]).await;
        world.send().await.unwrap().unwrap();
        let delivery = world.events().remove(0).delivery;
        let Delivery::Failed { error } = delivery else { panic!("{delivery:?}") };
        assert!(error.contains("not public"), "{error}");
    }
}

/// Accepts one request; returns its headers and its body.
pub(crate) async fn one_request(listener: &TcpListener) -> (BTreeMap<String, String>, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let (mut headers, mut reader, mut line) = (BTreeMap::new(), BufReader::new(&mut stream), String::new());
    while reader.read_line(&mut line).await.unwrap() > 2 {
        if let Some((name, value)) = line.trim_end().split_once(": ") {
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        line.clear();
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    reader.read_exact(&mut body).await.unwrap();
    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    (headers, String::from_utf8(body).unwrap())
}

#[tokio::test]
async fn a_webhook_gets_a_signature_over_its_id_the_time_and_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let key = SigningKey::of([7; 32]);
    for signing_key in [Some(key.clone()), None] {
        let rule =
            AlertRule { notify: Notify::Webhook(url.clone()), signing_key: signing_key.clone(), ..rule() };
        let world = World::with(vec![rule]);
        world.deliver(&[world.errors_now(3)]).await;
        let mut sender = world.sender();
        sender.prober.policy = Policy { allow_private: true, ports: Ports::Any };
        let run = sender.run(std::time::Duration::from_secs(60));
        let (sent, (headers, body)) = tokio::join!(run, one_request(&listener));
        assert_eq!(sent.unwrap().sent, 1);
        let id = serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned();
        let found: Vec<_> = headers.into_iter().filter(|(name, _)| name.starts_with("webhook-")).collect();
        let mut expected =
            signing_key.map(|key| signed(&key, &id, &body, world.now_ms()).unwrap()).unwrap_or_default();
        expected.sort();
        assert_eq!(found, expected);
    }
}
