//! Parsers of hosts, networks and origins.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Position, Url};

use super::parser::Parser;

/// An address or a name, without brackets.
pub(super) fn host() -> Parser<String> {
    Parser::new("must be an address such as 127.0.0.1, 0.0.0.0 or ::, or a host name", |raw| {
        let host = raw.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(raw);
        (is_name(host) || host.parse::<IpAddr>().is_ok()).then(|| host.to_owned())
    })
}

fn is_name(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    host.split('.').all(|label| !label.is_empty() && label.chars().all(plain))
}

/// A network in CIDR notation, or one address.
pub(super) fn network() -> Parser<IpNet> {
    Parser::new("must be addresses or networks such as 10.0.0.0/8, separated by commas", |raw| {
        let network = raw.parse::<IpNet>().ok().or_else(|| raw.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(|network| network.trunc())
    })
}

/// An origin as browsers send it: lower case, without the scheme's own port (Fetch, "serializing an origin").
pub(super) fn origin() -> Parser<String> {
    const MUST: &str = "must be origins such as https://tickets.example.com, separated by commas";
    Parser::with_complaints(MUST, |raw| match raw {
        "*" => Err("must name each origin, such as https://tickets.example.com: * is not supported".to_owned()),
        _ => origin_of(raw).ok_or_else(|| format!("{MUST}, not {raw:?}")),
    })
}

/// The origin that a text names, if it names nothing else.
fn origin_of(raw: &str) -> Option<String> {
    let url = Url::parse(raw).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let named = match url.host()? {
        Host::Domain(name) => is_name(name),
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    };
    // `url` takes any slashes before the host, adds the one of an empty path, and drops an empty user.
    let (_, authority) = raw.split_once("://")?;
    let bare = !authority.contains(['/', '\\', '@']) && url[Position::BeforePath..] == *"/";
    (named && bare).then(|| url.origin().ascii_serialization())
}
