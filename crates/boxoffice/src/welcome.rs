//! What a start says last: where the program serves, and what is left to do.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use adapter_sql::Contents;
use tracing::Level;

use crate::output::complain;
use crate::settings::{LogFormat, Settings};

/// The end of a start.
#[derive(Debug, Clone)]
pub(crate) struct Welcome {
    address: SocketAddr,
    operators: Option<SocketAddr>,
    environment: &'static str,
    database: String,
    redis: Option<String>,
    /// `None` if the database does not tell.
    contents: Option<Contents>,
    format: LogFormat,
}

impl Welcome {
    pub(crate) fn new(
        settings: &Settings,
        address: SocketAddr,
        operators: Option<SocketAddr>,
        contents: Option<Contents>,
    ) -> Self {
        Self {
            address,
            operators,
            environment: settings.environment.as_str(),
            database: settings.database.url.to_string(),
            redis: settings.redis.url.as_ref().map(ToString::to_string),
            contents,
            format: settings.log.format,
        }
    }

    /// Says it on standard error: a few lines for people, or one for machines.
    pub(crate) fn say(&self) {
        match self.format {
            LogFormat::Pretty if tracing::enabled!(Level::INFO) => complain(&self.to_string()),
            LogFormat::Pretty => {}
            LogFormat::Json => tracing::info!(
                environment = self.environment,
                database = self.database,
                redis = self.redis.as_deref().unwrap_or("none"),
                page = self.url(""),
                api = self.url("/api"),
                document = self.url("/api/openapi.json"),
                operators = self.operators.map(|address| format!("http://{address}")),
                has_events = self.contents.map(|contents| contents.events),
                has_admin = self.contents.map(|contents| contents.admins),
                "serving http://{}",
                self.address
            ),
        }
    }

    /// An address that a browser on this machine can open.
    fn url(&self, path: &str) -> String {
        let host = match self.address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        format!("http://{}{path}", SocketAddr::new(host, self.address.port()))
    }
}

impl fmt::Display for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, operators, environment, database, redis, contents, .. } = self;
        writeln!(f)?;
        writeln!(f, "  boxoffice {} is serving http://{address} ({environment})", env!("CARGO_PKG_VERSION"))?;
        writeln!(f)?;
        writeln!(f, "    Page      {}/", self.url(""))?;
        writeln!(f, "    API       {}", self.url("/api"))?;
        writeln!(f, "    Document  {}", self.url("/api/openapi.json"))?;
        writeln!(f, "    Database  {database}")?;
        if let Some(redis) = redis {
            writeln!(f, "    Redis     {redis}")?;
        }
        if let Some(operators) = operators {
            writeln!(f, "    Operators http://{operators}")?;
        }
        let Some(Contents { events, admins }) = contents else { return Ok(()) };
        if !events || !admins {
            writeln!(f)?;
        }
        if !events {
            writeln!(f, "  No events yet: run `boxoffice seed` for a demonstration, or create one as an admin.")?;
        }
        if !admins {
            writeln!(f, "  No admin yet: run `boxoffice create-admin --email you@example.com`.")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::settings::Purpose;

    fn welcome(address: &str, contents: Option<Contents>) -> String {
        let nothing: [(OsString, OsString); 0] = [];
        let settings = Settings::load(Purpose::Serve, nothing, tempfile::tempdir().unwrap().path()).unwrap();
        Welcome::new(&settings, address.parse().unwrap(), None, contents).to_string()
    }

    #[test]
    fn a_first_start_says_where_to_look_and_what_to_do() {
        let text = welcome("127.0.0.1:3000", Some(Contents { events: false, admins: false }));
        for part in [
            "serving http://127.0.0.1:3000 (development)",
            "Page      http://127.0.0.1:3000/\n",
            "API       http://127.0.0.1:3000/api\n",
            "Document  http://127.0.0.1:3000/api/openapi.json\n",
            "Database  sqlite://data/boxoffice.db\n",
            "No events yet: run `boxoffice seed`",
            "No admin yet: run `boxoffice create-admin --email you@example.com`",
        ] {
            assert!(text.contains(part), "{part:?} is not in {text}");
        }
    }

    #[test]
    fn a_later_start_gives_no_advice() {
        for contents in [Some(Contents { events: true, admins: true }), None] {
            let text = welcome("127.0.0.1:3000", contents);
            assert!(!text.contains("yet"), "{text}");
        }
    }

    #[test]
    fn every_address_of_the_machine_is_shown_as_one_to_open() {
        assert!(welcome("0.0.0.0:80", None).contains("Page      http://127.0.0.1:80/\n"));
        assert!(welcome("[::]:80", None).contains("Page      http://[::1]:80/\n"));
    }
}
