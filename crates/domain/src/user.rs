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
    /// Whether the person is told of their seats by mail.
    pub notifications: bool,
    /// When the person signed up.
    pub created_at: Timestamp,
}

/// The account that a token was issued for.
///
/// An account's number is not enough: a primary that is lost takes the last accounts with it, and the standby that is
/// promoted gives their numbers to the next people who sign up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// The account's number.
    pub user: UserId,
    /// What the token says of when it was made.
    pub signed_up: SignedUp,
}

/// When an account was made, as far as a token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignedUp {
    /// It says nothing.
    #[default]
    Sometime,
    /// In this second, or before.
    By {
        /// Whole seconds since 1970.
        unix_secs: i64,
    },
    /// At this very instant.
    At(Timestamp),
}

impl SignedUp {
    /// Whether it may be an account that was made at this instant.
    pub fn admits(self, created_at: Timestamp) -> bool {
        match self {
            Self::Sometime => true,
            Self::By { unix_secs } => created_at.unix_secs() <= unix_secs,
            Self::At(instant) => created_at == instant,
        }
    }
}

/// What an account may do at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its role.
    pub role: Role,
    /// When it was made.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::at;

    #[test]
    fn a_token_is_for_the_account_that_was_made_when_it_says() {
        let made = at("2030-01-01T12:00:00.5Z");
        let by = |raw| SignedUp::By { unix_secs: at(raw).unix_secs() };
        assert!(SignedUp::At(made).admits(made) && SignedUp::Sometime.admits(made));
        assert!(!SignedUp::At(at("2030-01-01T12:00:00.500001Z")).admits(made));
        assert!(by("2030-01-01T12:00:00Z").admits(made) && by("2030-01-02T00:00:00Z").admits(made));
        assert!(!by("2030-01-01T11:59:59Z").admits(made));
    }
}
