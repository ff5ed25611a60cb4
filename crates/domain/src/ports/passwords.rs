//! Hashing passwords.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::Cause;
use crate::{Password, PasswordHash};

/// A slow, salted hash. Both verbs take a noticeable part of a second of one core, on purpose,
/// and never block the caller's thread.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Passwords: Send + Sync {
    /// Hashes a password under a fresh salt.
    async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordsError>;

    /// Whether `candidate` is the password of `hash`. Without a hash the answer is `false` after
    /// the same work, so that the time tells nobody whether an account exists.
    async fn verify(&self, candidate: &str, hash: Option<PasswordHash>) -> Result<bool, PasswordsError>;
}

/// Why nothing was hashed.
#[derive(Debug, Clone, Error)]
pub enum PasswordsError {
    /// Too many are waiting for a core already: those who do now will have had theirs after this time.
    #[error("too many passwords are being hashed")]
    Busy(Duration),
    /// The hasher failed: a defect.
    #[error("hashing failed: {0}")]
    Fault(Cause),
}
