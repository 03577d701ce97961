//! No probe reaches a private network: forms of URLs, DNS answers and redirects, against a listener
//! on the private side that counts connections.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use logferry_health::probe::Prober;
use logferry_health_checks::check::{Check, CheckKind};
use logferry_health_checks::guard::{Policy, Ports, is_public};
use logferry_health_checks::register::register;
use serde_json::json;

use crate::servers::{Server, page};
use crate::world::{Detour, Zone, prober};

/// URLs (`{p}` is the listener's port) and the private address each of them means.
const FORMS: &[(&str, &str)] = &[
    // one loopback address, many spellings
    ("http://127.0.0.1:{p}/", "127.0.0.1"),
    ("https://127.0.0.1:{p}/", "127.0.0.1"),
    ("HTTP://127.0.0.1:{p}/", "127.0.0.1"),
    ("http://127.0.0.1.:{p}/", "127.0.0.1"),
    ("http://127.1:{p}/", "127.0.0.1"),
    ("http://127.0.1:{p}/", "127.0.0.1"),
    ("http://2130706433:{p}/", "127.0.0.1"),
    ("http://0x7f000001:{p}/", "127.0.0.1"),
    ("http://0X7F.1:{p}/", "127.0.0.1"),
    ("http://0x7f.0x0.0x0.0x1:{p}/", "127.0.0.1"),
    ("http://017700000001:{p}/", "127.0.0.1"),
    ("http://0177.0.0.1:{p}/", "127.0.0.1"),
    ("http://0177.0.0.01:{p}/", "127.0.0.1"),
    ("http://127.0.0.0x1:{p}/", "127.0.0.1"),
    ("http://１２７.０.０.１:{p}/", "127.0.0.1"),
    ("http://①②⑦.⓪.⓪.①:{p}/", "127.0.0.1"),
    ("http://127。0。0。1:{p}/", "127.0.0.1"),
    ("http://127%2e0%2e0%2e1:{p}/", "127.0.0.1"),
    ("http://%31%32%37.0.0.1:{p}/", "127.0.0.1"),
    ("http:\\\\127.0.0.1:{p}\\", "127.0.0.1"),
    ("http:/127.0.0.1:{p}/", "127.0.0.1"),
    ("http:127.0.0.1:{p}/", "127.0.0.1"),
    ("http:////127.0.0.1:{p}/", "127.0.0.1"),
    ("http://127.0.0.1:{p}#@example.com/", "127.0.0.1"),
    ("http://127.0.0.1:{p}?@example.com/", "127.0.0.1"),
    ("http://127.0.0.1:{p}\\@example.com/", "127.0.0.1"),
    ("http://127.0.0.1:00{p}/", "127.0.0.1"),
    ("http://127.0.0.2:{p}/", "127.0.0.2"),
    ("http://127.255.255.254:{p}/", "127.255.255.254"),
    // userinfo
    ("http://example.com@127.0.0.1:{p}/", "127.0.0.1"),
    ("http://example.com:80@127.0.0.1:{p}/", "127.0.0.1"),
    ("http://127.0.0.1:{p}@example.com/", "127.0.0.1"),
    ("http://:@127.0.0.1:{p}/", "127.0.0.1"),
    ("http://@127.0.0.1:{p}/", "127.0.0.1"),
    ("http://@example.com/", "127.0.0.1"),
    // this host, private ranges, metadata
    ("http://0.0.0.0:{p}/", "0.0.0.0"),
    ("http://0:{p}/", "0.0.0.0"),
    ("http://0x0:{p}/", "0.0.0.0"),
    ("http://0.1.2.3:{p}/", "0.1.2.3"),
    ("http://10.0.0.1:{p}/", "10.0.0.1"),
    ("http://0xa.1:{p}/", "10.0.0.1"),
    ("http://167772161:{p}/", "10.0.0.1"),
    ("http://012.0.0.1:{p}/", "10.0.0.1"),
    ("http://172.16.0.1:{p}/", "172.16.0.1"),
    ("http://172.31.255.255:{p}/", "172.31.255.255"),
    ("http://0xac100001:{p}/", "172.16.0.1"),
    ("http://192.168.0.1:{p}/", "192.168.0.1"),
    ("http://3232235521:{p}/", "192.168.0.1"),
    ("http://0300.0250.1:{p}/", "192.168.0.1"),
    ("http://169.254.169.254:{p}/latest/meta-data/", "169.254.169.254"),
    ("http://2852039166:{p}/", "169.254.169.254"),
    ("http://0xa9fea9fe:{p}/", "169.254.169.254"),
    ("http://0251.0376.0251.0376:{p}/", "169.254.169.254"),
    ("http://169.254.170.2:{p}/v2/credentials", "169.254.170.2"),
    ("http://100.64.0.1:{p}/", "100.64.0.1"),
    ("http://100.100.100.200:{p}/", "100.100.100.200"),
    ("http://168.63.129.16:{p}/", "168.63.129.16"),
    ("http://192.0.0.192:{p}/", "192.0.0.192"),
    ("http://192.0.2.1:{p}/", "192.0.2.1"),
    ("http://192.88.99.1:{p}/", "192.88.99.1"),
    ("http://198.18.0.1:{p}/", "198.18.0.1"),
    ("http://198.51.100.7:{p}/", "198.51.100.7"),
    ("http://203.0.113.9:{p}/", "203.0.113.9"),
    ("http://224.0.0.1:{p}/", "224.0.0.1"),
    ("http://239.255.255.250:{p}/", "239.255.255.250"),
    ("http://240.0.0.1:{p}/", "240.0.0.1"),
    ("http://255.255.255.255:{p}/", "255.255.255.255"),
    // IPv6, and IPv4 inside it
    ("http://[::1]:{p}/", "::1"),
    ("http://[0:0:0:0:0:0:0:1]:{p}/", "::1"),
    ("http://[0000::0001]:{p}/", "::1"),
    ("http://[::]:{p}/", "::"),
    ("http://[::ffff:127.0.0.1]:{p}/", "::ffff:127.0.0.1"),
    ("http://[::ffff:7f00:1]:{p}/", "::ffff:127.0.0.1"),
    ("http://[0:0:0:0:0:ffff:127.0.0.1]:{p}/", "::ffff:127.0.0.1"),
    ("http://[::FFFF:10.0.0.1]:{p}/", "::ffff:10.0.0.1"),
    ("http://[::ffff:a9fe:a9fe]:{p}/", "::ffff:169.254.169.254"),
    ("http://[::127.0.0.1]:{p}/", "::127.0.0.1"),
    ("http://[::ffff:0:127.0.0.1]:{p}/", "::ffff:0:127.0.0.1"),
    ("http://[64:ff9b::127.0.0.1]:{p}/", "64:ff9b::127.0.0.1"),
    ("http://[64:ff9b::a9fe:a9fe]:{p}/", "64:ff9b::169.254.169.254"),
    ("http://[64:ff9b:1::7f00:1]:{p}/", "64:ff9b:1::7f00:1"),
    ("http://[2002:7f00:1::]:{p}/", "2002:7f00:1::"),
    ("http://[2002:a9fe:a9fe::]:{p}/", "2002:a9fe:a9fe::"),
    ("http://[2001:0:4136:e378:8000:63bf:80ff:fffe]:{p}/", "2001:0:4136:e378:8000:63bf:80ff:fffe"),
    ("http://[2001:10::1]:{p}/", "2001:10::1"),
    ("http://[fc00::1]:{p}/", "fc00::1"),
    ("http://[fd12:3456::1]:{p}/", "fd12:3456::1"),
    ("http://[fd00:ec2::254]:{p}/", "fd00:ec2::254"),
    ("http://[fe80::1]:{p}/", "fe80::1"),
    ("http://[febf::1]:{p}/", "febf::1"),
    ("http://[fec0::1]:{p}/", "fec0::1"),
    ("http://[ff02::1]:{p}/", "ff02::1"),
    ("http://[2001:db8::1]:{p}/", "2001:db8::1"),
    ("http://[3fff::1]:{p}/", "3fff::1"),
    ("http://[100::1]:{p}/", "100::1"),
    ("http://[5f00::1]:{p}/", "5f00::1"),
    ("http://[::1%25lo]:{p}/", "::1"),
    ("http://[::1", "::1"),
    // names
    ("http://localhost:{p}/", "127.0.0.1"),
    ("http://LOCALHOST:{p}/", "127.0.0.1"),
    ("http://localhost.:{p}/", "127.0.0.1"),
    ("http://ｌｏｃａｌｈｏｓｔ:{p}/", "127.0.0.1"),
    ("http://a.localhost:{p}/", "127.0.0.1"),
    ("http://localhost.localdomain:{p}/", "127.0.0.1"),
    ("http://printer.local:{p}/", "192.168.0.9"),
    ("http://metadata.google.internal:{p}/", "169.254.169.254"),
    ("http://ip-10-0-0-1.ec2.internal:{p}/", "10.0.0.1"),
    ("http://router.lan:{p}/", "192.168.1.1"),
    ("http://nas.home.arpa:{p}/", "192.168.1.2"),
    ("http://kubernetes:{p}/", "10.96.0.1"),
    // other schemes, ports and nonsense
    ("ftp://127.0.0.1:{p}/", "127.0.0.1"),
    ("gopher://127.0.0.1:{p}/_GET", "127.0.0.1"),
    ("file:///etc/passwd", "127.0.0.1"),
    ("dict://127.0.0.1:{p}/", "127.0.0.1"),
    ("ws://127.0.0.1:{p}/", "127.0.0.1"),
    ("javascript:alert(1)", "127.0.0.1"),
    ("//127.0.0.1:{p}/", "127.0.0.1"),
    ("http://", "127.0.0.1"),
    ("http://example.com:22/", "127.0.0.1"),
    ("http://example.com:6379/", "127.0.0.1"),
    ("http://127.0.0.1:\t{p}/", "127.0.0.1"),
    ("\nhttp://127.0.0.1:{p}/", "127.0.0.1"),
    ("http://127.0.0.1:{p}/\r\nX-Injected: 1", "127.0.0.1"),
    ("http://exa mple.com/", "127.0.0.1"),
];

const PUBLIC: &str = "9.9.9.9";

/// A private listener that must stay alone, and a policy that would let its port through.
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
    assert!(FORMS.len() >= 90, "{}", FORMS.len());
    for (form, address) in FORMS {
        assert!(!is_public(address.parse().unwrap()), "{form}");
    }
}

#[tokio::test]
async fn a_literal_is_refused_with_a_reason_at_registration_and_never_connected_to() {
    let attack = Attack::new().await;
    for (form, _) in FORMS {
        let url = attack.url(form);
        let errors =
            register(&json!([url]), "urls", false, &attack.policy, &Zone::default()).await.unwrap_err();
        assert!(errors[0].field == "urls[0]" && errors[0].message.len() > 10, "{form} {errors:?}");
        // and at probe, had it been stored before the policy changed
        let world = crate::world::World::new(vec![crate::world::app("shop", json!([url]))]);
        let (prober, detour, _) = attack.prober(Zone::default(), None);
        let health = logferry_health::App { prober, ..world.health };
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
            let errors = register(&json!([attack.victim()]), "urls", false, &attack.policy, &zone())
                .await
                .unwrap_err();
            assert!(errors[0].message.contains("which is not public"), "{form} {errors:?}");
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
        // the next probe asks again, and is refused
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
