//! FAILED files are found and redriven, by their app and by the operator for all apps, in bounded steps.

use std::time::Duration;

use logferry_core::ledger::row::FileStatus;
use logferry_core::logbook::redrive;
use logferry_core::logbook::redrive::Redriven;
use logferry_core::logfile::outcome::ReasonCode;
use logferry_core::logfile::read::IntakeLimits;
use logferry_core::model::fault::FaultClass;
use logferry_core::ports::app_admin::RedriveJob;
use logferry_core::ports::clock::Clock;
use logferry_sim::{How, SimCloud};
use logferry_tests::api::Api;
use logferry_tests::in_a_minute;
use logferry_tests::ingest::{BUCKET, event, ingest};
use serde_json::{Value, json};
use tokio::time::Instant;

const NONE: Value = Value::Null;

/// Stores a file with this key that ends FAILED: half a gzip stream.
async fn fails(cloud: &SimCloud, key: &str) {
    let whole = logferry_tests::stack::gzip(b"{\"msg\":\"x\"}\n");
    let object = cloud.put_object(BUCKET, key, whole[..whole.len() / 2].to_vec());
    let app = ingest(cloud, cloud.clock(), IntakeLimits::default());
    app.handle(&event(&object), cloud.clock().now_ms() + 60_000).await.unwrap();
}

fn failed(cloud: &SimCloud) -> usize {
    cloud.rows().iter().filter(|row| row.status == FileStatus::Failed).count()
}

/// Returns the keys of all pages of a list.
async fn listed(api: &Api, key: Option<&str>, path: &str) -> Vec<String> {
    let (mut keys, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = format!("{path}{cursor}");
        let answer = match key {
            Some(key) => api.app(key, "GET", &page, &NONE).await,
            None => api.admin("GET", &page, &NONE).await,
        };
        assert_eq!(answer.status, 200, "{page}: {}", answer.text);
        let answer = answer.json();
        let rows = answer["data"].as_array().unwrap();
        keys.extend(rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()));
        match answer["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    keys.sort();
    keys
}

#[tokio::test]
async fn the_operator_finds_the_failed_files_of_all_apps_and_those_without_owner() {
    let api = Api::new();
    let (mine, theirs) = (api.register("mine").await, api.register("theirs").await);
    let mut all = Vec::new();
    for key in ["logs/mine/1", "logs/mine/2", "logs/theirs/1", "logs/unknown/1", "logs/NOT-A-NAME/1"] {
        fails(&api.cloud, key).await;
        api.cloud.clock().advance_ms(1);
        all.push(key.to_owned());
    }
    all.sort();
    assert_eq!(listed(&api, None, "/files?status=FAILED&limit=2").await, all);
    assert_eq!(
        listed(&api, Some(&mine), "/files?status=FAILED&limit=1").await,
        ["logs/mine/1", "logs/mine/2"]
    );
    assert_eq!(listed(&api, Some(&theirs), "/files?status=FAILED").await, ["logs/theirs/1"]);
    assert_eq!(listed(&api, None, "/files?status=FAILED&app_id=mine").await, ["logs/mine/1", "logs/mine/2"]);
    let rows = api.admin("GET", "/files?status=FAILED&limit=100", &NONE).await.data();
    let reasons =
        |code: &str| rows.as_array().unwrap().iter().filter(|row| row["reason"]["code"] == code).count();
    assert_eq!((reasons("GZIP_TRUNCATED"), reasons("NO_OWNER"), reasons("BAD_KEY")), (3, 1, 1), "{rows}");
    // Lists of other states require an app.
    for path in ["/files", "/files?status=COMPLETED"] {
        assert_eq!(api.admin("GET", path, &NONE).await.refused(), (400, "app_id".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn the_operator_starts_files_of_all_apps_over() {
    let api = Api::new();
    for app in ["one", "two"] {
        api.register(app).await;
        for i in 0..7 {
            fails(&api.cloud, &format!("logs/{app}/{i}")).await;
        }
    }
    fails(&api.cloud, "logs/unknown/1").await;
    let redrive = async |body: &Value| api.admin("POST", "/files/redrive", body).await;
    assert_eq!(redrive(&json!({"reason": "NO_OWNER"})).await.data(), json!({"redriven": 1}));
    assert_eq!(redrive(&json!({"status": "FAILED"})).await.data(), json!({"redriven": 14}));
    assert_eq!((failed(&api.cloud), redrive(&json!({})).await.data()), (0, json!({"redriven": 0})));
    assert_eq!(redrive(&json!({"status": "COMPLETED"})).await.refused(), (400, "key".to_owned()));
}

#[tokio::test]
async fn keys_and_cursors_that_no_file_can_have_are_refused() {
    let api = Api::new();
    let key = api.register("mine").await;
    for bytes in [1_024, 1_025, 2_049, 5_000] {
        let long = "k".repeat(bytes);
        for (path, found) in [
            (format!("/files?key={long}"), 200),
            (format!("/files/quarantine?key={long}"), 404),
            (format!("/files/quarantine?key=k&version={long}"), 404),
        ] {
            let answer = api.app(&key, "GET", &path, &NONE).await;
            let right = bytes <= 1_024 || path.contains("version");
            assert_eq!(answer.status, if right { found } else { 400 }, "{bytes}: {}", answer.text);
        }
        let answer = api.app(&key, "POST", "/files/redrive", &json!({"key": long})).await;
        assert_eq!(answer.status, if bytes <= 1_024 { 404 } else { 400 });
    }
    for path in
        ["/files?key=", "/files?cursor=W10", "/files?status=FAILED&cursor=W10", "/files?key=k&cursor=W10"]
    {
        assert_eq!(api.app(&key, "GET", path, &NONE).await.status, 400, "{path}");
    }
}

fn job(cloud: &SimCloud, reason: Option<ReasonCode>) -> RedriveJob {
    RedriveJob {
        app_id: None,
        registered_ms: 0,
        key: None,
        status: FileStatus::Failed,
        reason,
        after: None,
        due_ms: cloud.clock().now_ms(),
    }
}

async fn many(count: usize) -> SimCloud {
    let cloud = SimCloud::default();
    cloud.add_app("my-app");
    for i in 0..count {
        fails(&cloud, &format!("logs/my-app/{i}")).await;
    }
    cloud
}

#[tokio::test(start_paused = true)]
async fn a_redrive_that_runs_out_of_time_is_resumed_by_a_sweep() {
    let cloud = many(300).await;
    cloud.clock().run();
    // From now on, each call takes time.
    cloud.fail_at_random(7, 0);
    let now_ms = cloud.clock().now_ms();
    let until = Instant::now() + Duration::from_secs(1);
    let done = redrive::redrive(&cloud, &cloud, BUCKET, job(&cloud, None), now_ms, until).await.unwrap();
    assert!(!done.complete && done.redriven > 0 && failed(&cloud) > 0, "{done:?}");
    let (mut redriven, mut sweeps) = (done.redriven, 0);
    while failed(&cloud) > 0 {
        tokio::time::sleep(Duration::from_secs(300)).await;
        let until = Instant::now() + Duration::from_secs(1);
        let now_ms = cloud.clock().now_ms();
        redriven += redrive::go_on(&cloud, &cloud, BUCKET, now_ms, until).await.unwrap().redriven;
        sweeps += 1;
    }
    assert!(redriven == 300 && sweeps > 1, "{redriven} in {sweeps}");
}

#[tokio::test]
async fn a_redrive_that_fails_stops_no_other_whichever_call_fails() {
    let mut failures = 0;
    for call in 0.. {
        let cloud = many(4).await;
        let now_ms = cloud.clock().now_ms();
        for reason in [None, Some(ReasonCode::TooLarge)] {
            let job = job(&cloud, reason);
            let left = redrive::redrive(&cloud, &cloud, BUCKET, job, now_ms, Instant::now()).await.unwrap();
            assert_eq!(left, Redriven::default());
        }
        cloud.fail_call(cloud.calls() + call, How::Before(FaultClass::Permanent));
        let ended = redrive::go_on(&cloud, &cloud, BUCKET, now_ms, in_a_minute()).await;
        if cloud.faults_hit() == 0 {
            break;
        }
        let Ok(redrives) = ended else { continue };
        assert_eq!((redrives.complete, redrives.failed, redrives.left), (1, 1, 0), "call {call}");
        failures += 1;
        cloud.clock().advance_ms(6 * 60_000);
        let now_ms = cloud.clock().now_ms();
        assert_eq!(redrive::go_on(&cloud, &cloud, BUCKET, now_ms, in_a_minute()).await.unwrap().complete, 1);
        assert_eq!(failed(&cloud), 0, "call {call}");
    }
    assert!(failures > 5, "{failures}");
}
