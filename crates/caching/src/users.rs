//! Accounts, looked up for everybody who asks at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{AddUserError, Credentials, NewUser, ProfilePatch, StoreError, UpdateUserError, Users};
use domain::{Command, Committed, EmailAddress, Role, User, UserId};
use tokio::runtime::Handle;

use crate::rounds::Rounds;

/// [`Users`] whose roles are looked up together: whoever asks while a look-up is under way shares the
/// next one. Nothing is kept, so who has lost a role has lost it; everything else passes through.
pub struct SharedUsers {
    inner: Arc<dyn Users>,
    roles: Rounds<(), UserId, Result<Roles, StoreError>>,
}

/// What a look-up found, for all who asked.
type Roles = Arc<HashMap<UserId, Role>>;

impl SharedUsers {
    /// How many look-ups are under way at a time.
    const LOOK_UPS: usize = 2;

    /// `inner`, with its look-ups shared; nobody waits longer than `patience` for one.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime: the one it is made on runs all look-ups, and has to outlive the askers.
    pub fn new(inner: Arc<dyn Users>, patience: Duration) -> Self {
        let roles = {
            let inner = Arc::clone(&inner);
            Rounds::new("look up roles", Handle::current(), Self::LOOK_UPS, patience, move |(), ids: Vec<UserId>| {
                let inner = Arc::clone(&inner);
                async move { inner.roles_of(&ids).await.map(Arc::new) }
            })
        };
        Self { inner, roles }
    }
}

#[async_trait]
impl Users for SharedUsers {
    async fn find(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.inner.find(id).await
    }

    async fn role_of(&self, id: UserId) -> Result<Option<Role>, StoreError> {
        let roles = self.roles.ask((), id).await??;
        Ok(roles.get(&id).copied())
    }

    async fn roles_of(&self, ids: &[UserId]) -> Result<HashMap<UserId, Role>, StoreError> {
        self.inner.roles_of(ids).await
    }

    async fn credentials(&self, email: &EmailAddress) -> Result<Option<Credentials>, StoreError> {
        self.inner.credentials(email).await
    }

    async fn add(&self, user: NewUser) -> Result<User, AddUserError> {
        self.inner.add(user).await
    }

    async fn update(&self, command: Command<ProfilePatch>) -> Result<Committed<User>, UpdateUserError> {
        self.inner.update(command).await
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::MockUsers;

    use super::*;

    #[tokio::test]
    async fn those_who_ask_together_are_looked_up_together() {
        let mut users = MockUsers::new();
        users
            .expect_roles_of()
            .withf(|ids| ids.len() == 3)
            .times(1)
            .returning(|ids| Ok(HashMap::from([(ids[0], Role::Admin), (ids[1], Role::User)])));
        let shared = SharedUsers::new(Arc::new(users), Duration::from_secs(30));
        let [admin, user, gone] = [1, 2, 3].map(|id| UserId::new(id).unwrap());
        // On a runtime of one thread, nothing runs before all three have asked.
        let (admin, user, gone) = tokio::join!(shared.role_of(admin), shared.role_of(user), shared.role_of(gone));
        assert_eq!((admin.unwrap(), user.unwrap(), gone.unwrap()), (Some(Role::Admin), Some(Role::User), None));
    }
}
