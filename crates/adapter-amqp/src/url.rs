//! Where the broker is, and who connects to it.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::{Host, Url};

use crate::Invalid;

const DEFAULT_PORT: u16 = 5672;
const DEFAULT_VHOST: &str = "/";

/// Whom `RabbitMQ` knows from its installation on; it admits this user from its own machine only.
const GUEST: &str = "guest";

/// The longest virtual host and user, in bytes: the protocol counts the former in one byte.
const MAX_NAME_BYTES: usize = 255;

/// A broker's address with the user and the password, which no output of this type shows.
#[derive(Clone, PartialEq, Eq)]
pub struct AmqpUrl {
    /// A name or an IP address, an IPv6 one without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

impl AmqpUrl {
    /// Reads `amqp://user:password@host:port/vhost`. The port is 5672 and user and password are `guest` when they are left
    /// out; the virtual host is `/` then, and after a lone slash as well. A character that separates is percent-encoded
    /// within a part, as in `%2f`.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        const FORM: Invalid = Invalid("must be amqp://user:password@host:port/vhost");
        let url = Url::parse(raw).map_err(|_| FORM)?;
        match url.scheme() {
            "amqp" => {}
            "amqps" => return Err(Invalid("must be amqp and not amqps: TLS to the broker is not supported")),
            _ => return Err(FORM),
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Invalid("must have nothing after the virtual host, neither ? nor #"));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(Host::Domain(name)) if !name.is_empty() && !name.contains('%') => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            _ => return Err(FORM),
        };
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let (user, password) = match (url.username(), url.password()) {
            ("", None) => (GUEST.to_owned(), GUEST.to_owned()),
            ("", Some(_)) | (_, None) => return Err(Invalid("must have both a user and a password, or neither")),
            (user, Some(password)) => (decoded(user)?, decoded(password)?),
        };
        let vhost = match url.path() {
            "" | "/" => DEFAULT_VHOST.to_owned(),
            path => decoded(path.strip_prefix('/').filter(|vhost| !vhost.contains('/')).ok_or(Invalid(
                "must name one virtual host after the port, with a slash inside its name written as %2f",
            ))?)?,
        };
        if port == 0 || vhost.len() > MAX_NAME_BYTES || user.len() > MAX_NAME_BYTES {
            return Err(FORM);
        }
        Ok(Self { host, port, user, password, vhost })
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, vhost, password: _ } = self;
        write!(f, "AmqpUrl {{ {user:?} at {host:?}, port {port}, virtual host {vhost:?} }}")
    }
}

fn decoded(part: &str) -> Result<String, Invalid> {
    let text = percent_decode_str(part).decode_utf8();
    let text = text.map_err(|_| Invalid("must be UTF-8 where it is percent-encoded"))?;
    // A zero byte ends the user in what is sent to log in.
    if text.contains('\0') { Err(Invalid("must not contain a zero byte")) } else { Ok(text.into_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(raw: &str) -> (String, u16, String, String, String) {
        let url = AmqpUrl::parse(raw).unwrap();
        (url.host, url.port, url.user, url.password, url.vhost)
    }

    fn of(host: &str, port: u16, user: &str, password: &str, vhost: &str) -> (String, u16, String, String, String) {
        (host.to_owned(), port, user.to_owned(), password.to_owned(), vhost.to_owned())
    }

    #[test]
    fn every_part_is_read() {
        for (raw, expected) in [
            ("amqp://anna:s3cret@mq.example:5673/shop", of("mq.example", 5673, "anna", "s3cret", "shop")),
            ("amqp://a%40b:p%2f%3a%20%C3%A4@mq/%2fshop", of("mq", 5672, "a@b", "p/: ä", "/shop")),
            ("amqp://10.0.0.1", of("10.0.0.1", 5672, "guest", "guest", "/")),
            ("amqp://mq/", of("mq", 5672, "guest", "guest", "/")),
            ("amqp://mq/%2f", of("mq", 5672, "guest", "guest", "/")),
            ("amqp://anna:s@[::1]:1", of("::1", 1, "anna", "s", "/")),
        ] {
            assert_eq!(parts(raw), expected, "{raw}");
        }
    }

    #[test]
    fn what_is_no_address_of_a_broker_is_refused() {
        for (raw, why) in [
            ("", "must be amqp://"),
            ("mq:5672", "must be amqp://"),
            ("redis://mq", "must be amqp://"),
            ("amqp:mq", "must be amqp://"),
            ("amqp:///shop", "must be amqp://"),
            ("amqp://a:b@", "must be amqp://"),
            ("amqp://mq:0", "must be amqp://"),
            ("amqp://mq:70000", "must be amqp://"),
            ("amqps://a:b@mq", "must be amqp and not amqps: "),
            ("amqp://a@mq", "must have both "),
            ("amqp://:b@mq", "must have both "),
            ("amqp://mq/a/b", "must name one virtual host "),
            ("amqp://mq/a?heartbeat=5", "must have nothing after "),
            ("amqp://mq/a#b", "must have nothing after "),
            ("amqp://a:%ff@mq", "must be UTF-8 "),
            ("amqp://a:b%00@mq", "must not contain a zero byte"),
        ] {
            let refused = AmqpUrl::parse(raw).expect_err(raw);
            assert!(refused.0.starts_with(why), "{raw}: {refused}");
        }
        assert!(AmqpUrl::parse(&format!("amqp://mq/{}", "x".repeat(256))).is_err());
    }

    #[test]
    fn the_password_is_not_shown() {
        let url = AmqpUrl::parse("amqp://anna:s3cret@mq.example:5673/shop").unwrap();
        assert_eq!(format!("{url:?}"), r#"AmqpUrl { "anna" at "mq.example", port 5673, virtual host "shop" }"#);
    }
}
