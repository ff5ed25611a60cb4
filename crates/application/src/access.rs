//! Who is asking.

use std::sync::Arc;

use domain::ports::{Clock, StoreError, Tokens, Users};
use domain::{Holder, Role, SignedUp, UserId};
use thiserror::Error;

/// Proof that a request comes from a user whose account stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SignedIn {
    user: UserId,
}

impl SignedIn {
    /// Whose request it is.
    pub fn user(self) -> UserId {
        self.user
    }
}

/// Proof that a request bears a genuine token. Whether its user's account stands is not known yet: for
/// what is done in a transaction that looks at the account itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bearer {
    holder: Holder,
}

impl Bearer {
    /// Whose request it is.
    pub fn user(self) -> UserId {
        self.holder.user
    }

    /// The account that the token was issued for.
    pub(crate) fn holder(self) -> Holder {
        self.holder
    }
}

impl From<SignedIn> for Bearer {
    fn from(SignedIn { user }: SignedIn) -> Self {
        Self { holder: Holder { user, signed_up: SignedUp::default() } }
    }
}

/// Proof that a request comes from a user who is an admin at present, whatever their token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admin {
    user: UserId,
}

impl Admin {
    /// Whose request it is.
    pub fn user(self) -> UserId {
        self.user
    }
}

/// Turns access tokens into proofs.
pub struct Access {
    users: Arc<dyn Users>,
    tokens: Arc<dyn Tokens>,
    clock: Arc<dyn Clock>,
}

impl Access {
    /// Checks tokens with `tokens` and accounts with `users`.
    pub fn new(users: Arc<dyn Users>, tokens: Arc<dyn Tokens>, clock: Arc<dyn Clock>) -> Self {
        Self { users, tokens, clock }
    }

    /// The bearer of this token, without a look at the store.
    pub fn bearer(&self, token: &str) -> Result<Bearer, AccessError> {
        let holder = self.tokens.verify(token, self.clock.now()).map_err(|_| AccessError::Unauthenticated)?;
        Ok(Bearer { holder })
    }

    /// The user of this token.
    pub async fn signed_in(&self, token: &str) -> Result<SignedIn, AccessError> {
        self.stands(self.bearer(token)?).await
    }

    /// The bearer of a token, if their account stands.
    pub async fn stands(&self, Bearer { holder }: Bearer) -> Result<SignedIn, AccessError> {
        self.role_of(holder).await?;
        Ok(SignedIn { user: holder.user })
    }

    /// The admin of this token. The role is the account's present one.
    pub async fn admin(&self, token: &str) -> Result<Admin, AccessError> {
        let Bearer { holder } = self.bearer(token)?;
        match self.role_of(holder).await? {
            Role::Admin => Ok(Admin { user: holder.user }),
            Role::User => Err(AccessError::Forbidden),
        }
    }

    /// The role of the account that a token was issued for, and not of another that has its number.
    async fn role_of(&self, holder: Holder) -> Result<Role, AccessError> {
        let standing = self.users.standing_of(holder.user).await?;
        let theirs = standing.filter(|standing| holder.signed_up.admits(standing.created_at));
        Ok(theirs.ok_or(AccessError::Unauthenticated)?.role)
    }
}

/// Why a request is not allowed.
#[derive(Debug, Clone, Error)]
pub enum AccessError {
    /// The token is not valid, or the account that it was issued for is gone.
    #[error("the access token is not valid")]
    Unauthenticated,
    /// The user is no admin.
    #[error("only an admin may do this")]
    Forbidden,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
pub(crate) mod proof {
    //! Proofs for the unit tests of other use cases.

    use super::{Admin, SignedIn};
    use domain::UserId;

    pub(crate) fn signed_in(user: UserId) -> SignedIn {
        SignedIn { user }
    }

    pub(crate) fn admin(user: UserId) -> Admin {
        Admin { user }
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::{InvalidToken, MockTokens, MockUsers};
    use domain::sample::{at, clock, user_id};
    use domain::{Role, Standing};

    use super::*;

    const NOON: &str = "2030-01-01T12:00:00Z";

    fn holder(user: u64) -> Holder {
        Holder { user: user_id(user), signed_up: SignedUp::At(at(NOON)) }
    }

    fn access(token: Result<u64, InvalidToken>, role: Option<Role>) -> Access {
        let mut tokens = MockTokens::new();
        tokens.expect_verify().returning(move |_, _| token.map(holder));
        let mut users = MockUsers::new();
        users.expect_standing_of().returning(move |_| Ok(role.map(|role| Standing { role, created_at: at(NOON) })));
        Access::new(Arc::new(users), Arc::new(tokens), clock("2030-01-01T00:00:00Z"))
    }

    #[tokio::test]
    async fn admin_rights_follow_the_present_role() {
        let admin = access(Ok(7), Some(Role::Admin)).admin("t").await.unwrap();
        assert_eq!(admin.user().get(), 7);
        assert!(matches!(access(Ok(7), Some(Role::User)).admin("t").await, Err(AccessError::Forbidden)));
    }

    #[tokio::test]
    async fn a_token_of_a_deleted_user_is_no_proof() {
        assert!(matches!(access(Ok(7), None).signed_in("t").await, Err(AccessError::Unauthenticated)));
        assert!(matches!(access(Ok(7), None).admin("t").await, Err(AccessError::Unauthenticated)));
    }

    #[tokio::test]
    async fn a_token_of_a_lost_account_is_no_proof_for_the_next_of_its_number() {
        let access = |created_at: &'static str| {
            let mut tokens = MockTokens::new();
            tokens.expect_verify().returning(|_, _| Ok(holder(7)));
            let mut users = MockUsers::new();
            let standing = Standing { role: Role::Admin, created_at: at(created_at) };
            users.expect_standing_of().returning(move |_| Ok(Some(standing)));
            Access::new(Arc::new(users), Arc::new(tokens), clock("2030-01-01T13:00:00Z"))
        };
        assert!(access(NOON).signed_in("t").await.is_ok() && access(NOON).admin("t").await.is_ok());
        let next = "2030-01-01T12:00:00.000001Z";
        assert!(matches!(access(next).signed_in("t").await, Err(AccessError::Unauthenticated)));
        assert!(matches!(access(next).admin("t").await, Err(AccessError::Unauthenticated)));
    }

    #[tokio::test]
    async fn an_invalid_token_never_reaches_the_store() {
        let mut tokens = MockTokens::new();
        tokens.expect_verify().returning(|_, _| Err(InvalidToken));
        let access = Access::new(Arc::new(MockUsers::new()), Arc::new(tokens), clock("2030-01-01T00:00:00Z"));
        assert!(matches!(access.signed_in("t").await, Err(AccessError::Unauthenticated)));
        assert!(matches!(access.bearer("t"), Err(AccessError::Unauthenticated)));
    }

    #[tokio::test]
    async fn a_bearer_is_known_without_a_look_at_the_store() {
        let mut tokens = MockTokens::new();
        tokens.expect_verify().return_once(|_, _| Ok(holder(7)));
        let access = Access::new(Arc::new(MockUsers::new()), Arc::new(tokens), clock("2030-01-01T00:00:00Z"));
        assert_eq!(access.bearer("t").unwrap().user().get(), 7);
    }
}
