//! Access tokens, which carry their claims, and refresh tokens, which carry nothing.

use thiserror::Error;

use super::Cause;
use crate::{Holder, RefreshDigest, RefreshSecret, Timestamp, User};

/// Mints and reads tokens.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Tokens: Send + Sync {
    /// A signed token that says who the user is, valid from `now`.
    fn issue(&self, user: &User, now: Timestamp) -> Result<AccessToken, Cause>;

    /// Whose token it is, if it is one of ours and has not expired. What else it says is for clients to
    /// read: it was so when the token was issued.
    fn verify(&self, token: &str, now: Timestamp) -> Result<Holder, InvalidToken>;

    /// A new refresh token: 256 random bits.
    fn mint_refresh(&self) -> Result<RefreshSecret, Cause>;

    /// How a refresh token is kept.
    fn digest_refresh(&self, secret: &str) -> RefreshDigest;
}

/// A signed access token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token, as it goes into an `Authorization` header.
    pub text: String,
    /// How long it is valid.
    pub ttl_secs: u32,
}

/// The token is not one of ours, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the access token is not valid")]
pub struct InvalidToken;
