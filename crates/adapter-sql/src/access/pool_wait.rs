//! The wait for a connection of a pool: how many operations wait, and for how long.

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use metrics::{Counter, Histogram, counter, histogram};
use sea_orm::{ConnAcquireErr, DbErr};
use tokio::task_local;

use crate::access::bond::Bond;

task_local! {
    /// The wait that a task is in, until the pool hands it a connection.
    static WAIT: Cell<Option<Wait>>;
}

/// How many operations wait for a connection of one pool.
pub(crate) struct PoolWait {
    waiting: AtomicU32,
    waits: Histogram,
    timeouts: Counter,
}

struct Wait {
    pool: Arc<PoolWait>,
    since: Instant,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.pool.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PoolWait {
    /// The wait for connections of the pool of this name.
    pub(crate) fn of(pool: &'static str) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicU32::new(0),
            waits: histogram!("database_connection_wait_duration_seconds", "pool" => pool),
            timeouts: counter!("database_connection_timeouts_total", "pool" => pool),
        })
    }

    /// How many wait at present.
    pub(crate) fn length(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Does what begins with taking a connection, which is counted until [`served`]. An operation that still waits when
    /// the connections are retired is told that they are closed, and may wait for others.
    pub(crate) async fn wait<T>(
        self: &Arc<Self>,
        bond: &Bond,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let wait = Wait { pool: Arc::clone(self), since: Instant::now() };
        let mut work = pin!(WAIT.scope(Cell::new(Some(wait)), work));
        let done = tokio::select! {
            biased;
            done = &mut work => done,
            () = bond.retired() => match work.as_mut().take_value().and_then(Cell::into_inner) {
                Some(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)),
                // A statement that runs is never dropped.
                None => work.await,
            },
        };
        if let Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) = &done {
            self.timeouts.increment(1);
        }
        done
    }
}

/// To be called by the pool, in the task that it hands a connection to.
pub(crate) fn served() {
    // An operation that is not counted, such as a migration, has none.
    let wait = WAIT.try_with(Cell::take).ok().flatten();
    if let Some(wait) = wait {
        wait.pool.waits.record(wait.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::StoreError;
    use tokio::sync::Notify;
    use tokio::task::yield_now;

    use super::*;
    use crate::access::bond::Retired;
    use crate::access::operation::Writing;

    #[tokio::test]
    async fn a_served_or_failed_request_is_not_counted_as_waiting() {
        let (wait, bond) = (PoolWait::of("test"), Bond::default());
        let done = wait
            .wait(&bond, async {
                assert_eq!(wait.length(), 1);
                served();
                assert_eq!(wait.length(), 0);
                Ok(())
            })
            .await;
        assert!(done.is_ok());
        assert!(
            wait.wait(&bond, async { Err::<(), _>(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) }).await.is_err()
        );
        assert_eq!(wait.length(), 0);
        served();
    }

    #[tokio::test]
    async fn waiting_ends_with_retired_connections_and_work_on_them_goes_on() {
        let (wait, bond) = (PoolWait::of("test"), Bond::default());
        let waits = wait.wait(&bond, std::future::pending::<Result<(), _>>());
        let has_one = wait.wait(&bond, async {
            served();
            yield_now().await;
            yield_now().await;
            Ok(())
        });
        let retires = async {
            yield_now().await;
            bond.retire(Retired::Replaced);
        };
        let (waited, went_on, ()) = tokio::join!(waits, has_one, retires);
        assert!(matches!(waited, Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))), "{waited:?}");
        assert!(went_on.is_ok());
        assert_eq!(wait.length(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_operation_that_waits_is_counted_at_its_pool_until_it_is_served() {
        let (sql, _folder) = crate::sample::sqlite().await;
        let (begun, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let holder = tokio::spawn({
            let (sql, begun, released) = (sql.clone(), Arc::clone(&begun), Arc::clone(&released));
            let hold = async move |writing: Writing| {
                let tx = writing.begin().await?;
                begun.notify_one();
                released.notified().await;
                tx.discard().await;
                Ok::<_, StoreError>(())
            };
            async move { sql.write("hold", hold).await }
        });
        begun.notified().await;
        let waiter = tokio::spawn({
            let sql = sql.clone();
            async move { sql.purge_idempotency_keys(domain::sample::now()).await }
        });
        let waiting = || sql.pool_states().map(|pool| pool.waiting);
        while waiting() != [1, 0] {
            yield_now().await;
        }
        let [writer, reader] = sql.pool_states();
        assert_eq!((writer.name, writer.max, writer.open, writer.idle), ("writer", 1, 1, 0));
        assert_eq!((reader.name, reader.max), ("reader", 2));
        released.notify_one();
        holder.await.unwrap().unwrap();
        waiter.await.unwrap().unwrap();
        assert_eq!(waiting(), [0, 0]);
    }
}
