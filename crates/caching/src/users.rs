//! Accounts, looked up once for all requests that ask at the same time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{
    AccountChange, AddUserError, Credentials, NewUser, ProfilePatch, StoreError, UpdateUserError, Users,
};
use domain::{Command, Committed, EmailAddress, Standing, Timestamp, User, UserId};
use tokio::runtime::Handle;

use crate::shared_reads::SharedReads;

/// [`Users`] whose standings are looked up together: a question that comes while a look-up is under way
/// joins the next one. Nothing is kept, so who has lost a role has lost it; everything else passes through.
pub struct SharedUsers {
    inner: Arc<dyn Users>,
    standings: SharedReads<(), UserId, Result<Standings, StoreError>>,
}

/// What a look-up found, for all who asked.
type Standings = Arc<HashMap<UserId, Standing>>;

impl SharedUsers {
    /// How many look-ups are under way at a time.
    const LOOK_UPS: usize = 2;

    /// `inner`, with its look-ups shared; no caller waits longer than `patience` for one.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime: the one it is made on runs all look-ups, and has to outlive the askers.
    pub fn new(inner: Arc<dyn Users>, patience: Duration) -> Self {
        let standings = {
            let inner = Arc::clone(&inner);
            SharedReads::new(
                "look up roles",
                Handle::current(),
                Self::LOOK_UPS,
                patience,
                move |(), ids: Vec<UserId>| {
                    let inner = Arc::clone(&inner);
                    async move { inner.standings_of(&ids).await.map(Arc::new) }
                },
            )
        };
        Self { inner, standings }
    }
}

#[async_trait]
impl Users for SharedUsers {
    async fn find(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.inner.find(id).await
    }

    async fn standing_of(&self, id: UserId) -> Result<Option<Standing>, StoreError> {
        let standings = self.standings.ask((), id).await??;
        Ok(standings.get(&id).copied())
    }

    async fn standings_of(&self, ids: &[UserId]) -> Result<HashMap<UserId, Standing>, StoreError> {
        self.inner.standings_of(ids).await
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

    async fn reissue(&self, id: UserId, change: AccountChange, now: Timestamp) -> Result<Option<User>, StoreError> {
        self.inner.reissue(id, change, now).await
    }
}

#[cfg(test)]
mod tests {
    use domain::Role;
    use domain::ports::MockUsers;
    use domain::sample::{now, user_id};

    use super::*;

    fn standing(role: Role) -> Standing {
        Standing { role, created_at: now() }
    }

    #[tokio::test]
    async fn concurrent_callers_are_looked_up_together() {
        let mut users = MockUsers::new();
        users
            .expect_standings_of()
            .withf(|ids| ids.len() == 3)
            .times(1)
            .returning(|ids| Ok(HashMap::from([(ids[0], standing(Role::Admin)), (ids[1], standing(Role::User))])));
        let shared = SharedUsers::new(Arc::new(users), Duration::from_secs(30));
        let [admin, user, gone] = [1, 2, 3].map(user_id);
        // On a runtime of one thread, nothing runs before all three have asked.
        let (admin, user, gone) =
            tokio::join!(shared.standing_of(admin), shared.standing_of(user), shared.standing_of(gone));
        let found = (Some(standing(Role::Admin)), Some(standing(Role::User)), None);
        assert_eq!((admin.unwrap(), user.unwrap(), gone.unwrap()), found);
    }
}
