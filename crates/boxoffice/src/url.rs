//! Addresses of stores, which may hold a password and are shown without it, and that of a collector.
//!
//! The crate `url` reads what it can. It cannot read these:
//!
//! - `sqlite://data/box.db` and `sqlite:box.db`, whose first folder it takes for a host;
//! - `postgres://u:p@a:5432,b:5433/db`, because what stands between the first `:` and the path is no port;
//! - `postgres://u:p@/db?host=/run/postgresql`, because a user needs a host.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret, SecretString};
use url::{Position, Url};

/// The address of the database: a `SQLite` file, or a Postgres server.
#[derive(Debug, Clone)]
pub struct DatabaseUrl(Address);

impl DatabaseUrl {
    pub(crate) const MUST: &str = "must be sqlite://<file> or postgres://<user>:<password>@<host>/<database>";

    /// Reads `sqlite:…` or `postgres:…`. Where the servers of a `postgres:…` are is the adapter's to read.
    pub(crate) fn parse(raw: &str) -> Result<Self, &'static str> {
        let url = Self(Address { whole: raw.into(), shown: without_password(raw) });
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
            _ => Err(Self::MUST),
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
        self.0.whole.expose_secret()
    }
}

impl fmt::Display for DatabaseUrl {
    /// The address without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

/// The address of a Redis server.
#[derive(Debug, Clone)]
pub struct RedisUrl(Address);

impl RedisUrl {
    pub(crate) const MUST: &str = "must be redis://<host>:<port>, with :<password>@ before the host if it has one";

    /// Reads `redis://…`.
    pub(crate) fn parse(raw: &str) -> Result<Self, &'static str> {
        if raw.starts_with("rediss:") {
            return Err("must not be rediss: because TLS to Redis is not supported: write redis://<host>:<port>");
        }
        let url = Url::parse(raw).map_err(|_| Self::MUST)?;
        if url.scheme() != "redis" || url.host_str().is_none_or(str::is_empty) {
            return Err(Self::MUST);
        }
        Ok(Self(Address::of(url)))
    }

    /// The address with its password, for the adapter alone.
    pub fn expose(&self) -> &str {
        self.0.whole.expose_secret()
    }
}

impl fmt::Display for RedisUrl {
    /// The address without its password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.shown)
    }
}

/// The address of a collector of traces, which speaks OTLP over HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpUrl(Url);

impl OtlpUrl {
    pub(crate) const MUST: &str =
        "must be http://<host>:<port>, where a collector takes OTLP over HTTP (4318 by default)";

    /// Reads `http://host[:port][/path]`.
    pub(crate) fn parse(raw: &str) -> Result<Self, &'static str> {
        let url = Url::parse(raw).map_err(|_| Self::MUST)?;
        if url.scheme() == "https" {
            return Err("must not be https: because TLS to the collector is not supported: \
                        write the http:// address of one nearby, which passes traces on");
        }
        // `url` takes any slashes before the host, and an address that holds more than a host, a port and a path.
        let other = |c: char| !c.is_ascii_graphic() || matches!(c, '?' | '#' | '@' | '"' | '<' | '>' | '\\');
        let rest = raw.trim().strip_prefix("http://").ok_or(Self::MUST)?;
        if rest.starts_with('/') || rest.contains(other) || url.port() == Some(0) {
            return Err(Self::MUST);
        }
        Ok(Self(url))
    }

    /// Where traces are sent.
    pub(crate) fn traces(&self) -> String {
        format!("{self}/v1/traces")
    }
}

impl fmt::Display for OtlpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

/// An address that may hold a password, and what of it may be shown.
#[derive(Clone)]
struct Address {
    whole: SecretString,
    shown: String,
}

impl Address {
    /// An address that `url` can read.
    fn of(mut url: Url) -> Self {
        let whole = url.as_str().into();
        // A / ? or # of a password that is not escaped ends the host, and the rest of the password follows.
        if url[Position::AfterHost..].contains('@') {
            return Self { whole, shown: format!("{}://***", url.scheme()) };
        }
        if url.password().is_some() {
            // Fails for addresses without a host, which have no password.
            let _ = url.set_password(Some("***"));
        }
        // They may hold another.
        url.set_query(None);
        url.set_fragment(None);
        Self { whole, shown: url.into() }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The address of a database with `***` for its password and without its parameters, which may hold another. When
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
            ("postgres://ada:s3cret@db:5432,[::1]:5433/box", "postgres://ada:***@db:5432,[::1]:5433/box"),
            ("postgres://ada:s3cret@/box?host=/run/postgresql", "postgres://ada:***@/box"),
            ("postgres://%2Frun%2Fpostgresql/box", "postgres://%2Frun%2Fpostgresql/box"),
        ] {
            let url = DatabaseUrl::parse(url).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({shown})"));
        }
        for (url, shown) in [
            ("redis://:s3cret@cache:6379/1", "redis://:***@cache:6379/1"),
            ("redis://ada:s3cret@[::1]", "redis://ada:***@[::1]"),
            ("redis://cache/0?protocol=resp3&password=s3cret", "redis://cache/0"),
            ("redis://s3#cret@cache", "redis://***"),
        ] {
            let url = RedisUrl::parse(url).unwrap();
            assert_eq!((url.to_string(), format!("{url:?}")), (shown.to_owned(), format!("RedisUrl({shown})")));
        }
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
