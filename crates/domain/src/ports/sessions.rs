//! Log-in sessions and the refresh tokens that keep them alive.

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::{RefreshDigest, Timestamp, User, UserId};

/// The sessions. A session is the family of refresh tokens that came from one log-in; each token
/// is spent by its first use, and the return of a spent one ends the whole family.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Begins a session with its first token. It ends at `expires_at`, however often it is renewed.
    async fn open(
        &self,
        user: UserId,
        token: RefreshDigest,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Spends a token for the next one, atomically, and answers the user as they are now.
    async fn rotate(&self, spent: RefreshDigest, next: RefreshDigest, now: Timestamp) -> Result<User, RotateError>;

    /// Ends the session of this token. An unknown token has no session: nothing happens.
    async fn revoke(&self, token: RefreshDigest, now: Timestamp) -> Result<(), StoreError>;

    /// Forgets sessions that ended before `now`; answers how many there were.
    async fn purge(&self, now: Timestamp) -> Result<u64, StoreError>;
}

/// Why a token was not exchanged.
#[derive(Debug, Clone, Error)]
pub enum RotateError {
    /// It is unknown, expired, or its session was ended.
    #[error("the refresh token is unknown, expired or revoked")]
    Invalid,
    /// It was spent before; its session is ended now.
    #[error("the refresh token was used before")]
    Reused,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
