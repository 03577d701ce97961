//! The guard against probes of private networks (server-side request forgery).
//!
//! Threat: a tenant registers a URL to make our function, which has an AWS role and may be in a VPC,
//! connect to something that the tenant cannot reach: instance or container metadata, databases, admin
//! pages, other tenants. The tenant controls the URL text, the DNS of its names (responses may mix public
//! and private addresses, and may change between two queries), and the responses of its own servers
//! (redirects, endless headers and bodies).
//!
//! Rules: the text is parsed like browsers do (WHATWG: `0x7f.1` and `127.0.0.1` are one address). Only http
//! and https, only listed ports, no userinfo. Names of private zones are refused. A name is resolved once,
//! by us, and *every* address must be public. The connection goes to an address of that response, with Host
//! and SNI kept. Redirects are recorded and never followed. No proxy is used. Headers and body are bounded.
//! The rules apply at registration and again at every probe. `ALLOW_PRIVATE_HEALTH_TARGETS` allows loopback
//! and private ranges for local use; link-local addresses (metadata) stay forbidden.
//!
//! Not covered: a public address that forwards into a private network, or an operator's own NAT64 prefix.
//! Their owners must prevent that.

#[cfg(any(test, feature = "testing"))]
pub mod forms;
pub mod resolve;
pub mod target;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Maximum length of a URL. It is part of a sort key of the `checks` table, of at most 1,024 bytes
/// (<https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html>).
pub const MAX_URL_CHARS: usize = 1000;

/// Allowed targets, from `ALLOW_PRIVATE_HEALTH_TARGETS` and `HEALTH_PORTS`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub allow_private: bool,
    pub ports: Ports,
}

/// The allowed ports of checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ports {
    Any,
    Listed(Vec<u16>),
}

impl Default for Ports {
    fn default() -> Self {
        Ports::Listed(vec![80, 443])
    }
}

impl Ports {
    /// Parses `"80,443,8443"` or `"any"`. The error names the invalid part.
    pub fn parse(text: &str) -> Result<Ports, String> {
        if text.trim().eq_ignore_ascii_case("any") {
            return Ok(Ports::Any);
        }
        let ports: Vec<u16> = text
            .split(',')
            .map(|part| match part.trim().parse::<u16>() {
                Ok(port) if port > 0 => Ok(port),
                _ => Err(format!("{:?} is not a port from 1 to 65535", part.trim())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Ports::Listed(ports))
    }

    pub fn allows(&self, port: u16) -> bool {
        match self {
            Ports::Any => true,
            Ports::Listed(ports) => ports.contains(&port),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ports::Any => f.write_str("any"),
            Ports::Listed(ports) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                f.write_str(&ports.join(", "))
            }
        }
    }
}

/// The purpose of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    Public,
    /// Loopback and private ranges, allowed only by parameter, with the name of the range.
    Private(&'static str),
    /// Never a target, with the name of the range.
    Reserved(&'static str),
}

/// Whether an address is on the public internet.
#[cfg(any(test, feature = "testing"))]
pub fn is_public(address: IpAddr) -> bool {
    classify(address) == AddressClass::Public
}

/// `Err` says why the address must not be connected to, written for the tenant.
pub fn check_address(address: IpAddr, policy: &Policy) -> Result<(), Refusal> {
    match classify(address) {
        AddressClass::Public => Ok(()),
        AddressClass::Private(_) if policy.allow_private => Ok(()),
        AddressClass::Private(range) | AddressClass::Reserved(range) => {
            Err(Refusal::Address { address, range })
        }
    }
}

/// Checks all addresses of a DNS response. One bad address rejects the response, because the tenant
/// controls it. The refusal does not name the address: our resolver may return addresses of a private
/// network.
pub fn check_addresses(addresses: &[IpAddr], policy: &Policy) -> Result<(), Refusal> {
    let refused = addresses.iter().any(|address| check_address(*address, policy).is_err());
    if refused { Err(Refusal::NotPublic) } else { Ok(()) }
}

/// Classifies an address by the IANA special-purpose registries and the clouds' own exceptions.
pub fn classify(address: IpAddr) -> AddressClass {
    match address {
        IpAddr::V4(v4) => classify_v4(v4),
        IpAddr::V6(v6) => classify_v6(v6),
    }
}

/// IPv4: <https://www.iana.org/assignments/iana-ipv4-special-registry/>.
fn classify_v4(address: Ipv4Addr) -> AddressClass {
    use AddressClass::{Private, Public, Reserved};
    let [a, b, c, d] = address.octets();
    match (a, b, c, d) {
        (0, ..) => Reserved("this network, 0.0.0.0/8"),
        (10, ..) => Private("private, 10.0.0.0/8"),
        (100, 64..=127, ..) => Private("shared by carriers, 100.64.0.0/10"),
        (127, ..) => Private("loopback, 127.0.0.0/8"),
        (168, 63, 129, 16) => Reserved("a cloud's host service, 168.63.129.16"),
        (169, 254, ..) => Reserved("link-local, 169.254.0.0/16"),
        (172, 16..=31, ..) => Private("private, 172.16.0.0/12"),
        (192, 0, 0, _) => Reserved("protocol assignments, 192.0.0.0/24"),
        (192, 0, 2, _) => Reserved("documentation, 192.0.2.0/24"),
        (192, 88, 99, _) => Reserved("6to4 relays, 192.88.99.0/24"),
        (192, 168, ..) => Private("private, 192.168.0.0/16"),
        (198, 18..=19, ..) => Reserved("benchmarking, 198.18.0.0/15"),
        (198, 51, 100, _) => Reserved("documentation, 198.51.100.0/24"),
        (203, 0, 113, _) => Reserved("documentation, 203.0.113.0/24"),
        (224..=239, ..) => Reserved("multicast, 224.0.0.0/4"),
        (240..=255, ..) => Reserved("reserved, 240.0.0.0/4"),
        _ => Public,
    }
}

/// IPv6: <https://www.iana.org/assignments/iana-ipv6-special-registry/>. Only 2000::/3 can be public.
/// Addresses that contain an IPv4 address are classified by it.
fn classify_v6(address: Ipv6Addr) -> AddressClass {
    use AddressClass::{Private, Public, Reserved};
    let s = address.segments();
    match s {
        [0, 0, 0, 0, 0, 0, 0, 0] => Reserved("unspecified, ::"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Private("loopback, ::1"),
        // Mapped ::ffff:0:0/96 and translated NAT64 64:ff9b::/96: the packet goes to the IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, high, low] => classify_v4(embedded(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => classify_v4(embedded(high, low)),
        [0, 0, 0, 0, 0, 0, ..] => Reserved("IPv4-compatible, ::/96"),
        [0, 0, 0, 0, 0xffff, 0, ..] => Reserved("IPv4-translated, ::ffff:0:0:0/96"),
        [0x64, 0xff9b, 1, ..] => Reserved("local NAT64, 64:ff9b:1::/48"),
        [0x100, ..] => Reserved("discard and dummy, 100::/16"),
        [0x2001, 0, ..] => Reserved("Teredo, 2001::/32"),
        [0x2001, second, ..] if second < 0x200 => Reserved("protocol assignments, 2001::/23"),
        [0x2001, 0xdb8, ..] => Reserved("documentation, 2001:db8::/32"),
        [0x2002, ..] => Reserved("6to4, 2002::/16"),
        [0x3fff, second, ..] if second < 0x1000 => Reserved("documentation, 3fff::/20"),
        [0x5f00, ..] => Reserved("segment routing, 5f00::/16"),
        [0xfd00, 0xec2, ..] => Reserved("a cloud's own services, fd00:ec2::/32"),
        [first, ..] if first & 0xfe00 == 0xfc00 => Private("unique local, fc00::/7"),
        [first, ..] if first & 0xffc0 == 0xfe80 => Reserved("link-local, fe80::/10"),
        [first, ..] if first & 0xffc0 == 0xfec0 => Reserved("site-local, fec0::/10"),
        [first, ..] if first & 0xff00 == 0xff00 => Reserved("multicast, ff00::/8"),
        [first, ..] if first & 0xe000 == 0x2000 => Public,
        _ => Reserved("outside global unicast, 2000::/3"),
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

/// Why a URL is not probed. The text is for the tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("is not a URL: {0}")]
    NotAUrl(String),
    #[error("is longer than {limit} characters", limit = crate::guard::MAX_URL_CHARS)]
    TooLong,
    #[error("has the scheme {0:?}; only http and https are probed")]
    Scheme(String),
    #[error("carries a user name or password; send credentials as a header")]
    Userinfo,
    #[error("has no host")]
    NoHost,
    #[error("names port {port}; allowed: {allowed}")]
    Port { port: u16, allowed: String },
    #[error("names {0}, which is not a public name")]
    PrivateName(String),
    /// An address in the URL, however it is spelled.
    #[error("leads to {address}, which is not public ({range})")]
    Address { address: IpAddr, range: &'static str },
    /// An address of a name.
    #[error("leads to an address which is not public")]
    NotPublic,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_on_the_internet_are_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2a00:1450::1",
            "2001:200::1",
            "2001:db7::1",
            "3ffe::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert!(is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn special_purpose_addresses_are_not_public() {
        for text in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.170.2",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b::10.1.2.3",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b:0:1::1",
            "100::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fd00:ec2::254",
            "fdff:ffff::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "ff0e::1",
            "8000::1",
            "fe00::1",
        ] {
            assert!(!is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn all_of_link_local_is_known_as_such_to_its_last_address() {
        for text in ["fe80::", "fe80::1", "fe81::", "fe90::1", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"] {
            let class = classify_v6(text.parse().unwrap());
            assert_eq!(class, AddressClass::Reserved("link-local, fe80::/10"), "{text}");
        }
        for text in ["fe7f:ffff::", "fec0::"] {
            let class = classify_v6(text.parse().unwrap());
            assert_ne!(class, AddressClass::Reserved("link-local, fe80::/10"), "{text}");
        }
    }

    #[test]
    fn the_parameter_opens_private_ranges_but_never_metadata() {
        let local = Policy { allow_private: true, ports: Ports::Any };
        for text in ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd12::1", "::ffff:127.0.0.1"] {
            assert_eq!(check_address(ip(text), &local), Ok(()), "{text}");
        }
        for text in [
            "169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "fe90::1",
            "febf:ffff::1",
            "0.0.0.0",
            "224.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(check_address(ip(text), &local).is_err(), "{text}");
        }
    }

    #[test]
    fn one_private_address_spoils_an_answer() {
        let answer = [ip("8.8.8.8"), ip("10.0.0.1")];
        let refusal = check_addresses(&answer, &Policy::default()).unwrap_err();
        assert_eq!(refusal.to_string(), "leads to an address which is not public");
    }

    #[test]
    fn ports_are_a_list_or_any() {
        assert_eq!(Ports::parse("80, 443,8443"), Ok(Ports::Listed(vec![80, 443, 8443])));
        assert_eq!(Ports::parse("any"), Ok(Ports::Any));
        assert_eq!(Ports::parse("80,http"), Err("\"http\" is not a port from 1 to 65535".to_string()));
        assert!(Ports::parse("0").is_err() && Ports::parse("").is_err() && Ports::parse("65536").is_err());
    }
}
