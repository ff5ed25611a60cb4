//! Idempotency keys, kept in the transaction of their effect.
//!
//! A key is claimed before the effect. The lock on its row makes other requests with the key wait
//! until the transaction ends: then they find the outcome, or nothing at all.

use std::time::Duration;

use domain::ports::StoreError;
use domain::{Command, Committed, KeyConflict, Once, Timeline, Timestamp, UserId};
use sea_orm::ActiveValue::Set;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryResult, TryInsertResult};

use crate::PURGED_AT_ONCE;
use crate::access::engine::Engine;
use crate::access::error::{Obstacle, failed, is_lock_timeout, is_orphan};
use crate::access::operation::Writing;
use crate::access::transaction::{Tx, for_update};
use crate::tables::outcome::Outcome;
use crate::tables::rows::{idempotency_key, stored};

/// How long a key stands for its outcome.
const LIFETIME: Duration = Duration::from_hours(7 * 24);

/// Claims the command's key, if it has one. The outcome of an earlier command, if that had the same.
pub(crate) async fn claim<W, T: Outcome>(tx: &Tx, command: &Command<W>) -> Result<Option<Committed<T>>, Obstacle> {
    let Some(once) = &command.once else {
        return Ok(None);
    };
    let claimed = idempotency_key::ActiveModel {
        user_id: Set(stored(command.by.get())),
        key: Set(once.key.as_str().to_owned()),
        fingerprint: Set(once.fingerprint.as_bytes().to_vec()),
        outcome: Set(None),
        created_at: Set(tx.now().as_datetime()),
    };
    let inserted = idempotency_key::Entity::insert(claimed)
        .on_conflict_do_nothing_on([idempotency_key::Column::UserId, idempotency_key::Column::Key])
        .exec_without_returning(&**tx)
        .await;
    match inserted {
        Ok(TryInsertResult::Inserted(rows)) if rows > 0 => return Ok(None),
        Ok(_) => {}
        Err(error) if is_orphan(&error) => return Err(Obstacle::AuthorGone),
        Err(error) => return Err(in_progress_or(error)),
    }
    // Locked, so that of two who find a key outlived only one takes it over.
    let kept = for_update(idempotency_key::Entity::find().filter(is_key(command.by, once)))
        .one(&**tx)
        .await
        .map_err(in_progress_or)?
        // Forgotten between the two statements: the next try finds it free.
        .ok_or(Obstacle::Key(KeyConflict::InProgress))?;
    let kept = Kept { fingerprint: kept.fingerprint, outcome: kept.outcome, created_at: kept.created_at };
    match kept.meet::<T>(once, tx.now(), tx.timeline().await?) {
        Ok(Met::Outlived) => {
            take_over(tx, command.by, once).await?;
            Ok(None)
        }
        Ok(Met::Unused) => Ok(None),
        Ok(Met::Replay(committed)) => Ok(Some(committed)),
        Err(NotMet::Reused) => Err(Obstacle::Key(KeyConflict::Reused)),
        Err(NotMet::Store(error)) => Err(Obstacle::Store(error)),
    }
}

/// A key that was there already, locked.
#[derive(Debug)]
pub(crate) struct Kept {
    fingerprint: Vec<u8>,
    outcome: Option<String>,
    created_at: DateTimeUtc,
}

/// What a key that was there means for a command that comes with it.
pub(crate) enum Met<T> {
    /// It has outlived its outcome: the command may take it over.
    Outlived,
    /// It stands for nothing: it is the command's.
    Unused,
    /// It stands for what was done already.
    Replay(Committed<T>),
}

/// Why a command cannot have a key.
#[derive(Debug)]
pub(crate) enum NotMet {
    /// It stands for a different request.
    Reused,
    /// Its outcome cannot be read.
    Store(StoreError),
}

impl Kept {
    /// A row with the columns of a key.
    pub(crate) fn from_row(row: &QueryResult) -> Result<Self, StoreError> {
        Ok(Self {
            fingerprint: row.try_get("", "fingerprint").map_err(failed)?,
            outcome: row.try_get("", "outcome").map_err(failed)?,
            created_at: row.try_get("", "created_at").map_err(failed)?,
        })
    }

    /// What it means for a command of this key and fingerprint.
    pub(crate) fn meet<T: Outcome>(&self, once: &Once, now: Timestamp, timeline: Timeline) -> Result<Met<T>, NotMet> {
        if self.created_at + LIFETIME < now.as_datetime() {
            return Ok(Met::Outlived);
        }
        if self.fingerprint != once.fingerprint.as_bytes() {
            return Err(NotMet::Reused);
        }
        let Some(json) = &self.outcome else { return Ok(Met::Unused) };
        // The outcome is of this timeline: the key that was kept with it is.
        let outcome = T::from_json(json, timeline).map_err(NotMet::Store)?;
        Ok(Met::Replay(Committed { outcome, replayed: true }))
    }
}

/// How long a transaction that holds rows waits for a key that another one has.
const KEY_WAIT_MS: u32 = 500;

/// Shortens the lock timeout: a key that is held for longer is answered `in_progress`.
pub(crate) async fn hurry(tx: &Tx, engine: Engine) -> Result<(), StoreError> {
    set_lock_timeout(tx, engine, &KEY_WAIT_MS.to_string()).await
}

/// Undoes [`hurry`].
pub(crate) async fn calm_down(tx: &Tx, engine: Engine) -> Result<(), StoreError> {
    set_lock_timeout(tx, engine, "DEFAULT").await
}

async fn set_lock_timeout(tx: &Tx, engine: Engine, value: &str) -> Result<(), StoreError> {
    if engine == Engine::Postgres {
        tx.execute_unprepared(&format!("SET LOCAL lock_timeout = {value}")).await.map_err(failed)?;
    }
    Ok(())
}

/// Keeps what the command did, if it has a key.
pub(crate) async fn keep<W>(tx: &Tx, command: &Command<W>, outcome: &impl Outcome) -> Result<(), StoreError> {
    let Some(once) = &command.once else {
        return Ok(());
    };
    let json = outcome.to_json()?;
    idempotency_key::Entity::update_many()
        .col_expr(idempotency_key::Column::Outcome, Expr::value(json))
        .filter(is_key(command.by, once))
        .exec(&**tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets some of the keys claimed before that instant.
pub(crate) async fn purge(writing: Writing, older_than: Timestamp) -> Result<u64, StoreError> {
    use idempotency_key::Column::{CreatedAt, Key, UserId};
    let some = Query::select()
        .columns([UserId, Key])
        .from(idempotency_key::Entity)
        .and_where(CreatedAt.lt(older_than.as_datetime()))
        .limit(PURGED_AT_ONCE)
        .take();
    let tx = writing.begin().await?;
    let purged = idempotency_key::Entity::delete_many()
        .filter(Expr::tuple([Expr::col(UserId), Expr::col(Key)]).in_subquery(some))
        .exec(&*tx)
        .await;
    tx.finish(purged.map(|done| done.rows_affected).map_err(failed)).await
}

/// Makes a key that has outlived its outcome this command's own.
pub(crate) async fn take_over(tx: &Tx, by: UserId, once: &Once) -> Result<(), StoreError> {
    idempotency_key::Entity::update_many()
        .col_expr(idempotency_key::Column::Fingerprint, Expr::value(once.fingerprint.as_bytes().to_vec()))
        .col_expr(idempotency_key::Column::Outcome, Expr::value(None::<String>))
        .col_expr(idempotency_key::Column::CreatedAt, Expr::value(tx.now().as_datetime()))
        .filter(is_key(by, once))
        .exec(&**tx)
        .await
        .map_err(failed)?;
    Ok(())
}

fn is_key(by: UserId, once: &Once) -> Condition {
    Condition::all()
        .add(idempotency_key::Column::UserId.eq(stored(by.get())))
        .add(idempotency_key::Column::Key.eq(once.key.as_str()))
}

fn in_progress_or(error: sea_orm::DbErr) -> Obstacle {
    if is_lock_timeout(&error) { Obstacle::Key(KeyConflict::InProgress) } else { Obstacle::Store(failed(error)) }
}
