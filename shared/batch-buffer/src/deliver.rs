//! One batch on its way: retried while the reason passes, bisected while it is refused as
//! invalid, what was rejected sent once more, and the rest told apart into dead and unsent.

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

/// Requests one delivery may spend on finding poison. A batch refused for a reason that no part
/// of it escapes (an illegal group name) would otherwise cost two requests per event.
pub const MAX_BISECT_REQUESTS: usize = 1_000;

/// How long to go on.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts after the first, for each request.
    pub max_retries: u32,
    /// The first wait is random between zero and this; each further one doubles the upper end.
    pub backoff_base: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// No request starts after this moment, and one under way is given up.
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

    /// Full jitter: anywhere between zero and the doubled, capped bound.
    fn backoff(&self, attempt: u32) -> Duration {
        let bound = self.backoff_base.saturating_mul(1 << attempt.min(16)).min(self.backoff_max);
        bound.mul_f64(rand::rng().random::<f64>())
    }
}

/// Why an event will never be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// PutLogEvents wants at least one byte.
    EmptyMessage,
    /// Refused alone, or in a batch that could not be told apart within [`MAX_BISECT_REQUESTS`].
    Invalid(String),
    /// Rejected by a 200, twice.
    TooOld,
    /// Rejected by a 200, twice.
    TooNew,
    /// Older than the group's retention, twice.
    Expired,
    /// The service will not have it: access denied, a group that cannot be created.
    Refused(SendError),
}

impl Reason {
    /// One stable word for metrics and files.
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

/// An event that will never be sent, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub event: Event,
    pub reason: Reason,
}

/// Where every event of a batch went: `sent + dead.len() + unsent.len()` is what was given, but
/// for rejected events that had to be split when they were re-stamped.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Events the service confirmed.
    pub sent: usize,
    /// Events that will never be sent.
    pub dead: Vec<DeadLetter>,
    /// Events that can be sent later, in order. One of their requests may have been accepted
    /// with the answer lost.
    pub unsent: Vec<Event>,
    /// Why there is something unsent.
    pub error: Option<SendError>,
    /// Requests made.
    pub requests: usize,
}

/// Sends one legal batch to the end of what is possible now.
///
/// `token` is the stream's sequence token and is kept up to date; it stays `None` for endpoints
/// that never ask for one, as CloudWatch does not today. `clock` gives ms since 1970, for
/// re-stamping what was rejected.
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
    // Parts of the batch still to send, the next one last. `true`: its second chance.
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
    /// One request with its retries.
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
                return Outcome::Passing(SendError::new(ErrorClass::RequestTimeout, "no time left"));
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

/// The call's answer; an error where it panics, or has none before the deadline.
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

/// The events are here and not with the sender, so that its panic takes none of them along. What
/// it says of the panic is not repeated: it may quote a message.
async fn caught<T>(call: impl Future<Output = Result<T, SendError>>) -> Result<T, SendError> {
    let mut call = pin!(call);
    std::future::poll_fn(|context| {
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context)));
        polled
            .unwrap_or_else(|_| Poll::Ready(Err(SendError::new(ErrorClass::Panicked, "the sender panicked"))))
    })
    .await
}

/// Counts what was taken, and returns the rejected events with the reason. Indices beyond the
/// batch and ranges that overlap are taken for what they say, never trusted to be in bounds.
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

/// The rejected events at `now_ms`, each with its own time kept, as batches that are legal again.
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
