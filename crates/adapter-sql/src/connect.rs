//! Pools, and what every connection is told.

use std::borrow::Cow;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::ports::StoreError;
use sea_orm::sqlx::error::DatabaseError;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sea_orm::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sea_orm::sqlx::{self, ConnectOptions, Connection, Database, Error as SqlxError};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};
use tokio::runtime::Handle;

use crate::SqlDeadlines;
use crate::line::{self, Line};
use crate::tx::Engine;

/// A connection that was idle for longer is asked whether it lives before it is used.
const TRUSTED_IDLE: Duration = Duration::from_millis(100);

/// If nothing got through for this long while a task is overdue, the connections are dead.
const DEAD_SILENCE: Duration = Duration::from_secs(5);

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
    /// `sqlite://path`, or `postgres://…` or `postgresql://…` as libpq reads it.
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
    /// How many of them nobody uses.
    pub idle: u32,
    /// How many operations wait for one.
    pub waiting: u32,
}

/// The connections in use, and how to replace them.
pub(crate) struct Pools {
    present: RwLock<Arc<Pool>>,
    renewal: Renewal,
    /// Before those that write, and before those that read.
    lines: [Arc<Line>; 2],
}

/// The names of the pools.
const NAMES: [&str; 2] = ["writer", "reader"];

/// Connections that live and die together.
pub(crate) struct Pool {
    pub(crate) writer: DatabaseConnection,
    pub(crate) reader: DatabaseConnection,
    born: Instant,
    /// Milliseconds from birth to when the database was last known to answer.
    reached_ms: AtomicU64,
    trust: Arc<Trust>,
}

/// How far a connection may be used without asking whether it lives: where one died, others have as well.
#[derive(Debug, Default)]
struct Trust(Mutex<Option<Instant>>);

impl Trust {
    fn lose(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a connection that was last used so long ago has to be asked.
    fn is_lost_in(&self, idle_for: Duration) -> bool {
        let lost = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle_for >= TRUSTED_IDLE || lost.is_some_and(|lost| lost.elapsed() <= idle_for)
    }
}

/// How a dead pool is replaced.
enum Renewal {
    Postgres {
        options: Box<PgConnectOptions>,
        pool_size: u32,
        acquire: Duration,
    },
    /// A file does not die.
    Sqlite,
}

impl Pools {
    pub(crate) async fn open(options: &SqlOptions) -> Result<Self, StoreError> {
        let (pool_size, deadlines) = (options.pool_size.max(1), &options.deadlines);
        let lines = NAMES.map(Line::before);
        if options.url.starts_with("sqlite:") {
            let (writer, reader) = open_sqlite(&options.url, pool_size, deadlines).await?;
            let writer = SqlxSqliteConnector::from_sqlx_sqlite_pool(writer);
            let reader = SqlxSqliteConnector::from_sqlx_sqlite_pool(reader);
            let present = RwLock::new(Pool::new(writer, reader, Arc::default()));
            Ok(Self { present, renewal: Renewal::Sqlite, lines })
        } else if options.url.starts_with("postgres:") || options.url.starts_with("postgresql:") {
            let (options, acquire) = (Box::new(postgres_options(&options.url, deadlines)?), deadlines.acquire);
            let pool = Pool::of_postgres(&options, pool_size, acquire);
            pool.writer.get_postgres_connection_pool().acquire().await.map_err(unreachable)?;
            let renewal = Renewal::Postgres { options, pool_size, acquire };
            Ok(Self { present: RwLock::new(pool), renewal, lines })
        } else {
            Err(StoreError::fault("the database's URL must begin with sqlite:, postgres: or postgresql:"))
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        match self.renewal {
            Renewal::Postgres { .. } => Engine::Postgres,
            Renewal::Sqlite => Engine::Sqlite,
        }
    }

    pub(crate) fn present(&self) -> Arc<Pool> {
        Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the pool if the database has not answered through it for long. Answers whether the
    /// pool is closed now, by this call or an earlier one.
    pub(crate) fn replace_if_dead(&self, pool: &Pool, runtime: &Handle) -> bool {
        let Renewal::Postgres { options, pool_size, acquire } = &self.renewal else {
            return false;
        };
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        let old = [&pool.writer, &pool.reader].map(DatabaseConnection::get_postgres_connection_pool);
        if old.iter().all(|old| old.is_closed()) {
            return true;
        }
        if pool.silent_for() < DEAD_SILENCE {
            return false;
        }
        // Pools keep house in the runtime they are made in.
        let _here = runtime.enter();
        *present = Pool::of_postgres(options, *pool_size, *acquire);
        for old in old.map(PgPool::clone) {
            // Closed from the call on; the future only waits for the connections to follow.
            drop(old.close());
            runtime.spawn(async move { old.close().await });
        }
        true
    }

    pub(crate) fn states(&self) -> [PoolState; 2] {
        let present = self.present();
        let pools = [&present.writer, &present.reader];
        let counts = match self.engine() {
            Engine::Postgres => pools.map(DatabaseConnection::get_postgres_connection_pool).map(counts),
            Engine::Sqlite => pools.map(DatabaseConnection::get_sqlite_connection_pool).map(counts),
        };
        [0, 1].map(|which| {
            let (max, open, idle) = counts[which];
            PoolState { name: NAMES[which], max, open, idle, waiting: self.lines[which].length() }
        })
    }

    pub(crate) fn writer_line(&self) -> &Arc<Line> {
        &self.lines[0]
    }

    pub(crate) fn reader_line(&self) -> &Arc<Line> {
        &self.lines[1]
    }

    pub(crate) async fn close(&self) {
        let present = self.present();
        for pool in [&present.reader, &present.writer] {
            if let Err(error) = pool.close_by_ref().await {
                tracing::debug!(%error, "a pool did not close");
            }
        }
    }
}

impl Pool {
    fn new(writer: DatabaseConnection, reader: DatabaseConnection, trust: Arc<Trust>) -> Arc<Self> {
        Arc::new(Self { writer, reader, born: Instant::now(), reached_ms: AtomicU64::new(0), trust })
    }

    /// Has connections that were used before now asked whether they live: one of them did not.
    pub(crate) fn distrust(&self) {
        self.trust.lose();
    }

    /// Whoever writes has connections of their own: however many read, a booking need not wait for one.
    /// They are made when they are needed.
    fn of_postgres(options: &PgConnectOptions, size: u32, acquire: Duration) -> Arc<Self> {
        let (writers, readers) = (size.div_ceil(2), (size / 2).max(1));
        let trust = Arc::<Trust>::default();
        let pool = |size, options: PgConnectOptions| {
            SqlxPostgresConnector::from_sqlx_postgres_pool(
                postgres_pool(size, acquire, Arc::clone(&trust)).connect_lazy_with(options),
            )
        };
        Self::new(pool(writers, options.clone().options(BY_INDEX)), pool(readers, options.clone()), trust.clone())
    }

    /// A pool of connections that are never made.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Arc<Self> {
        Self::of_postgres(&PgConnectOptions::new_without_pgpass(), 1, Duration::from_secs(1))
    }

    /// To be called whenever the database has answered.
    pub(crate) fn reached(&self) {
        self.reached_ms.fetch_max(self.age_ms(), Ordering::Relaxed);
    }

    /// Whether the database has answered since that instant.
    pub(crate) fn has_answered_since(&self, instant: Instant) -> bool {
        let reached = self.born + Duration::from_millis(self.reached_ms.load(Ordering::Relaxed));
        reached > instant
    }

    fn silent_for(&self) -> Duration {
        Duration::from_millis(self.age_ms().saturating_sub(self.reached_ms.load(Ordering::Relaxed)))
    }

    fn age_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// How many connections there may be, are, and are idle.
fn counts<DB: Database>(pool: &sqlx::Pool<DB>) -> (u32, u32, u32) {
    let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
    // The two are counted one after the other.
    (pool.options().get_max_connections(), pool.size(), idle.min(pool.size()))
}

fn postgres_options(url: &str, deadlines: &SqlDeadlines) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(unreachable)?;
    Ok(options
        .application_name("boxoffice")
        .statement_cache_capacity(STATEMENTS)
        .options([
            ("lock_timeout", deadlines.lock.as_millis().to_string()),
            ("statement_timeout", deadlines.statement.as_millis().to_string()),
            ("idle_in_transaction_session_timeout", deadlines.idle_in_transaction.as_millis().to_string()),
            // Compiling a plan takes longer than any statement here.
            ("jit", "off".to_owned()),
        ])
        .disable_statement_logging())
}

fn postgres_pool(pool_size: u32, acquire: Duration, trust: Arc<Trust>) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(pool_size)
        .acquire_timeout(acquire)
        // A round trip for every use of a connection that was in use a moment ago is wasted.
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let doubtful = trust.is_lost_in(meta.idle_for);
            Box::pin(async move {
                if doubtful {
                    connection.ping().await?;
                }
                line::served();
                Ok(true)
            })
        })
        .after_connect(|_, _| {
            line::served();
            Box::pin(async { Ok(()) })
        })
}

/// The pool of one that writes, and the pool of those that read.
async fn open_sqlite(
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
                line::served();
                Box::pin(async { Ok(true) })
            })
            .after_connect(|_, _| {
                line::served();
                Box::pin(async { Ok(()) })
            })
            // `SQLite` has undone by itself a transaction that it could not write, for want of room; the driver then
            // takes the connection for one inside a transaction, which nobody can begin another one in.
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
