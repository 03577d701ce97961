//! The contract of PutLogEvents as a test suite, for the strict fake and for real endpoints.

use std::sync::Arc;

use crate::event::Event;
use crate::limits::{
    MAX_AGE_MS, MAX_BATCH_BYTES, MAX_BATCH_EVENTS, MAX_BATCH_SPAN_MS, MAX_FUTURE_MS, MAX_MESSAGE_BYTES,
};
use crate::send::{Accepted, ErrorClass, Rejected, Request, SendError, Sender};

/// Distance from a time limit at which clock skew and slow calls do not matter.
const CLOCK_MARGIN_MS: i64 = 60_000;

/// Checks every rule against `sender`, each in a separate stream of `group`. Returns the broken rules as
/// sentences; empty means that all hold.
pub async fn check<S: Sender>(sender: &S, group: &str, now_ms: i64) -> Vec<String> {
    let mut broken = Vec::new();
    for (index, rule) in rules(now_ms).into_iter().enumerate() {
        let request = Request {
            group: group.into(),
            stream: format!("contract/{index}").into(),
            events: Arc::new(rule.events),
            sequence_token: None,
        };
        let mut answer = sender.send(request.clone()).await;
        if answer.as_ref().is_err_and(|error| error.class == ErrorClass::ResourceNotFound) {
            // Creating twice is the same as once.
            for _ in 0..2 {
                if let Err(error) = sender.create(&request.group, &request.stream).await {
                    broken.push(format!("create: {error}"));
                }
            }
            answer = sender.send(request).await;
        }
        if let Some(problem) = problem(&rule.expect, &answer) {
            broken.push(format!("{}: {problem}", rule.says));
        }
    }
    broken
}

struct Rule {
    says: &'static str,
    events: Vec<Event>,
    expect: Expect,
}

enum Expect {
    Taken,
    Invalid,
    Rejects(Rejected),
}

fn problem(expect: &Expect, answer: &Result<Accepted, SendError>) -> Option<String> {
    let holds = match (expect, answer) {
        (Expect::Taken, Ok(accepted)) => accepted.rejected.is_none(),
        (Expect::Invalid, Err(error)) => error.class == ErrorClass::InvalidParameter,
        (Expect::Rejects(rejected), Ok(accepted)) => accepted.rejected == Some(*rejected),
        _ => false,
    };
    (!holds).then(|| format!("{answer:?}"))
}

fn rules(now_ms: i64) -> Vec<Rule> {
    let at = |offset_ms: i64| Event::new(now_ms + offset_ms, "{\"a\":1}");
    let many = |count: usize| (0..count).map(|_| at(0)).collect::<Vec<_>>();
    let long = |bytes: usize| vec![Event::new(now_ms, "x".repeat(bytes))];
    // 3-byte characters: bytes count.
    let euros = |bytes: usize| vec![Event::new(now_ms, "€".repeat(bytes / 3) + &"x".repeat(bytes % 3))];
    let full = |bytes: usize| {
        let half = MAX_BATCH_BYTES / 2;
        vec![Event::new(now_ms, "x".repeat(half - 26)), Event::new(now_ms, "y".repeat(bytes - half - 26))]
    };
    let (old, new) = (-MAX_AGE_MS - CLOCK_MARGIN_MS, MAX_FUTURE_MS + CLOCK_MARGIN_MS);
    let rule = |says, events, expect| Rule { says, events, expect };
    vec![
        rule("one event is taken", vec![at(0)], Expect::Taken),
        rule("no event is refused", vec![], Expect::Invalid),
        rule("an empty message is refused", vec![at(0), Event::new(now_ms, "")], Expect::Invalid),
        rule("10,000 events are taken", many(MAX_BATCH_EVENTS), Expect::Taken),
        rule("10,001 events are refused", many(MAX_BATCH_EVENTS + 1), Expect::Invalid),
        rule("1,048,576 bytes are taken", full(MAX_BATCH_BYTES), Expect::Taken),
        rule("1,048,577 bytes are refused", full(MAX_BATCH_BYTES + 1), Expect::Invalid),
        rule("one event of 1,048,550 bytes is taken", long(MAX_MESSAGE_BYTES), Expect::Taken),
        rule("one event of 1,048,551 bytes is refused", long(MAX_MESSAGE_BYTES + 1), Expect::Invalid),
        rule("1,048,550 bytes of three-byte characters are taken", euros(MAX_MESSAGE_BYTES), Expect::Taken),
        rule(
            "1,048,551 bytes of three-byte characters are refused",
            euros(MAX_MESSAGE_BYTES + 1),
            Expect::Invalid,
        ),
        rule("equal times are in order", vec![at(-5), at(-5), at(0)], Expect::Taken),
        rule("a step back in time is refused", vec![at(0), at(-1)], Expect::Invalid),
        rule("24 hours are taken", vec![at(-MAX_BATCH_SPAN_MS), at(0)], Expect::Taken),
        rule("24 hours and 1 ms are refused", vec![at(-MAX_BATCH_SPAN_MS - 1), at(0)], Expect::Invalid),
        rule(
            "too old is rejected up to an exclusive index",
            vec![at(old), at(old), at(0)],
            Expect::Rejects(Rejected { too_old_until: Some(2), ..Rejected::default() }),
        ),
        rule(
            "too new is rejected from an inclusive index",
            vec![at(0), at(new), at(new)],
            Expect::Rejects(Rejected { too_new_from: Some(1), ..Rejected::default() }),
        ),
        rule(
            "what is rejected does not count for the 24 hours",
            vec![at(old), at(0), at(new)],
            Expect::Rejects(Rejected {
                too_old_until: Some(1),
                too_new_from: Some(2),
                ..Rejected::default()
            }),
        ),
    ]
}
