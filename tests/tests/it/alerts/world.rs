//! Invocations of `flush` with alerts, and of the sender of notifications.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use batch_buffer::testing::StrictLogs;
use logferry_core::model::alert::{AlertRule, Notify};
use logferry_core::model::app::App;
use logferry_core::model::fault::Fault;
use logferry_core::model::level::Level;
use logferry_core::ports::alerts::{AlertEvent, AlertKey};
use logferry_core::ports::clock::Clock;
use logferry_flush::alerts::AlertJudge;
use logferry_flush::{Beside, Handled, STOP_BEFORE_DEADLINE_MS};
use logferry_health::alerts::{AlertSummary, Alerts};
use logferry_health::probe::{Judge, Prober, Tcp, tls_trusting};
use logferry_health_checks::guard::Policy;
use logferry_health_checks::guard::resolve::SystemResolver;
use logferry_sim::{How, SimClock, SimCloud};
use logferry_tests::stream::{EPOCH_MS, blocks, event, flush, inserted};
use serde_json::{Value, json};

/// 2024-03-01T12:00:00Z
pub(super) const NOW_MS: i64 = 1_709_294_400_000;
pub(super) const MINUTE: i64 = 60_000;
pub(super) const APP: &str = "shop";

/// Longer than any invocation in these tests.
const LONG_MS: i64 = 86_400_000;

/// When an invocation dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// In this call, before it had any effect.
    Before(u64),
    /// In this call, after it was processed.
    After(u64),
}

#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) cloud: SimCloud,
    /// Number of blocks made so far, for distinct ids.
    made: Arc<AtomicU64>,
}

/// Fires at three errors in five minutes, and is resolved after ten quiet minutes.
pub(super) fn rule() -> AlertRule {
    AlertRule {
        name: "errors".parse().unwrap(),
        created_ms: NOW_MS - 1,
        filter: BTreeMap::from([("level".to_owned(), "ERROR".to_owned())]),
        threshold: 3,
        window_minutes: 5,
        quiet_minutes: 10,
        notify: Notify::Sns,
        signing_key: None,
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(vec![rule()])
    }

    pub(super) fn with(alerts: Vec<AlertRule>) -> Self {
        let cloud = SimCloud::at(NOW_MS, StrictLogs::at(NOW_MS).empty());
        let app = cloud.add_app(APP);
        cloud.set_app(App { registered_ms: EPOCH_MS, alerts, ..app });
        Self { cloud, made: Arc::default() }
    }

    pub(super) fn key(&self) -> AlertKey {
        let app = self.cloud.apps_now().remove(0);
        AlertKey::of(&app, &app.alerts[0])
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.cloud.clock().now_ms()
    }

    pub(super) fn advance(&self, minutes: i64) {
        self.cloud.clock().advance_ms(minutes * MINUTE);
    }

    /// The stream record of a block of errors at these times, which arrives now.
    pub(super) fn errors(&self, times_ms: &[i64]) -> Value {
        let entry = |time: &i64| (*time, Level::Error, json!({"msg": format!("at {time}")}).to_string());
        self.block(&times_ms.iter().map(entry).collect::<Vec<_>>())
    }

    /// The stream record of a block of these entries, which arrives now.
    pub(super) fn block(&self, entries: &[(i64, Level, String)]) -> Value {
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let block = blocks(APP, &format!("source-{number}"), entries).remove(0);
        inserted(usize::try_from(number).unwrap(), &block, self.now_ms())
    }

    /// `count` errors of now.
    pub(super) fn errors_now(&self, count: usize) -> Value {
        self.errors(&vec![self.now_ms(); count])
    }

    /// Makes the cloud die in one of the next calls.
    pub(super) fn die(&self, death: Option<Death>) {
        self.cloud.stop_faults();
        let before = self.cloud.calls();
        match death {
            Some(Death::Before(call)) => self.cloud.fail_call(before + call, How::Hang),
            Some(Death::After(call)) => self.cloud.fail_call(before + call, How::HangAfter),
            None => {}
        }
    }

    /// Runs one invocation of `flush` in a fresh environment; `None` if it died.
    pub(super) async fn invoke(&self, records: &[Value]) -> Option<Handled> {
        let judge = AlertJudge::new(self.cloud.clone(), self.cloud.clone());
        let (flush, event) = (flush(&self.cloud, self.cloud.clone()), event(records));
        let deadline_ms = self.now_ms() + STOP_BEFORE_DEADLINE_MS + LONG_MS;
        let alerts = judge.judge(&event, flush.apps(), flush.blocks(), self.now_ms());
        let alerts = async { Beside { left: alerts.await, ..Beside::default() } };
        let handled = flush.handle_beside(&event, deadline_ms, alerts);
        tokio::time::timeout(Duration::from_secs(900), handled).await.ok()
    }

    /// Delivers a batch until it is through, as the stream does.
    pub(super) async fn deliver(&self, records: &[Value]) {
        for _ in 0..50 {
            if self.invoke(records).await.is_some_and(|handled| failed(&handled) == 0) {
                return;
            }
        }
        panic!("the batch does not get through");
    }

    pub(super) fn sender(&self) -> Alerts<SimCloud, SimCloud, SimCloud, SimClock> {
        Alerts {
            apps: self.cloud.clone(),
            table: self.cloud.clone(),
            notifier: self.cloud.clone(),
            clock: self.cloud.clock(),
            prober: Prober {
                resolver: Arc::new(SystemResolver),
                dial: Arc::new(Tcp),
                tls: tls_trusting(rustls::RootCertStore::empty()).unwrap(),
                policy: Policy::default(),
                judge: Judge::default(),
            },
            metrics_namespace: "Test".to_owned(),
        }
    }

    /// Runs the sender once; `None` if it died.
    pub(super) async fn send(&self) -> Option<Result<AlertSummary, Fault>> {
        let sender = self.sender();
        let run = sender.run(Duration::from_secs(600));
        tokio::time::timeout(Duration::from_secs(900), run).await.ok()
    }

    /// Runs the sender every minute for some minutes.
    pub(super) async fn pass(&self, minutes: i64) {
        for _ in 0..minutes {
            self.advance(1);
            self.send().await.unwrap().unwrap();
        }
    }

    /// The states to which the alert has changed, oldest first.
    pub(super) fn changes(&self) -> Vec<&'static str> {
        self.events().iter().map(|event| event.to.as_str()).collect()
    }

    pub(super) fn events(&self) -> Vec<AlertEvent> {
        self.cloud.alert_events(&self.key())
    }

    /// The states in the notifications that the topic has received, in order.
    pub(super) fn notified(&self) -> Vec<String> {
        self.received().iter().map(|json| json["state"].as_str().unwrap().to_owned()).collect()
    }

    pub(super) fn received(&self) -> Vec<Value> {
        let all = self.cloud.notifications();
        all.iter().map(|notification| serde_json::from_str(&notification.json).unwrap()).collect()
    }
}

pub(super) fn failed(handled: &Handled) -> usize {
    handled.response.batch_item_failures.len()
}
