//! A simulator of the stream mapping: windows, partial answers, answers it cannot read, bisecting,
//! retries that run out. No shard stands still, and what is not sent lies in the failure bucket.

use std::collections::BTreeSet;

use batch_buffer::testing::StrictLogs;
use logferry_domain::block::{Block, Payload};
use serde_json::{Value, json};

use crate::world::{Death, NOW_MS, World, block, failed, inserted, sequence};

/// As in the template.
const MAX_RETRIES: usize = 10;
const BATCH_SIZE: usize = 100;

/// What comes of an invocation, as the mapping sees it.
enum Answer {
    Body(Value),
    Error,
}

/// Reads an answer by Lambda's rules: the lowest number in it; all of the batch when it is not
/// what the documentation says, or names what is not in the batch; nothing when it is empty.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html>
fn first_failure(batch: &[Value], answer: &Value) -> Option<usize> {
    if answer.is_null() || answer == &json!({}) {
        return None;
    }
    let failures = answer.get("batchItemFailures")?;
    if failures.is_null() {
        return None;
    }
    let Some(failures) = failures.as_array() else { return Some(0) };
    let index = |failure: &Value| {
        let number = failure["itemIdentifier"].as_str().filter(|text| !text.is_empty());
        batch.iter().position(|record| Some(sequence(record).as_str()) == number).unwrap_or(0)
    };
    failures.iter().map(index).min()
}

/// Feeds a shard to the function until it is through. Returns what went to the failure bucket.
async fn run(shard: &[Value], mut invoke: impl AsyncFnMut(&[Value]) -> Answer) -> (Vec<Value>, usize) {
    let (mut discarded, mut invocations, mut position) = (Vec::new(), 0, 0);
    while position < shard.len() {
        // Batches still to do, the next one last; each with its retries so far.
        let end = (position + BATCH_SIZE).min(shard.len());
        let mut todo = vec![(position..end, 0)];
        while let Some((range, retries)) = todo.pop() {
            invocations += 1;
            assert!(invocations < 20_000, "the shard stands still");
            let batch = &shard[range.clone()];
            let failed_at = match invoke(batch).await {
                Answer::Body(body) => first_failure(batch, &body),
                Answer::Error if batch.len() > 1 => {
                    let middle = range.start + batch.len() / 2;
                    todo.push((middle..range.end, 0));
                    todo.push((range.start..middle, 0));
                    continue;
                }
                Answer::Error => Some(0),
            };
            match failed_at {
                None => {}
                Some(0) if retries == MAX_RETRIES => discarded.extend_from_slice(batch),
                Some(0) => todo.push((range, retries + 1)),
                Some(index) => todo.push((range.start + index..range.end, 0)),
            }
        }
        position = end;
    }
    (discarded, invocations)
}

fn shard(count: usize) -> (Vec<Block>, Vec<Value>) {
    let blocks: Vec<_> = (0..count).map(|n| block(["a", "b", "c"][n % 3], &format!("s{n}"), 3)).collect();
    let records = blocks.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    (blocks, records)
}

fn ids<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> BTreeSet<String> {
    let ids = |block: &Block| {
        let payload = Payload::decode(&block.data).unwrap();
        payload.records().map(|record| record.id.to_string()).collect::<Vec<_>>()
    };
    blocks.into_iter().flat_map(ids).collect()
}

async fn answer(world: &World, batch: &[Value]) -> Answer {
    match world.invoke(batch).await {
        Some(handled) => Answer::Body(serde_json::to_value(&handled.response).unwrap()),
        None => Answer::Error,
    }
}

#[tokio::test(start_paused = true)]
async fn a_healthy_shard_goes_through_in_full_batches() {
    let (blocks, shard) = shard(250);
    let world = World::with(StrictLogs::at(NOW_MS));
    let (discarded, invocations) = run(&shard, async |batch| answer(&world, batch).await).await;
    assert_eq!((discarded.len(), invocations), (0, 3));
    assert_eq!(world.sent().into_keys().collect::<BTreeSet<_>>(), ids(&blocks));
}

#[tokio::test(start_paused = true)]
async fn blocks_that_cannot_be_decoded_end_in_the_failure_bucket_and_all_others_are_sent_once() {
    let (blocks, mut shard) = shard(250);
    let bad = [0, 17, 18, 99, 100, 249];
    for index in bad {
        shard[index]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    }
    let world = World::with(StrictLogs::at(NOW_MS));
    let (discarded, _) = run(&shard, async |batch| answer(&world, batch).await).await;
    let kept: BTreeSet<String> = discarded.iter().map(sequence).collect();
    assert!(bad.iter().all(|index| kept.contains(&sequence(&shard[*index]))));
    let good = blocks.iter().enumerate().filter(|(index, _)| !bad.contains(index)).map(|(_, block)| block);
    assert_eq!(world.sent().keys().cloned().collect::<BTreeSet<_>>(), ids(good));
    assert!(world.sent().values().all(|times| *times == 1), "what is behind a bad block is not sent again");
}

#[tokio::test(start_paused = true)]
async fn a_function_that_dies_of_one_record_loses_that_record_alone_to_the_failure_bucket() {
    let (blocks, shard) = shard(60);
    let deadly = sequence(&shard[33]);
    let world = World::with(StrictLogs::at(NOW_MS));
    let (discarded, _) = run(&shard, async |batch| {
        if batch.iter().any(|record| sequence(record) == deadly) {
            // Dead after some calls, having sent a part.
            world.die(Some(Death::After(3)));
            let died = world.invoke(batch).await;
            world.die(None);
            if died.is_none() || batch.len() == 1 {
                return Answer::Error;
            }
        }
        answer(&world, batch).await
    })
    .await;
    assert!(discarded.len() <= 1);
    let mut reached: BTreeSet<String> = world.sent().into_keys().collect();
    reached.extend(ids([&blocks[33]]));
    assert_eq!(reached, ids(&blocks));
}

#[tokio::test(start_paused = true)]
async fn malformed_answers_are_retried_as_a_whole_and_run_out() {
    let (_, shard) = shard(5);
    for body in [
        json!({"batchItemFailures": [{"itemIdentifier": ""}]}),
        json!({"batchItemFailures": [{"itemIdentifier": null}]}),
        json!({"batchItemFailures": [{"wrong": "1"}]}),
        json!({"batchItemFailures": [{"itemIdentifier": "unknown"}]}),
        json!({"batchItemFailures": "text"}),
    ] {
        let (discarded, invocations) = run(&shard, async |_| Answer::Body(body.clone())).await;
        assert_eq!((discarded.len(), invocations), (5, MAX_RETRIES + 1), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_would_mean_success_so_flush_gives_none_while_anything_is_open() {
    let (_, shard) = shard(5);
    for body in [json!(null), json!({}), json!({"batchItemFailures": []}), json!({"batchItemFailures": null})]
    {
        let (discarded, invocations) = run(&shard, async |_| Answer::Body(body.clone())).await;
        assert_eq!((discarded.len(), invocations), (0, 1), "{body}");
    }
    // Everything outside fails: the first record is named, never nobody.
    let world = World::with(StrictLogs::at(NOW_MS));
    world.state.lock().unwrap().apps_fail = true;
    assert_eq!(failed(&world.invoke(&shard).await.unwrap()), [sequence(&shard[0])]);
}
