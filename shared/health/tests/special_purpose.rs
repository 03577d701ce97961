//! The guard's ranges against IANA's special-purpose registries: each block's first and last address,
//! and its neighbours outside.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use logferry_health_checks::guard::{AddressClass, Policy, Ports, check_address, classify, is_public};

/// <https://www.iana.org/assignments/iana-ipv4-special-registry/>, what is not "globally reachable", with the
/// multicast space (<https://www.iana.org/assignments/multicast-addresses/>) and the relay anycast prefix.
const IPV4: [&str; 17] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    // a cloud's host service in otherwise public space
    "168.63.129.16/32",
];

/// <https://www.iana.org/assignments/iana-ipv6-special-registry/>, the same; and the deprecated site-local space.
const IPV6: [&str; 22] = [
    "::/128",
    "::1/128",
    "::/96",
    "::ffff:0:0:0/96",
    "64:ff9b:1::/48",
    "100::/64",
    "100:0:0:1::/64",
    "2001::/23",
    "2001::/32",
    "2001:2::/48",
    "2001:10::/28",
    "2001:20::/28",
    "2001:30::/28",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    "5f00::/16",
    "fc00::/7",
    "fd00:ec2::/32",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
];

/// First and last address of a block.
fn bounds(block: &str) -> (IpAddr, IpAddr) {
    let (address, length) = block.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match address.parse().unwrap() {
        IpAddr::V4(address) => {
            let last = u32::from(address) | u32::MAX.checked_shr(length).unwrap_or(0);
            (address.into(), Ipv4Addr::from(last).into())
        }
        IpAddr::V6(address) => {
            let last = u128::from(address) | u128::MAX.checked_shr(length).unwrap_or(0);
            (address.into(), Ipv6Addr::from(last).into())
        }
    }
}

#[test]
fn no_address_of_a_special_purpose_block_is_public() {
    for block in IPV4.iter().chain(&IPV6) {
        let (first, last) = bounds(block);
        assert!(!is_public(first) && !is_public(last), "{block}: {first} {last}");
    }
}

#[test]
fn the_neighbours_of_the_ipv4_blocks_are_public_unless_another_block_has_them() {
    let blocks = IPV4.map(bounds);
    let special = |address: IpAddr| blocks.iter().any(|(first, last)| (first..=last).contains(&&address));
    let mut public = 0;
    for (first, last) in blocks {
        let (IpAddr::V4(first), IpAddr::V4(last)) = (first, last) else { continue };
        let before = u32::from(first).checked_sub(1).map(Ipv4Addr::from);
        let after = u32::from(last).checked_add(1).map(Ipv4Addr::from);
        for neighbour in [before, after].into_iter().flatten().map(IpAddr::from) {
            assert_eq!(is_public(neighbour), !special(neighbour), "{neighbour}");
            public += usize::from(is_public(neighbour));
        }
    }
    assert!(public >= 24, "{public}");
}

/// Every form that contains an IPv4 address, around each IPv4 block's bounds and a public address.
#[test]
fn an_ipv4_address_inside_of_ipv6_is_judged_as_itself_or_refused() {
    let carried = |prefix: [u16; 6], address: Ipv4Addr| {
        let [a, b, c, d] = address.octets();
        let [high, low] = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let [s0, s1, s2, s3, s4, s5] = prefix;
        IpAddr::from([s0, s1, s2, s3, s4, s5, high, low])
    };
    let inside = IPV4.map(bounds).into_iter().flat_map(|(first, last)| [first, last]);
    for address in inside.chain(["8.8.8.8".parse().unwrap()]) {
        let IpAddr::V4(v4) = address else { continue };
        let mapped = carried([0, 0, 0, 0, 0, 0xffff], v4);
        let nat64 = carried([0x64, 0xff9b, 0, 0, 0, 0], v4);
        assert_eq!((classify(mapped), classify(nat64)), (classify(address), classify(address)), "{v4}");
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let never = [
            ("compatible", carried([0; 6], v4)),
            ("translated", carried([0, 0, 0, 0, 0xffff, 0], v4)),
            ("local NAT64", carried([0x64, 0xff9b, 1, 0, 0, 0], v4)),
            ("6to4", IpAddr::from([0x2002, high, low, 0, 0, 0, 0, 1])),
            ("Teredo client", IpAddr::from([0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !high, !low])),
            ("Teredo server", IpAddr::from([0x2001, 0, high, low, 0x8000, 0x63bf, 0, 0])),
        ];
        for (form, address) in never {
            assert!(!is_public(address), "{form} {address}");
        }
    }
}

#[test]
fn only_global_unicast_is_public_in_ipv6() {
    for first in (0..=0xffff_u16).step_by(0x40) {
        let address = IpAddr::from([first, 0x1234, 0, 0, 0, 0, 0, 1]);
        let unicast = (0x2000..0x4000).contains(&first);
        let special = first == 0x2001 || first == 0x2002 || first == 0x3fff;
        assert_eq!(is_public(address), unicast && !special, "{address}");
    }
}

#[test]
fn the_parameter_opens_loopback_and_private_ranges_and_nothing_else() {
    let local = Policy { allow_private: true, ports: Ports::Any };
    let opened: Vec<&str> = IPV4
        .iter()
        .chain(&IPV6)
        .copied()
        .filter(|block| check_address(bounds(block).1, &local).is_ok())
        .collect();
    assert_eq!(
        opened,
        [
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::1/128",
            "fc00::/7"
        ]
    );
    assert_eq!(
        classify("fd00:ec2::254".parse().unwrap()),
        AddressClass::Reserved("a cloud's own services, fd00:ec2::/32")
    );
}
