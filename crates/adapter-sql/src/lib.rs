//! The domain's ports over SQL: Postgres in production, `SQLite` embedded, one code base.
//!
//! Every verb of a port is one transaction here, and every operation runs as a task of its own, so
//! that a caller who hangs up can neither cut a transaction in two nor hand on a connection with an
//! open one. This room holds queries, locks, and the conversions between rows and the domain's
//! types. It must not hold a rule about seats, sessions or texts: it loads what the domain's rule
//! needs, under a lock, and writes what the rule decided.
//!
//! | module | what it holds |
//! |---|---|
//! | `desk` | commands that move seats, of many people, committed together |
//! | `tables` | rows, and the ports that read and write them |
//! | `access` | how the database is reached: pools, operations, transactions, and what may go wrong with each |

mod access;
mod desk;
mod tables;

#[cfg(test)]
mod sample;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use domain::ports::{Clock, SeatChanges, StoreError};
use domain::{EventId, Happening, SeatChange, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

pub use access::connect::{PoolState, SqlOptions};
pub use access::deadlines::SqlDeadlines;
pub use tables::contents::Contents;

use access::list_limiter::ListLimiter;
use access::operation::Outage;
use access::pools::Pools;
use access::probe;
use desk::Desk;
use tables::outbox::Projection;
use tables::programme::Totals;
use tables::{idempotency, versions};

/// How many rows one transaction forgets. On `SQLite` no other write runs meanwhile.
const PURGED_AT_ONCE: u64 = 1_000;

/// A database that fills in every port of storage. Clones share its pools.
#[derive(Clone)]
pub struct Sql(Arc<Parts>);

struct Parts {
    pools: Pools,
    deadlines: SqlDeadlines,
    lists: ListLimiter,
    /// So that however many ask whether the database answers, few are asking it.
    pings: Arc<Semaphore>,
    desk: Desk,
    totals: Totals,
    outage: Outage,
    clock: Arc<dyn Clock>,
    seat_changes: OnceLock<Arc<dyn SeatChanges>>,
    /// Facts were written that wait to be projected.
    written: Notify,
    projection: Projection,
    /// Facts were projected, for each channel that tells them.
    queued: Notify,
    projected: Notify,
    mailed: Notify,
    /// Whether people are told of their seats by mail.
    queues_mail: AtomicBool,
    /// What this process is called in leases.
    holder: String,
    /// Where the work is done, whatever runtime asks for it.
    runtime: Handle,
}

impl Sql {
    /// Opens the database. A `SQLite` file is made if there is none, its folder too; tables are not.
    ///
    /// The present tokio runtime, which has to be one with time and IO, will carry all the work.
    pub async fn connect(options: &SqlOptions, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let pools = Pools::open(options).await?;
        let [_, readers] = pools.states();
        Ok(Self(Arc::new(Parts {
            pools,
            deadlines: options.deadlines,
            lists: ListLimiter::beside_others(readers.max),
            pings: Arc::new(Semaphore::new(probe::PINGS)),
            desk: Desk::new(options.pool_size),
            totals: Totals::default(),
            outage: Outage::default(),
            clock,
            seat_changes: OnceLock::new(),
            written: Notify::new(),
            projection: Projection::default(),
            queued: Notify::new(),
            projected: Notify::new(),
            mailed: Notify::new(),
            queues_mail: AtomicBool::new(false),
            holder: Uuid::new_v4().to_string(),
            runtime: Handle::current(),
        })))
    }

    /// Announces committed changes of seats there from now on. Only the first call counts.
    pub fn announce_to(&self, changes: Arc<dyn SeatChanges>) {
        let _ = self.0.seat_changes.set(changes);
    }

    /// Queues mail from now on. Without this there is none, not even later.
    pub fn queue_mail(&self) {
        self.0.queues_mail.store(true, Ordering::Relaxed);
    }

    /// Announces what a committed transaction did, and has it projected. Of several changes of one event, the newest says
    /// it all.
    fn committed(&self, happened: &[Happening]) {
        if !happened.is_empty() {
            self.0.written.notify_one();
        }
        let Some(changes) = self.0.seat_changes.get() else { return };
        let mut newest: HashMap<EventId, SeatChange> = HashMap::new();
        for change in happened.iter().filter_map(|happening| happening.what.seats()) {
            newest.insert(change.event(), change);
        }
        for change in newest.into_values() {
            changes.announce(change);
        }
    }

    /// Which database it is: `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        self.0.pools.engine().name()
    }

    /// The name the database was given when its tables were made: 32 or 36 hexadecimal characters
    /// or dashes, another one for every database.
    pub async fn database_id(&self) -> Result<String, StoreError> {
        self.read("database_id", versions::database_id).await
    }

    /// Forgets the idempotency keys claimed before that instant; answers how many there were.
    pub async fn purge_idempotency_keys(&self, older_than: Timestamp) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let more =
                self.write("purge_idempotency_keys", move |writing| idempotency::purge(writing, older_than)).await?;
            purged += more;
            if more < PURGED_AT_ONCE {
                return Ok(purged);
            }
        }
    }

    /// How its connections are used at present, those for writing first.
    pub fn pool_states(&self) -> [PoolState; 2] {
        self.0.pools.states()
    }

    /// How many seat commands wait to be taken.
    pub fn waiting_commands(&self) -> usize {
        self.0.desk.waiting()
    }

    /// Waits for what is being done, then closes every connection.
    pub async fn close(self) {
        self.0.pools.close().await;
    }
}
