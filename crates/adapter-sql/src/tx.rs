//! Transactions, and where the two engines differ in them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ports::{Clock, StoreError};
use domain::{Event, SeatChange, Timestamp};
use sea_orm::sea_query::ArrayType;
use sea_orm::{
    ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QuerySelect, Select, SqliteTransactionMode,
    TransactionOptions, Value, sea_query::LockType,
};

use crate::Sql;
use crate::deadlines::work_ends;
use crate::error::{commit_failed, failed};
use crate::statement::Statements;
use crate::work::{Fate, Writing};

/// A write that has this much less time for the lock than others is told so to the server.
const NOTABLE_WAIT: Duration = Duration::from_millis(250);

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Sqlite,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    pub(crate) fn backend(self) -> DbBackend {
        match self {
            Self::Postgres => DbBackend::Postgres,
            Self::Sqlite => DbBackend::Sqlite,
        }
    }

    /// A condition that a column is one of some numbers: one bound value and so one prepared
    /// statement, however many there are. The place is that of its [`Engine::numbers`] among the values
    /// of the statement, and they are bound in order: sea-query knows no `$N` on `SQLite`.
    pub(crate) fn is_one_of(self, column: &str, place: usize) -> String {
        match self {
            Self::Postgres => format!("{column} = ANY(${place})"),
            Self::Sqlite => format!("{column} IN (SELECT value FROM json_each(?))"),
        }
    }

    /// Many numbers as one bound value.
    pub(crate) fn numbers(self, numbers: impl Iterator<Item = i64>) -> Value {
        match self {
            Self::Postgres => {
                Value::Array(ArrayType::BigInt, Some(Box::new(numbers.map(|n| Value::BigInt(Some(n))).collect())))
            }
            Self::Sqlite => {
                let list: Vec<_> = numbers.map(|n| n.to_string()).collect();
                Value::String(Some(format!("[{}]", list.join(","))))
            }
        }
    }
}

/// A transaction that writes.
pub(crate) struct Tx {
    inner: Statements<DatabaseTransaction>,
    clock: Arc<dyn Clock>,
    fate: Arc<Fate>,
    sql: Sql,
    /// What is announced once it is committed.
    news: Mutex<Vec<SeatChange>>,
}

impl Writing {
    /// Begins the transaction. On `SQLite` it holds the write lock from here on, for a lock that is
    /// asked for after a read is refused at once when somebody else has written in between.
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
            fate: Arc::clone(&self.fate),
            sql: self.sql.clone(),
            news: Mutex::default(),
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

    /// Has those who watch the event told of it as it is now, once that is committed.
    pub(crate) fn will_announce(&self, event: &Event) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push(event.into());
    }

    /// Commits what was decided, or rolls back what was refused.
    pub(crate) async fn finish<T, E: From<StoreError>>(self, decided: Result<T, E>) -> Result<T, E> {
        let refused = match decided {
            Ok(outcome) => match self.fate.commit() {
                Ok(()) => {
                    self.inner.commit().await.map_err(commit_failed)?;
                    self.sql.announce(self.news.into_inner().unwrap_or_else(PoisonError::into_inner));
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
