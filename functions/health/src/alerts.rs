//! Alerts: resolves those that have become quiet, and sends the notifications that are due.
//!
//! `flush` decides that an alert fires and stores the notification with the change of state. A run claims a
//! due notification, sends it, and stores that it was sent. If the run dies in between, a later run sends it
//! again, with the same id.

use std::time::Duration;

use futures::StreamExt;
use logferry_core::logbook::alerts::Alert;
use logferry_core::model::alert::Notify;
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, FaultClass, chain};
use logferry_core::ports::alerts::{Active, AlertEvent, AlertKey, AlertStatus, AlertTable, Delivery};
use logferry_core::ports::apps::Apps;
use logferry_core::ports::clock::Clock;
use logferry_health_checks::check::Probe;
use logferry_health_checks::guard::target::Target;
use logferry_health_checks::notifier::{Notification, Notifier};
use logferry_service::metrics::{Emission, NOTIFICATIONS_FAILED};
use logferry_service::webhook_signature::signed;
use serde_json::Value;
use tokio::time::Instant;

use crate::message;
use crate::probe::Prober;

/// Alerts that are worked on concurrently.
const ALERTS_AT_ONCE: usize = 10;
/// Timeout of a webhook (ms).
const WEBHOOK_TIMEOUT_MS: u64 = 10_000;
/// How long a run holds a notification (ms): longer than sending takes.
const HOLD_MS: i64 = 60_000;
/// Pause after the first failed attempt (ms). It doubles with each further one.
const FIRST_PAUSE_MS: i64 = 60_000;
/// Maximum pause between two attempts (ms).
const MAX_PAUSE_MS: i64 = 3_600_000;
/// How long a notification is retried (ms).
const RETRIED_MS: i64 = 24 * 3_600_000;
/// Events of an alert that are searched for due notifications: more than change in a day of retries at one
/// change per run.
const MAX_DUE_EVENTS: u32 = 500;
/// Maximum bytes of an error that is kept.
const MAX_ERROR_BYTES: usize = 300;

/// Time reserved at the end of an invocation, in which no alert is begun: one webhook and its bookkeeping.
pub const ALERTS_RESERVE: Duration = Duration::from_secs(30);

/// Whether an event is [`ALERTS_EVENT`](logferry_core::ports::alerts::ALERTS_EVENT), which starts the alerts
/// without the checks of a slot.
#[must_use]
pub fn is_for_alerts(event: &Value) -> bool {
    event.get("logferry").and_then(Value::as_str) == Some("alerts")
}

/// What alerts need besides the checks.
#[derive(Debug)]
pub struct Alerts<A, T, N, C> {
    pub apps: A,
    pub table: T,
    pub notifier: N,
    pub clock: C,
    pub prober: Prober,
    pub metrics_namespace: String,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AlertSummary {
    pub resolved: u64,
    pub sent: u64,
    /// Attempts that failed, and are retried.
    pub delayed: u64,
    /// Notifications that are given up.
    pub failed: u64,
    /// Of those, and of the delayed ones, how many the topic did not accept. A webhook is the app's own matter.
    pub topic_failures: u64,
}

/// Why a notification was not sent.
struct NotSent {
    error: String,
    /// No retry helps.
    permanent: bool,
}

impl<A: Apps, T: AlertTable, N: Notifier, C: Clock> Alerts<A, T, N, C> {
    /// Works on all active alerts. No alert is begun after `budget`.
    ///
    /// # Errors
    /// A table failed for some alerts. The others are done; what is missing is due in the next run.
    pub async fn run(&self, budget: Duration) -> Result<AlertSummary, Fault> {
        let until = Instant::now() + budget;
        let active = self.table.active().await?;
        let all: Vec<_> = active.iter().map(|active| self.work_on(active, until)).collect();
        let mut all = futures::stream::iter(all).buffer_unordered(ALERTS_AT_ONCE);
        let (mut summary, mut fault) = (AlertSummary::default(), None);
        while let Some(done) = all.next().await {
            match done {
                Ok(done) => {
                    summary.resolved += done.resolved;
                    summary.sent += done.sent;
                    summary.delayed += done.delayed;
                    summary.failed += done.failed;
                    summary.topic_failures += done.topic_failures;
                }
                Err(error) => {
                    tracing::error!(error.chain = %chain(&error), "an alert could not be worked on");
                    fault = Some(error);
                }
            }
        }
        if summary.topic_failures > 0 {
            Emission::new(&self.metrics_namespace)
                .value(NOTIFICATIONS_FAILED, summary.topic_failures)
                .emit(self.clock.now_ms());
        }
        fault.map_or(Ok(summary), Err)
    }

    async fn work_on(&self, active: &Active, until: Instant) -> Result<AlertSummary, Fault> {
        let mut summary = AlertSummary::default();
        if Instant::now() >= until {
            return Ok(summary);
        }
        let Some((app, alert)) = self.find(active).await? else {
            // The rule or its app is deleted, or the rule cannot be read.
            self.table.settle(active).await?;
            return Ok(summary);
        };
        let state = alert.resolve(&self.table, self.clock.now_ms()).await?;
        summary.resolved = u64::from(state.seq > active.seq && state.status == AlertStatus::Ok);
        let mut events = self.table.events(&active.key, MAX_DUE_EVENTS).await?;
        events.retain(|event| matches!(event.delivery, Delivery::Due { .. }));
        // In the order of the changes: a later one waits until the earlier ones are sent or given up.
        let mut waiting = false;
        for event in events.into_iter().rev() {
            if waiting || Instant::now() >= until {
                waiting = true;
                break;
            }
            match self.deliver(&app, &alert, &event).await? {
                Some(Delivery::Sent { .. }) => summary.sent += 1,
                Some(Delivery::Failed { .. }) => summary.failed += 1,
                Some(Delivery::Due { .. }) => {
                    summary.delayed += 1;
                    waiting = true;
                }
                None => waiting = true,
            }
        }
        if alert.rule.notify == Notify::Sns {
            summary.topic_failures = summary.delayed + summary.failed;
        }
        if !waiting && state.status == AlertStatus::Ok {
            self.table.settle(&Active { seq: state.seq, ..active.clone() }).await?;
        }
        Ok(summary)
    }

    async fn find(&self, active: &Active) -> Result<Option<(App, Alert)>, Fault> {
        let app = self.apps.find(&active.key.app_id).await?;
        let Some(app) = app.filter(|app| app.registered_ms == active.key.registered_ms) else {
            return Ok(None);
        };
        let Some(rule) = app.alerts.iter().find(|rule| AlertKey::of(&app, rule) == active.key) else {
            return Ok(None);
        };
        match Alert::new(&app, rule) {
            Ok(alert) => Ok(Some((app, alert))),
            Err(invalid) => {
                let (app_id, name) = (app.app_id.as_str(), rule.name.as_str());
                tracing::error!(app_id, name, field = invalid.name, "an alert's filter cannot be read");
                Ok(None)
            }
        }
    }

    /// Sends a notification if it is due. Returns what became of it; `None` if it is not due, or if
    /// another run holds it.
    async fn deliver(&self, app: &App, alert: &Alert, event: &AlertEvent) -> Result<Option<Delivery>, Fault> {
        let (key, now_ms) = (&alert.key, self.clock.now_ms());
        let Delivery::Due { due_ms, attempts } = event.delivery else { return Ok(None) };
        if due_ms > now_ms {
            return Ok(None);
        }
        let attempts = attempts + 1;
        let held_ms = now_ms + HOLD_MS;
        let held = Delivery::Due { due_ms: held_ms, attempts };
        if !self.table.set_delivery(key, event.seq, due_ms, &held).await? {
            return Ok(None);
        }
        let about = message::about_alert(app, &alert.rule, event);
        let sent = match &alert.rule.notify {
            Notify::Sns => self.publish(&about).await,
            Notify::Webhook(url) => {
                let id = key.notification_id(event.seq);
                let signed = |signing_key| signed(signing_key, &id, &about.json, now_ms);
                match alert.rule.signing_key.as_ref().map(signed).transpose() {
                    Ok(signature) => self.post(url, &about, signature.unwrap_or_default()).await,
                    Err(error) => Err(NotSent { error: error.to_string(), permanent: true }),
                }
            }
        };
        let now_ms = self.clock.now_ms();
        let delivery = match sent {
            Ok(()) => Delivery::Sent { at_ms: now_ms },
            Err(NotSent { error, permanent }) => {
                let (app_id, name) = (key.app_id.as_str(), key.name.as_str());
                tracing::warn!(app_id, name, event = event.seq, attempts, error, "notification not sent");
                if permanent || now_ms - event.at_ms >= RETRIED_MS {
                    Delivery::Failed { error }
                } else {
                    let doubled = FIRST_PAUSE_MS.saturating_mul(1 << (attempts - 1).min(16));
                    Delivery::Due { due_ms: now_ms + doubled.min(MAX_PAUSE_MS), attempts }
                }
            }
        };
        self.table.set_delivery(key, event.seq, held_ms, &delivery).await?;
        Ok(Some(delivery))
    }

    async fn publish(&self, about: &Notification) -> Result<(), NotSent> {
        self.notifier.publish(about).await.map_err(|fault| NotSent {
            permanent: fault.class == FaultClass::Permanent,
            error: fault.to_string(),
        })
    }

    /// Sends a POST under the rules of health checks: only public addresses, no redirects.
    async fn post(
        &self,
        url: &str,
        about: &Notification,
        signature: Vec<(String, String)>,
    ) -> Result<(), NotSent> {
        let refused = |error: String| NotSent { error, permanent: true };
        let target = Target::parse(url, &self.prober.policy)
            .map_err(|refusal| refused(format!("refused: the URL {refusal}")))?;
        let mut headers = signature;
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let request = Probe {
            target,
            method: Some("POST".to_owned()),
            headers,
            body: Some(about.json.clone()),
            timeout_ms: WEBHOOK_TIMEOUT_MS,
            conditions: Vec::new(),
            interval_ms: None,
        };
        let answer = self.prober.probe(&request, self.clock.now_ms()).await;
        match answer.error {
            None if (200..300).contains(&answer.status) => Ok(()),
            None => Err(NotSent { error: format!("status {}", answer.status), permanent: false }),
            Some(mut error) => {
                error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
                Err(NotSent { error, permanent: false })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use logferry_core::ports::alerts::ALERTS_EVENT;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_event_of_flush_starts_the_alerts_and_that_of_the_schedule_does_not() {
        assert!(is_for_alerts(&serde_json::from_str(ALERTS_EVENT).unwrap()));
        assert!(!is_for_alerts(&json!({"source": "aws.events", "detail": {}})));
    }
}
