//! A receiver's address, read as a browser reads it, and the rules for its scheme, host and port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use domain::WebhookUrl;
use domain::ports::WebhookUrlRefused;
use url::{Host, Url};

use crate::networks::{Networks, Scheme};

/// The first port that needs no privilege. Of those below, only the web's own are used: the others are mail, shells and
/// the like, which could be made to read a request.
const FIRST_FREE_PORT: u16 = 1024;

/// Where a message is posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: Url,
    pub(crate) scheme: Scheme,
}

impl Target {
    /// Reads the address and checks all that is known without a look-up. The URL standard gives `0x7f.1`, `2130706433`
    /// and `%3127.0.0.1` as the IPv4 address that they are.
    pub(crate) fn parse(raw: &WebhookUrl, networks: &Networks) -> Result<Self, WebhookUrlRefused> {
        let url = Url::parse(raw.as_str()).map_err(|error| refused(&format!("is not a URL: {error}")))?;
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(refused("must be https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("must not hold a user or a password"));
        }
        let port = url.port_or_known_default().unwrap_or_default();
        if port < FIRST_FREE_PORT && ![80, 443].contains(&port) {
            return Err(refused("must have the port 443, 80, or one from 1024 on"));
        }
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
            Some(Host::Domain(name)) if is_this_machine(name) => {
                vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
            }
            Some(Host::Domain(_)) if scheme == Scheme::Http && !networks.allow_any() => {
                return Err(refused("must be https"));
            }
            // Where a name leads to is known only when it is connected to.
            Some(Host::Domain(_)) => return Ok(Self { url, scheme }),
            None => return Err(refused("must name a host")),
        };
        if addresses.iter().any(|address| networks.admit(scheme, *address)) {
            return Ok(Self { url, scheme });
        }
        Err(match scheme {
            Scheme::Http if addresses.iter().all(|address| networks.admit(Scheme::Https, *address)) => {
                refused("must be https")
            }
            _ => refused("must not lead to a private address"),
        })
    }
}

impl Target {
    /// Whether http goes to a name, while the only networks that it may lead to are those of this machine, which has names
    /// of its own. It might lead there; but who writes it down means another one.
    pub(crate) fn is_strange(&self, networks: &Networks) -> bool {
        let is_name = matches!(self.url.host(), Some(Host::Domain(name)) if !is_this_machine(name));
        self.scheme == Scheme::Http && is_name && !networks.allow_others()
    }
}

/// Whether a name means this machine without a look-up (RFC 6761, 6.3).
fn is_this_machine(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name == "localhost" || name.ends_with(".localhost")
}

pub(crate) fn refused(why: &str) -> WebhookUrlRefused {
    WebhookUrlRefused(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str, allowed: &[&str]) -> Option<String> {
        let networks = Networks::new(allowed.iter().map(|network| network.parse().unwrap()).collect());
        Target::parse(&WebhookUrl::stored(url), &networks).err().map(|refused| refused.0)
    }

    fn is_strange(url: &str, allowed: &[&str]) -> bool {
        let networks = Networks::new(allowed.iter().map(|network| network.parse().unwrap()).collect());
        Target::parse(&WebhookUrl::stored(url), &networks).unwrap().is_strange(&networks)
    }

    #[test]
    fn https_goes_to_names_and_public_addresses() {
        for url in [
            "https://example.org",
            "https://example.org:443/hooks?token=1",
            "https://example.org:80",
            "https://example.org:1024",
            "https://bücher.example",
            "https://8.8.8.8",
            "https://[2606:4700::1111]:8443/x",
            "https://[::ffff:8.8.8.8]",
            "https://localhost.example.org",
        ] {
            assert_eq!(refusal(url, &[]), None, "{url}");
        }
    }

    #[test]
    fn a_private_address_is_refused_however_it_is_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "127.0.0.1.",
            "2130706433",
            "0x7f000001",
            "0x7f.1",
            "0177.0.0.1",
            "017700000001",
            "%31%32%37.0.0.1",
            "127。0。0。1",
            "①27.0.0.1",
            "0",
            "10.0.0.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "[::1]",
            "[::]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[64:ff9b::10.0.0.1]",
            "[2002:7f00:1::]",
            "[fd00::1]",
            "[fe80::1]",
            "localhost",
            "LOCALHOST.",
            "a.localhost",
        ] {
            for url in [format!("https://{host}/x"), format!("https://{host}:8443")] {
                assert_eq!(refusal(&url, &[]).as_deref(), Some("must not lead to a private address"), "{url}");
            }
        }
    }

    #[test]
    fn http_goes_into_allowed_networks_only() {
        assert_eq!(refusal("http://example.org", &[]).as_deref(), Some("must be https"));
        let strange = |url| is_strange(url, &["127.0.0.0/8", "::1/128"]);
        assert!(strange("http://example.org") && !strange("http://localhost") && !strange("https://example.org"));
        assert!(!is_strange("http://example.org", &["10.0.0.0/8"]));
        assert_eq!(refusal("http://8.8.8.8", &[]).as_deref(), Some("must be https"));
        assert_eq!(refusal("http://8.8.8.8", &["127.0.0.0/8"]).as_deref(), Some("must be https"));
        let private = Some("must not lead to a private address");
        assert_eq!(refusal("http://127.0.0.1", &[]).as_deref(), private);
        assert_eq!(refusal("http://10.0.0.1", &["127.0.0.0/8"]).as_deref(), private);
        assert_eq!(refusal("http://127.0.0.1:3000", &["127.0.0.0/8"]), None);
        assert_eq!(refusal("https://127.0.0.1:3000", &["127.0.0.0/8"]), None);
        assert_eq!(refusal("http://localhost:3000", &["127.0.0.0/8"]), None);
        assert_eq!(refusal("http://localhost:3000", &["::1/128"]), None);
        assert_eq!(refusal("http://[::ffff:127.0.0.1]", &["127.0.0.0/8"]), None);
        // Checked when it is connected to.
        assert_eq!(refusal("http://receiver.internal", &["10.0.0.0/8"]), None);
    }

    #[test]
    fn ports_of_other_services_are_refused() {
        for port in [0, 1, 22, 25, 79, 81, 442, 444, 1023] {
            let refusal = refusal(&format!("https://example.org:{port}"), &[]);
            assert_eq!(refusal.as_deref(), Some("must have the port 443, 80, or one from 1024 on"), "{port}");
        }
    }

    #[test]
    fn a_url_that_is_no_web_address_is_refused() {
        for url in ["", "example.org", "ftp://example.org", "file:///etc/passwd", "https://u:p@example.org", "https://"]
        {
            assert!(refusal(url, &[]).is_some(), "{url}");
        }
        assert!(refusal("https://256.0.0.1", &[]).is_some_and(|refusal| refusal.starts_with("is not a URL: ")));
    }
}
