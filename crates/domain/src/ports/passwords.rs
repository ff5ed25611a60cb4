//! Hashing passwords.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use super::Cause;
use crate::{Password, PasswordHash};

/// A slow, salted hash. To hash and to verify take a noticeable part of a second of one core, on purpose,
/// and never block the caller's thread.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Passwords: Send + Sync {
    /// A place in the queue for a core, or a refusal at once. It comes first: for a refused request,
    /// nothing else should have been done.
    fn queue(&self) -> Result<HashPermit, PasswordsError>;

    /// Hashes a password under a fresh salt.
    async fn hash(&self, turn: HashPermit, password: &Password) -> Result<PasswordHash, PasswordsError>;

    /// Whether `candidate` is the password of `hash`. Without a hash the answer is `false` after
    /// the same work, so that the time does not tell whether an account exists.
    async fn verify(
        &self,
        turn: HashPermit,
        candidate: &str,
        hash: Option<PasswordHash>,
    ) -> Result<bool, PasswordsError>;
}

/// A place in the queue for a core. It is given up when this is dropped.
#[derive(Debug)]
pub struct HashPermit {
    _place: Box<dyn Debug + Send>,
}

impl HashPermit {
    /// A turn that lasts as long as `place` is held.
    pub fn new(place: impl Debug + Send + 'static) -> Self {
        Self { _place: Box::new(place) }
    }
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
