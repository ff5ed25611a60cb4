//! Work is done in tasks of its own.
//!
//! A future that waits for a database can be dropped at any `await`, by a client that hangs up or by
//! a timeout. If it is dropped while `BEGIN` is in flight, the connection goes back to its pool
//! inside an open transaction (sqlx up to 0.9.0). So nothing here waits for a database itself: the
//! work runs as a task that nobody drops, and its caller waits for the task, up to a deadline.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ports::{Cause, StoreError};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

use crate::Sql;
use crate::connect::Pool;
use crate::error::{Failure, took_too_long};
use crate::retry::Retry;
use crate::statement::Statements;
use crate::tx::Engine;

/// What a reading operation works with.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) db: Statements,
    pub(crate) engine: Engine,
}

/// What a writing operation works with.
#[derive(Clone)]
pub(crate) struct Writing {
    pub(crate) sql: Sql,
    pub(crate) db: Statements,
    pub(crate) engine: Engine,
    pub(crate) fate: Arc<Fate>,
    pub(crate) begun: Instant,
    /// When its caller stops waiting.
    pub(crate) until: Instant,
}

impl Sql {
    /// Reads in a task, again if that [may help](crate::retry). A caller who has waited too long is told that
    /// the store is unavailable.
    pub(crate) async fn read<T, E, F, W>(&self, name: &'static str, work: W) -> Result<T, E>
    where
        W: FnOnce(Reading) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let pool = self.0.pools.present();
        let reading = self.reading(&pool);
        // A read has no fate: whoever gives it up loses nothing.
        let fate = Arc::new(Fate::default());
        let retry = self.retry(name, &pool, &fate);
        self.carry_out(self.usual_end(), name, &pool, &fate, retry.run(move || work.clone()(reading.clone()))).await
    }

    /// The same for a question that is asked again anyway: it is asked once.
    pub(crate) async fn read_once<T, E, F>(&self, name: &'static str, work: impl FnOnce(Reading) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let pool = self.0.pools.present();
        self.carry_out(self.usual_end(), name, &pool, &Fate::default(), work(self.reading(&pool))).await
    }

    /// When the caller of work that begins now stops waiting, if nothing else is said.
    fn usual_end(&self) -> Instant {
        Instant::now() + self.0.deadlines.answer()
    }

    fn reading(&self, pool: &Pool) -> Reading {
        let db = Statements::of(pool.reader.clone(), self.0.pools.reader_line());
        Reading { db, engine: self.0.pools.engine() }
    }

    fn retry(&self, operation: &'static str, pool: &Arc<Pool>, fate: &Arc<Fate>) -> Retry {
        let until = Instant::now() + self.0.deadlines.lock;
        Retry { operation, pool: Arc::clone(pool), fate: Arc::clone(fate), until }
    }

    /// Writes in a task, whatever becomes of the caller, again if that [may help](crate::retry). A caller
    /// who has waited too long is told that the store is unavailable if the write can still be kept from
    /// being committed, and is then; otherwise that its outcome is unknown.
    pub(crate) async fn write<T, E, F, W>(&self, name: &'static str, work: W) -> Result<T, E>
    where
        W: FnOnce(Writing) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        self.write_until(self.usual_end(), name, work).await
    }

    /// The same for a caller who waits no longer than this.
    pub(crate) async fn write_until<T, E, F, W>(&self, until: Instant, name: &'static str, work: W) -> Result<T, E>
    where
        W: FnOnce(Writing) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let pool = self.0.pools.present();
        let fate = Arc::new(Fate::default());
        let writing = Writing {
            sql: self.clone(),
            db: Statements::of(pool.writer.clone(), self.0.pools.writer_line()),
            engine: self.0.pools.engine(),
            fate: Arc::clone(&fate),
            begun: Instant::now(),
            until,
        };
        let retry = self.retry(name, &pool, &fate);
        self.carry_out(until, name, &pool, &fate, retry.run(move || work.clone()(writing.clone()))).await
    }

    /// Does the work in a task, however long it takes: what an operator asked for, not a client.
    pub(crate) async fn unhurried<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = self.0.runtime.spawn(work.in_current_span()).await;
        ended.unwrap_or_else(|error| Err(ended_early(error, &Fate::default())))
    }

    async fn carry_out<T, E, F>(
        &self,
        until: Instant,
        name: &'static str,
        pool: &Pool,
        fate: &Fate,
        work: F,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let begun = Instant::now();
        let span = tracing::info_span!(target: "otel", "database", otel.name = name);
        let mut task = self.0.runtime.spawn(work.instrument(span).in_current_span());
        let answer = match tokio::time::timeout_at(until.into(), &mut task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ended)) => Err(ended_early(ended, fate).into()),
            Err(_) => {
                self.overdue(name, pool, &task);
                Err(fate.give_up().into())
            }
        };
        let answer = answer.map_err(|error| self.with_estimate(error));
        let reached = match answer.as_ref().err().and_then(Failure::of_store) {
            None | Some(StoreError::Fault(_)) => true,
            Some(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => false,
        };
        if reached {
            pool.reached();
            self.0.outage.end();
        }
        let result = if reached { "answered" } else { "unavailable" };
        metrics::histogram!("database_operation_duration_seconds", "operation" => name, "result" => result)
            .record(begun.elapsed());
        answer
    }

    /// Says when to ask again. Who waited in vain for a lock may have to wait as long once more. A database
    /// that is gone is expected to be so for as long again as it has been already.
    fn with_estimate<E: Failure>(&self, error: E) -> E {
        let Some(store @ StoreError::Unavailable(_)) = error.of_store() else { return error };
        let expected_in = if took_too_long(store) { self.0.deadlines.lock } else { self.0.outage.goes_on() };
        store.clone().expected_in(expected_in).into()
    }

    /// A task that is overdue while no other gets through either hangs on a connection that is
    /// dead without knowing: sqlx sets no TCP keep-alive, and no timeout of the server can reach
    /// us. Then all connections are replaced. Only a task of a pool that is closed may be stopped:
    /// its connection is closed with it, and no stranger gets it.
    fn overdue<T>(&self, name: &'static str, pool: &Pool, task: &JoinHandle<T>) {
        let replaced = self.0.pools.replace_if_dead(pool, &self.0.runtime);
        tracing::warn!(operation = name, replaced, "the database has not answered in time");
        if replaced {
            task.abort();
        }
    }
}

fn ended_early(error: JoinError, fate: &Fate) -> StoreError {
    match error.try_into_panic() {
        Ok(panic) => StoreError::fault(format!("panicked: {}", message(&*panic))),
        // The runtime is being shut down.
        Err(_) => fate.give_up(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Since when the database has answered nobody.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    lasts: AtomicBool,
    begun: Mutex<Option<Instant>>,
}

impl Outage {
    /// It has not answered; for how long now.
    fn goes_on(&self) -> Duration {
        self.lasts.store(true, Ordering::Release);
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        begun.get_or_insert_with(Instant::now).elapsed()
    }

    /// It has answered.
    fn end(&self) {
        if self.lasts.swap(false, Ordering::AcqRel) {
            *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

/// Whether a write may still be committed, or its caller was told that it will not be.
#[derive(Debug, Default)]
pub(crate) struct Fate(AtomicU8);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Fate {
    /// Whether nothing was committed, nor given up.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    /// To be asked right before the commit, once; an error if it must not be.
    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        match self.0.compare_exchange(OPEN, COMMITTING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::unavailable("the write was given up before its commit")),
        }
    }

    /// Keeps the write from being committed, if that is still possible.
    fn give_up(&self) -> StoreError {
        match self.0.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(GIVEN_UP) => StoreError::unavailable("no answer in time"),
            Err(_) => StoreError::OutcomeUnknown(Cause::new("the commit was sent and not answered in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_counted_from_its_first_failure_to_the_first_answer() {
        let outage = Outage::default();
        let first = outage.goes_on();
        std::thread::sleep(Duration::from_millis(2));
        assert!(outage.goes_on() >= first + Duration::from_millis(2));
        outage.end();
        assert!(outage.begun.lock().unwrap().is_none());
    }

    #[test]
    fn a_write_that_was_given_up_is_not_committed() {
        let fate = Fate::default();
        assert!(matches!(fate.give_up(), StoreError::Unavailable(_)));
        assert!(fate.commit().is_err());
    }

    #[test]
    fn the_outcome_of_a_write_given_up_while_committing_is_unknown() {
        let fate = Fate::default();
        assert!(fate.commit().is_ok());
        assert!(matches!(fate.give_up(), StoreError::OutcomeUnknown(_)));
    }
}
