//! One batch through every error class, every rejection, and poison at every position.

use std::sync::Arc;
use std::time::Duration;

use batch_buffer::testing::{Call, Fault, StrictLogs};
use batch_buffer::{
    Accepted, Delivery, ErrorClass, Event, Reason, Rejected, Request, RetryPolicy, SendError, Sender, deliver,
};
use tokio::time::Instant;

use crate::NOW_MS;

fn numbered(count: usize) -> Vec<Event> {
    (0..count).map(|index| Event::new(NOW_MS, format!("{{\"n\":{index}}}"))).collect()
}

async fn run<S: Sender>(
    sender: &S,
    batch: Vec<Event>,
    token: &mut Option<String>,
    policy: &RetryPolicy,
) -> Delivery {
    deliver(sender, &Arc::from("g"), &Arc::from("s"), batch, token, policy, &|| NOW_MS).await
}

async fn send<S: Sender>(sender: &S, batch: Vec<Event>) -> Delivery {
    run(sender, batch, &mut None, &RetryPolicy::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_passing_error_is_retried_three_times_and_then_everything_comes_back_in_order() {
    for class in [
        ErrorClass::Throttling,
        ErrorClass::ServiceUnavailable,
        ErrorClass::InternalServerError,
        ErrorClass::RequestTimeout,
        ErrorClass::Connection,
        ErrorClass::InvalidSequenceToken,
    ] {
        let logs = StrictLogs::at(NOW_MS);
        logs.next([Some(Fault::Fail(class)); 3]);
        let delivery = send(&logs, numbered(5)).await;
        assert_eq!((delivery.sent, delivery.unsent.len(), logs.puts()), (5, 0, 4), "{class:?} passes");

        let logs = StrictLogs::at(NOW_MS);
        logs.next([Some(Fault::Fail(class)); 4]);
        let delivery = send(&logs, numbered(5)).await;
        assert_eq!((delivery.sent, logs.puts(), delivery.dead.len()), (0, 4, 0), "{class:?} stays");
        assert_eq!(delivery.unsent, numbered(5));
        assert_eq!(delivery.error.map(|error| error.class), Some(class));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lasting_error_is_asked_once_and_its_events_are_dead_with_the_reason() {
    for class in [ErrorClass::AccessDenied, ErrorClass::ResourceAlreadyExists, ErrorClass::Other] {
        let logs = StrictLogs::at(NOW_MS);
        logs.next([Some(Fault::Fail(class))]);
        let delivery = send(&logs, numbered(2)).await;
        assert_eq!((delivery.sent, delivery.unsent.len(), logs.puts()), (0, 0, 1), "{class:?}");
        let reasons: Vec<_> = delivery.dead.into_iter().map(|dead| dead.reason).collect();
        assert_eq!(reasons, vec![Reason::Refused(SendError::new(class, "as configured")); 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn data_already_accepted_is_success() {
    let logs = StrictLogs::at(NOW_MS);
    logs.next([Some(Fault::Fail(ErrorClass::DataAlreadyAccepted))]);
    let delivery = send(&logs, numbered(2)).await;
    assert_eq!((delivery.sent, delivery.dead.len(), logs.puts()), (2, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_exist_is_created_and_sent_once_more() {
    let logs = StrictLogs::at(NOW_MS).empty();
    let delivery = send(&logs, numbered(2)).await;
    assert_eq!(delivery.sent, 2);
    let put = Call::Put { group: "g".into(), stream: "s".into(), events: 2, bytes: 66 };
    assert_eq!(logs.calls(), [put.clone(), Call::Create { group: "g".into(), stream: "s".into() }, put]);

    let logs = StrictLogs::at(NOW_MS);
    logs.next([
        Some(Fault::Fail(ErrorClass::ResourceNotFound)),
        None,
        Some(Fault::Fail(ErrorClass::ResourceNotFound)),
    ]);
    let delivery = send(&logs, numbered(2)).await;
    assert_eq!(
        (delivery.sent, delivery.dead.len(), logs.calls().len()),
        (0, 2, 3),
        "created, and still not found"
    );
}

#[tokio::test(start_paused = true)]
async fn creating_may_fail_too() {
    let not_found = Some(Fault::Fail(ErrorClass::ResourceNotFound));
    for (class, sent, calls) in [
        (ErrorClass::ResourceAlreadyExists, 2, 3),
        (ErrorClass::ServiceUnavailable, 2, 4),
        (ErrorClass::AccessDenied, 0, 2),
        (ErrorClass::InvalidParameter, 0, 2),
    ] {
        let logs = StrictLogs::at(NOW_MS);
        logs.next([not_found, Some(Fault::Fail(class))]);
        let delivery = send(&logs, numbered(2)).await;
        assert_eq!(
            (delivery.sent, delivery.dead.len(), logs.calls().len()),
            (sent, 2 - sent, calls),
            "{class:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_cannot_create_so_a_missing_stream_is_permanent() {
    let missing = |_| std::future::ready(Err(SendError::new(ErrorClass::ResourceNotFound, "no such stream")));
    let delivery = send(&missing, numbered(1)).await;
    assert_eq!((delivery.dead.len(), delivery.requests), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_token_an_endpoint_asks_for_is_taken_and_kept() {
    let logs = StrictLogs::at(NOW_MS).wanting_tokens();
    let mut token = None;
    for _ in 0..2 {
        assert_eq!(run(&logs, numbered(1), &mut token, &RetryPolicy::default()).await.sent, 1);
    }
    // First without; second refused for the missing token; third accepted.
    assert_eq!(logs.puts(), 3);
    assert_eq!(run(&logs, numbered(1), &mut token, &RetryPolicy::default()).await.requests, 1);
}

#[tokio::test(start_paused = true)]
async fn poison_at_each_of_a_hundred_positions_stands_alone_and_nothing_is_sent_twice() {
    for position in 0..100 {
        let poison = format!("{{\"n\":{position}}}");
        let is_poison = poison.clone();
        let logs = StrictLogs::at(NOW_MS).with_poison(move |event| event.message == is_poison);
        let delivery = send(&logs, numbered(100)).await;
        assert_eq!((delivery.sent, delivery.dead.len()), (99, 1));
        assert_eq!((&delivery.dead[0].event.message, delivery.dead[0].reason.code()), (&poison, "INVALID"));
        let expect: Vec<Event> = numbered(100).into_iter().filter(|event| event.message != poison).collect();
        assert_eq!(logs.stored("g", "s"), expect, "99 events, once each, in order");
        assert!(logs.puts() <= 2 * 7 + 1, "{} requests", logs.puts());
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_poison_through_and_through_costs_a_bounded_number_of_requests() {
    let logs = StrictLogs::at(NOW_MS).with_poison(|_| true);
    let delivery = send(&logs, numbered(10_000)).await;
    assert_eq!((delivery.sent, delivery.dead.len(), delivery.unsent.len()), (0, 10_000, 0));
    assert!(delivery.requests <= 1_000 + 32, "{} requests", delivery.requests);
}

#[tokio::test(start_paused = true)]
async fn a_passing_error_in_the_middle_of_a_bisection_returns_only_what_was_not_sent() {
    let logs = StrictLogs::at(NOW_MS).with_poison(|event| event.message == "{\"n\":0}");
    logs.next([None, None, None, None].into_iter().chain([Some(Fault::Fail(ErrorClass::Throttling)); 4]));
    let delivery = send(&logs, numbered(8)).await;
    // 8 refused, 4 refused, 2 refused, {0} dead, then {1} throttled.
    assert_eq!((delivery.sent, delivery.dead.len()), (0, 1));
    assert_eq!(delivery.unsent, numbered(8)[1..]);
}

/// Rejects the first request as given and accepts all others.
fn rejecting(
    first: Rejected,
    second: Option<Rejected>,
) -> (impl Sender, Arc<std::sync::Mutex<Vec<Request>>>) {
    let seen: Arc<std::sync::Mutex<Vec<Request>>> = Arc::default();
    let requests = seen.clone();
    let sender = move |request: Request| {
        let mut requests = requests.lock().unwrap();
        requests.push(request);
        let rejected = if requests.len() == 1 { Some(first) } else { second };
        std::future::ready(Ok(Accepted { rejected, next_sequence_token: None }))
    };
    (sender, seen)
}

#[tokio::test(start_paused = true)]
async fn every_combination_of_rejected_indices_is_sent_once_more_and_nothing_else_is() {
    let indices = || (0..=7).map(Some).chain([None, Some(usize::MAX)]);
    for too_new_from in indices() {
        for too_old_until in indices() {
            for expired_until in indices() {
                let rejected = Rejected { too_new_from, too_old_until, expired_until };
                let is_back = |index: usize| {
                    too_new_from.is_some_and(|from| index >= from)
                        || too_old_until.is_some_and(|until| index < until)
                        || expired_until.is_some_and(|until| index < until)
                };
                let back: Vec<String> = (0..6)
                    .filter(|index| is_back(*index))
                    .map(|index| format!("{{\"n\":{index},\"originalTimestamp\":{}}}", 5))
                    .collect();
                let batch = (0..6).map(|index| Event::new(5, format!("{{\"n\":{index}}}"))).collect();

                let (sender, seen) = rejecting(rejected, None);
                let delivery = send(&sender, batch).await;
                assert_eq!(
                    (delivery.sent, delivery.dead.len(), delivery.unsent.len()),
                    (6, 0, 0),
                    "{rejected:?}"
                );
                let again: Vec<Event> =
                    seen.lock().unwrap()[1..].iter().flat_map(|request| request.events.to_vec()).collect();
                assert_eq!(
                    again,
                    back.iter().map(|text| Event::new(NOW_MS, text.clone())).collect::<Vec<_>>(),
                    "{rejected:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_rejected_twice_is_dead_with_the_reason_and_its_original_time() {
    for (again, code) in [
        (Rejected { too_old_until: Some(2), ..Rejected::default() }, "TOO_OLD"),
        (Rejected { too_new_from: Some(0), ..Rejected::default() }, "TOO_NEW"),
        (Rejected { expired_until: Some(2), too_old_until: Some(1), ..Rejected::default() }, "EXPIRED"),
    ] {
        let (sender, seen) =
            rejecting(Rejected { too_old_until: Some(2), ..Rejected::default() }, Some(again));
        let delivery = send(&sender, vec![Event::new(5, "a"), Event::new(6, "b"), Event::new(7, "c")]).await;
        assert_eq!((delivery.sent, seen.lock().unwrap().len()), (1, 2));
        let dead: Vec<_> =
            delivery.dead.iter().map(|dead| (dead.event.message.as_str(), dead.reason.code())).collect();
        let a = r#"{"originalTimestamp":5,"message":"a"}"#;
        let b = r#"{"originalTimestamp":6,"message":"b"}"#;
        assert_eq!(dead, [(a, code), (b, code)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_repeats_one_request_and_no_other() {
    let logs = StrictLogs::at(NOW_MS);
    logs.next([Some(Fault::LoseAnswer)]);
    let delivery = send(&logs, numbered(3)).await;
    assert_eq!((delivery.sent, logs.stored("g", "s").len()), (3, 6));
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_after_the_deadline_and_a_hanging_call_is_given_up() {
    let policy =
        RetryPolicy { deadline: Some(Instant::now() + Duration::from_secs(3)), ..RetryPolicy::default() };
    let logs = StrictLogs::at(NOW_MS);
    logs.next([Some(Fault::Hang)]);
    let delivery = run(&logs, numbered(3), &mut None, &policy).await;
    assert_eq!((delivery.sent, delivery.unsent.len(), logs.puts()), (0, 3, 1));
    assert!(Instant::now() >= policy.deadline.unwrap());
    let delivery = run(&logs, numbered(3), &mut None, &policy).await;
    assert_eq!((delivery.unsent.len(), logs.puts()), (3, 1), "no call after it");
}

#[tokio::test(start_paused = true)]
async fn waits_are_jittered_and_capped() {
    let policy = RetryPolicy {
        max_retries: 40,
        backoff_base: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
        deadline: None,
    };
    let logs = StrictLogs::at(NOW_MS);
    logs.next([Some(Fault::Fail(ErrorClass::Throttling)); 41]);
    let start = Instant::now();
    assert_eq!(run(&logs, numbered(1), &mut None, &policy).await.requests, 41);
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(40) && waited > Duration::from_secs(5), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_panics_is_asked_again_and_the_events_are_still_there() {
    let logs = StrictLogs::at(NOW_MS);
    logs.next([Some(Fault::Panic), None]);
    let delivery = send(&logs, numbered(3)).await;
    assert_eq!((delivery.sent, logs.puts()), (3, 2));

    logs.next([Some(Fault::Panic); 4]);
    let delivery = send(&logs, numbered(3)).await;
    assert_eq!((delivery.sent, delivery.dead.len(), delivery.requests), (0, 0, 4));
    assert_eq!(delivery.unsent, numbered(3));
    let error = delivery.error.unwrap();
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::Panicked, "the sender panicked"));

    // Also before there is a future, which is what a closure's own code is.
    let hasty = |request: Request| {
        assert!(request.events.len() < 2, "too many for me: {:?}", request.events);
        std::future::ready(Ok(Accepted::default()))
    };
    assert_eq!(send(&hasty, numbered(2)).await.unsent, numbered(2));
    assert_eq!(send(&hasty, numbered(1)).await.sent, 1);
}
