//! A user's own account.

use std::sync::Arc;

use domain::ports::{ProfilePatch, StoreError, UpdateUserError, Users};
use domain::{Command, Committed, Once, User};
use thiserror::Error;

use crate::SignedIn;

/// A user's own account.
pub struct Profile {
    users: Arc<dyn Users>,
}

impl Profile {
    /// The accounts kept in `users`.
    pub fn new(users: Arc<dyn Users>) -> Self {
        Self { users }
    }

    /// The account of the user who asks.
    pub async fn show(&self, user: SignedIn) -> Result<User, ShowProfileError> {
        self.users.find(user.user()).await?.ok_or(ShowProfileError::Gone)
    }

    /// Changes the name or address of the user who asks.
    pub async fn update(
        &self,
        user: SignedIn,
        once: Option<Once>,
        patch: ProfilePatch,
    ) -> Result<Committed<User>, UpdateUserError> {
        self.users.update(Command { by: user.user(), once, what: patch }).await
    }
}

/// Why a user was not shown.
#[derive(Debug, Clone, Error)]
pub enum ShowProfileError {
    /// The account went away while the request was under way.
    #[error("the account does not exist any more")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use domain::ports::MockUsers;
    use domain::sample::user_id;

    use super::*;
    use crate::access::proof;

    #[tokio::test]
    async fn an_account_that_went_away_is_not_shown() {
        let mut users = MockUsers::new();
        users.expect_find().returning(|_| Ok(None));
        let user = proof::signed_in(user_id(7));
        assert!(matches!(Profile::new(Arc::new(users)).show(user).await, Err(ShowProfileError::Gone)));
    }

    #[tokio::test]
    async fn a_change_names_its_author() {
        let mut users = MockUsers::new();
        users.expect_update().withf(|command| command.by.get() == 7).returning(|_| Err(UpdateUserError::EmailTaken));
        let user = proof::signed_in(user_id(7));
        let refused = Profile::new(Arc::new(users)).update(user, None, ProfilePatch::default()).await;
        assert!(matches!(refused, Err(UpdateUserError::EmailTaken)));
    }
}
