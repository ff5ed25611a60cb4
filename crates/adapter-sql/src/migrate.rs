//! Running the migrations, alone.
//!
//! Several instances may start on an empty database at once. All changes are made in one
//! transaction that begins with a lock: one instance makes them, the others wait and find nothing
//! to do. No deadline applies, for a change of a big table takes its time.

use std::time::{Duration, Instant};

use domain::ports::StoreError;
use migration::{MigrationStatus, Migrator, MigratorTrait};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};

use crate::Sql;
use crate::error::{commit_failed, failed};
use crate::tx::Engine;

/// How long somebody else's migration of a `SQLite` file is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// The advisory lock of everybody who migrates: `boxoffic` in ASCII.
const LOCK: i64 = 0x626f_786f_6666_6963;

/// Which way.
#[derive(Debug, Clone, Copy)]
enum Step {
    Up,
    Down,
}

impl Sql {
    /// Makes every change that is missing. Does nothing if none is.
    pub async fn migrate_up(&self) -> Result<(), StoreError> {
        self.unhurried(step(self.0.pools.present().writer.clone(), self.0.pools.engine(), Step::Up)).await
    }

    /// Undoes the last change.
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        self.unhurried(step(self.0.pools.present().writer.clone(), self.0.pools.engine(), Step::Down)).await
    }

    /// Every change by name, oldest first, and whether it has been made.
    pub async fn migration_status(&self) -> Result<Vec<(String, bool)>, StoreError> {
        self.unhurried(status(self.0.pools.present().reader.clone())).await
    }
}

async fn status(db: DatabaseConnection) -> Result<Vec<(String, bool)>, StoreError> {
    let all = Migrator::get_migration_with_status_read_only(&db).await.map_err(failed)?;
    Ok(all.iter().map(|one| (one.name().to_owned(), one.status() == MigrationStatus::Applied)).collect())
}

async fn step(db: DatabaseConnection, engine: Engine, step: Step) -> Result<(), StoreError> {
    let tx = begin_alone(&db, engine).await?;
    let taken = match step {
        Step::Up => up(&tx).await,
        Step::Down => Migrator::down(&tx, Some(1)).await.map_err(failed),
    };
    match taken {
        Ok(()) => tx.commit().await.map_err(commit_failed),
        Err(error) => {
            if let Err(error) = tx.rollback().await {
                tracing::debug!(%error, "a migration ended with its connection");
            }
            Err(error)
        }
    }
}

async fn up(tx: &DatabaseTransaction) -> Result<(), StoreError> {
    let pending = Migrator::get_pending_migrations_read_only(tx).await.map_err(failed)?;
    if pending.is_empty() { Ok(()) } else { Migrator::up(tx, None).await.map_err(failed) }
}

/// A transaction nobody else has one like.
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
