//! What a Postgres server says of itself when a connection to it is made.

use std::fmt;
use std::io::ErrorKind;

use domain::Timeline;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::{PgConnection, PgRow};
use sea_orm::sqlx::{self, Error as SqlxError, Row};

/// One round trip. Every function is open to a role without privileges. A standby does not tell its timeline.
const QUESTION: &str = "SELECT pg_is_in_recovery() AS standby, \
     current_setting('transaction_read_only') AS read_only, \
     CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END AS timeline, \
     CAST(extract(epoch FROM pg_postmaster_start_time()) * 1000000 AS bigint) AS started, \
     pg_backend_pid() AS session";

/// Which server it is: another one, or the same one after a restart, differs in one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) timeline: Timeline,
    /// When it was started, in microseconds since 1970.
    pub(crate) started_us: i64,
}

/// What can be done on a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    /// Writing.
    Writes(Server),
    /// Reading the present state: its database, or role, is set to read only.
    ReadsOnly(Server),
    /// Reading a state that may be past.
    Standby,
}

impl Sight {
    /// The server, if it is a primary.
    pub(crate) fn primary(self) -> Option<Server> {
        match self {
            Self::Writes(server) | Self::ReadsOnly(server) => Some(server),
            Self::Standby => None,
        }
    }
}

/// A session, and what can be done in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Introduced {
    pub(crate) sight: Sight,
    /// The process of the server that serves the session.
    pub(crate) session: i32,
}

/// Why a server that answers is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    Standby,
    ReadOnly,
    /// A standby was promoted since it was the primary.
    Outdated,
    /// The other connections of the pool lead elsewhere.
    Another,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Standby => "the server is a standby",
            Self::ReadOnly => "the database is read-only (default_transaction_read_only)",
            Self::Outdated => "the server is an old primary: a standby was promoted since",
            Self::Another => "the address leads to another server, or the server was restarted",
        })
    }
}

impl std::error::Error for Unfit {}

impl From<Unfit> for SqlxError {
    fn from(unfit: Unfit) -> Self {
        Self::Configuration(Box::new(unfit))
    }
}

/// Asks the server which one it is.
pub(crate) async fn examine(connection: &mut PgConnection) -> Result<Introduced, SqlxError> {
    let row = sqlx::raw_sql(QUESTION).fetch_one(connection).await?;
    let sight = if row.try_get("standby")? {
        Sight::Standby
    } else {
        let server = Server { timeline: timeline(&row)?, started_us: row.try_get("started")? };
        let read_only: &str = row.try_get("read_only")?;
        if read_only == "off" { Sight::Writes(server) } else { Sight::ReadsOnly(server) }
    };
    Ok(Introduced { sight, session: row.try_get("session")? })
}

fn timeline(row: &PgRow) -> Result<Timeline, SqlxError> {
    let digits: &str = row.try_get("timeline")?;
    Timeline::parse_hex(digits).ok_or_else(|| SqlxError::Protocol(format!("{digits:?} is no timeline")))
}

/// Whether no connection was made because the server, the database or the role has as many as it may.
pub(crate) fn is_full(error: &SqlxError) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "53300")
}

/// Why there is no connection, in the words of an operator.
pub(crate) fn why(error: &SqlxError) -> String {
    match error {
        SqlxError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        SqlxError::Io(error) => error.to_string(),
        SqlxError::Database(error) => error.message().to_owned(),
        SqlxError::Configuration(error) => error.to_string(),
        other => other.to_string(),
    }
}
