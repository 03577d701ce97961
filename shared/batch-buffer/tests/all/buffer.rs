//! The buffer: what fills it, what empties it, and what happens if the service refuses events.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use batch_buffer::testing::{Call, Fault, StrictLogs};
use batch_buffer::{
    AddError, BatchBuffer, Config, ErrorClass, Event, Metrics, Request, Sender, Stopped, Structured,
};

use crate::NOW_MS;

fn event(text: impl Into<String>) -> Event {
    Event::new(NOW_MS, text)
}

fn buffer<S: Sender>(sender: S, config: Config) -> BatchBuffer<S> {
    BatchBuffer::builder(sender).config(config).clock(|| NOW_MS).build().unwrap()
}

fn texts(logs: &StrictLogs, group: &str, stream: &str) -> Vec<String> {
    logs.stored(group, stream).into_iter().map(|event| event.message).collect()
}

/// Runs until the background tasks are idle; time is paused, so this is instant.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_sends_one_stream_and_flush_all_the_rest() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config::default());
    for stream in ["a", "b", "c"] {
        buffer.add("g", stream, event("1")).unwrap();
        buffer.add("g", stream, event("2")).unwrap();
    }
    let expect = Metrics { events_buffered: 6, bytes_buffered: 6 * 27, ..Metrics::default() };
    assert_eq!(buffer.metrics(), expect);
    assert_eq!(buffer.flush("g", "a").await, Ok(2));
    assert_eq!(logs.puts(), 1);
    assert_eq!(buffer.flush_all().await, Ok(4));
    assert_eq!(buffer.flush("g", "none").await, Ok(0));
    assert_eq!(logs.puts(), 3, "an empty stream costs no request");
    assert_eq!(
        (buffer.metrics().events_sent, buffer.metrics().events_buffered, buffer.metrics().bytes_in_flight),
        (6, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn the_timer_flushes_every_five_seconds_and_not_before() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config::default());
    buffer.start();
    buffer.start();
    buffer.add("g", "s", event("1")).unwrap();
    tokio::time::sleep(Duration::from_millis(4_999)).await;
    assert_eq!(logs.puts(), 0);
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(logs.puts(), 1);
    buffer.add("g", "s", event("2")).unwrap();
    tokio::time::sleep(Duration::from_millis(5_001)).await;
    assert_eq!(texts(&logs, "g", "s"), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn a_full_stream_is_flushed_without_timer_and_leaves_what_may_still_grow() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config { max_events: 3, ..Config::default() });
    for index in 0..3 {
        buffer.add("g", "s", event(index.to_string())).unwrap();
    }
    settle().await;
    assert_eq!(texts(&logs, "g", "s"), ["0", "1", "2"]);
    for index in 3..7 {
        buffer.add("g", "s", event(index.to_string())).unwrap();
    }
    settle().await;
    assert_eq!((logs.puts(), buffer.metrics().events_buffered), (2, 1));

    let big = buffer_of_two_kib(&logs);
    big.add("g", "bytes", event("x".repeat(1_500))).unwrap();
    settle().await;
    assert_eq!(logs.stored("g", "bytes").len(), 0);
    big.add("g", "bytes", event("y".repeat(1_500))).unwrap();
    settle().await;
    assert_eq!(logs.stored("g", "bytes").len(), 1, "the second waits for company");
    let _ = big.stop().await;
    assert_eq!(logs.stored("g", "bytes").len(), 2);
}

fn buffer_of_two_kib(logs: &StrictLogs) -> BatchBuffer<StrictLogs> {
    buffer(logs.clone(), Config { max_bytes: 2_048, ..Config::default() })
}

#[tokio::test(start_paused = true)]
async fn adds_go_on_during_a_flush_and_flushes_of_a_stream_are_serial() {
    let (running, most): (Arc<AtomicUsize>, Arc<AtomicUsize>) = Default::default();
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (now, top, door) = (running.clone(), most.clone(), gate.clone());
    let slow = move |_: Request| {
        let (now, top, door) = (now.clone(), top.clone(), door.clone());
        async move {
            top.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            door.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(batch_buffer::Accepted::default())
        }
    };
    let buffer = buffer(slow, Config::default());
    buffer.add("g", "s", event("1")).unwrap();
    let flushes: Vec<_> = (0..4)
        .map(|_| {
            let buffer = buffer.clone();
            tokio::spawn(async move { buffer.flush("g", "s").await })
        })
        .collect();
    settle().await;
    for _ in 0..100 {
        buffer.add("g", "s", event("during")).unwrap();
    }
    assert_eq!(running.load(Ordering::SeqCst), 1);
    assert_eq!(buffer.metrics().events_buffered, 100);
    gate.add_permits(10);
    let sent: usize = futures_sum(flushes).await;
    assert_eq!((sent, most.load(Ordering::SeqCst)), (101, 1));
}

async fn futures_sum(
    flushes: Vec<tokio::task::JoinHandle<Result<usize, batch_buffer::FlushError>>>,
) -> usize {
    let mut sum = 0;
    for flush in flushes {
        sum += flush.await.unwrap().unwrap();
    }
    sum
}

#[tokio::test(start_paused = true)]
async fn events_that_could_not_be_sent_go_back_before_those_that_came_later() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config { max_retries: 0, ..Config::default() });
    logs.next([None, Some(Fault::Fail(ErrorClass::Throttling))]);
    buffer.add("g", "s", Event::new(NOW_MS - 25 * 3_600_000, "0")).unwrap();
    for index in 1..4 {
        buffer.add("g", "s", event(index.to_string())).unwrap();
    }
    let error = buffer.flush("g", "s").await.unwrap_err();
    assert_eq!((error.events, error.cause.class), (3, ErrorClass::Throttling));
    buffer.add("g", "s", event("4")).unwrap();
    let metrics = buffer.metrics();
    assert_eq!((metrics.events_buffered, metrics.bytes_buffered, metrics.bytes_in_flight), (4, 4 * 27, 0));
    assert_eq!((metrics.flushes_failed, metrics.flushes_completed), (1, 0));
    assert_eq!(buffer.flush("g", "s").await, Ok(4));
    assert_eq!(texts(&logs, "g", "s"), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_being_full_starts_no_flush_but_the_timer_does() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config { max_retries: 0, max_events: 2, ..Config::default() });
    logs.next([Some(Fault::Fail(ErrorClass::Throttling))]);
    for index in 0..2 {
        buffer.add("g", "s", event(index.to_string())).unwrap();
    }
    settle().await;
    for index in 2..5 {
        buffer.add("g", "s", event(index.to_string())).unwrap();
        settle().await;
    }
    assert_eq!((buffer.metrics().flushes_failed, logs.puts()), (1, 1));
    buffer.start();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(texts(&logs, "g", "s"), ["0", "1", "2", "3", "4"]);
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_handed_over_with_group_stream_and_reason() {
    let logs = StrictLogs::at(NOW_MS).with_poison(|event| event.message == "bad");
    let dead: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = dead.clone();
    let buffer = BatchBuffer::builder(logs.clone())
        .clock(|| NOW_MS)
        .dead_letters(move |group, stream, letters| {
            let lines = letters
                .iter()
                .map(|dead| format!("{group} {stream} {}: {}", dead.event.message, dead.reason));
            seen.lock().unwrap().extend(lines);
        })
        .build()
        .unwrap();
    for text in ["a", "bad", "b"] {
        buffer.add("g", "s", event(text)).unwrap();
    }
    assert_eq!(buffer.flush_all().await, Ok(2));
    assert_eq!(*dead.lock().unwrap(), ["g s bad: refused as invalid: poison"]);
    assert_eq!((buffer.metrics().events_sent, buffer.metrics().events_dead_lettered), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_full_buffer_gives_the_event_back_and_takes_it_when_there_is_room() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer =
        buffer(logs.clone(), Config { max_bytes: 1_024, max_buffered_bytes: 1_024, ..Config::default() });
    let text = "x".repeat(486);
    buffer.add("g", "a", event(text.clone())).unwrap();
    buffer.add("g", "b", event(text.clone())).unwrap();
    assert_eq!(buffer.add("g", "c", event("more")), Err(AddError::Full(event("more"))));
    assert_eq!(buffer.metrics().adds_refused, 1);
    buffer.add_or_wait("g", "c", event("more")).await.unwrap();
    assert_eq!(buffer.add("g", "s", event("")), Err(AddError::EmptyMessage(event(""))));
    assert_eq!(buffer.stop().await, Stopped::default());
    assert_eq!(logs.all_stored().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn stop_sends_what_arrived_during_a_flush_and_refuses_what_comes_later() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config::default());
    buffer.start();
    buffer.add("g", "s", event("1")).unwrap();
    let flush = tokio::spawn({
        let buffer = buffer.clone();
        async move { buffer.flush("g", "s").await }
    });
    while buffer.metrics().flushes_pending == 0 {
        tokio::task::yield_now().await;
    }
    buffer.add("g", "s", event("2")).unwrap();
    assert_eq!(buffer.stop().await, Stopped::default());
    assert_eq!(texts(&logs, "g", "s"), ["1", "2"]);
    assert_eq!(buffer.add("g", "s", event("3")), Err(AddError::Stopped(event("3"))));
    flush.await.unwrap().unwrap();
    assert_eq!(buffer.stop().await, Stopped::default(), "twice is fine");
}

#[tokio::test(start_paused = true)]
async fn stop_hands_back_what_the_service_would_not_take() {
    let logs = StrictLogs::at(NOW_MS);
    logs.next([Some(Fault::Fail(ErrorClass::ServiceUnavailable)); 99]);
    let buffer = buffer(logs.clone(), Config::default());
    buffer.add("g", "s", event("1")).unwrap();
    buffer.add("g", "s", event("2")).unwrap();
    let stopped = buffer.stop().await;
    assert_eq!(stopped.unsent.len(), 1);
    assert_eq!(stopped.unsent[0].events, [event("1"), event("2")]);
    assert_eq!(logs.puts(), 4, "one flush with its three retries");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_flush_future_loses_no_events() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config::default());
    buffer.add("g", "s", event("1")).unwrap();
    logs.next([Some(Fault::Fail(ErrorClass::Throttling))]);
    let gone = tokio::time::timeout(Duration::from_nanos(1), buffer.flush("g", "s")).await;
    assert!(gone.is_err());
    assert_eq!(buffer.stop().await, Stopped::default());
    assert_eq!(texts(&logs, "g", "s"), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_structured_entry_is_one_line_with_the_time_of_now() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config::default());
    buffer.add_structured("g", "s", &Structured::new("info", "User login")).unwrap();
    buffer.flush_all().await.unwrap();
    assert_eq!(logs.stored("g", "s"), [event(r#"{"level":"info","message":"User login"}"#)]);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_wants_tokens_gets_them_from_flush_to_flush() {
    let logs = StrictLogs::at(NOW_MS).wanting_tokens();
    let buffer = buffer(logs.clone(), Config::default());
    for index in 0..4 {
        buffer.add("g", "s", event(index.to_string())).unwrap();
        assert_eq!(buffer.flush("g", "s").await, Ok(1));
    }
    assert_eq!(logs.puts(), 5, "one refusal, then the token is known");
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_callers_code_loses_no_event_and_stops_no_stream() {
    let logs = StrictLogs::at(NOW_MS).with_poison(|event| event.message == "bad");
    let buffer = BatchBuffer::builder(logs.clone())
        .config(Config { max_retries: 0, ..Config::default() })
        .clock(|| panic!("a clock that panics"))
        .dead_letters(|_, _, _| panic!("a receiver that panics"))
        .build()
        .unwrap();
    // The system clock replaces the one that panics.
    logs.set_now_ms(system_now_ms());
    for text in ["1", "2"] {
        buffer.add("g", "s", Event::new(system_now_ms(), text)).unwrap();
    }
    logs.next([Some(Fault::Panic)]);
    let error = buffer.flush("g", "s").await.unwrap_err();
    assert_eq!((error.events, error.cause.class), (2, ErrorClass::Panicked));
    let metrics = buffer.metrics();
    assert_eq!((metrics.events_buffered, metrics.bytes_in_flight, metrics.flushes_failed), (2, 0, 1));

    buffer.add("g", "s", Event::new(system_now_ms(), "bad")).unwrap();
    buffer.add("g", "old", event("long ago")).unwrap();
    assert_eq!(buffer.flush_all().await, Ok(3));
    assert_eq!(texts(&logs, "g", "s"), ["1", "2"]);
    assert_eq!((buffer.metrics().events_dead_lettered, buffer.metrics().flushes_pending), (1, 0));
    assert_eq!(buffer.stop().await, Stopped::default());
}

fn system_now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

#[tokio::test(start_paused = true)]
async fn in_a_bounded_buffer_a_million_events_of_one_stream_starve_none_of_a_thousand() {
    let logs = StrictLogs::at(NOW_MS);
    let config = Config { max_buffered_bytes: 4 << 20, max_concurrent_sends: 1, ..Config::default() };
    let bound = config.max_buffered_bytes;
    let buffer = buffer(logs.clone(), config);
    let (mut small, mut most) = (Vec::new(), 0);
    for number in 0..1_000_000 {
        // All small ones arrive in the first half.
        if number % 500 == 0 && number < 500_000 {
            let (buffer, stream) = (buffer.clone(), format!("small-{number}"));
            small.push(tokio::spawn(async move { buffer.add_or_wait("g", &stream, event("one")).await }));
        }
        buffer.add_or_wait("g", "big", event("1234567890")).await.unwrap();
        let metrics = buffer.metrics();
        most = most.max(metrics.bytes_buffered + metrics.bytes_in_flight);
    }
    for added in small {
        added.await.unwrap().unwrap();
    }
    assert_eq!(buffer.stop().await, Stopped::default());
    assert!(most <= bound, "{most} bytes held");
    assert_eq!(logs.stored("g", "big").len(), 1_000_000);
    assert_eq!(logs.all_stored().len(), 1_001, "each of the small streams");
    let is_big = |call: &Call| matches!(call, Call::Put { stream, .. } if stream == "big");
    let calls = logs.calls();
    let big = calls.iter().filter(|call| is_big(call)).count();
    assert!(big < 200, "{big} requests for what fits a hundred");
    let last_small = calls.iter().rposition(|call| !is_big(call)).unwrap();
    let big_after = calls[last_small..].iter().filter(|call| is_big(call)).count();
    assert!(big_after > 30, "{big_after} requests of the big one came after the last of the small ones");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_streams_with_one_event_do_not_wait_for_one_with_a_million() {
    let logs = StrictLogs::at(NOW_MS);
    let buffer = buffer(logs.clone(), Config { max_concurrent_sends: 1, ..Config::default() });
    for _ in 0..1_000_000 {
        buffer.add("g", "big", event("1234567890")).unwrap();
    }
    for stream in 0..1_000 {
        buffer.add("g", &format!("small-{stream}"), event("one")).unwrap();
    }
    buffer.flush_all().await.unwrap();
    let streams: Vec<bool> =
        logs.calls().iter().map(|call| matches!(call, Call::Put { stream, .. } if stream == "big")).collect();
    assert_eq!(streams.len(), 1_000 + 100);
    let last_small = streams.iter().rposition(|is_big| !is_big).unwrap();
    assert!(last_small < 1_005, "the last small stream was served as request {last_small}");
}
