//! The mail server, as `SMTP_URL` names it.

use std::fmt;
use std::net::IpAddr;

use lettre::transport::smtp::authentication::Credentials;
use percent_encoding::percent_decode_str;
use thiserror::Error;
use url::{Host, Url};

/// The port of submission with STARTTLS.
const SUBMISSION: u16 = 587;

/// The port of submission over TLS.
const SUBMISSIONS: u16 = 465;

/// A mail server and how it is talked to. Its password is in no text made of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) security: Security,
    pub(crate) credentials: Option<Credentials>,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// Never: the server is on this machine.
    Plain,
    /// By STARTTLS, if the server offers it.
    WhenOffered,
    /// By STARTTLS; a server that does not offer it is not talked to.
    Required,
    /// With the connection.
    FromTheStart,
}

/// Why a text names no mail server. The text itself is not told: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidSmtpUrl {
    /// It is no such URL.
    #[error(
        "must be smtp://host:587 or smtps://host:465, with user:password@ before the host where the server asks for it"
    )]
    Malformed,
    /// There is more than a server in it.
    #[error("must end after the port: there is nothing else to say about a mail server")]
    TooMuch,
    /// Only one of user and password is there, or they hold control characters.
    #[error(
        "must have both a user and a password or neither, percent-encoded where they hold characters such as @ or /"
    )]
    Credentials,
}

impl SmtpUrl {
    /// Reads `smtp://` or `smtps://`, a host, and perhaps a user with a password and a port.
    ///
    /// `smtp` uses STARTTLS if the server offers it, and insists on it if there is a password; on this machine nothing
    /// is encrypted. `smtps` is TLS from the first byte. The ports are 587 and 465 unless another one is named.
    pub fn parse(raw: &str) -> Result<Self, InvalidSmtpUrl> {
        let url = Url::parse(raw.trim()).map_err(|_| InvalidSmtpUrl::Malformed)?;
        let wrapped = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(InvalidSmtpUrl::Malformed),
        };
        // Schemes that browsers do not know have their hosts read as text.
        let host = Host::parse(url.host_str().unwrap_or_default()).map_err(|_| InvalidSmtpUrl::Malformed)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidSmtpUrl::TooMuch);
        }
        let port = url.port().unwrap_or(if wrapped { SUBMISSIONS } else { SUBMISSION });
        let credentials = credentials(&url)?;
        let security = match (wrapped, is_loopback(&host), &credentials) {
            (true, _, _) => Security::FromTheStart,
            (false, true, _) => Security::Plain,
            (false, false, Some(_)) => Security::Required,
            (false, false, None) => Security::WhenOffered,
        };
        let host = match host {
            Host::Domain(name) => name,
            Host::Ipv4(ip) => ip.to_string(),
            Host::Ipv6(ip) => ip.to_string(),
        };
        Ok(Self { host, port, security, credentials })
    }
}

impl fmt::Debug for SmtpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpUrl")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .field("has_credentials", &self.credentials.is_some())
            .finish()
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, InvalidSmtpUrl> {
    let decoded = |text| {
        let text = percent_decode_str(text).decode_utf8().map_err(|_| InvalidSmtpUrl::Credentials)?;
        let plain = !text.is_empty() && !text.chars().any(char::is_control);
        if plain { Ok(text.into_owned()) } else { Err(InvalidSmtpUrl::Credentials) }
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, Some(password)) => Ok(Some(Credentials::new(decoded(user)?, decoded(password)?))),
        (_, None) => Err(InvalidSmtpUrl::Credentials),
    }
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(ip) => IpAddr::from(*ip).is_loopback(),
        Host::Ipv6(ip) => IpAddr::from(*ip).to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(raw: &str) -> (String, u16, Security, bool) {
        let url = SmtpUrl::parse(raw).unwrap();
        (url.host, url.port, url.security, url.credentials.is_some())
    }

    #[test]
    fn the_scheme_says_when_tls_begins_and_at_which_port() {
        let mail = || "mail.example.com".to_owned();
        assert_eq!(told("smtp://mail.example.com"), (mail(), 587, Security::WhenOffered, false));
        assert_eq!(told("smtp://Mail.Example.com:25/"), (mail(), 25, Security::WhenOffered, false));
        assert_eq!(told("smtp://u:p@mail.example.com"), (mail(), 587, Security::Required, true));
        assert_eq!(told("smtps://u%40x:p%2F@mail.example.com"), (mail(), 465, Security::FromTheStart, true));
        assert_eq!(told("smtps://mail.example.com:2465"), (mail(), 2465, Security::FromTheStart, false));
    }

    #[test]
    fn nothing_is_encrypted_on_the_machine_itself() {
        for (raw, host) in [
            ("smtp://localhost:1025", "localhost"),
            ("smtp://u:p@127.0.0.2:1025", "127.0.0.2"),
            ("smtp://[::1]:1025", "::1"),
        ] {
            let (parsed, port, security, _) = told(raw);
            assert_eq!((parsed.as_str(), port, security), (host, 1025, Security::Plain), "{raw}");
        }
        assert_eq!(told("smtps://localhost").2, Security::FromTheStart);
    }

    #[test]
    fn anything_else_is_no_mail_server() {
        for (raw, problem) in [
            ("", InvalidSmtpUrl::Malformed),
            ("mail.example.com:587", InvalidSmtpUrl::Malformed),
            ("http://mail.example.com", InvalidSmtpUrl::Malformed),
            ("smtp://", InvalidSmtpUrl::Malformed),
            ("smtp://mail.example.com:99999", InvalidSmtpUrl::Malformed),
            ("smtp://mail example", InvalidSmtpUrl::Malformed),
            ("smtp://mail.example.com/inbox", InvalidSmtpUrl::TooMuch),
            ("smtp://mail.example.com?tls=required", InvalidSmtpUrl::TooMuch),
            ("smtp://user@mail.example.com", InvalidSmtpUrl::Credentials),
            ("smtp://:hunter2@mail.example.com", InvalidSmtpUrl::Credentials),
            ("smtp://user:hunter%0D2@mail.example.com", InvalidSmtpUrl::Credentials),
        ] {
            assert_eq!(SmtpUrl::parse(raw), Err(problem), "{raw:?}");
        }
    }

    #[test]
    fn a_password_is_in_no_text() {
        let url = SmtpUrl::parse("smtp://user:hunter2@mail.example.com").unwrap();
        assert!(!format!("{url:?}").contains("hunter2") && !format!("{url:?}").contains("user:"));
        let refused = SmtpUrl::parse("smtp://user:hunter2@mail.example.com/x").unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
}
