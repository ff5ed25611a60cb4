//! Accounts.

use std::collections::HashMap;

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::{
    Author, Command, Committed, EmailAddress, KeyConflict, PasswordHash, PersonName, Role, Standing, Timestamp, User,
    UserId,
};

/// The accounts; an e-mail address belongs to one at most.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Users: Send + Sync {
    /// The user, or `None` if there is none of this id.
    async fn find(&self, id: UserId) -> Result<Option<User>, StoreError>;

    /// What the account may do at present, or `None` if it is gone.
    async fn standing_of(&self, id: UserId) -> Result<Option<Standing>, StoreError>;

    /// What these accounts may do at present; those that are gone are missing.
    async fn standings_of(&self, ids: &[UserId]) -> Result<HashMap<UserId, Standing>, StoreError>;

    /// The user of this address with the hash of their password, or `None` if there is none.
    async fn credentials(&self, email: &EmailAddress) -> Result<Option<Credentials>, StoreError>;

    /// Adds an account.
    async fn add(&self, user: NewUser) -> Result<User, AddUserError>;

    /// Changes the author's own profile, in one transaction with the command's key.
    async fn update(&self, command: Command<ProfilePatch>) -> Result<Committed<User>, UpdateUserError>;

    /// Changes what an account may do or what proves it, for the operator of the program, in one transaction. A new
    /// password ends every session of the account at `now`. `None` if there is no account of this id.
    async fn reissue(&self, id: UserId, change: AccountChange, now: Timestamp) -> Result<Option<User>, StoreError>;
}

/// An account to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// The person's name.
    pub name: PersonName,
    /// The person's address.
    pub email: EmailAddress,
    /// The hash of their password.
    pub password: PasswordHash,
    /// What the account may do.
    pub role: Role,
    /// When.
    pub created_at: Timestamp,
    /// Who makes it, if it is not the person.
    pub by: Option<Author>,
}

/// A user and what proves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub user: User,
    /// The hash of their password.
    pub password: PasswordHash,
}

/// Changes to an account that only an operator makes; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AccountChange {
    /// What it may do from now on.
    pub role: Option<Role>,
    /// The hash of a new password.
    pub password: Option<PasswordHash>,
}

/// Changes to a profile; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfilePatch {
    /// A new name.
    pub name: Option<PersonName>,
    /// A new address.
    pub email: Option<EmailAddress>,
    /// Whether to tell the person of their seats by mail.
    pub notifications: Option<bool>,
}

/// Why no account was added.
#[derive(Debug, Clone, Error)]
pub enum AddUserError {
    /// An account has this address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a profile was not changed.
#[derive(Debug, Clone, Error)]
pub enum UpdateUserError {
    /// Another account has this address.
    #[error("the e-mail address is taken")]
    EmailTaken,
    /// The author's account is gone.
    #[error("the author's account does not exist")]
    AuthorGone,
    /// The idempotency key stands in the way.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
