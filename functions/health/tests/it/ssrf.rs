//! No probe reaches a private network: forms of URLs, DNS responses and redirects, against a listener on
//! the private side that counts connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use logferry_health::probe::Prober;
use logferry_health_checks::check::{Check, CheckKind};
use logferry_health_checks::guard::forms::FORMS;
use logferry_health_checks::guard::{Policy, Ports, is_public};
use logferry_health_checks::register::register;
use serde_json::json;

use crate::servers::{Server, page};
use crate::world::{Detour, Zone, prober};

const PUBLIC: &str = "9.9.9.9";

/// A private listener that must get no connection, and a policy that would allow its port.
struct Attack {
    private: Server,
    policy: Policy,
}

impl Attack {
    async fn new() -> Attack {
        let private = Server::answering(|_| page("secret")).await;
        let policy =
            Policy { allow_private: false, ports: Ports::Listed(vec![80, 443, private.address.port()]) };
        Attack { private, policy }
    }

    fn url(&self, form: &str) -> String {
        form.replace("{p}", &self.private.address.port().to_string())
    }

    fn victim(&self) -> String {
        format!("http://victim.example.com:{}/", self.private.address.port())
    }

    fn prober(&self, zone: Zone, public: Option<SocketAddr>) -> (Prober, Arc<Detour>, Arc<Zone>) {
        let detour = Arc::new(Detour { public, private: self.private.address, dialled: Mutex::default() });
        let zone = Arc::new(zone);
        let prober = Prober {
            resolver: Arc::clone(&zone) as _,
            dial: Arc::clone(&detour) as _,
            ..prober(self.policy.clone())
        };
        (prober, detour, zone)
    }

    async fn probe(&self, prober: &Prober, url: &str) -> logferry_health::probe::Finding {
        let check = Check::from_value(&json!(url), "check", &self.policy).unwrap();
        let CheckKind::Probe(probe) = check.kind else { panic!("not a probe") };
        prober.probe(&probe, 0).await
    }
}

#[test]
fn there_are_at_least_ninety_forms_and_all_mean_something_private() {
    assert!(FORMS.len() > 110, "{}", FORMS.len());
    for (form, address) in FORMS {
        assert!(!is_public(address.parse().unwrap()), "{form}");
    }
}

#[tokio::test]
async fn a_literal_is_refused_with_a_reason_at_registration_and_never_connected_to() {
    let attack = Attack::new().await;
    for (form, _) in FORMS {
        let url = attack.url(form);
        let errors = register(
            &json!([url]),
            "urls",
            false,
            &serde_json::Value::Null,
            &attack.policy,
            &Zone::default(),
        )
        .await
        .unwrap_err();
        assert!(errors[0].field == "urls[0]" && errors[0].message.len() > 10, "{form} {errors:?}");
        // Also at a probe, if it was stored before the policy changed.
        let world = crate::world::World::new(vec![crate::world::app("shop", json!([url]))]);
        let (prober, detour, _) = attack.prober(Zone::default(), None);
        let health = logferry_health::Health { prober, ..world.health };
        let summary = health.run(0, crate::world::PLENTY).await.unwrap();
        assert_eq!((summary.down, detour.dialled.lock().unwrap().len()), (1, 0), "{form}");
        assert!(world.table.rows()[0].error.as_deref().unwrap().starts_with("refused: "), "{form}");
    }
    assert_eq!(attack.private.accepted(), 0);
}

#[tokio::test]
async fn a_name_with_a_private_address_among_its_answers_is_refused() {
    let attack = Attack::new().await;
    for (form, address) in FORMS {
        for answer in [
            vec![*address],
            vec![PUBLIC, *address],
            vec![*address, PUBLIC],
            vec![PUBLIC, "2620:fe::fe", *address],
        ] {
            let zone = || Zone::default().with("victim.example.com", &[&answer]);
            let errors = register(
                &json!([attack.victim()]),
                "urls",
                false,
                &serde_json::Value::Null,
                &attack.policy,
                &zone(),
            )
            .await
            .unwrap_err();
            assert!(errors[0].message == "leads to an address which is not public", "{form} {errors:?}");
            let (prober, detour, _) = attack.prober(zone(), Some(attack.private.address));
            let error = attack.probe(&prober, &attack.victim()).await.error.unwrap();
            assert!(error.starts_with("refused: the URL leads to "), "{form} {error}");
            assert_eq!(detour.dialled.lock().unwrap().len(), 0, "{form}");
        }
    }
    assert_eq!(attack.private.accepted(), 0);
}

#[tokio::test]
async fn an_answer_that_changes_after_the_check_is_never_asked_for() {
    let attack = Attack::new().await;
    for (form, address) in FORMS {
        let zone = Zone::default().with("victim.example.com", &[&[PUBLIC], &[address]]);
        let (prober, detour, zone) = attack.prober(zone, None);
        let finding = attack.probe(&prober, &attack.victim()).await;
        assert_eq!(finding.error.as_deref(), Some("connect: connection refused"), "{form}");
        assert_eq!(zone.asked(), 1, "{form}");
        let expected: SocketAddr = format!("{PUBLIC}:{}", attack.private.address.port()).parse().unwrap();
        assert_eq!(*detour.dialled.lock().unwrap(), [expected], "{form}");
        // The next probe resolves again and is refused.
        assert!(
            attack.probe(&prober, &attack.victim()).await.error.unwrap().starts_with("refused: "),
            "{form}"
        );
    }
    assert_eq!(attack.private.accepted(), 0);
}

#[tokio::test]
async fn a_redirect_to_a_private_address_is_recorded_and_not_followed() {
    let attack = Attack::new().await;
    for code in [301, 302, 307, 308] {
        for (form, _) in FORMS {
            let location: String = attack.url(form).chars().filter(|c| !c.is_control()).collect();
            let to = location.clone();
            let redirector = Server::answering(move |_| {
                format!("HTTP/1.1 {code} Go\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
            })
            .await;
            let zone = Zone::default().with("victim.example.com", &[&[PUBLIC]]);
            let (prober, detour, _) = attack.prober(zone, Some(redirector.address));
            let finding = attack.probe(&prober, &attack.victim()).await;
            assert_eq!((finding.status, finding.redirect_to), (code, Some(location)), "{form}");
            assert_eq!((detour.dialled.lock().unwrap().len(), redirector.accepted()), (1, 1), "{form}");
        }
    }
    assert_eq!(attack.private.accepted(), 0);
}
