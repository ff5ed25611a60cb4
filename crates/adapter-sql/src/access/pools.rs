//! The connections in use, and how they are replaced.
//!
//! A pool leads to one server. It is retired when its server is not the one that writes any more, when it
//! is dead without knowing, or when the server grants another number of connections; the next operation
//! makes another pool, and operations that wait for a connection move there.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use domain::Timeline;
use domain::ports::StoreError;
use metrics::counter;
use sea_orm::sqlx::postgres::{PgConnectOptions, PgPool};
use sea_orm::sqlx::{self, Database};
use sea_orm::{DatabaseConnection, SqlxPostgresConnector, SqlxSqliteConnector};
use tokio::runtime::Handle;

use crate::access::bond::{Bond, Outlook, Retired, Role};
use crate::access::connect::{self, PoolState, SqlOptions};
use crate::access::engine::Engine;
use crate::access::pool_wait::PoolWait;
use crate::access::server::Server;
use crate::access::survey;
use crate::access::timelines::Seen;

/// If nothing got through for this long while a task is overdue, the connections are dead.
const DEAD_SILENCE: Duration = Duration::from_secs(5);

/// The names of the pools.
const NAMES: [&str; 2] = ["writer", "reader"];

/// The connections in use, and how to replace them.
pub(crate) struct Pools {
    present: RwLock<Arc<Pool>>,
    renewal: Renewal,
    outlook: Arc<Outlook>,
    /// Before those that write, and before those that read.
    lines: [Arc<PoolWait>; 2],
    /// Pools keep house in the runtime they are made in.
    runtime: Handle,
}

/// How a retired pool is replaced.
enum Renewal {
    Postgres(Box<Postgres>),
    /// A file does not die.
    Sqlite,
}

/// Where new connections lead, and how many there may be.
pub(crate) struct Postgres {
    /// How to connect to each host that may write.
    pub(crate) hosts: Vec<PgConnectOptions>,
    /// The place of the one that does, among them.
    target: AtomicUsize,
    /// The number of the settings.
    pub(crate) wanted: u32,
    /// The number that the server grants.
    granted: AtomicU32,
    acquire: Duration,
}

impl Postgres {
    /// How to connect to the server that writes, as far as is known.
    pub(crate) fn target(&self) -> (usize, &PgConnectOptions) {
        let target = self.target.load(Ordering::Acquire);
        (target, &self.hosts[target])
    }

    /// How many connections there may be at present.
    pub(crate) fn granted(&self) -> u32 {
        self.granted.load(Ordering::Acquire)
    }
}

/// Connections that live and die together.
pub(crate) struct Pool {
    pub(crate) writer: DatabaseConnection,
    pub(crate) reader: DatabaseConnection,
    born: Instant,
    /// Milliseconds from birth to when the database was last known to answer.
    reached_ms: AtomicU64,
    pub(crate) bond: Arc<Bond>,
}

impl Pools {
    pub(crate) async fn open(options: &SqlOptions) -> Result<Self, StoreError> {
        let (size, deadlines) = (options.pool_size.max(1), &options.deadlines);
        let (lines, runtime) = (NAMES.map(PoolWait::of), Handle::current());
        let outlook = Arc::<Outlook>::default();
        if options.url.starts_with("sqlite:") {
            let (writer, reader) = connect::open_sqlite(&options.url, size, deadlines).await?;
            let writer = SqlxSqliteConnector::from_sqlx_sqlite_pool(writer);
            let reader = SqlxSqliteConnector::from_sqlx_sqlite_pool(reader);
            let present = RwLock::new(Pool::new(writer, reader, Arc::default()));
            Ok(Self { present, renewal: Renewal::Sqlite, outlook, lines, runtime })
        } else if options.url.starts_with("postgres:") || options.url.starts_with("postgresql:") {
            let hosts = connect::postgres_options(&options.url, deadlines)?;
            let (target, server) = survey::find(&hosts, deadlines).await?;
            outlook.timelines.saw(server.timeline);
            let postgres = Postgres {
                hosts,
                target: AtomicUsize::new(target),
                wanted: size.max(2),
                granted: AtomicU32::new(size.max(2)),
                acquire: deadlines.acquire,
            };
            let present = RwLock::new(Pool::of_postgres(&postgres, &outlook));
            Ok(Self { present, renewal: Renewal::Postgres(Box::new(postgres)), outlook, lines, runtime })
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

    /// How Postgres is connected to, if it is.
    pub(crate) fn postgres(&self) -> Option<&Postgres> {
        match &self.renewal {
            Renewal::Postgres(postgres) => Some(postgres),
            Renewal::Sqlite => None,
        }
    }

    /// The greatest timeline that was seen.
    pub(crate) fn greatest_timeline(&self) -> Option<Timeline> {
        self.outlook.timelines.greatest()
    }

    pub(crate) fn outlook(&self) -> &Arc<Outlook> {
        &self.outlook
    }

    /// The connections to be used by what begins now.
    pub(crate) fn present(&self) -> Arc<Pool> {
        let present = Arc::clone(&self.present.read().unwrap_or_else(PoisonError::into_inner));
        if present.bond.is_retired() { self.renew() } else { present }
    }

    /// Replaces the pool if it is retired.
    fn renew(&self) -> Arc<Pool> {
        let mut present = self.present.write().unwrap_or_else(PoisonError::into_inner);
        if let Renewal::Postgres(postgres) = &self.renewal
            && present.bond.is_retired()
        {
            let _here = self.runtime.enter();
            let reason = if present.bond.is_superseded() { "superseded" } else { "replaced" };
            counter!("database_pool_replacements_total", "reason" => reason).increment(1);
            let old = std::mem::replace(&mut *present, Pool::of_postgres(postgres, &self.outlook));
            for old in old.postgres() {
                // Closed from the call on; the future only waits for the connections to follow.
                drop(old.close());
                self.runtime.spawn(async move { old.close().await });
            }
        }
        Arc::clone(&present)
    }

    /// Replaces the pool if the database has not answered through it for long. Answers whether the
    /// pool is closed now, by this call or an earlier one.
    pub(crate) fn replace_if_dead(&self, pool: &Pool) -> bool {
        if self.engine() == Engine::Sqlite || (!pool.bond.is_retired() && pool.silent_for() < DEAD_SILENCE) {
            return false;
        }
        pool.bond.retire(Retired::Replaced);
        self.outlook.alarm();
        self.present();
        true
    }

    /// To be told of the timeline that an answer came from. Answers whether it is the greatest that was seen:
    /// what comes from a lower one is past. Connections to a server of a lower one are not used any more.
    pub(crate) fn saw(&self, timeline: Timeline) -> bool {
        let seen = self.outlook.timelines.saw(timeline);
        if seen != Seen::Current {
            self.retire_outdated();
        }
        seen != Seen::Lower
    }

    fn retire_outdated(&self) {
        let bond = Arc::clone(&self.present().bond);
        if bond.is_outdated() {
            bond.retire(Retired::Superseded);
            self.outlook.alarm();
        }
    }

    /// Leads new connections to this server, and retires those that lead elsewhere.
    pub(crate) fn lead_to(&self, target: usize, server: Server) {
        let Some(postgres) = self.postgres() else { return };
        self.outlook.timelines.saw(server.timeline);
        let before = postgres.target.swap(target, Ordering::AcqRel);
        let bond = Arc::clone(&self.present().bond);
        match bond.server() {
            Some(known) if known != server => bond.retire(Retired::Superseded),
            None if before != target => bond.retire(Retired::Replaced),
            _ => {}
        }
    }

    /// Makes no more connections than this.
    pub(crate) fn resize(&self, granted: u32) {
        let Some(postgres) = self.postgres() else { return };
        let granted = granted.clamp(1, postgres.wanted);
        let before = postgres.granted.swap(granted, Ordering::AcqRel);
        if granted != before {
            tracing::warn!(
                before,
                granted,
                wanted = postgres.wanted,
                "the server grants another number of connections"
            );
            self.present().bond.retire(Retired::Replaced);
        }
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

    pub(crate) fn writer_wait(&self) -> &Arc<PoolWait> {
        &self.lines[0]
    }

    pub(crate) fn reader_wait(&self) -> &Arc<PoolWait> {
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
    fn new(writer: DatabaseConnection, reader: DatabaseConnection, bond: Arc<Bond>) -> Arc<Self> {
        Arc::new(Self { writer, reader, born: Instant::now(), reached_ms: AtomicU64::new(0), bond })
    }

    /// Writers and readers have pools of their own, so that a booking never waits for a reader. Connections are
    /// made when they are needed.
    fn of_postgres(postgres: &Postgres, outlook: &Arc<Outlook>) -> Arc<Self> {
        let granted = postgres.granted();
        let bond = Arc::new(Bond::under(outlook));
        let (_, options) = postgres.target();
        let pool = |size, role| {
            let options = connect::for_role(options, role);
            let pool = connect::postgres_pool(size, postgres.acquire, role, &bond).connect_lazy_with(options);
            SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
        };
        let writer = pool(granted.div_ceil(2), Role::Writer);
        // Of one connection, there is nothing to be kept apart.
        let reader = if granted == 1 { writer.clone() } else { pool(granted / 2, Role::Reader) };
        Self::new(writer, reader, Arc::clone(&bond))
    }

    fn postgres(&self) -> [PgPool; 2] {
        [&self.writer, &self.reader].map(|pool| pool.get_postgres_connection_pool().clone())
    }

    /// A pool of connections that are never made.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Arc<Self> {
        let postgres = Postgres {
            hosts: vec![PgConnectOptions::new_without_pgpass()],
            target: AtomicUsize::new(0),
            wanted: 2,
            granted: AtomicU32::new(2),
            acquire: Duration::from_secs(1),
        };
        Self::of_postgres(&postgres, &Arc::default())
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
