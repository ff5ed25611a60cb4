//! Running the migrations, alone.
//!
//! Several instances may start on an empty database at once. All changes are made in one
//! transaction that begins with a lock: one instance makes them, the others wait and find nothing
//! to do. No deadline applies, for a change of a big table takes its time.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use domain::ports::StoreError;
use migration::{Migrator, MigratorTrait, SchemaManager};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait,
};

use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::{commit_failed, failed};

/// How long another process's migration of a `SQLite` file is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// The advisory lock of every migration: `boxoffic` in ASCII.
const LOCK: i64 = 0x626f_786f_6666_6963;

/// Which way.
#[derive(Debug, Clone, Copy)]
enum Step {
    Up,
    Down,
}

impl Sql {
    /// Makes every change that is missing, and answers how many there were.
    pub async fn migrate_up(&self) -> Result<usize, StoreError> {
        self.without_deadline(step(self.0.pools.present().writer.clone(), self.0.pools.engine(), Step::Up)).await
    }

    /// Undoes the last change.
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        self.without_deadline(step(self.0.pools.present().writer.clone(), self.0.pools.engine(), Step::Down)).await?;
        Ok(())
    }

    /// Every change by name, oldest first, and whether it has been made.
    pub async fn migration_status(&self) -> Result<Vec<(String, bool)>, StoreError> {
        self.without_deadline(status(self.0.pools.present().reader.clone())).await
    }
}

async fn status(db: DatabaseConnection) -> Result<Vec<(String, bool)>, StoreError> {
    let made = made(&db, SchemaManager::new(&db)).await?;
    let ours = Migrator::migrations();
    Ok(ours.iter().map(|one| (one.name().to_owned(), made.contains(one.name()))).collect())
}

/// The names of the changes that were made, those of a newer release among them.
async fn made(db: &impl ConnectionTrait, schema: SchemaManager<'_>) -> Result<HashSet<String>, StoreError> {
    const TABLE: &str = "seaql_migrations";
    if !schema.has_table(TABLE).await.map_err(failed)? {
        return Ok(HashSet::new());
    }
    let sql = format!("SELECT version FROM {TABLE}");
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get("", "version").map_err(failed)).collect()
}

/// How many changes were made or undone.
async fn step(db: DatabaseConnection, engine: Engine, step: Step) -> Result<usize, StoreError> {
    let tx = begin_alone(&db, engine).await?;
    let taken = match step {
        Step::Up => up(&tx).await,
        Step::Down => Migrator::down(&tx, Some(1)).await.map_err(failed).map(|()| 1),
    };
    match taken {
        Ok(steps) => tx.commit().await.map_err(commit_failed).map(|()| steps),
        Err(error) => {
            if let Err(error) = tx.rollback().await {
                tracing::debug!(%error, "a migration ended with its connection");
            }
            Err(error)
        }
    }
}

/// A newer release may have gone further: what this one needs is there then.
async fn up(tx: &DatabaseTransaction) -> Result<usize, StoreError> {
    let made = made(tx, SchemaManager::new(tx)).await?;
    let missing = Migrator::migrations().iter().filter(|one| !made.contains(one.name())).count();
    if missing > 0 {
        Migrator::up(tx, None).await.map_err(failed)?;
    }
    Ok(missing)
}

/// A transaction that excludes all others of this kind.
async fn begin_alone(db: &DatabaseConnection, engine: Engine) -> Result<DatabaseTransaction, StoreError> {
    match engine {
        Engine::Postgres => {
            let tx = db.begin().await.map_err(failed)?;
            let alone = format!(
                "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; \
                 SET LOCAL idle_in_transaction_session_timeout = 0; SELECT pg_advisory_xact_lock({LOCK})"
            );
            tx.execute_unprepared(&alone).await.map_err(failed)?;
            Ok(tx)
        }
        Engine::Sqlite => {
            let begun = Instant::now();
            loop {
                let options = TransactionOptions {
                    sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                    ..TransactionOptions::default()
                };
                match db.begin_with_options(options).await.map_err(failed) {
                    // It has waited for the lock already.
                    Err(StoreError::Unavailable(_)) if begun.elapsed() < PATIENCE => {}
                    begun => return begun,
                }
            }
        }
    }
}
