//! A URL that may be probed: parsed like browsers do, and checked by the guard as far as its text allows.
//! `resolve` checks the addresses of its name.

use std::net::IpAddr;

use url::{Host, Url};

use crate::guard::{MAX_URL_CHARS, Policy, Refusal, check_address};

/// Zones without public servers: those that only private resolvers answer for (RFC 6761, 6762, 7686, 8375, 9476;
/// `.internal`, and `.corp` and `.home`, are ICANN's; `.lan` and such are custom), and `.arpa`, where names are
/// numbers (`in-addr.arpa`, `ip6.arpa`) or at home (`home.arpa`).
const PRIVATE_ZONES: [&str; 14] = [
    "alt",
    "arpa",
    "corp",
    "home",
    "internal",
    "intranet",
    "invalid",
    "lan",
    "local",
    "localdomain",
    "localhost",
    "onion",
    "private",
    "test",
];

/// A URL whose text passed the guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: TargetHost,
    port: u16,
}

/// Where to connect: an address, or a name to resolve and check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetHost {
    Address(IpAddr),
    Name(String),
}

impl Target {
    /// Parses and checks a URL. The fragment is removed, since servers do not see it.
    pub fn parse(text: &str, policy: &Policy) -> Result<Target, Refusal> {
        if text.chars().count() > MAX_URL_CHARS {
            return Err(Refusal::TooLong);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Refusal::NotAUrl("it contains white space or control characters".to_string()));
        }
        let mut url = Url::parse(text).map_err(|error| Refusal::NotAUrl(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme(url.scheme().to_string()));
        }
        if !url.username().is_empty() || url.password().is_some() || has_userinfo_mark(text) {
            return Err(Refusal::Userinfo);
        }
        url.set_fragment(None);
        if url.as_str().len() > MAX_URL_CHARS {
            return Err(Refusal::TooLong);
        }
        let port = url.port_or_known_default().ok_or(Refusal::NoHost)?;
        if !policy.ports.allows(port) {
            return Err(Refusal::Port { port, allowed: policy.ports.to_string() });
        }
        let host = match url.host() {
            None => return Err(Refusal::NoHost),
            Some(Host::Ipv4(address)) => TargetHost::Address(address.into()),
            Some(Host::Ipv6(address)) => TargetHost::Address(address.into()),
            Some(Host::Domain(name)) => TargetHost::Name(name.to_string()),
        };
        match &host {
            TargetHost::Address(address) => check_address(*address, policy)?,
            TargetHost::Name(name) if !policy.allow_private && is_private_name(name) => {
                return Err(Refusal::PrivateName(name.clone()));
            }
            TargetHost::Name(_) => {}
        }
        Ok(Target { url, host, port })
    }

    /// The URL as it is stored, shown and requested.
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    pub fn host(&self) -> &TargetHost {
        &self.host
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Returns the `Host` header: with the port only if it is not the scheme's default.
    pub fn host_header(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        }
    }

    /// Returns path and query for the request line.
    pub fn path_and_query(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }
}

/// `http://@host/` has an empty userinfo, which the parser drops; it is refused too.
fn has_userinfo_mark(text: &str) -> bool {
    let after_scheme = text.split_once(':').map_or(text, |(_, rest)| rest);
    let authority = after_scheme.trim_start_matches(['/', '\\']);
    let end = authority.find(['/', '\\', '?', '#']).unwrap_or(authority.len());
    authority.get(..end).is_some_and(|authority| authority.contains('@'))
}

/// Single labels use a resolver's search list; the private zones never leave a private network.
fn is_private_name(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    !name.contains('.')
        || PRIVATE_ZONES
            .iter()
            .any(|zone| name.strip_suffix(zone).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Returns the URL as used in stored checks; any other text unchanged.
pub(crate) fn target_of(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(mut url) if matches!(url.scheme(), "http" | "https") => {
            url.set_fragment(None);
            url.into()
        }
        _ => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::guard::Ports;

    fn refusal(text: &str) -> String {
        Target::parse(text, &Policy::default()).unwrap_err().to_string()
    }

    #[test]
    fn a_public_url_is_kept_without_its_fragment() {
        let target = Target::parse("HTTPS://Example.COM:443/a/../b?q=1#top", &Policy::default()).unwrap();
        assert_eq!(target.as_str(), "https://example.com/b?q=1");
        assert_eq!(target.host(), &TargetHost::Name("example.com".to_string()));
        assert_eq!((target.port(), target.is_tls()), (443, true));
        assert_eq!(target.host_header(), "example.com");
        assert_eq!(target.path_and_query(), "/b?q=1");
    }

    #[test]
    fn a_port_of_its_own_stays_in_the_host_header() {
        let policy = Policy { allow_private: false, ports: Ports::Listed(vec![8443]) };
        let target = Target::parse("https://example.com:8443", &policy).unwrap();
        assert_eq!((target.host_header().as_str(), target.path_and_query()), ("example.com:8443", "/"));
    }

    #[test]
    fn every_refusal_says_its_reason() {
        assert_eq!(
            refusal("gopher://example.com/"),
            "has the scheme \"gopher\"; only http and https are probed"
        );
        assert_eq!(
            refusal("http://user:pw@example.com/"),
            "carries a user name or password; send credentials as a header"
        );
        assert_eq!(
            refusal("http://@example.com/"),
            "carries a user name or password; send credentials as a header"
        );
        assert_eq!(refusal("http://example.com:22/"), "names port 22; allowed: 80, 443");
        assert_eq!(refusal("http://localhost/"), "names localhost, which is not a public name");
        assert_eq!(
            refusal("http://2130706433/"),
            "leads to 127.0.0.1, which is not public (loopback, 127.0.0.0/8)"
        );
        assert_eq!(refusal("example.com"), "is not a URL: relative URL without a base");
        assert_eq!(
            refusal(&format!("http://example.com/{}", "a".repeat(1000))),
            "is longer than 1000 characters"
        );
    }

    #[test]
    fn names_of_zones_without_public_servers_are_refused_by_name_and_their_likes_are_not() {
        for name in [
            "1.0.0.127.in-addr.arpa",
            "1.0.ip6.arpa",
            "printer.home.arpa",
            "wiki.corp",
            "WIKI.CORP.",
            "nas.home",
            "db.private",
            "shop.test",
            "abcdefghijklmnop.onion",
            "ip-10-0-0-1.ec2.internal",
            "router.lan",
            "x.invalid",
            "x.alt",
        ] {
            let refused = refusal(&format!("http://{name}/"));
            assert!(refused.ends_with(", which is not a public name"), "{refused}");
        }
        for name in ["corp.example.com", "mycorp.com", "nothome.example", "test.example.org", "xarpa.net"] {
            assert!(Target::parse(&format!("http://{name}/"), &Policy::default()).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_path_may_contain_an_at_sign() {
        assert!(Target::parse("https://example.com/@user?mail=a@b", &Policy::default()).is_ok());
    }
}
