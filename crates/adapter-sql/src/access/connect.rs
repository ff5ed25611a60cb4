//! What every connection is told.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ports::StoreError;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{ConnectOptions, Connection, Error as SqlxError};

use crate::SqlDeadlines;
use crate::access::bond::{Bond, Role};
use crate::access::hosts;
use crate::access::pool_wait;
use crate::access::server;

/// How long a new `SQLite` file is tried to be opened while another process does the same.
const OPEN_WAIT: Duration = Duration::from_secs(10);

/// How many prepared statements a connection keeps; a list's filters and orders make many.
const STATEMENTS: usize = 256;

/// Rows to be written are found by an index, one after the other, even if the table was small when the
/// statement was planned.
const BY_INDEX: [(&str, &str); 3] =
    [("enable_seqscan", "off"), ("enable_hashjoin", "off"), ("enable_mergejoin", "off")];

/// Which database, and how many connections to it.
#[derive(Clone)]
pub struct SqlOptions {
    /// `sqlite://path`, or `postgres://…` or `postgresql://…` as libpq reads it, with one host or several of
    /// which one writes.
    pub url: String,
    /// The greatest number of connections: on Postgres one half for writing and one for reading, at
    /// least one of each; on `SQLite` of those that read, beside the one that writes.
    pub pool_size: u32,
    /// How long anything may take.
    pub deadlines: SqlDeadlines,
}

impl SqlOptions {
    /// So many connections to this database, with the usual deadlines.
    pub fn new(url: impl Into<String>, pool_size: u32) -> Self {
        Self { url: url.into(), pool_size, deadlines: SqlDeadlines::default() }
    }
}

/// How the connections of a pool are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// What they are for: `writer` or `reader`.
    pub name: &'static str,
    /// How many there may be.
    pub max: u32,
    /// How many are open.
    pub open: u32,
    /// How many of them are idle.
    pub idle: u32,
    /// How many operations wait for one.
    pub waiting: u32,
}

/// How to connect to each host of the URL.
pub(crate) fn postgres_options(url: &str, deadlines: &SqlDeadlines) -> Result<Vec<PgConnectOptions>, StoreError> {
    let options = |options: PgConnectOptions| {
        options
            .application_name("boxoffice")
            .statement_cache_capacity(STATEMENTS)
            .options([
                ("lock_timeout", deadlines.lock.as_millis().to_string()),
                ("statement_timeout", deadlines.statement.as_millis().to_string()),
                ("idle_in_transaction_session_timeout", deadlines.idle_in_transaction.as_millis().to_string()),
                // Compiling a plan takes longer than any statement here.
                ("jit", "off".to_owned()),
            ])
            .disable_statement_logging()
    };
    Ok(hosts::parse(url).map_err(StoreError::fault)?.into_iter().map(options).collect())
}

/// What the connections that write are told beside the rest.
pub(crate) fn for_role(options: &PgConnectOptions, role: Role) -> PgConnectOptions {
    match role {
        Role::Writer => options.clone().options(BY_INDEX),
        Role::Reader => options.clone(),
    }
}

pub(crate) fn postgres_pool(pool_size: u32, acquire: Duration, role: Role, bond: &Arc<Bond>) -> PgPoolOptions {
    let (trusted, bond) = (Arc::clone(bond), Arc::clone(bond));
    PgPoolOptions::new()
        .max_connections(pool_size)
        .acquire_timeout(acquire)
        // A round trip for every use of a connection that was in use a moment ago is wasted.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let doubtful = trusted.is_doubtful(meta.idle_for);
            Box::pin(async move {
                if doubtful {
                    connection.ping().await?;
                }
                pool_wait::served();
                Ok(true)
            })
        })
        .after_connect(move |connection, _| {
            let bond = Arc::clone(&bond);
            Box::pin(async move {
                bond.admit(server::examine(connection).await?, role)?;
                pool_wait::served();
                Ok(())
            })
        })
}

/// The pool of one that writes, and the pool of those that read.
pub(crate) async fn open_sqlite(
    url: &str,
    readers: u32,
    deadlines: &SqlDeadlines,
) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(unreachable)?;
    let path = options.get_filename().to_owned();
    if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
        return Err(StoreError::fault("a SQLite database must be a file, as in sqlite://data/boxoffice.db"));
    }
    if let Some(folder) = path.parent().filter(|folder| *folder != Path::new("")) {
        std::fs::create_dir_all(folder)
            .map_err(|error| StoreError::fault(format!("{} cannot be made: {error}", folder.display())))?;
    }
    let options = options
        .busy_timeout(deadlines.lock)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(STATEMENTS)
        .disable_statement_logging();
    let pool = |connections: u32| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(deadlines.acquire)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .before_acquire(|_, _| {
                pool_wait::served();
                Box::pin(async { Ok(true) })
            })
            .after_connect(|_, _| {
                pool_wait::served();
                Box::pin(async { Ok(()) })
            })
            // `SQLite` has undone by itself a transaction that it could not write, for want of room; the driver then
            // takes the connection for one inside a transaction, in which no other can begin.
            .after_release(|connection, _| {
                Box::pin(async move {
                    if connection.is_in_transaction() {
                        // What was dropped has been rolled back when the answer comes.
                        connection.ping().await?;
                    }
                    Ok(!connection.is_in_transaction())
                })
            })
    };
    let writing = options.clone().create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
    let begun = Instant::now();
    let writer = loop {
        match pool(1).connect_with(writing.clone()).await {
            // Two processes make the file at once. `SQLite` does not wait for the lock that turning
            // to write-ahead logging needs, so we do.
            Err(error) if is_busy(&error) && begun.elapsed() < OPEN_WAIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            opened => break opened.map_err(unreachable)?,
        }
    };
    let reader = pool(readers).connect_with(options.pragma("query_only", "ON")).await.map_err(unreachable)?;
    Ok((writer, reader))
}

fn is_busy(error: &SqlxError) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
    code.and_then(|code| code.parse::<i32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

fn unreachable(error: SqlxError) -> StoreError {
    match error {
        SqlxError::Configuration(_) => StoreError::fault(error),
        _ => StoreError::unavailable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sqlite_file_is_made_with_the_folders_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/er/boxoffice.db");
        let url = format!("sqlite://{}", file.display());
        let (writer, reader) = open_sqlite(&url, 1, &SqlDeadlines::default()).await.unwrap();
        assert!(file.is_file());
        assert!(writer.acquire().await.is_ok() && reader.acquire().await.is_ok());
    }
}
