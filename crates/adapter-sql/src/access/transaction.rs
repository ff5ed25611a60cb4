//! Transactions, and where the two engines differ in them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use domain::ports::{Cause, Clock, StoreError};
use domain::{Happening, Timeline, Timestamp};
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, EntityTrait, QueryResult, QuerySelect, Select, SqliteTransactionMode,
    Statement, TransactionOptions, sea_query::LockType,
};

use crate::Sql;
use crate::access::bond::Bond;
use crate::access::commit_gate::CommitGate;
use crate::access::deadlines::work_ends;
use crate::access::engine::Engine;
use crate::access::error::{commit_failed, failed};
use crate::access::operation::Writing;
use crate::access::statement::Statements;
use crate::access::timeline;
use crate::access::using::superseded;
use crate::tables::facts;

/// A write that has this much less time for the lock than others is told so to the server.
const NOTABLE_WAIT: Duration = Duration::from_millis(250);

/// A transaction that writes.
pub(crate) struct Tx {
    inner: Statements<DatabaseTransaction>,
    clock: Arc<dyn Clock>,
    gate: Arc<CommitGate>,
    bond: Arc<Bond>,
    sql: Sql,
    timeline: OnceLock<Timeline>,
    /// What it did, to be told once it is committed.
    happened: Mutex<Vec<Happening>>,
}

impl Writing {
    /// Begins the transaction. On `SQLite` it holds the write lock from here on, for a lock that is
    /// asked for after a read is refused at once when another transaction has written in between.
    pub(crate) async fn begin(&self) -> Result<Tx, StoreError> {
        let options = TransactionOptions {
            sqlite_transaction_mode: match self.engine {
                Engine::Postgres => None,
                Engine::Sqlite => Some(SqliteTransactionMode::Immediate),
            },
            ..TransactionOptions::default()
        };
        let inner = self.db.begin(options).await.map_err(failed)?;
        let tx = Tx {
            inner,
            clock: Arc::clone(&self.sql.0.clock),
            gate: Arc::clone(&self.gate),
            bond: Arc::clone(&self.bond),
            sql: self.sql.clone(),
            timeline: OnceLock::new(),
            happened: Mutex::default(),
        };
        let left = self.patience_ends().saturating_duration_since(Instant::now());
        if self.engine == Engine::Postgres && left + NOTABLE_WAIT < self.sql.0.deadlines.lock {
            let left = left.as_millis().max(50);
            let hurry = format!("SET LOCAL lock_timeout = {left}; SET LOCAL statement_timeout = {}", left + 300);
            tx.execute_unprepared(&hurry).await.map_err(failed)?;
        }
        Ok(tx)
    }

    /// Lets the statements to come take as long as the caller waits: locks are held already, and the
    /// work is much.
    pub(crate) async fn take_all_the_time(&self, tx: &Tx) -> Result<(), StoreError> {
        if self.engine == Engine::Postgres {
            let left = work_ends(self.until).saturating_duration_since(Instant::now()).as_millis().max(50);
            tx.execute_unprepared(&format!("SET LOCAL statement_timeout = {left}")).await.map_err(failed)?;
        }
        Ok(())
    }

    /// When a wait for a lock has to end.
    pub(crate) fn patience_ends(&self) -> Instant {
        work_ends(self.until).min(self.begun + self.sql.0.deadlines.lock)
    }
}

impl Tx {
    /// The present instant. Read after a lock is held, it is not before any change made under that
    /// lock by a clock that agrees.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The timeline that the transaction is on, which is asked for once.
    pub(crate) async fn timeline(&self) -> Result<Timeline, StoreError> {
        if let Some(known) = self.timeline.get() {
            return Ok(*known);
        }
        let engine = self.sql.0.pools.engine();
        if engine == Engine::Sqlite {
            return Ok(Timeline::FIRST);
        }
        let sql = format!("SELECT {} AS {}", engine.timeline(), timeline::COLUMN);
        let row = self.query_one_raw(Statement::from_string(engine.backend(), sql)).await.map_err(failed)?;
        self.read_on(&row.ok_or_else(|| StoreError::fault("no row of a timeline"))?)
    }

    /// The same, from a row that one of its statements read.
    pub(crate) fn read_on(&self, row: &QueryResult) -> Result<Timeline, StoreError> {
        let timeline = self.sql.timeline_of(row)?;
        Ok(*self.timeline.get_or_init(|| timeline))
    }

    /// Remembers what it did.
    pub(crate) fn happened(&self, happened: Vec<Happening>) {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).extend(happened);
    }

    /// Writes down what it did, in the same transaction.
    async fn write_facts(&self) -> Result<(), StoreError> {
        let happened = self.happened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if happened.is_empty() {
            return Ok(());
        }
        let (now, what) = (self.now(), facts::written(&happened)?);
        let sql = "INSERT INTO facts (batch, first, at, what) VALUES ($1, 0, $2, $3)";
        let values = [facts::new_batch(now).into(), now.as_datetime().into(), what.into()];
        let statement = Statement::from_sql_and_values(self.sql.0.pools.engine().backend(), sql, values);
        self.execute_raw(statement).await.map(drop).map_err(failed)
    }

    /// Commits what was decided, or rolls back what was refused. What an old primary committed is lost if a
    /// standby was promoted before.
    pub(crate) async fn finish<T, E: From<StoreError>>(self, decided: Result<T, E>) -> Result<T, E> {
        let decided = match decided {
            Ok(outcome) => self.write_facts().await.map(|()| outcome).map_err(E::from),
            refused => refused,
        };
        let refused = match decided {
            Ok(_) if self.bond.is_superseded() => superseded().into(),
            Ok(outcome) => match self.gate.commit() {
                Ok(()) => {
                    self.inner.commit().await.map_err(commit_failed)?;
                    if self.bond.is_superseded() {
                        let cause = "another server became the one that writes while this one committed";
                        return Err(StoreError::OutcomeUnknown(Cause::new(cause)).into());
                    }
                    self.sql.committed(&self.happened.into_inner().unwrap_or_else(PoisonError::into_inner));
                    return Ok(outcome);
                }
                Err(given_up) => given_up.into(),
            },
            Err(refused) => refused,
        };
        self.discard().await;
        Err(refused)
    }

    /// Rolls back.
    pub(crate) async fn discard(self) {
        // If this fails, the connection is lost, and the transaction with it.
        if let Err(error) = self.inner.rollback().await {
            tracing::debug!(%error, "a transaction ended with its connection");
        }
    }
}

impl Deref for Tx {
    type Target = Statements<DatabaseTransaction>;

    fn deref(&self) -> &Self::Target {
        &self.inner
    }
}

/// A select that holds its rows until the transaction ends. On `SQLite` the transaction holds the
/// whole database, and the words are left out.
pub(crate) fn for_update<E: EntityTrait>(select: Select<E>) -> Select<E> {
    select.lock(LockType::Update)
}
