//! Who asks for a write.

use crate::{Holder, SignedUp, UserId};

/// Who asks for a seat command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A user, by the account that their token was issued for.
    User(Holder),
    /// The program itself.
    System,
}

impl Author {
    /// The user's number, if it is a user.
    pub fn user(self) -> Option<UserId> {
        match self {
            Self::User(holder) => Some(holder.user),
            Self::System => None,
        }
    }
}

impl From<Holder> for Author {
    fn from(holder: Holder) -> Self {
        Self::User(holder)
    }
}

impl From<UserId> for Author {
    /// The user of this number, whenever the account was made.
    fn from(user: UserId) -> Self {
        Self::User(Holder { user, signed_up: SignedUp::default() })
    }
}
