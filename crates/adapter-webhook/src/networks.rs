//! Which IP addresses a connection may be made to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// How a message is carried, on which depends where it may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Encrypted: into public and allowed networks.
    Https,
    /// Readable by all on the way: into allowed networks only.
    Http,
}

/// The public networks, and those that the operator allows besides.
#[derive(Debug, Clone)]
pub(crate) struct Networks {
    allowed: Vec<IpNet>,
}

impl Networks {
    pub(crate) fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether a connection of this scheme may be made to the address. An IPv4 address inside an IPv6 one is judged as
    /// the IPv4 address, because that is where packets go.
    pub(crate) fn admit(&self, scheme: Scheme, address: IpAddr) -> bool {
        self.allow(address) || (scheme == Scheme::Https && is_public(address))
    }

    /// Whether the operator allows the address.
    pub(crate) fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|network| network.contains(&address))
    }

    /// Whether the operator allows any network besides the public ones.
    pub(crate) fn allow_any(&self) -> bool {
        !self.allowed.is_empty()
    }

    /// Whether the operator allows any network besides the public ones and this machine, which has names of its own.
    pub(crate) fn allow_others(&self) -> bool {
        self.allowed.iter().any(|network| !network.network().is_loopback())
    }
}

/// What is not globally reachable, from IANA's registry of IPv4 special-purpose addresses, and what is no address of one
/// machine (multicast, reserved). A few anycast addresses within 192.0.0.0/24 are global by the registry; they lead to
/// the nearest NAT gateway, so they are left out as well.
const NOT_PUBLIC_V4: [Ipv4Net; 15] = [
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
];

/// All that IANA has given out as global unicast. What is outside is loopback, private, link-local, multicast or unused.
const GLOBAL_UNICAST_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// What is not globally reachable within that: IETF protocols such as Teredo, and documentation. The anycast addresses
/// and AS112 within `2001::/23` are global by the registry, and no receivers.
const NOT_PUBLIC_V6: [Ipv6Net; 3] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// IPv4 behind a translator (RFC 6052): the last 32 bits.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

/// IPv4 tunnels (RFC 3056): the 32 bits after the prefix.
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16);

/// Whether the address is one machine's in the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inside) => is_public_v4(inside),
            None => GLOBAL_UNICAST_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address)),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !NOT_PUBLIC_V4.iter().any(|network| network.contains(&address))
}

/// The IPv4 address that packets to a translated or tunnelled address end at.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bytes = address.octets();
    if NAT64.contains(&address) {
        Some(Ipv4Addr::new(bytes[12], bytes[13], bytes[14], bytes[15]))
    } else if SIX_TO_FOUR.contains(&address) {
        Some(Ipv4Addr::new(bytes[2], bytes[3], bytes[4], bytes[5]))
    } else {
        None
    }
}

const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(part: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(part[0], part[1], part[2], part[3], part[4], part[5], part[6], part[7]), prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(address: &str) -> IpAddr {
        address.parse().unwrap()
    }

    #[test]
    fn only_globally_reachable_addresses_are_public() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.9",
            "192.0.2.1",
            "192.88.99.2",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2002:a9fe:a9fe::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip(address)), "{address}");
        }
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2001:200::1",
            "2002:808:808::1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn allowed_networks_take_http_and_public_ones_https_only() {
        let networks = Networks::new(vec!["127.0.0.2/32".parse().unwrap(), "fd00::/8".parse().unwrap()]);
        for (address, https, http) in [
            ("127.0.0.2", true, true),
            ("::ffff:127.0.0.2", true, true),
            ("127.0.0.1", false, false),
            ("fd00::1", true, true),
            ("fc00::1", false, false),
            ("8.8.8.8", true, false),
            // Translated into 127.0.0.2 by another machine, which is not this one's loopback.
            ("64:ff9b::7f00:2", false, false),
        ] {
            assert_eq!(networks.admit(Scheme::Https, ip(address)), https, "https {address}");
            assert_eq!(networks.admit(Scheme::Http, ip(address)), http, "http {address}");
        }
    }
}
