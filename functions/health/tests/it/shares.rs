//! Checks of one app against those of another: slots in a run, time-outs and latencies. On paused time,
//! over connections in memory, so every latency is exact.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use logferry_health::probe::{Dial, Prober, Stream};
use logferry_health_checks::check::{Check, CheckKind};
use logferry_health_checks::guard::Policy;
use logferry_health_checks::rows::CheckRow;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::servers::{page, read_head, status};
use crate::world::{PLENTY, SLOT, World, Zone, app, prober};

/// Never answers.
const TARPIT: &str = "9.9.9.1";
/// Answers after a second.
const GOOD: &str = "9.9.9.2";
/// Accepts no connection, and refuses none. The first one of a name, since addresses are tried in order.
const SILENT: &str = "9.9.9.0";
/// Answers at once, with the largest body that is read.
const LARGE: &str = "9.9.9.3";
const GOOD_MS: u32 = 1_000;

#[derive(Debug)]
struct Network;

impl Dial for Network {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        if address.ip().to_string() == SILENT {
            return Box::pin(std::future::pending());
        }
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        tokio::spawn(async move {
            read_head(&mut theirs).await;
            let answer = match address.ip().to_string().as_str() {
                TARPIT => std::future::pending().await,
                GOOD => {
                    tokio::time::sleep(Duration::from_millis(GOOD_MS.into())).await;
                    status("200 OK")
                }
                _ => page(&"a".repeat(256 * 1024)),
            };
            let _ = theirs.write_all(&answer).await;
        });
        Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) })
    }
}

fn network() -> Prober {
    let zone = Zone::default()
        .with("tarpit.example.com", &[&[TARPIT]])
        .with("good.example.com", &[&[GOOD]])
        .with("half.example.com", &[&[SILENT, GOOD]])
        .with("silent.example.com", &[&[SILENT]])
        .with("large.example.com", &[&[LARGE]]);
    Prober { resolver: Arc::new(zone), dial: Arc::new(Network), ..prober(Policy::default()) }
}

fn urls(name: &str, count: usize) -> Value {
    (0..count).map(|n| json!(format!("http://{name}.example.com/{n}"))).collect()
}

fn rows_of(world: &World, app: &str, slot: i64) -> Vec<CheckRow> {
    let of_app = |row: &CheckRow| row.key.app_id.as_str() == app && row.slot_ms == slot * SLOT;
    world.table.rows().into_iter().filter(of_app).collect()
}

#[track_caller]
fn assert_all_right(rows: &[CheckRow], count: usize) {
    assert_eq!(rows.len(), count);
    for row in rows {
        assert!(row.ok && !row.skipped && row.status == 200 && row.latency_ms == GOOD_MS, "{row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_one_app_fills_leaves_others_their_places_and_what_is_left_is_first_the_next_time() {
    let apps = vec![app("evil", urls("tarpit", 200)), app("victim", urls("good", 20))];
    let world = World::probing_with(apps, network());
    let (mut probed, short) = (BTreeSet::new(), Duration::from_secs(40));
    for slot in [1, 2] {
        let summary = world.health.run(slot * SLOT, short).await.unwrap();
        assert_eq!(summary.up, 20);
        assert_all_right(&rows_of(&world, "victim", slot), 20);
        let (skipped, done): (Vec<_>, Vec<_>) =
            rows_of(&world, "evil", slot).into_iter().partition(|row| row.skipped);
        assert_eq!((skipped.len() as u64, skipped.len() + done.len()), (summary.skipped, 200));
        assert!((1..100).contains(&skipped.len()), "{}", skipped.len());
        assert!(done.iter().all(|row| row.error.as_ref().unwrap().starts_with("time-out: ")));
        if slot == 2 {
            let first: Vec<_> = skipped.iter().filter(|row| !probed.contains(&row.key.target)).collect();
            assert!(first.is_empty(), "skipped twice: {first:?}");
        }
        probed.extend(done.into_iter().map(|row| row.key.target));
    }
    assert_eq!(probed.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn ten_apps_full_of_tarpits_take_no_place_from_an_app_with_two_hundred_good_checks() {
    let mut apps: Vec<_> = (0..10).map(|n| app(&format!("evil-{n}"), urls("tarpit", 200))).collect();
    apps.push(app("victim", urls("good", 200)));
    let world = World::probing_with(apps, network());
    let summary = world.health.run(SLOT, PLENTY).await.unwrap();
    assert!(summary.skipped > 0, "{summary:?}");
    assert_all_right(&rows_of(&world, "victim", 1), 200);
}

#[tokio::test(start_paused = true)]
async fn conditions_that_would_take_minutes_run_out_of_steps_and_change_no_other_apps_result() {
    let dear = format!("[BODY] != pat(*?{}b*)", "a".repeat(470));
    let evil: Value = (0..20)
        .map(|n| json!({"url": format!("http://large.example.com/{n}"), "conditions": vec![dear.as_str(); 20]}))
        .collect();
    let world = World::probing_with(vec![app("evil", evil), app("victim", urls("good", 3))], network());
    let summary = world.health.run(SLOT, PLENTY).await.unwrap();
    assert_eq!((summary.up, summary.down, summary.skipped), (3, 20, 0));
    assert_all_right(&rows_of(&world, "victim", 1), 3);
    let refused = format!("{dear} (not judged: the check's conditions take too many steps)");
    for row in rows_of(&world, "evil", 1) {
        assert!(row.failed_conditions.iter().all(|condition| *condition == refused), "{row:?}");
        assert_eq!((row.status, row.latency_ms, row.failed_conditions.len()), (200, 0, 20));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_never_answers_leaves_time_for_the_next_one() {
    let names =
        ["half", "silent"].map(|name| json!({"url": format!("http://{name}.example.com/"), "name": name}));
    let world = World::probing_with(vec![app("shop", json!(names))], network());
    let summary = world.health.run(SLOT, PLENTY).await.unwrap();
    assert_eq!((summary.up, summary.down), (1, 1));
    let errors: Vec<_> = world.table.rows().into_iter().map(|row| row.error).collect();
    assert_eq!(errors, [None, Some("time-out: no answer within 10000 ms, while connecting".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn latency_ends_when_the_head_arrives_not_when_the_task_is_polled() {
    let prober = network();
    let check = Check::from_value(&json!("http://good.example.com/"), "check", &prober.policy).unwrap();
    let CheckKind::Probe(probe) = check.kind else { panic!("not a probe") };
    let mut probing = Box::pin(prober.probe(&probe, 0));
    let looked = tokio::time::timeout(Duration::from_millis(10), &mut probing).await;
    assert!(looked.is_err(), "the answer takes a second");
    // The awaiting task cannot poll for six seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let finding = probing.await;
    assert_eq!((finding.ok, finding.latency_ms), (true, GOOD_MS));
}
