//! Ten thousand generated sets of events.

use batch_buffer::limits::*;
use batch_buffer::{Event, Limits, plan, split};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::NOW_MS;

const LIMITS: Limits = Limits { max_events: 8, max_bytes: 1_024, max_age_ms: MAX_AGE_MS };

fn time() -> impl Strategy<Value = i64> {
    const HOUR_MS: i64 = 3_600_000;
    prop_oneof![
        8 => NOW_MS - 2 * HOUR_MS..NOW_MS,
        4 => NOW_MS - 72 * HOUR_MS..=NOW_MS + MAX_FUTURE_MS,
        1 => NOW_MS - 400 * HOUR_MS..NOW_MS + 10 * HOUR_MS,
        1 => prop_oneof![Just(i64::MIN), Just(i64::MAX), Just(0), Just(NOW_MS - MAX_AGE_MS), Just(NOW_MS + MAX_FUTURE_MS)],
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let message = prop_oneof![
        6 => "[a-zé€😀\"\\\\]{1,40}",
        2 => (1usize..1_100).prop_map(|bytes| "x".repeat(bytes)),
        1 => (200usize..1_200).prop_map(|count| "€\n".repeat(count)),
        1 => Just("{\"level\":\"info\"}".to_owned()),
        1 => Just(String::new()),
    ];
    (time(), message).prop_map(|(timestamp_ms, message)| Event::new(timestamp_ms, message))
}

fn size(events: &[Event]) -> usize {
    events.iter().map(Event::size_bytes).sum()
}

fn is_legal(batch: &[Event]) -> bool {
    let span = |batch: &[Event]| batch[batch.len() - 1].timestamp_ms - batch[0].timestamp_ms;
    (1..=LIMITS.max_events).contains(&batch.len())
        && size(batch) <= LIMITS.max_bytes
        && batch.is_sorted_by_key(|event| event.timestamp_ms)
        && span(batch) <= MAX_BATCH_SPAN_MS
        && batch.iter().all(|event| {
            !event.message.is_empty()
                && (NOW_MS - MAX_AGE_MS..=NOW_MS + MAX_FUTURE_MS).contains(&event.timestamp_ms)
        })
}

/// The minimum number of valid batches for these events in this order, by dynamic programming.
fn minimum(events: &[Event]) -> usize {
    let mut least = vec![0];
    for end in 1..=events.len() {
        let legal = (0..end).rev().take_while(|start| is_legal(&events[*start..end]));
        least.push(legal.map(|start| least[start] + 1).min().expect("each event alone is legal"));
    }
    least[events.len()]
}

/// The original texts, restored from batches.
fn texts(batches: &[Vec<Event>]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut pieces: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    for event in batches.iter().flatten() {
        let object: serde_json::Value = serde_json::from_str(&event.message).unwrap_or_default();
        if let Some(id) = object["pieceOf"].as_str() {
            let original = object["originalTimestamp"].as_i64().unwrap_or(event.timestamp_ms);
            pieces.entry(format!("{id} {original}")).or_default().push(event.message.clone());
        } else if let (Some(_), Some(text)) =
            (object["originalTimestamp"].as_i64(), object["message"].as_str())
        {
            texts.push(text.to_owned());
        } else if object["originalTimestamp"].is_i64() {
            texts.push("{\"level\":\"info\"}".to_owned());
        } else {
            texts.push(event.message.clone());
        }
    }
    for lines in pieces.values() {
        let text = split::rejoin(lines.iter().map(String::as_str)).expect("all pieces");
        let of = serde_json::from_str::<serde_json::Value>(&lines[0]).unwrap()["pieces"].as_u64().unwrap()
            as usize;
        texts.extend(std::iter::repeat_n(text, lines.len() / of));
    }
    texts.sort();
    texts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_is_illegal_loses_anything_or_has_more_batches_than_it_must(events in vec(event(), 0..32)) {
        let planned = plan(events.clone(), NOW_MS, &LIMITS);
        for batch in &planned.batches {
            prop_assert!(is_legal(batch), "{batch:?}");
        }
        let flat: Vec<Event> = planned.batches.concat();
        prop_assert!(flat.is_sorted_by_key(|event| event.timestamp_ms));
        prop_assert_eq!(planned.batches.len(), minimum(&flat));

        let (empty, mut said): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.message.is_empty());
        prop_assert_eq!(&planned.refused, &empty);
        let mut expect: Vec<String> = said.iter().map(|event| event.message.clone()).collect();
        expect.sort();
        prop_assert_eq!(texts(&planned.batches), expect);

        // Unchanged events of equal time keep the given order.
        let as_given = |event: &&Event| said_contains(&said, event);
        let kept: Vec<Event> = flat.iter().filter(as_given).cloned().collect();
        said.retain(|event| kept.contains(event));
        said.sort_by_key(|event| event.timestamp_ms);
        prop_assert_eq!(kept, said);
    }
}

fn said_contains(said: &[Event], event: &Event) -> bool {
    said.contains(event)
}
