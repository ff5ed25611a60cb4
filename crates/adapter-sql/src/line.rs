//! The line before a pool of connections: how many wait, and for how long.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use metrics::{Counter, Histogram, counter, histogram};
use sea_orm::{ConnAcquireErr, DbErr};
use tokio::task_local;

task_local! {
    /// The wait that a task is in, until the pool hands it a connection.
    static WAIT: Cell<Option<Wait>>;
}

/// Who waits for a connection of one pool.
pub(crate) struct Line {
    waiting: AtomicU32,
    waits: Histogram,
    timeouts: Counter,
}

struct Wait {
    line: Arc<Line>,
    since: Instant,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.line.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Line {
    /// The line before the pool of this name.
    pub(crate) fn before(pool: &'static str) -> Arc<Self> {
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

    /// Does what begins with taking a connection, and waits in the line until [`served`].
    pub(crate) async fn wait<T>(self: &Arc<Self>, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let wait = Wait { line: Arc::clone(self), since: Instant::now() };
        let done = WAIT.scope(Cell::new(Some(wait)), work).await;
        if let Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) = &done {
            self.timeouts.increment(1);
        }
        done
    }
}

/// To be called by the pool, in the task that it hands a connection to.
pub(crate) fn served() {
    // Who does not wait in a line, such as a migration, is not counted.
    let wait = WAIT.try_with(Cell::take).ok().flatten();
    if let Some(wait) = wait {
        wait.line.waits.record(wait.since.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_served_or_gone_does_not_wait() {
        let line = Line::before("test");
        let done = line
            .wait(async {
                assert_eq!(line.length(), 1);
                served();
                assert_eq!(line.length(), 0);
                Ok(())
            })
            .await;
        assert!(done.is_ok());
        assert!(line.wait(async { Err::<(), _>(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)) }).await.is_err());
        assert_eq!(line.length(), 0);
        served();
    }
}
