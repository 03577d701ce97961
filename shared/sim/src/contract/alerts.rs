//! The contract of what alerts count and of their states.

use futures::future::join_all;
use logferry_core::model::ids::BlockId;
use logferry_core::ports::alerts::{
    Active, AlertChange, AlertEvent, AlertKey, AlertState, AlertStatus, AlertTable, AlertWindow, BlockCount,
    CrossedWindow, Delivery, MAX_SAMPLES, Sample, WindowCount,
};

use super::T0;
use super::records::{fresh_app, good};

fn fresh() -> AlertKey {
    let name = "errors".parse().unwrap_or_else(|error| panic!("{error}"));
    AlertKey { app_id: fresh_app(), registered_ms: T0, name, created_ms: T0 + 1 }
}

fn block(number: u8, windows: &[(i64, u32)]) -> BlockCount {
    let counts = windows.iter();
    let window = |&(start_ms, count)| WindowCount { start_ms, count, samples: Vec::new() };
    BlockCount { block_id: BlockId([number; 16]), windows: counts.map(window).collect() }
}

fn window(start_ms: i64, count: u64, crossed: bool) -> AlertWindow {
    AlertWindow { start_ms, count, samples: Vec::new(), crossed }
}

async fn windows<T: AlertTable>(table: &T, key: &AlertKey, starts_ms: &[i64]) -> Vec<AlertWindow> {
    let mut windows = good(table.windows(key, starts_ms).await);
    windows.sort_by_key(|window| window.start_ms);
    windows
}

/// A repeated block adds nothing. Another rule, or the rule of another registration, counts separately.
pub async fn a_block_counts_once_per_rule<T: AlertTable>(table: &T) {
    let key = fresh();
    let (first, second) = (block(1, &[(T0, 2), (T0 + 60_000, 3)]), block(2, &[(T0, 5)]));
    assert_eq!(windows(table, &key, &[T0]).await, []);
    good(table.count(&key, std::slice::from_ref(&first), T0).await);
    good(table.count(&key, &[first.clone(), second.clone(), second], T0).await);
    let both = [T0, T0 + 60_000, T0 + 120_000];
    let counted = [window(T0, 7, false), window(T0 + 60_000, 3, false)];
    assert_eq!(windows(table, &key, &both).await, counted);
    for other in [
        fresh(),
        AlertKey { registered_ms: T0 + 1, ..key.clone() },
        AlertKey { created_ms: T0, ..key.clone() },
    ] {
        assert_eq!(windows(table, &other, &both).await, []);
        good(table.count(&other, std::slice::from_ref(&first), T0).await);
    }
    assert_eq!(windows(table, &key, &both).await, counted);
}

/// Many blocks with many windows are counted, also by several invocations at once.
pub async fn blocks_counted_at_once_count_once<T: AlertTable>(table: &T) {
    let key = fresh();
    let hour: Vec<(i64, u32)> = (0..60).map(|minute| (T0 + minute * 60_000, 1)).collect();
    let blocks: Vec<BlockCount> = (0..6).map(|number| block(number, &hour)).collect();
    for counted in join_all((0..3).map(|_| table.count(&key, &blocks, T0))).await {
        good(counted);
    }
    let starts: Vec<i64> = hour.iter().map(|(start_ms, _)| *start_ms).collect();
    let expected: Vec<AlertWindow> = starts.iter().map(|start_ms| window(*start_ms, 6, false)).collect();
    assert_eq!(windows(table, &key, &starts).await, expected);
}

fn sample(id: u8) -> Sample {
    Sample {
        id: id.to_string(),
        timestamp: format!("2025-10-09T08:53:{id:02}.000Z"),
        level: logferry_core::model::level::Level::Error,
        message: "ü \"quoted\"\n".to_owned(),
    }
}

/// A window keeps samples of all blocks until it has enough. A repeated block adds none.
pub async fn a_window_keeps_the_samples_of_several_blocks<T: AlertTable>(table: &T) {
    let key = fresh();
    let with = |number: u8, ids: &[u8]| {
        let samples = ids.iter().map(|id| sample(*id)).collect();
        let windows = vec![WindowCount { start_ms: T0, count: 5, samples }];
        BlockCount { block_id: BlockId([number; 16]), windows }
    };
    for _ in 0..2 {
        good(table.count(&key, &[with(1, &[7])], T0).await);
    }
    let samples = async || windows(table, &key, &[T0]).await.remove(0).samples;
    assert_eq!(samples().await, [sample(7)]);
    good(table.count(&key, &[with(2, &[3, 4, 5]), with(3, &[8, 9])], T0).await);
    let kept = samples().await;
    assert_eq!((kept.len(), &kept[0]), (MAX_SAMPLES, &sample(3)));
    for number in 4..40 {
        good(table.count(&key, &[with(number, &[number, number + 1, number + 2])], T0).await);
    }
    assert_eq!(samples().await, kept, "a full window takes no more");
    let counted = windows(table, &key, &[T0]).await;
    assert_eq!(counted[0].count, 39 * 5);
}

fn event(seq: u32, to: AlertStatus) -> AlertEvent {
    AlertEvent {
        seq,
        to,
        at_ms: T0,
        window: Some(CrossedWindow { start_ms: T0, end_ms: T0 + 60_000, count: 9 }),
        samples: vec![Sample {
            id: "01".to_owned(),
            timestamp: "2025-10-09T08:53:20.000Z".to_owned(),
            level: logferry_core::model::level::Level::Error,
            message: "ü \"quoted\"\n".to_owned(),
        }],
        delivery: Delivery::Due { due_ms: T0, attempts: 0 },
    }
}

/// A state changes from a known version only, a window crosses once, and both change together with the
/// event.
pub async fn a_change_is_made_whole_and_once<T: AlertTable>(table: &T) {
    let key = fresh();
    assert_eq!(good(table.state(&key).await), AlertState::default());
    good(table.count(&key, &[block(1, &[(T0, 9)])], T0).await);
    let firing = AlertState { status: AlertStatus::Firing, seq: 1, since_ms: T0, over_ms: T0, version: 1 };
    let fires = AlertChange {
        was_version: 0,
        state: firing,
        crosses: Some(T0),
        event: Some(event(1, AlertStatus::Firing)),
    };
    let once = join_all((0..4).map(|_| table.change(&key, &fires))).await;
    assert_eq!(once.into_iter().filter(|changed| matches!(changed, Ok(true))).count(), 1);
    assert_eq!(good(table.state(&key).await), firing);
    assert_eq!(windows(table, &key, &[T0]).await, [window(T0, 9, true)]);
    assert_eq!(good(table.events(&key, 10).await), [event(1, AlertStatus::Firing)]);

    // The window has crossed: nothing of this is written.
    let again = AlertChange {
        was_version: 1,
        state: AlertState { version: 2, seq: 2, ..firing },
        event: Some(event(2, AlertStatus::Firing)),
        ..fires
    };
    assert!(!good(table.change(&key, &again).await));
    assert_eq!(good(table.state(&key).await), firing);
    let resolved = AlertState { status: AlertStatus::Ok, seq: 2, version: 2, ..firing };
    let resolves = AlertChange {
        was_version: 1,
        state: resolved,
        crosses: None,
        event: Some(event(2, AlertStatus::Ok)),
    };
    assert!(good(table.change(&key, &resolves).await));
    assert_eq!(good(table.events(&key, 1).await), [event(2, AlertStatus::Ok)], "newest first");
    assert_eq!(good(table.events(&key, 10).await).len(), 2);
}

/// A due notification is claimed by one sender. Once sent or given up, it stays so.
pub async fn a_notification_is_claimed_by_one_sender<T: AlertTable>(table: &T) {
    let key = fresh();
    let state = AlertState { status: AlertStatus::Firing, seq: 1, since_ms: T0, over_ms: T0, version: 1 };
    let change =
        AlertChange { was_version: 0, state, crosses: None, event: Some(event(1, AlertStatus::Firing)) };
    assert!(good(table.change(&key, &change).await));
    let held = Delivery::Due { due_ms: T0 + 60_000, attempts: 1 };
    let claims = join_all((0..4).map(|_| table.set_delivery(&key, 1, T0, &held))).await;
    assert_eq!(claims.into_iter().filter(|claimed| matches!(claimed, Ok(true))).count(), 1);
    let sent = Delivery::Sent { at_ms: T0 + 5 };
    assert!(!good(table.set_delivery(&key, 1, T0, &sent).await), "not held any more");
    assert!(!good(table.set_delivery(&key, 2, T0, &sent).await), "no such event");
    assert!(good(table.set_delivery(&key, 1, T0 + 60_000, &sent).await));
    assert!(!good(table.set_delivery(&key, 1, T0 + 60_000, &held).await), "sent for good");
    assert_eq!(good(table.events(&key, 1).await)[0].delivery, sent);
}

/// An alert is active from its event on, until it is settled without another event in between.
pub async fn an_alert_is_active_until_it_is_settled<T: AlertTable>(table: &T) {
    let key = fresh();
    let active = async || {
        let active = good(table.active().await);
        active.into_iter().filter(|active| active.key == key).map(|active| active.seq).collect::<Vec<_>>()
    };
    for (seq, status) in [(1, AlertStatus::Firing), (2, AlertStatus::Ok)] {
        let state = AlertState { status, seq, since_ms: T0, over_ms: T0, version: u64::from(seq) };
        let was_version = u64::from(seq) - 1;
        let change = AlertChange { was_version, state, crosses: None, event: Some(event(seq, status)) };
        assert!(good(table.change(&key, &change).await));
        assert_eq!(active().await, [seq]);
    }
    good(table.settle(&Active { key: key.clone(), seq: 1 }).await);
    assert_eq!(active().await, [2], "it has changed since");
    good(table.settle(&Active { key: key.clone(), seq: 2 }).await);
    assert_eq!(active().await, [0_u32; 0]);
}
