//! Killed at every call and run again: nothing is lost, and at most one request of each running lane is
//! sent twice.

use std::collections::{BTreeSet, HashMap};

use batch_buffer::testing::StrictLogs;
use logferry_core::model::level::Level;
use logferry_flush::LANES_AT_ONCE;
use serde_json::Value;

use super::world::{Death, NOW_MS, World, block, blocks, failed, ids, inserted};

/// Several partitions, several requests in one of them, a record in pieces, one dead letter.
fn batch() -> (Vec<Value>, BTreeSet<String>) {
    let long = (NOW_MS - 9, Level::Info, format!("{{\"msg\":\"{}\"}}", "x".repeat(1_048_500)));
    let big = |n: usize| {
        (NOW_MS - 1_000 + n as i64, Level::Info, format!("{{\"msg\":\"{}{n}\"}}", "y".repeat(150_000)))
    };
    let all = [
        vec![block("a", "1", 5)],
        blocks("b", "2", &(0..9).map(big).collect::<Vec<_>>()),
        blocks("a", "3", &[big(1), long, big(2)]),
        vec![block("b", "4", 7)],
        blocks("a", "5", &(0..16).map(big).collect::<Vec<_>>()),
        vec![block("c", "6", 1), block("b", "7", 9)],
    ]
    .concat();
    let ids = ids(&all);
    (all.iter().enumerate().map(|(n, block)| inserted(n, block)).collect(), ids)
}

fn world() -> World {
    World::with(StrictLogs::at(NOW_MS).empty())
}

/// Returns the number of requests that can be in flight when an invocation dies.
fn lanes(records: &[Value]) -> usize {
    let partitions = records.iter().map(|record| record["dynamodb"]["NewImage"]["pk"]["S"].as_str());
    partitions.collect::<BTreeSet<_>>().len().min(LANES_AT_ONCE)
}

/// Returns the number of requests with at least one event that was sent again.
fn requests_sent_twice(world: &World) -> usize {
    let mut first: HashMap<String, usize> = HashMap::new();
    let mut twice = BTreeSet::new();
    for (index, request) in world.logs().accepted().into_iter().enumerate() {
        for event in request {
            let original = *first.entry(event.message).or_insert(index);
            if original != index {
                twice.insert(original);
            }
        }
    }
    twice.len()
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_call_and_brought_again() {
    let (records, ids) = batch();
    let well = world();
    assert_eq!(failed(&well.invoke(&records).await.unwrap()).len(), 0);
    assert_eq!((well.sent().len(), requests_sent_twice(&well)), (ids.len(), 0));
    let calls = well.calls();
    assert!(calls > 20, "{calls} calls");

    for number in 0..calls {
        for death in [Death::Before(number), Death::After(number)] {
            for bisect in [false, true] {
                let world = world();
                world.die(Some(death));
                assert!(world.invoke(&records).await.is_none(), "it dies: {death:?}");
                world.die(None);
                let middle = if bisect { records.len() / 2 } else { 0 };
                for half in [&records[..middle], &records[middle..]] {
                    let handled = world.invoke(half).await.unwrap();
                    assert_eq!(failed(&handled).len(), 0);
                    let tally = handled.tally;
                    assert_eq!(tally.records_in, tally.sent + tally.sent_before, "{death:?}");
                }
                assert_eq!(
                    world.sent().keys().cloned().collect::<BTreeSet<_>>(),
                    ids,
                    "{death:?} bisect {bisect}"
                );
                let twice = requests_sent_twice(&world);
                let most = lanes(&records);
                assert!(twice <= most, "{death:?} bisect {bisect}: {twice} requests came twice");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn killed_again_and_again_it_gets_through_with_a_request_of_each_lane_twice_for_each_kill() {
    let (records, ids) = batch();
    for step in [12, 15, 17] {
        let world = world();
        let mut kills = 0;
        loop {
            world.die(Some(Death::After(step)));
            match world.invoke(&records).await {
                Some(handled) if failed(&handled).is_empty() => break,
                Some(_) => panic!("nothing fails here"),
                None => kills += 1,
            }
            assert!(kills < 200, "it gets on, {step} calls at a time");
        }
        assert_eq!(world.sent().keys().cloned().collect::<BTreeSet<_>>(), ids);
        assert!(kills > 0);
        let twice = requests_sent_twice(&world);
        assert!(twice <= kills * lanes(&records), "{kills} kills, {twice} requests came twice");
    }
}
