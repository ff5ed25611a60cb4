//! Work is done in tasks of its own.
//!
//! A future that waits for a database can be dropped at any `await`, by a client that hangs up or by
//! a timeout. If it is dropped while `BEGIN` is in flight, the connection goes back to its pool
//! inside an open transaction (sqlx up to 0.9.0). So nothing here waits for a database itself: the
//! work runs as a task that is never dropped, and its caller waits for the task, up to a deadline.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ports::StoreError;
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument;

use crate::Sql;
use crate::access::bond::Bond;
use crate::access::commit_gate::CommitGate;
use crate::access::engine::Engine;
use crate::access::error::{Failure, took_too_long};
use crate::access::pools::Pool;
use crate::access::retry::Retry;
use crate::access::statement::Statements;
use crate::access::using::{Using, superseded};

/// What a reading operation works with.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) sql: Sql,
    pub(crate) db: Statements,
    pub(crate) engine: Engine,
}

/// What a writing operation works with.
#[derive(Clone)]
pub(crate) struct Writing {
    pub(crate) sql: Sql,
    pub(crate) db: Statements,
    pub(crate) engine: Engine,
    /// What its connections have in common: they may be retired meanwhile.
    pub(crate) bond: Arc<Bond>,
    pub(crate) gate: Arc<CommitGate>,
    pub(crate) begun: Instant,
    /// When its caller stops waiting.
    pub(crate) until: Instant,
}

impl Sql {
    /// Reads in a task, again if that [may help](crate::access::retry). A caller who has waited too long is told that
    /// the store is unavailable.
    pub(crate) async fn read<T, E, F, W>(&self, name: &'static str, work: W) -> Result<T, E>
    where
        W: FnOnce(Reading) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let using = Using::present(self);
        // A read needs no commit gate: giving one up is safe.
        let gate = Arc::new(CommitGate::default());
        let retry = self.retry(name, &using, &gate);
        let sql = self.clone();
        let attempt = move |pool: &Pool| work.clone()(sql.reading(pool));
        self.carry_out(self.usual_end(), name, &using, &gate, retry.run(attempt)).await
    }

    /// The same for a question that is asked again anyway: it is asked once.
    pub(crate) async fn read_once<T, E, F>(&self, name: &'static str, work: impl FnOnce(Reading) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Failure,
    {
        let using = Using::present(self);
        let (pool, work) = (using.pool(), work(self.reading(&using.pool())));
        let work = async move {
            let answer = work.await;
            if pool.bond.is_superseded() { Err(superseded().into()) } else { answer }
        };
        self.carry_out(self.usual_end(), name, &using, &CommitGate::default(), work).await
    }

    /// When the caller of work that begins now stops waiting, if nothing else is said.
    fn usual_end(&self) -> Instant {
        Instant::now() + self.0.deadlines.answer()
    }

    fn reading(&self, pool: &Pool) -> Reading {
        let db = Statements::of(pool.reader.clone(), self.0.pools.reader_wait(), &pool.bond);
        Reading { sql: self.clone(), db, engine: self.0.pools.engine() }
    }

    fn retry(&self, operation: &'static str, using: &Arc<Using>, gate: &Arc<CommitGate>) -> Retry {
        let until = Instant::now() + self.0.deadlines.lock;
        Retry { operation, using: Arc::clone(using), gate: Arc::clone(gate), until }
    }

    /// Writes in a task, whatever becomes of the caller, again if that [may help](crate::access::retry). A caller
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
        let using = Using::present(self);
        let gate = Arc::new(CommitGate::default());
        let retry = self.retry(name, &using, &gate);
        let (sql, begun, open) = (self.clone(), Instant::now(), Arc::clone(&gate));
        let attempt = move |pool: &Pool| {
            work.clone()(Writing {
                db: Statements::of(pool.writer.clone(), sql.0.pools.writer_wait(), &pool.bond),
                engine: sql.0.pools.engine(),
                bond: Arc::clone(&pool.bond),
                sql: sql.clone(),
                gate: Arc::clone(&open),
                begun,
                until,
            })
        };
        self.carry_out(until, name, &using, &gate, retry.run(attempt)).await
    }

    /// Does the work in a task, however long it takes: what an operator asked for, not a client.
    pub(crate) async fn without_deadline<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let ended = self.0.runtime.spawn(work.in_current_span()).await;
        ended.unwrap_or_else(|error| Err(ended_early(error, &CommitGate::default())))
    }

    async fn carry_out<T, E, F>(
        &self,
        until: Instant,
        name: &'static str,
        using: &Using,
        gate: &CommitGate,
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
            Ok(Err(ended)) => Err(ended_early(ended, gate).into()),
            Err(_) => {
                self.overdue(name, &using.pool(), &task);
                Err(gate.give_up().into())
            }
        };
        let answer = answer.map_err(|error| self.with_estimate(error));
        let reached = match answer.as_ref().err().and_then(Failure::of_store) {
            None | Some(StoreError::Fault(_)) => true,
            Some(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => false,
        };
        if reached {
            using.pool().reached();
            self.0.outage.end();
        }
        let result = if reached { "answered" } else { "unavailable" };
        metrics::histogram!("database_operation_duration_seconds", "operation" => name, "result" => result)
            .record(begun.elapsed());
        answer
    }

    /// Says when to retry. A lock that was not had in time may be held as long once more. A database that is gone is
    /// expected to be gone for as long again as it has been already.
    fn with_estimate<E: Failure>(&self, error: E) -> E {
        let Some(store @ StoreError::Unavailable(_)) = error.of_store() else { return error };
        let retry_after = if took_too_long(store) { self.0.deadlines.lock } else { self.0.outage.goes_on() };
        store.clone().retry_after(retry_after).into()
    }

    /// A task that is overdue while no other gets through either hangs on a connection that is
    /// dead without knowing: sqlx sets no TCP keep-alive, and no timeout of the server can reach
    /// us. Then all connections are replaced. Only a task of a pool that is closed may be stopped:
    /// its connection is closed with it, and no stranger gets it.
    fn overdue<T>(&self, name: &'static str, pool: &Pool, task: &JoinHandle<T>) {
        let replaced = self.0.pools.replace_if_dead(pool);
        tracing::warn!(operation = name, replaced, "the database has not answered in time");
        if replaced {
            task.abort();
        }
    }
}

fn ended_early(error: JoinError, gate: &CommitGate) -> StoreError {
    match error.try_into_panic() {
        Ok(panic) => StoreError::fault(format!("panicked: {}", message(&*panic))),
        // The runtime is being shut down.
        Err(_) => gate.give_up(),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Since when the database has answered no operation.
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
}
