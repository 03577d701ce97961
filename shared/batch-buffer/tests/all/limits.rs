//! Every limit at n-1, n and n+1, judged by the strict fake.

use batch_buffer::limits::*;
use batch_buffer::testing::StrictLogs;
use batch_buffer::{Event, Limits, Request, Sender, plan, split};

use crate::NOW_MS;

/// Plans `events` and sends every batch. Returns the batch sizes in events.
async fn send(events: Vec<Event>) -> (Vec<usize>, Vec<Event>) {
    let logs = StrictLogs::at(NOW_MS);
    let plan = plan(events, NOW_MS, &Limits::default());
    let sizes = plan.batches.iter().map(Vec::len).collect();
    for batch in plan.batches {
        let request =
            Request { group: "g".into(), stream: "s".into(), events: batch.into(), sequence_token: None };
        let accepted = logs.send(request).await.expect("a legal batch");
        assert_eq!(accepted.rejected, None);
    }
    (sizes, logs.stored("g", "s"))
}

/// A message of exactly `bytes` bytes made of characters of `width` bytes, filled up with `x`.
fn message(bytes: usize, width: usize) -> String {
    let character = ["x", "é", "€", "😀"][width - 1];
    character.repeat(bytes / width) + &"x".repeat(bytes % width)
}

#[tokio::test]
async fn ten_thousand_events_are_one_batch_and_one_more_are_two() {
    for (events, expect) in [(9_999, vec![9_999]), (10_000, vec![10_000]), (10_001, vec![10_000, 1])] {
        assert_eq!(send(vec![Event::new(NOW_MS, "x"); events]).await.0, expect);
    }
}

#[tokio::test]
async fn a_mebibyte_is_one_batch_and_a_byte_more_is_two() {
    for width in 1..=4 {
        for (bytes, batches) in [(MAX_BATCH_BYTES - 1, 1), (MAX_BATCH_BYTES, 1), (MAX_BATCH_BYTES + 1, 2)] {
            let first = MAX_BATCH_BYTES / 2;
            let events = [first, bytes - first]
                .map(|size| Event::new(NOW_MS, message(size - EVENT_OVERHEAD_BYTES, width)));
            assert_eq!(
                send(events.to_vec()).await.0.len(),
                batches,
                "{bytes} bytes of {width}-byte characters"
            );
        }
    }
}

#[tokio::test]
async fn the_longest_message_stays_whole_and_a_byte_more_becomes_pieces_that_rejoin() {
    for width in 1..=4 {
        for (bytes, pieces) in
            [(MAX_MESSAGE_BYTES - 1, 1), (MAX_MESSAGE_BYTES, 1), (MAX_MESSAGE_BYTES + 1, 2)]
        {
            let text = message(bytes, width);
            let (_, stored) = send(vec![Event::new(NOW_MS, text.clone())]).await;
            assert_eq!(stored.len(), pieces, "{bytes} bytes of {width}-byte characters");
            match pieces {
                1 => assert_eq!(stored[0].message, text),
                _ => assert_eq!(
                    split::rejoin(stored.iter().map(|event| event.message.as_str())).unwrap(),
                    text
                ),
            }
        }
    }
}

#[tokio::test]
async fn twenty_four_hours_are_one_batch_and_a_millisecond_more_is_two() {
    for (span, batches) in [(MAX_BATCH_SPAN_MS - 1, 1), (MAX_BATCH_SPAN_MS, 1), (MAX_BATCH_SPAN_MS + 1, 2)] {
        let events = vec![Event::new(NOW_MS, "late"), Event::new(NOW_MS - span, "early")];
        assert_eq!(send(events).await.0.len(), batches, "{span} ms");
    }
}

#[tokio::test]
async fn an_event_up_to_fourteen_days_old_or_two_hours_in_the_future_keeps_its_time() {
    for (offset, restamped) in [
        (-MAX_AGE_MS + 1, false),
        (-MAX_AGE_MS, false),
        (-MAX_AGE_MS - 1, true),
        (MAX_FUTURE_MS - 1, false),
        (MAX_FUTURE_MS, false),
        (MAX_FUTURE_MS + 1, true),
        (-NOW_MS - 1, true),
    ] {
        let own = NOW_MS + offset;
        let (_, stored) = send(vec![Event::new(own, r#"{"a":1}"#)]).await;
        let expect = match restamped {
            false => Event::new(own, r#"{"a":1}"#),
            true => Event::new(NOW_MS, format!(r#"{{"a":1,"originalTimestamp":{own}}}"#)),
        };
        assert_eq!(stored, [expect], "{offset} ms");
    }
}

#[tokio::test]
async fn a_long_message_that_the_original_time_would_make_too_long_becomes_stamped_pieces() {
    for bytes in [MAX_MESSAGE_BYTES - 21, MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES + 1] {
        let text = format!(r#"{{"a":"{}"}}"#, "x".repeat(bytes - 8));
        let (_, stored) = send(vec![Event::new(7, text.clone())]).await;
        assert_eq!(stored.len(), 2);
        assert!(stored.iter().all(
            |event| event.timestamp_ms == NOW_MS && event.message.ends_with(r#","originalTimestamp":7}"#)
        ));
        assert_eq!(split::rejoin(stored.iter().map(|event| event.message.as_str())).unwrap(), text);
    }
    let fits = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_MESSAGE_BYTES - 8 - 22));
    assert_eq!(send(vec![Event::new(7, fits)]).await.1.len(), 1);
}

#[test]
fn an_empty_message_is_refused_and_a_byte_is_accepted() {
    let planned = plan(vec![Event::new(NOW_MS, ""), Event::new(NOW_MS, "x")], NOW_MS, &Limits::default());
    assert_eq!((planned.refused.len(), planned.batches), (1, vec![vec![Event::new(NOW_MS, "x")]]));
}
