//! Log-in sessions and their refresh tokens.
//!
//! A transaction that spends or revokes a token locks the session's row: otherwise a token handed out while
//! the session is being ended would outlive it.

use async_trait::async_trait;
use domain::ports::{RotateError, Sessions, StoreError};
use domain::{RefreshDigest, Timestamp, User, UserId};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};

use crate::access::error::{failed, is_orphan};
use crate::access::operation::Writing;
use crate::access::transaction::{Tx, for_update};
use crate::tables::account;
use crate::tables::rows::{Row, refresh_token, session, stored};
use crate::{PURGED_AT_ONCE, Sql};

#[async_trait]
impl Sessions for Sql {
    async fn open(
        &self,
        user: UserId,
        token: RefreshDigest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("open_session", move |writing| open(writing, user, token, now, expires_at)).await
    }

    async fn rotate(&self, spent: RefreshDigest, next: RefreshDigest, now: Timestamp) -> Result<User, RotateError> {
        self.write("rotate_session", move |writing| rotate(writing, spent, next, now)).await
    }

    async fn revoke(&self, token: RefreshDigest, now: Timestamp) -> Result<(), StoreError> {
        self.write("revoke_session", move |writing| revoke(writing, token, now)).await
    }

    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError> {
        let mut purged = 0;
        loop {
            let more = self.write("purge_sessions", move |writing| purge(writing, now)).await?;
            purged += more;
            if more < PURGED_AT_ONCE {
                return Ok(purged);
            }
        }
    }
}

async fn open(
    writing: Writing,
    user: UserId,
    token: RefreshDigest,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let tx = writing.begin().await?;
    let opened = open_in(&tx, user, token, now, expires_at).await;
    tx.finish(opened).await
}

async fn open_in(
    tx: &Tx,
    user: UserId,
    token: RefreshDigest,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), StoreError> {
    let row = session::ActiveModel {
        user_id: Set(stored(user.get())),
        expires_at: Set(expires_at.as_datetime()),
        revoked_at: Set(None),
        created_at: Set(now.as_datetime()),
        ..Default::default()
    };
    let session = session::Entity::insert(row).exec_with_returning(&**tx).await.map_err(|error| {
        // Who asks again is told that the account is gone.
        if is_orphan(&error) { StoreError::unavailable(error) } else { failed(error) }
    })?;
    hand_out(tx, session.id, token).await
}

async fn rotate(
    writing: Writing,
    spent: RefreshDigest,
    next: RefreshDigest,
    now: Timestamp,
) -> Result<User, RotateError> {
    let tx = writing.begin().await?;
    let rotated = rotate_in(&tx, spent, next, now).await;
    tx.finish(rotated).await?
}

/// The inner result is the answer. The outer one says whether to commit: that a spent token came
/// back is committed too.
async fn rotate_in(
    tx: &Tx,
    spent: RefreshDigest,
    next: RefreshDigest,
    now: Timestamp,
) -> Result<Result<User, RotateError>, RotateError> {
    let (token, session) = locked(tx, spent).await?.ok_or(RotateError::Invalid)?;
    if session.revoked_at.is_some() || session.expires_at <= now.as_datetime() {
        return Err(RotateError::Invalid);
    }
    if token.spent_at.is_some() {
        end(tx, session.id, now).await?;
        return Ok(Err(RotateError::Reused));
    }
    refresh_token::Entity::update_many()
        .col_expr(refresh_token::Column::SpentAt, Expr::value(now.as_datetime()))
        .filter(refresh_token::Column::Digest.eq(token.digest))
        .exec(&**tx)
        .await
        .map_err(failed)?;
    hand_out(tx, session.id, next).await?;
    let user = Row { table: "sessions", id: session.id }.user_id("user_id", session.user_id)?;
    Ok(Ok(account::find(&**tx, user).await?.ok_or(RotateError::Invalid)?))
}

async fn revoke(writing: Writing, token: RefreshDigest, now: Timestamp) -> Result<(), StoreError> {
    let tx = writing.begin().await?;
    let revoked = revoke_in(&tx, token, now).await;
    tx.finish(revoked).await
}

async fn revoke_in(tx: &Tx, token: RefreshDigest, now: Timestamp) -> Result<(), StoreError> {
    match locked(tx, token).await? {
        Some((_, session)) if session.revoked_at.is_none() => end(tx, session.id, now).await,
        _ => Ok(()),
    }
}

/// Forgets some of the sessions that ended before that instant. Their tokens go with them.
async fn purge(writing: Writing, now: Timestamp) -> Result<u64, StoreError> {
    let ended = Condition::any()
        .add(session::Column::ExpiresAt.lt(now.as_datetime()))
        .add(session::Column::RevokedAt.lt(now.as_datetime()));
    let some = Query::select()
        .column(session::Column::Id)
        .from(session::Entity)
        .cond_where(ended)
        .limit(PURGED_AT_ONCE)
        .take();
    let tx = writing.begin().await?;
    let purged = session::Entity::delete_many().filter(session::Column::Id.in_subquery(some)).exec(&*tx).await;
    tx.finish(purged.map(|done| done.rows_affected).map_err(failed)).await
}

/// A token and its session, whose row is locked until the transaction ends.
async fn locked(tx: &Tx, digest: RefreshDigest) -> Result<Option<(refresh_token::Model, session::Model)>, StoreError> {
    let Some(token) = find_token(tx, digest).await? else {
        return Ok(None);
    };
    let session = for_update(session::Entity::find_by_id(token.session_id)).one(&**tx).await.map_err(failed)?;
    // Again, as it is under the lock.
    Ok(find_token(tx, digest).await?.zip(session))
}

async fn find_token(tx: &Tx, digest: RefreshDigest) -> Result<Option<refresh_token::Model>, StoreError> {
    refresh_token::Entity::find_by_id(digest.as_bytes().to_vec()).one(&**tx).await.map_err(failed)
}

async fn hand_out(tx: &Tx, session: i64, token: RefreshDigest) -> Result<(), StoreError> {
    let row = refresh_token::ActiveModel {
        digest: Set(token.as_bytes().to_vec()),
        session_id: Set(session),
        spent_at: Set(None),
    };
    refresh_token::Entity::insert(row).exec_without_returning(&**tx).await.map_err(failed)?;
    Ok(())
}

async fn end(tx: &Tx, session: i64, now: Timestamp) -> Result<(), StoreError> {
    session::Entity::update_many()
        .col_expr(session::Column::RevokedAt, Expr::value(now.as_datetime()))
        .filter(session::Column::Id.eq(session))
        .exec(&**tx)
        .await
        .map_err(failed)?;
    Ok(())
}

/// Ends every session of a user that goes on.
pub(crate) async fn end_all_of(tx: &Tx, user: i64, now: Timestamp) -> Result<(), StoreError> {
    session::Entity::update_many()
        .col_expr(session::Column::RevokedAt, Expr::value(now.as_datetime()))
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::RevokedAt.is_null())
        .exec(&**tx)
        .await
        .map_err(failed)?;
    Ok(())
}
