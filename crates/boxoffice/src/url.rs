//! Addresses of stores: they may hold a password, and are shown without it.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};

/// The address of the database: a `SQLite` file, or a Postgres server.
#[derive(Clone)]
pub struct DatabaseUrl(SecretString);

impl DatabaseUrl {
    /// Reads `sqlite:…` or `postgres:…`.
    pub(crate) fn parse(raw: &str) -> Result<Self, &'static str> {
        let url = Self(raw.into());
        if let Some(file) = url.sqlite_file() {
            let in_memory = file.as_os_str() == ":memory:" || raw.contains("mode=memory");
            return match file {
                _ if in_memory => Err("must not be in memory, where bookings would be lost: \
                                       write a file as in sqlite://data/boxoffice.db"),
                file if file.as_os_str().is_empty() => Err("must name a file, as in sqlite://data/boxoffice.db"),
                _ => Ok(url),
            };
        }
        let server = raw.strip_prefix("postgres://").or_else(|| raw.strip_prefix("postgresql://"));
        match server {
            Some(server) if !server.is_empty() => Ok(url),
            _ => Err("must be sqlite://<file> or postgres://<user>:<password>@<host>/<database>"),
        }
    }

    /// The database's file, if it is `SQLite`.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        let rest = self.expose().strip_prefix("sqlite:")?;
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let path = rest.split('?').next().unwrap_or(rest);
        Some(PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned()))
    }

    /// The address with its password, for the adapter alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The address of a Redis server.
#[derive(Clone)]
pub struct RedisUrl(SecretString);

impl RedisUrl {
    /// Reads `redis://…`.
    pub(crate) fn parse(raw: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be redis://<host>:<port>, with :<password>@ before the host if it has one";
        if raw.starts_with("rediss:") {
            return Err("must not be rediss: because TLS to Redis is not supported: write redis://<host>:<port>");
        }
        match raw.strip_prefix("redis://") {
            Some(server) if !server.is_empty() && !server.starts_with('/') => Ok(Self(raw.into())),
            _ => Err(FORM),
        }
    }

    /// The address with its password, for the adapter alone.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The address of a collector of traces, which speaks OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpUrl(String);

impl OtlpUrl {
    /// Reads `http://host[:port][/path]`.
    pub(crate) fn parse(raw: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be http://<host>:<port>, where a collector takes OTLP over HTTP (4318 by default)";
        let raw = raw.trim();
        if raw.starts_with("https:") {
            return Err("must not be https: because TLS to the collector is not supported: \
                        write the http:// address of one nearby, which passes traces on");
        }
        let server = raw.strip_prefix("http://").unwrap_or_default();
        let authority = server.split('/').next().unwrap_or_default();
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => match port.parse::<u16>() {
                Ok(1..) => host,
                _ => return Err(FORM),
            },
            _ => authority,
        };
        let plain = raw.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '"' | '<' | '>' | '\\'));
        if host.is_empty() || !plain {
            return Err(FORM);
        }
        Ok(Self(raw.trim_end_matches('/').to_owned()))
    }

    /// Where traces are sent.
    pub(crate) fn traces(&self) -> String {
        format!("{}/v1/traces", self.0)
    }
}

impl fmt::Display for OtlpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! shown_without_password {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            /// The address without its password.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&without_password(self.expose()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    )*};
}

shown_without_password!(DatabaseUrl, RedisUrl);

/// An address with `***` for its password and without its parameters, which may hold another. When
/// in doubt about where the password ends, only the scheme is left.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.split('?').next().unwrap_or(url).to_owned();
    };
    let (user, host) = match rest.rsplit_once('@') {
        Some((user, _)) if user.contains(['/', '?', '#', '@']) => return format!("{scheme}://***"),
        Some((user, host)) => (Some(user), host),
        None => (None, rest),
    };
    let host = host.split(['?', '#']).next().unwrap_or(host);
    match user.map(|user| user.split_once(':').map_or((user, false), |(user, _)| (user, true))) {
        None => format!("{scheme}://{host}"),
        Some((user, false)) => format!("{scheme}://{user}@{host}"),
        Some((user, true)) => format!("{scheme}://{user}:***@{host}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("postgres://ada:s3cret@db:5432/box", "postgres://ada:***@db:5432/box"),
            ("postgres://ada@db/box?password=s3cret", "postgres://ada@db/box"),
            ("postgres://db/box?password=s3cret@x", "postgres://***"),
            ("postgres://ada:s3/cret@db/box", "postgres://***"),
            ("postgres://ada:s3@cret@db/box", "postgres://***"),
            ("postgres://ada:s3?cret@db/box", "postgres://***"),
        ] {
            let url = DatabaseUrl::parse(url).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
        assert_eq!(RedisUrl::parse("redis://:s3cret@cache:6379/1").unwrap().to_string(), "redis://:***@cache:6379/1");
    }

    #[test]
    fn a_sqlite_address_names_a_file() {
        let file = |url: &str| DatabaseUrl::parse(url).unwrap().sqlite_file();
        assert_eq!(file("sqlite://data/boxoffice.db"), Some("data/boxoffice.db".into()));
        assert_eq!(file("sqlite:box.db?mode=rwc"), Some("box.db".into()));
        assert_eq!(file("sqlite:///var/lib/box%20office.db"), Some("/var/lib/box office.db".into()));
        assert_eq!(file("postgres://db/box"), None);
        for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite:x.db?mode=memory", "sqlite:", "sqlite://?mode=rwc"]
        {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn traces_go_below_the_address_of_the_collector() {
        for (url, traces) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            (" http://[::1]:4318/ ", "http://[::1]:4318/v1/traces"),
            ("http://collector/otlp/", "http://collector/otlp/v1/traces"),
        ] {
            assert_eq!(OtlpUrl::parse(url).unwrap().traces(), traces);
        }
        for url in [
            "",
            "collector:4318",
            "https://collector",
            "http://",
            "http:///v1",
            "http://:4318",
            "http://a:b",
            "http://a:0",
            "http://ada:s3cret@collector",
            "http://collector?key=s3cret",
            "http://colle ctor",
            "grpc://collector:4317",
        ] {
            assert!(OtlpUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn other_stores_are_refused() {
        for url in ["", "mysql://db/box", "postgres:", "postgres://", "data/boxoffice.db", "file:x"] {
            assert!(DatabaseUrl::parse(url).is_err(), "{url}");
        }
        for url in ["", "rediss://cache", "redis:", "redis://", "redis:///0", "cache:6379"] {
            assert!(RedisUrl::parse(url).is_err(), "{url}");
        }
    }
}
