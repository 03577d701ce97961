//! Delivers one batch: retries transient failures, bisects a batch that is refused as invalid, sends
//! rejected events once more, and classifies the rest into dead and unsent events.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::event::Event;
use crate::plan::{Limits, plan};
use crate::send::{ErrorClass, Rejected, Request, SendError, Sender};
use crate::split::with_original_timestamp;

/// Maximum requests per delivery for finding poison events. Otherwise, a batch that is refused for a reason
/// common to all its parts (an invalid group name) would cost two requests per event.
pub const MAX_BISECT_REQUESTS: usize = 1_000;

/// Limits of retries.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts after the first one, per request.
    pub max_retries: u32,
    /// The first wait is random between zero and this; the upper bound doubles for each further one.
    pub backoff_base: Duration,
    /// Maximum wait.
    pub backoff_max: Duration,
    /// No request starts after this time, and a running one is cancelled.
    pub deadline: Option<Instant>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: 3,
            backoff_base: Duration::from_millis(200),
            backoff_max: Duration::from_secs(5),
            deadline: None,
        }
    }
}

impl RetryPolicy {
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Full jitter: random between zero and the doubled, capped bound.
    fn backoff(&self, attempt: u32) -> Duration {
        let bound = self.backoff_base.saturating_mul(1 << attempt.min(16)).min(self.backoff_max);
        bound.mul_f64(rand::rng().random::<f64>())
    }
}

/// Why an event can never be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// PutLogEvents requires at least one byte.
    EmptyMessage,
    /// Refused alone, or in a batch that could not be bisected within [`MAX_BISECT_REQUESTS`].
    Invalid(String),
    /// Rejected twice in a 200.
    TooOld,
    /// Rejected twice in a 200.
    TooNew,
    /// Older than the group's retention, twice.
    Expired,
    /// The service refuses it: access denied, or a group that cannot be created.
    Refused(SendError),
}

impl Reason {
    /// Returns a stable code for metrics and files.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyMessage => "EMPTY_MESSAGE",
            Self::Invalid(_) => "INVALID",
            Self::TooOld => "TOO_OLD",
            Self::TooNew => "TOO_NEW",
            Self::Expired => "EXPIRED",
            Self::Refused(_) => "REFUSED",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EmptyMessage => f.write_str("the message is empty"),
            Self::Invalid(message) => write!(f, "refused as invalid: {message}"),
            Self::TooOld => f.write_str("rejected as too old"),
            Self::TooNew => f.write_str("rejected as too new"),
            Self::Expired => f.write_str("rejected as older than the group's retention"),
            Self::Refused(error) => write!(f, "refused: {error}"),
        }
    }
}

/// An event that can never be sent, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub event: Event,
    pub reason: Reason,
}

/// The result for all events of a batch: `sent + dead.len() + unsent.len()` is the number of given events,
/// plus pieces of rejected events that had to be split when they were re-stamped.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Events that the service confirmed.
    pub sent: usize,
    /// Events that can never be sent.
    pub dead: Vec<DeadLetter>,
    /// Events that can be sent later, in order. One of their requests may have been accepted with its
    /// response lost.
    pub unsent: Vec<Event>,
    /// Why events are unsent.
    pub error: Option<SendError>,
    /// Requests sent.
    pub requests: usize,
}

/// Delivers one valid batch as far as possible now.
///
/// `token` is the stream's sequence token and is updated. It stays `None` for endpoints that never ask for
/// one, like CloudWatch today. `clock` returns ms since 1970, for re-stamping rejected events.
pub async fn deliver<S: Sender>(
    sender: &S,
    group: &Arc<str>,
    stream: &Arc<str>,
    batch: Vec<Event>,
    token: &mut Option<String>,
    policy: &RetryPolicy,
    clock: &(dyn Fn() -> i64 + Send + Sync),
) -> Delivery {
    let mut delivery = Delivery::default();
    let mut state = State { created: false, refused: 0 };
    // Remaining parts of the batch, the next one last. `true` marks the second attempt of rejected events.
    let mut parts = vec![(batch, false)];

    while let Some((events, is_second_chance)) = parts.pop() {
        if events.is_empty() {
            continue;
        }
        let request = Request {
            group: group.clone(),
            stream: stream.clone(),
            events: Arc::new(events),
            sequence_token: None,
        };
        let outcome = state.attempt(sender, &request, token, policy, &mut delivery.requests).await;
        let events = Arc::try_unwrap(request.events).unwrap_or_else(|shared| shared.as_ref().clone());
        match outcome {
            Outcome::Accepted(None) => delivery.sent += events.len(),
            Outcome::Accepted(Some(rejected)) => {
                let (sent, back) = sort_out(events, rejected);
                delivery.sent += sent;
                if is_second_chance {
                    delivery
                        .dead
                        .extend(back.into_iter().map(|(event, reason)| DeadLetter { event, reason }));
                } else {
                    let again = back.into_iter().map(|(event, _)| event).collect();
                    parts.extend(restamp(again, clock()).into_iter().rev().map(|batch| (batch, true)));
                }
            }
            Outcome::Invalid(message) if events.len() == 1 || state.refused >= MAX_BISECT_REQUESTS => {
                let reason = Reason::Invalid(message);
                delivery
                    .dead
                    .extend(events.into_iter().map(|event| DeadLetter { event, reason: reason.clone() }));
            }
            Outcome::Invalid(_) => {
                let mut first = events;
                let second = first.split_off(first.len() / 2);
                parts.push((second, is_second_chance));
                parts.push((first, is_second_chance));
            }
            Outcome::Refused(error) => {
                let reason = Reason::Refused(error);
                delivery
                    .dead
                    .extend(events.into_iter().map(|event| DeadLetter { event, reason: reason.clone() }));
            }
            Outcome::Passing(error) => {
                delivery.unsent = events;
                delivery.unsent.extend(parts.into_iter().rev().flat_map(|(events, _)| events));
                delivery.error = Some(error);
                return delivery;
            }
        }
    }
    delivery
}

enum Outcome {
    Accepted(Option<Rejected>),
    Invalid(String),
    Refused(SendError),
    Passing(SendError),
}

struct State {
    created: bool,
    refused: usize,
}

impl State {
    /// Sends one request with its retries.
    async fn attempt<S: Sender>(
        &mut self,
        sender: &S,
        request: &Request,
        token: &mut Option<String>,
        policy: &RetryPolicy,
        requests: &mut usize,
    ) -> Outcome {
        let mut retries = 0;
        let mut creates_now = false;
        loop {
            if policy.is_over() {
                return Outcome::Passing(SendError::new(
                    ErrorClass::RequestTimeout,
                    "the deadline has passed",
                ));
            }
            let answer = if creates_now {
                creates_now = false;
                match within(policy, async { sender.create(&request.group, &request.stream).await }).await {
                    Ok(()) => continue,
                    Err(error) if error.class == ErrorClass::ResourceAlreadyExists => continue,
                    Err(error) if error.class.is_retryable() => {
                        creates_now = true;
                        Err(error)
                    }
                    Err(error) => return Outcome::Refused(error),
                }
            } else {
                *requests += 1;
                let attempt = Request { sequence_token: token.clone(), ..request.clone() };
                within(policy, async { sender.send(attempt).await }).await
            };
            let error = match answer {
                Ok(accepted) => {
                    if token.is_some() {
                        *token = accepted.next_sequence_token;
                    }
                    return Outcome::Accepted(accepted.rejected);
                }
                Err(error) => error,
            };
            match error.class {
                ErrorClass::DataAlreadyAccepted => {
                    if error.expected_sequence_token.is_some() {
                        *token = error.expected_sequence_token;
                    }
                    return Outcome::Accepted(None);
                }
                ErrorClass::InvalidParameter => {
                    self.refused += 1;
                    return Outcome::Invalid(error.message);
                }
                ErrorClass::ResourceNotFound if !self.created => {
                    self.created = true;
                    creates_now = true;
                    continue;
                }
                ErrorClass::InvalidSequenceToken => *token = error.expected_sequence_token.clone(),
                _ => {}
            }
            if !error.class.is_retryable() {
                return Outcome::Refused(error);
            }
            if retries >= policy.max_retries {
                return Outcome::Passing(error);
            }
            if error.class != ErrorClass::InvalidSequenceToken {
                let wait = policy.backoff(retries);
                if policy.deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
                    return Outcome::Passing(error);
                }
                tokio::time::sleep(wait).await;
            }
            retries += 1;
        }
    }
}

/// Returns the call's result, or an error if it panics or misses the deadline.
async fn within<T>(
    policy: &RetryPolicy,
    call: impl Future<Output = Result<T, SendError>>,
) -> Result<T, SendError> {
    let call = caught(call);
    match policy.deadline {
        None => call.await,
        Some(deadline) => tokio::time::timeout_at(deadline, call).await.unwrap_or_else(|_| {
            Err(SendError::new(ErrorClass::RequestTimeout, "the deadline came before an answer"))
        }),
    }
}

/// The events are owned here, not by the sender, so they survive its panic. The panic message is not
/// repeated, because it may contain a log message.
async fn caught<T>(call: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        polled
            .unwrap_or_else(|_| Poll::Ready(Err(SendError::new(ErrorClass::Panicked, "the sender panicked"))))
    })
    .await
}

/// Counts accepted events, and returns the rejected ones with their reason. Indices are clamped to the
/// batch; overlapping ranges are accepted.
fn sort_out(events: Vec<Event>, rejected: Rejected) -> (usize, Vec<(Event, Reason)>) {
    let reason = |index: usize| {
        if rejected.expired_until.is_some_and(|until| index < until) {
            Some(Reason::Expired)
        } else if rejected.too_old_until.is_some_and(|until| index < until) {
            Some(Reason::TooOld)
        } else if rejected.too_new_from.is_some_and(|from| index >= from) {
            Some(Reason::TooNew)
        } else {
            None
        }
    };
    let total = events.len();
    let back: Vec<_> = events
        .into_iter()
        .enumerate()
        .filter_map(|(index, event)| reason(index).map(|reason| (event, reason)))
        .collect();
    (total - back.len(), back)
}

/// Re-stamps rejected events to `now_ms`, each with its original time inside, and returns them as valid
/// batches.
fn restamp(events: Vec<Event>, now_ms: i64) -> Vec<Vec<Event>> {
    let limits = Limits::default();
    let mut again = Vec::with_capacity(events.len());
    for event in events {
        let message = with_original_timestamp(&event.message, event.timestamp_ms);
        if message.len() <= limits.max_message_bytes() {
            again.push(Event { timestamp_ms: now_ms, message, tag: event.tag });
        } else {
            let label = crate::split::label_by_content(&event.message);
            let cut = crate::split::pieces(&event.message, &label, limits.max_message_bytes());
            let stamped =
                |piece: &String| Event::new(now_ms, with_original_timestamp(piece, event.timestamp_ms));
            again.extend(cut.iter().map(|piece| stamped(piece).tagged(event.tag)));
        }
    }
    plan(again, now_ms, &limits).batches
}
