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
//! | `deadlines` | how long anything may take |
//! | `connect` | pools, and what every connection is told |
//! | `work` | tasks, their deadlines, and what becomes of a write that misses one |
//! | `statement` | statements, with spans for whoever collects traces |
//! | `retry` | what failed and is done again |
//! | `tx` | transactions, and where the two engines differ in them |
//! | `group_commit` | bookings and cancellations of many people, committed together |
//! | `browse` | room for those who look through lists |
//! | `line` | the wait for a connection of a pool |
//! | `lane` | the queue before one event's row |
//! | `migrate` | running the migrations, alone |
//! | `idempotency` | keys, kept in the transaction of their effect |
//! | `events`, `bookings`, `registrations`, `users`, `sessions`, `versions`, `audit`, `probe` | one port each |
//! | `entity` | rows, and their conversions |
//! | `programme` | lists of events, whatever their number |
//! | `page` | one page of registrations with the total, in one statement |
//! | `error` | what a driver's error means |

mod audit;
mod bookings;
mod browse;
mod connect;
mod deadlines;
mod entity;
mod error;
mod events;
mod group_commit;
mod idempotency;
mod lane;
mod line;
mod migrate;
mod page;
mod probe;
mod programme;
mod registrations;
mod retry;
mod sessions;
mod statement;
mod tx;
mod users;
mod versions;
mod work;

#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use domain::ports::{Clock, SeatChanges, StoreError};
use domain::{SeatChange, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

pub use connect::{PoolState, SqlOptions};
pub use deadlines::SqlDeadlines;

use browse::Room;
use connect::Pools;
use group_commit::Desk;
use lane::Lanes;
use programme::Totals;
use work::Outage;

/// How many rows one transaction forgets. On `SQLite` nobody writes meanwhile.
const PURGED_AT_ONCE: u64 = 1_000;

/// A database that fills in every port of storage. Clones share its pools.
#[derive(Clone)]
pub struct Sql(Arc<Parts>);

struct Parts {
    pools: Pools,
    deadlines: SqlDeadlines,
    lanes: Lanes,
    lists: Room,
    /// So that however many ask whether the database answers, few are asking it.
    pings: Arc<Semaphore>,
    desk: Desk,
    totals: Totals,
    outage: Outage,
    clock: Arc<dyn Clock>,
    seat_changes: OnceLock<Arc<dyn SeatChanges>>,
    /// Where the work is done, whoever asks.
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
            lanes: Lanes::default(),
            lists: Room::beside_others(readers.max),
            pings: Arc::new(Semaphore::new(probe::PINGS)),
            desk: Desk::new(options.pool_size),
            totals: Totals::default(),
            outage: Outage::default(),
            clock,
            seat_changes: OnceLock::new(),
            runtime: Handle::current(),
        })))
    }

    /// Announces committed changes of seats there from now on. Only the first call counts.
    pub fn announce_to(&self, changes: Arc<dyn SeatChanges>) {
        let _ = self.0.seat_changes.set(changes);
    }

    fn announce(&self, committed: impl IntoIterator<Item = SeatChange>) {
        if let Some(changes) = self.0.seat_changes.get() {
            committed.into_iter().for_each(|change| changes.announce(change));
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

    /// How many bookings and cancellations wait to be taken.
    pub fn waiting_orders(&self) -> usize {
        self.0.desk.waiting()
    }

    /// Waits for what is being done, then closes every connection.
    pub async fn close(self) {
        self.0.pools.close().await;
    }
}
