//! A simulator of the event source mapping: windows, partial and malformed responses, bisecting, exhausted
//! retries, records that grow too old, shards that are read concurrently and are split. No shard stops, and
//! unsent records are in the failure bucket, from where they can be sent.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use batch_buffer::ErrorClass;
use batch_buffer::testing::{Fault, StrictLogs};
use logferry::redrive_dead_letters::Selection;
use logferry_core::model::block::Block;
use logferry_core::model::fault::FaultClass;
use logferry_core::model::level::Level;
use logferry_core::ports::dead_letters::DeadLetters;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::world::{Death, NOW_MS, World, block, blocks, failed, ids, inserted, sequence};

const HOUR: Duration = Duration::from_secs(3_600);

/// Maximum size of an invocation's event (bytes).
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const MAX_PAYLOAD_BYTES: usize = 6 * 1024 * 1024;

/// Settings of the mapping. The defaults are the template's.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    batch_size: usize,
    /// `None` means until the records are too old.
    max_retries: Option<usize>,
    max_age: Duration,
    /// Whether a batch whose first record is reported is bisected or delivered again unchanged: the
    /// documentation allows both readings.
    cuts_when_named: bool,
    /// Concurrent batches of a shard. Only the order of changes of an item is kept.
    parallel: usize,
    /// Whether there is a pause before a retry; its length is not documented.
    pauses: bool,
}

impl Default for Mapping {
    fn default() -> Self {
        Self {
            batch_size: 100,
            max_retries: Some(10_000),
            max_age: 12 * HOUR,
            cuts_when_named: false,
            parallel: 10,
            pauses: true,
        }
    }
}

/// The result of an invocation, as the mapping sees it.
enum Answer {
    Body(Value),
    Error,
}

/// Interprets a response by Lambda's rules: returns the lowest number in it; the first record if the
/// response is malformed or names unknown records; nothing if it is empty.
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

/// A shard with records in sequence.
struct Shard {
    blocks: Vec<Block>,
    records: Vec<Value>,
    /// Time between two records.
    pause: Duration,
}

/// Shards whose records alternate in one partition of the table: their sequence numbers are interleaved.
fn interleaved(shards: usize, count: usize, pause: Duration) -> Vec<Shard> {
    let own = block("app", "0", 1).header.block_id.shard();
    let all = (0..).map(|n| block("app", &format!("{n}"), 3));
    let blocks: Vec<_> =
        all.filter(|block| block.header.block_id.shard() == own).take(shards * count).collect();
    let shard = |first: usize| {
        let own = blocks.iter().enumerate().skip(first).step_by(shards);
        let (records, blocks) = own.map(|(n, block)| (inserted(n, block), block.clone())).unzip();
        Shard { blocks, records, pause }
    };
    (0..shards).map(shard).collect()
}

impl Shard {
    /// Splits it as a mapping with several concurrent batches does.
    fn parts(&self, parallel: usize) -> Vec<Self> {
        let part = |record: &Value| {
            let mut hash = DefaultHasher::new();
            record["dynamodb"]["NewImage"]["sk"]["S"].as_str().hash(&mut hash);
            hash.finish() % parallel as u64
        };
        let parts = (0..parallel as u64).map(|number| {
            let own = self.records.iter().zip(&self.blocks).filter(|(record, _)| part(record) == number);
            let (records, blocks) = own.map(|(record, block)| (record.clone(), block.clone())).unzip();
            Self { blocks, records, pause: self.pause * u32::try_from(parallel).unwrap() }
        });
        parts.collect()
    }

    fn of(count: usize) -> Self {
        Self::slow(count, Duration::ZERO)
    }

    fn slow(count: usize, pause: Duration) -> Self {
        let block = |n: usize| block(["a", "b", "c"][n % 3], &format!("s{n}"), 3);
        let blocks: Vec<_> = (0..count).map(block).collect();
        let records = blocks.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
        Self { blocks, records, pause }
    }
}

/// The discarded batches, and the number of invocations.
#[derive(Debug, Default)]
struct Ran {
    given_up: Vec<(Vec<Value>, &'static str)>,
    invocations: usize,
}

impl Ran {
    fn and(mut self, other: Self) -> Self {
        self.given_up.extend(other.given_up);
        self.invocations += other.invocations;
        self
    }

    fn records(&self) -> usize {
        self.given_up.iter().map(|(records, _)| records.len()).sum()
    }

    /// Returns the sequence numbers of discarded records.
    fn numbers(&self) -> BTreeSet<String> {
        self.given_up.iter().flat_map(|(records, _)| records).map(sequence).collect()
    }

    /// Writes discarded batches to the failure bucket, as the mapping does.
    async fn keep(&self, world: &World) {
        for (number, (records, condition)) in self.given_up.iter().enumerate() {
            let record = json!({
                "requestContext": {"condition": condition},
                "payload": json!({"Records": records}).to_string(),
            });
            let name = format!("aws/lambda/3f1c/shardId-1/2024/03/01/2024-03-01T12.00.00-{number:06}");
            world.cloud.put(&name, record.to_string().into_bytes()).await.unwrap();
        }
    }
}

impl Mapping {
    /// Feeds a shard to the function in as many concurrent batches as the mapping allows.
    async fn run_parts(self, shard: &Shard, world: &World) -> Ran {
        let parts = shard.parts(self.parallel);
        let runs = parts.iter().map(|part| self.run(part, async |batch| answer(world, batch).await));
        futures::future::join_all(runs).await.into_iter().fold(Ran::default(), Ran::and)
    }

    /// Feeds a shard to the function, one batch at a time, until all of it is processed.
    async fn run(self, shard: &Shard, mut invoke: impl AsyncFnMut(&[Value]) -> Answer) -> Ran {
        let begin = Instant::now();
        let created = |index: usize| begin + shard.pause * u32::try_from(index).unwrap();
        let (mut ran, mut position) = (Ran::default(), 0);
        while position < shard.records.len() {
            tokio::time::sleep_until(created(position)).await;
            let there = (position..shard.records.len()).take_while(|index| created(*index) <= Instant::now());
            let mut bytes = 0;
            let fits = |index: &usize| {
                bytes += shard.records[*index].to_string().len();
                *index == position || bytes <= MAX_PAYLOAD_BYTES
            };
            let end = position + there.take(self.batch_size).take_while(fits).count();
            // Remaining pieces of the batch, the next one last, each with its retries so far.
            let mut todo = vec![(position..end, 0)];
            while let Some((mut range, retries)) = todo.pop() {
                let is_old = |index: &usize| created(*index).elapsed() > self.max_age;
                let old = range.clone().take_while(is_old).count();
                if old > 0 {
                    let records = shard.records[range.start..range.start + old].to_vec();
                    ran.given_up.push((records, "RecordAgeExceeded"));
                    range.start += old;
                    if range.is_empty() {
                        continue;
                    }
                }
                ran.invocations += 1;
                assert!(ran.invocations < 40_000, "the shard stands still");
                let batch = &shard.records[range.clone()];
                let (failed_at, cuts) = match invoke(batch).await {
                    Answer::Body(body) => (first_failure(batch, &body), self.cuts_when_named),
                    Answer::Error => (Some(0), true),
                };
                match failed_at {
                    None => {}
                    Some(0) if cuts && batch.len() > 1 => {
                        let middle = range.start + batch.len() / 2;
                        todo.push((middle..range.end, 0));
                        todo.push((range.start..middle, 0));
                    }
                    Some(0) if self.max_retries == Some(retries) => {
                        ran.given_up.push((batch.to_vec(), "RetryAttemptsExhausted"));
                    }
                    Some(0) => {
                        let secs = if self.pauses { 1_u64 << retries.min(8) } else { 0 };
                        tokio::time::sleep(Duration::from_secs(secs)).await;
                        todo.push((range, retries + 1));
                    }
                    Some(index) => todo.push((range.start + index..range.end, 0)),
                }
            }
            position = end;
        }
        ran
    }
}

async fn answer(world: &World, batch: &[Value]) -> Answer {
    match world.invoke(batch).await {
        Some(handled) => Answer::Body(serde_json::to_value(&handled.response).unwrap()),
        None => Answer::Error,
    }
}

fn reached(world: &World) -> BTreeSet<String> {
    world.sent().into_keys().collect()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_shard_goes_through_in_full_batches() {
    let shard = Shard::of(250);
    let world = World::with(StrictLogs::at(NOW_MS));
    let ran = Mapping::default().run(&shard, async |batch| answer(&world, batch).await).await;
    assert_eq!((ran.records(), ran.invocations), (0, 3));
    assert_eq!(reached(&world), ids(&shard.blocks));
}

#[tokio::test(start_paused = true)]
async fn blocks_that_cannot_be_decoded_end_in_the_failure_bucket_and_hold_nothing_up() {
    let bad = [0, 17, 18, 99, 100, 249];
    let mut shard = Shard::of(250);
    for index in bad {
        shard.records[index]["dynamodb"]["NewImage"]["data"]["B"] = json!("AAAA");
    }
    let world = World::with(StrictLogs::at(NOW_MS));
    let ran = Mapping::default().run(&shard, async |batch| answer(&world, batch).await).await;
    assert_eq!((ran.records(), ran.invocations), (0, 3));
    let good = shard.blocks.iter().enumerate().filter(|(index, _)| !bad.contains(index));
    let good = ids(good.map(|(_, block)| block));
    assert_eq!(reached(&world), good);
    let files = world.cloud.dead_letters_now();
    let kept = |index: &usize| {
        let name = format!("/{}.json", sequence(&shard.records[*index]));
        files.keys().any(|file| file.starts_with("undecodable/") && file.ends_with(&name))
    };
    assert!(files.len() == bad.len() && bad.iter().all(kept), "{:?}", files.keys());

    // A redrive leaves them unchanged while they cannot be decoded.
    let (redriven, reports) = world.redrive_some(&Selection::default(), false).await;
    assert_eq!(redriven.unwrap().events_kept, 3 * bad.len() as u64);
    assert!(reports.iter().all(|report| report.reasons.keys().all(|reason| reason == "UNDECODABLE")));
    assert_eq!((reached(&world), world.cloud.dead_letters_now()), (good, files));
}

#[tokio::test(start_paused = true)]
async fn a_function_that_dies_of_one_record_loses_that_record_alone_to_the_failure_bucket() {
    let shard = Shard::of(60);
    let deadly = sequence(&shard.records[33]);
    let world = World::with(StrictLogs::at(NOW_MS));
    let ran = Mapping { max_retries: Some(10), ..Mapping::default() }
        .run(&shard, async |batch| {
            if batch.iter().any(|record| sequence(record) == deadly) {
                // It dies after some calls, after sending a part.
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
    assert!(ran.records() <= 1);
    let mut all = reached(&world);
    all.extend(ids([&shard.blocks[33]]));
    assert_eq!(all, ids(&shard.blocks));
}

#[tokio::test(start_paused = true)]
async fn malformed_answers_are_retried_as_a_whole_and_run_out() {
    let shard = Shard::of(5);
    for body in [
        json!({"batchItemFailures": [{"itemIdentifier": ""}]}),
        json!({"batchItemFailures": [{"itemIdentifier": null}]}),
        json!({"batchItemFailures": [{"wrong": "1"}]}),
        json!({"batchItemFailures": [{"itemIdentifier": "unknown"}]}),
        json!({"batchItemFailures": "text"}),
    ] {
        let mapping = Mapping { max_retries: Some(10), ..Mapping::default() };
        let ran = mapping.run(&shard, async |_| Answer::Body(body.clone())).await;
        assert_eq!((ran.records(), ran.invocations), (5, 11), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_would_mean_success_so_flush_gives_none_while_anything_is_open() {
    let shard = Shard::of(5);
    for body in [json!(null), json!({}), json!({"batchItemFailures": []}), json!({"batchItemFailures": null})]
    {
        let ran = Mapping::default().run(&shard, async |_| Answer::Body(body.clone())).await;
        assert_eq!((ran.records(), ran.invocations), (0, 1), "{body}");
    }
    // Every external call fails: the response names the first record and is never empty.
    let world = World::with(StrictLogs::at(NOW_MS));
    world.cloud.break_operation("GetItem", Some(FaultClass::Transient));
    assert_eq!(failed(&world.invoke(&shard.records).await.unwrap()), [sequence(&shard.records[0])]);
}

#[tokio::test(start_paused = true)]
async fn records_that_grow_too_old_in_an_outage_are_given_up_and_the_younger_ones_flow() {
    // A record every ten minutes for twenty hours, without CloudWatch Logs for the first fifteen.
    let shard = Shard::slow(120, HOUR / 6);
    for (max_retries, condition) in
        [(Some(10_000), "RecordAgeExceeded"), (Some(10), "RetryAttemptsExhausted")]
    {
        let world = World::with(StrictLogs::at(NOW_MS));
        let mapping = Mapping { max_retries, ..Mapping::default() };
        let begin = Instant::now();
        let ran = mapping
            .run(&shard, async |batch| {
                if begin.elapsed() < 15 * HOUR {
                    world.logs().next([Some(Fault::Fail(ErrorClass::ServiceUnavailable)); 100]);
                }
                let answered = answer(&world, batch).await;
                world.logs().next_well();
                answered
            })
            .await;
        let lost = ran.records();
        assert!(lost > 0 && lost < 100, "{lost} of 120 given up");
        assert!(ran.given_up.iter().all(|(_, why)| *why == condition), "{condition}");
        let given_up = ran.numbers();
        let sent = |index: usize| !given_up.contains(&sequence(&shard.records[index]));
        let flowed = shard.blocks.iter().enumerate().filter(|(index, _)| sent(*index));
        assert_eq!(reached(&world), ids(flowed.map(|(_, block)| block)));
        assert!(sent(119), "the youngest");

        // Nothing is lost: when the service is available again, the command sends it.
        ran.keep(&world).await;
        let redriven = world.redrive().await.unwrap();
        assert_eq!((redriven.events_sent, redriven.files_kept), (3 * lost as u64, 0));
        assert_eq!(reached(&world), ids(&shard.blocks));
        assert!(world.sent().values().all(|times| *times == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_less_than_twelve_hours_waits_in_the_stream_and_gives_nothing_up() {
    // However soon the mapping retries, and however soon it is refused.
    for (pauses, fault) in [(true, ErrorClass::Throttling), (false, ErrorClass::ServiceUnavailable)] {
        let shard = Shard::of(3);
        let world = World::with(StrictLogs::at(NOW_MS));
        for app in ["a", "b", "c"] {
            world.logs().break_group(&format!("/logferry/{app}"), Some(Fault::Fail(fault)));
        }
        let (begin, mapping) = (Instant::now(), Mapping { pauses, ..Mapping::default() });
        let ran = mapping
            .run(&shard, async |batch| {
                if begin.elapsed() > 11 * HOUR + HOUR / 2 {
                    for app in ["a", "b", "c"] {
                        world.logs().break_group(&format!("/logferry/{app}"), None);
                    }
                }
                answer(&world, batch).await
            })
            .await;
        assert_eq!(ran.records(), 0, "{:?}", ran.given_up.first().map(|(_, condition)| condition));
        assert!(reached(&world) == ids(&shard.blocks) && world.sent().values().all(|times| *times == 1));
        assert!(world.cloud.dead_letters_now().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn shards_with_alternating_numbers_of_one_partition_bring_every_record_once() {
    for (parallel, batch_size) in [(1, 100), (10, 100), (10, 7), (3, 1)] {
        let mapping = Mapping { parallel, batch_size, ..Mapping::default() };
        let shards = interleaved(2, 120, Duration::from_secs(1));
        let world = World::with(StrictLogs::at(NOW_MS));
        // Some requests fail for a while, so that many records that are delivered again were already sent.
        world.logs().next((0..400).map(|n| (n % 3 > 0).then_some(Fault::Fail(ErrorClass::Throttling))));
        let run = |shard| mapping.run_parts(shard, &world);
        let ran = futures::future::join_all(shards.iter().map(run)).await;
        assert_eq!(ran.iter().map(Ran::records).sum::<usize>(), 0);
        assert_eq!(reached(&world), ids(shards.iter().flat_map(|shard| &shard.blocks)));
        assert!(world.sent().values().all(|times| *times == 1), "{parallel} side by side");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_split_goes_on_in_its_children() {
    let [parent, one, two]: [Shard; 3] =
        interleaved(3, 60, Duration::ZERO).try_into().unwrap_or_else(|_| panic!());
    let world = World::with(StrictLogs::at(NOW_MS));
    world.logs().next((0..100).map(|n| (n % 2 > 0).then_some(Fault::LoseAnswer)));
    let mapping = Mapping::default();
    // The children are read after their parent.
    let mut ran = mapping.run_parts(&parent, &world).await;
    let children = tokio::join!(mapping.run_parts(&one, &world), mapping.run_parts(&two, &world));
    ran = ran.and(children.0).and(children.1);
    assert_eq!(ran.records(), 0);
    assert_eq!(reached(&world), ids([&parent, &one, &two].into_iter().flat_map(|shard| &shard.blocks)));
}

#[tokio::test(start_paused = true)]
async fn a_batch_holds_no_more_than_an_invocation_takes() {
    let noise = |seed: usize| -> String {
        let mut rng = SmallRng::seed_from_u64(seed as u64);
        (0..250_000).map(|_| char::from(rng.random_range(b'a'..=b'z'))).collect()
    };
    let entry = |n: usize| (NOW_MS - 9, Level::Info, format!("{{\"msg\":\"{}\"}}", noise(n)));
    let blocks: Vec<_> = (0..60).flat_map(|n| blocks("app", &n.to_string(), &[entry(n)])).collect();
    let records = blocks.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    let shard = Shard { blocks, records, pause: Duration::ZERO };
    let world = World::with(StrictLogs::at(NOW_MS));
    let mut sizes = Vec::new();
    let ran = Mapping::default()
        .run(&shard, async |batch| {
            sizes.push(batch.iter().map(|record| record.to_string().len()).sum::<usize>());
            answer(&world, batch).await
        })
        .await;
    assert!(sizes.len() > 1 && sizes.iter().all(|bytes| *bytes <= MAX_PAYLOAD_BYTES), "{sizes:?}");
    assert_eq!((ran.records(), reached(&world)), (0, ids(&shard.blocks)));
}

#[tokio::test(start_paused = true)]
async fn whatever_the_answers_are_no_shard_stands_still_and_everything_is_somewhere() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let shard = Shard::slow(150, Duration::from_secs(rng.random_range(0..600)));
        let poison = |event: &batch_buffer::Event| event.message.contains("\"message\":\"2\"");
        let logs = StrictLogs::at(NOW_MS);
        let world = World::with(if seed % 3 == 0 { logs.with_poison(poison) } else { logs });
        let mapping = Mapping {
            batch_size: rng.random_range(1..100),
            max_retries: rng.random_ratio(1, 2).then(|| rng.random_range(0..11)),
            cuts_when_named: rng.random(),
            ..Mapping::default()
        };
        let ran = mapping
            .run(&shard, async |batch| {
                match rng.random_range(0..12) {
                    // It dies at some call.
                    0 => world.die(Some(Death::Before(rng.random_range(0..12)))),
                    1 => world.die(Some(Death::After(rng.random_range(0..12)))),
                    2 => {
                        world.logs().next([Some(Fault::Fail(ErrorClass::Throttling)); 5]);
                    }
                    // The service is unavailable for hours.
                    3 => tokio::time::sleep(HOUR * rng.random_range(1..9)).await,
                    // Its result is lost: its response cannot be read.
                    4 => {
                        world.invoke(batch).await;
                        return Answer::Body(json!({"batchItemFailures": [{"itemIdentifier": ""}]}));
                    }
                    5 => return Answer::Error,
                    _ => {}
                }
                let answered = answer(&world, batch).await;
                world.die(None);
                answered
            })
            .await;
        world.logs().next_well();
        ran.keep(&world).await;
        // Sent, or in the bucket: and everything but the poison can be sent from there.
        let redriven = world.redrive().await.unwrap();
        let again = world.redrive().await.unwrap();
        assert_eq!(again.events_sent, 0, "seed {seed}");
        let dead = world.cloud.dead_letters_now();
        let dead: BTreeSet<String> = dead
            .values()
            .flat_map(|file| file.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
            .map(|line| {
                serde_json::from_slice::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
            })
            .map(|message| {
                serde_json::from_str::<Value>(&message).unwrap()["logId"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(dead.len() as u64, again.events_kept, "seed {seed}: {redriven:?}");
        assert_eq!(seed % 3 == 0, !dead.is_empty(), "seed {seed}");
        let mut all = reached(&world);
        all.extend(dead);
        assert_eq!(all, ids(&shard.blocks), "seed {seed}");
    }
}
