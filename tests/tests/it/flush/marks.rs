//! Marks only cover what was sent.

use batch_buffer::ErrorClass;
use batch_buffer::testing::{Fault, StrictLogs};
use logferry_core::model::block::Block;
use logferry_core::model::level::Level;
use serde_json::Value;

use super::world::{Death, NOW_MS, World, block, blocks, failed, ids, inserted, sequence};

/// This many blocks of one partition.
fn of_one_partition(count: usize) -> Vec<Block> {
    let shard = block("app", "0", 2).header.block_id.shard();
    let all = (0..).map(|n| block("app", &n.to_string(), 2));
    all.filter(|block| block.header.block_id.shard() == shard).take(count).collect()
}

#[tokio::test(start_paused = true)]
async fn records_of_another_shard_with_numbers_in_between_are_not_taken_for_sent() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let all = of_one_partition(101);
    let records: Vec<Value> = all.iter().enumerate().map(|(n, block)| inserted(n, block)).collect();
    // One shard of the stream has the even numbers, the other the odd ones. Of the first all is sent but
    // the last record, so it is known which records are delivered again and which of them were sent.
    let (evens, odds): (Vec<_>, Vec<_>) = records.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let [evens, odds] =
        [evens, odds].map(|half| half.into_iter().map(|(_, record)| record).collect::<Vec<_>>());
    let mut broken = evens.clone();
    broken[0]["dynamodb"]["NewImage"]["data"]["B"] = "AAAA".into();
    world.cloud.break_operation("PutObject", Some(logferry_core::model::fault::FaultClass::Transient));
    let first = world.invoke(&broken).await.unwrap();
    assert_eq!((failed(&first), first.tally.sent), (vec![sequence(&evens[0])], 100));

    let other = world.invoke(&odds).await.unwrap();
    assert_eq!((failed(&other).len(), other.tally.sent, other.tally.sent_before), (0, 100, 0));
    let again = world.invoke(&evens).await.unwrap();
    assert_eq!((failed(&again).len(), again.tally.sent, again.tally.sent_before), (0, 2, 100));
    assert!(world.sent().keys().eq(&ids(&all)) && world.sent().values().all(|times| *times == 1));
}

#[tokio::test(start_paused = true)]
async fn shards_that_are_read_at_the_same_time_keep_each_others_marks() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let big = |source: &str| {
        let entry =
            |n: i64| (NOW_MS - 1_000 + n, Level::Info, format!("{{\"msg\":\"{}{n}\"}}", "y".repeat(150_000)));
        blocks("app", source, &(0..16).map(entry).collect::<Vec<_>>())
    };
    let (one, two) = (big("one"), big("two"));
    let records = |blocks: &[Block], step: usize| -> Vec<Value> {
        blocks.iter().enumerate().map(|(n, block)| inserted(2 * n + step, block)).collect()
    };
    let (first, second) = (records(&one, 0), records(&two, 1));
    // One is killed while it runs.
    world.die(Some(Death::After(8)));
    let killed = tokio::join!(world.invoke(&first), world.invoke(&second));
    assert!(killed.0.is_none() || killed.1.is_none(), "one of them dies");
    world.die(None);
    for batch in [&first, &second] {
        assert_eq!(failed(&world.invoke(batch).await.unwrap()), [""; 0]);
    }
    let all = ids(one.iter().chain(&two));
    assert!(world.sent().keys().eq(&all));
    let requests = world.logs().accepted();
    let most = requests.iter().map(Vec::len).max().unwrap() * 4;
    let twice = world.sent().values().filter(|times| **times > 1).count();
    assert!(twice <= most, "{twice} records came twice, more than the requests in the hands of the dead");
}

#[tokio::test(start_paused = true)]
async fn a_block_repacked_under_its_id_is_sent_again() {
    let world = World::with(StrictLogs::at(NOW_MS));
    let first = block("app", "s", 3);
    let mut repacked =
        blocks("app", "s", &[(NOW_MS - 9, Level::Info, "{\"msg\":\"[redacted]\"}".into())]).remove(0);
    repacked.header.block_id = first.header.block_id;
    let stuck = inserted(0, &block("stuck", "s", 1));
    world.logs().break_group("/logferry/stuck", Some(Fault::Fail(ErrorClass::Throttling)));
    let records = [stuck, inserted(1, &first)];
    assert_eq!(world.invoke(&records).await.unwrap().tally.sent, 3);
    let handled = world.invoke(&[inserted(2, &repacked)]).await.unwrap();
    assert_eq!((handled.tally.sent, handled.tally.sent_before), (1, 0));
    assert_eq!(world.invoke(&records[1..]).await.unwrap().tally.sent_before, 3);
}
