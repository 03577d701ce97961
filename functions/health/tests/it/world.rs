//! The ports of the function in memory: tables with the port's contract, a topic, DNS, and a dialler that
//! counts.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use logferry_core::model::app::App;
use logferry_core::model::fault::{Fault, FaultClass};
use logferry_core::ports::clock::Clock;
use logferry_health::probe::{Dial, Judge, Prober, Stream, Tcp, tls_trusting};
use logferry_health::{Health, Summary};
use logferry_health_checks::guard::resolve::Resolver;
use logferry_health_checks::guard::{Policy, Ports};
use logferry_health_checks::notifier::{Notification, Notifier};
use logferry_health_checks::testing::MemoryChecks;
use logferry_sim::SimCloud;
use tokio::net::TcpStream;

/// Loopback servers on any port may be probed.
pub(crate) fn local() -> Policy {
    Policy { allow_private: true, ports: Ports::Any }
}

pub(crate) fn app(app_id: &str, checks: serde_json::Value) -> App {
    App { health_checks: checks, ..App::new(app_id.parse().unwrap(), app_id, 1) }
}

/// Rejects what SNS rejects (<https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>).
#[derive(Debug, Clone, Default)]
pub(crate) struct Topic {
    published: Arc<Mutex<Vec<Notification>>>,
    /// No message is accepted now.
    pub(crate) broken: Arc<AtomicBool>,
    /// Every message is rejected permanently.
    pub(crate) refusing: Arc<AtomicBool>,
}

/// The whole message, attributes among it, has at most 262,144 bytes; a subject is one line of less than 100
/// characters that begins with a letter, digit or punctuation.
fn sns_takes(message: &Notification) -> bool {
    let attributes = message.attributes.iter().map(|(name, value)| name.len() + "String".len() + value.len());
    let bytes = logferry_aws::notifier::structured(message).len() + attributes.sum::<usize>();
    let subject = &message.subject;
    bytes <= 262_144
        && subject.chars().count() < 100
        && subject.is_ascii()
        && !subject.chars().any(char::is_control)
        && subject.starts_with(|c: char| c.is_ascii_graphic())
}

impl Topic {
    pub(crate) fn subjects(&self) -> Vec<String> {
        self.published.lock().unwrap().iter().map(|message| message.subject.clone()).collect()
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.published.lock().unwrap().iter().map(|message| message.text.clone()).collect()
    }
}

impl Notifier for Topic {
    async fn publish(&self, notification: &Notification) -> Result<(), Fault> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(Fault::new(FaultClass::Transient, "Publish", "InternalError"));
        }
        if self.refusing.load(Ordering::SeqCst) || !sns_takes(notification) {
            return Err(Fault::new(FaultClass::Permanent, "Publish", "InvalidParameter"));
        }
        self.published.lock().unwrap().push(notification.clone());
        Ok(())
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Watch(Arc<AtomicI64>);

impl Clock for Watch {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// DNS: responses per name, in turn, the last one repeatedly.
#[derive(Debug, Default)]
pub(crate) struct Zone {
    answers: HashMap<String, Vec<Vec<IpAddr>>>,
    asked: AtomicUsize,
}

impl Zone {
    pub(crate) fn with(mut self, name: &str, answers: &[&[&str]]) -> Zone {
        let answers =
            answers.iter().map(|answer| answer.iter().map(|ip| ip.parse().unwrap()).collect()).collect();
        self.answers.insert(name.to_owned(), answers);
        self
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Resolver for Zone {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let answers = self.answers.get(name).ok_or_else(|| io::Error::other("no such name"))?;
            Ok(answers.get(turn).or(answers.last()).cloned().unwrap_or_default())
        })
    }
}

/// Connects public addresses to our server, and everything else to the private listener.
#[derive(Debug)]
pub(crate) struct Detour {
    pub(crate) public: Option<SocketAddr>,
    pub(crate) private: SocketAddr,
    pub(crate) dialled: Mutex<Vec<SocketAddr>>,
}

impl Dial for Detour {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        self.dialled.lock().unwrap().push(address);
        let to = if logferry_health_checks::guard::is_public(address.ip()) {
            self.public
        } else {
            Some(self.private)
        };
        Box::pin(async move {
            match to {
                Some(to) => Ok(Box::new(TcpStream::connect(to).await?) as Box<dyn Stream>),
                None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}

pub(crate) fn prober(policy: Policy) -> Prober {
    let localhost = Zone::default().with("localhost", &[&["127.0.0.1"]]);
    Prober {
        resolver: Arc::new(localhost),
        dial: Arc::new(Tcp),
        tls: tls_trusting(rustls::RootCertStore::empty()).unwrap(),
        policy,
        judge: Judge::default(),
    }
}

/// The function on tables in memory.
pub(crate) type TestHealth = Health<SimCloud, MemoryChecks, Topic, Watch>;

pub(crate) struct World {
    pub(crate) table: MemoryChecks,
    pub(crate) topic: Topic,
    pub(crate) health: TestHealth,
}

/// Five minutes.
pub(crate) const SLOT: i64 = 300_000;
pub(crate) const PLENTY: Duration = Duration::from_secs(240);

impl World {
    pub(crate) fn new(apps: Vec<App>) -> World {
        World::probing_with(apps, prober(local()))
    }

    pub(crate) fn probing_with(apps: Vec<App>, prober: Prober) -> World {
        let (table, topic, cloud) = (MemoryChecks::default(), Topic::default(), SimCloud::default());
        apps.into_iter().for_each(|app| cloud.set_app(app));
        let health = Health {
            apps: cloud,
            table: table.clone(),
            notifier: topic.clone(),
            clock: Watch::default(),
            prober,
            schedule_ms: SLOT,
            metrics_namespace: "Test".to_owned(),
            metrics_detail: logferry_health::measure::Detail::Url,
        };
        World { table, topic, health }
    }

    /// Runs the nth slot, as an event some time into it.
    pub(crate) async fn run(&self, slot: i64) -> Result<Summary, Fault> {
        self.health.run(slot * SLOT + 17_000, PLENTY).await
    }
}
