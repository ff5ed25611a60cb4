//! Why an account was not made or changed, and why a user was not logged in.

use domain::ports::{AddUserError, Cause, PasswordsError, RotateError, StoreError};
use thiserror::Error;

/// Why a session was not opened: never the user's doing.
#[derive(Debug, Clone, Error)]
pub(super) enum OpenSessionError {
    #[error("a token could not be made: {0}")]
    Tokens(Cause),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Cause> for OpenSessionError {
    fn from(cause: Cause) -> Self {
        Self::Tokens(cause)
    }
}

/// Why an account was not made.
#[derive(Debug, Clone, Error)]
pub enum SignUpError {
    /// An account has this address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The password could not be hashed.
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    /// A token could not be made.
    #[error("a token could not be made: {0}")]
    Tokens(Cause),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AddUserError> for SignUpError {
    fn from(error: AddUserError) -> Self {
        match error {
            AddUserError::EmailTaken => Self::EmailTaken,
            AddUserError::Store(error) => Self::Store(error),
        }
    }
}

impl From<OpenSessionError> for SignUpError {
    fn from(error: OpenSessionError) -> Self {
        match error {
            OpenSessionError::Tokens(cause) => Self::Tokens(cause),
            OpenSessionError::Store(error) => Self::Store(error),
        }
    }
}

/// Why there is no admin of an address.
#[derive(Debug, Clone, Error)]
pub enum EnsureAdminError {
    /// The address belongs to an ordinary account, which is not raised silently.
    #[error("the e-mail address belongs to an ordinary account")]
    OrdinaryAccount,
    /// The password could not be hashed.
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an account was not changed.
#[derive(Debug, Clone, Error)]
pub enum ReissueError {
    /// The password could not be hashed.
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a user was not logged in.
#[derive(Debug, Clone, Error)]
pub enum LogInError {
    /// The address or the password is wrong; which of them is not told.
    #[error("the e-mail address or the password is wrong")]
    InvalidCredentials,
    /// The password could not be verified.
    #[error(transparent)]
    Passwords(#[from] PasswordsError),
    /// A token could not be made.
    #[error("a token could not be made: {0}")]
    Tokens(Cause),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OpenSessionError> for LogInError {
    fn from(error: OpenSessionError) -> Self {
        match error {
            OpenSessionError::Tokens(cause) => Self::Tokens(cause),
            OpenSessionError::Store(error) => Self::Store(error),
        }
    }
}

/// Why a refresh token was not exchanged.
#[derive(Debug, Clone, Error)]
pub enum RefreshError {
    /// The token is no good, or not any more.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// A token could not be made.
    #[error("a token could not be made: {0}")]
    Tokens(Cause),
}
