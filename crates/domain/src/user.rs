//! People with an account.

use crate::{EmailAddress, PersonName, Timestamp, UserId};

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Role {
    /// Browses and books.
    #[default]
    User,
    /// Runs the events as well.
    Admin,
}

impl Role {
    /// The role's name, as clients and tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::User, Self::Admin].into_iter().find(|role| role.as_str() == name)
    }
}

/// A person with an account. The password's hash is not part of it: only log-in asks for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The account's number.
    pub id: UserId,
    /// How the person wants to be called.
    pub name: PersonName,
    /// How the person logs in.
    pub email: EmailAddress,
    /// What the account may do.
    pub role: Role,
    /// When the person signed up.
    pub created_at: Timestamp,
}

/// As much of a user as an event's organiser sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendee {
    /// The account's number.
    pub id: UserId,
    /// The person's name.
    pub name: PersonName,
    /// Where the person can be reached.
    pub email: EmailAddress,
}
