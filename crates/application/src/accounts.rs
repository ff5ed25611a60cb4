//! Signing up, logging in, and staying logged in.

use std::sync::Arc;

use domain::ports::{
    AccessToken, AddUserError, Cause, Clock, NewUser, Passwords, PasswordsError, RotateError, Sessions, StoreError,
    Tokens, Users,
};
use domain::{EmailAddress, Password, PersonName, RefreshSecret, Role, Timestamp, User, UserId};
use thiserror::Error;

use crate::Admin;

/// What somebody says of themselves when signing up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignUp {
    /// Their name.
    pub name: PersonName,
    /// Their address.
    pub email: EmailAddress,
    /// The password they chose.
    pub password: Password,
}

/// Somebody who has proved who they are, with what they need to do so again.
#[derive(Debug, Clone)]
pub struct SessionGrant {
    /// The user, as they are now.
    pub user: User,
    /// The token for their requests.
    pub access: AccessToken,
    /// The token for the next grant.
    pub refresh: RefreshSecret,
}

/// Accounts and the sessions opened with them.
pub struct Accounts {
    users: Arc<dyn Users>,
    sessions: Arc<dyn Sessions>,
    passwords: Arc<dyn Passwords>,
    tokens: Arc<dyn Tokens>,
    clock: Arc<dyn Clock>,
    session_ttl_secs: u32,
}

impl Accounts {
    /// Accounts whose sessions last `session_ttl_secs` from log-in, however often they are renewed.
    pub fn new(
        users: Arc<dyn Users>,
        sessions: Arc<dyn Sessions>,
        passwords: Arc<dyn Passwords>,
        tokens: Arc<dyn Tokens>,
        clock: Arc<dyn Clock>,
        session_ttl_secs: u32,
    ) -> Self {
        Self { users, sessions, passwords, tokens, clock, session_ttl_secs }
    }

    /// Makes an ordinary account and logs it in.
    pub async fn sign_up(&self, person: SignUp) -> Result<SessionGrant, SignUpError> {
        let user = self.add(person, Role::User).await?;
        Ok(self.open_session(user).await?)
    }

    /// Makes an admin's account, vouched for by an admin, and logs it in.
    pub async fn sign_up_admin(&self, _sponsor: Admin, person: SignUp) -> Result<SessionGrant, SignUpError> {
        let user = self.add(person, Role::Admin).await?;
        Ok(self.open_session(user).await?)
    }

    /// Makes sure that there is an admin of this address, for the operator of the program. An
    /// admin who exists already is left alone, password included.
    pub async fn ensure_admin(&self, person: SignUp) -> Result<User, EnsureAdminError> {
        let email = person.email.clone();
        match self.existing_admin(&email).await? {
            Some(user) => Ok(user),
            None => match self.add(person, Role::Admin).await {
                Ok(user) => Ok(user),
                // Another instance that starts at the same time was quicker.
                Err(SignUpError::EmailTaken) => {
                    self.existing_admin(&email).await?.ok_or(EnsureAdminError::OrdinaryAccount)
                }
                Err(SignUpError::Passwords(error)) => Err(error.into()),
                Err(SignUpError::Tokens(cause)) => Err(PasswordsError::Fault(cause).into()),
                Err(SignUpError::Store(error)) => Err(error.into()),
            },
        }
    }

    /// Logs somebody in. An unknown address costs as much time as a wrong password, and nobody is looked up
    /// for whom there is no time.
    pub async fn log_in(&self, email: &str, password: &str) -> Result<SessionGrant, LogInError> {
        let turn = self.passwords.queue()?;
        let credentials = match EmailAddress::parse(email) {
            Ok(email) => self.users.credentials(&email).await?,
            Err(_) => None,
        };
        let (user, hash) = credentials.map(|found| (found.user, found.password)).unzip();
        let proved = self.passwords.verify(turn, password, hash).await?;
        let user = user.filter(|_| proved).ok_or(LogInError::InvalidCredentials)?;
        Ok(self.open_session(user).await?)
    }

    /// Exchanges a refresh token for the next grant; the token is spent.
    pub async fn refresh(&self, secret: &str) -> Result<SessionGrant, RefreshError> {
        let now = self.clock.now();
        let next = self.tokens.mint_refresh().map_err(RefreshError::Tokens)?;
        let spent = self.tokens.digest_refresh(secret);
        let user = self.sessions.rotate(spent, self.tokens.digest_refresh(next.expose()), now).await?;
        let access = self.tokens.issue(&user, now).map_err(RefreshError::Tokens)?;
        Ok(SessionGrant { user, access, refresh: next })
    }

    /// Ends the session of a refresh token, whichever of its family it is.
    pub async fn log_out(&self, secret: &str) -> Result<(), StoreError> {
        self.sessions.revoke(self.tokens.digest_refresh(secret), self.clock.now()).await
    }

    async fn add(&self, person: SignUp, role: Role) -> Result<User, SignUpError> {
        let password = self.passwords.hash(self.passwords.queue()?, &person.password).await?;
        let created_at = self.clock.now();
        let user = NewUser { name: person.name, email: person.email, password, role, created_at };
        Ok(self.users.add(user).await?)
    }

    async fn existing_admin(&self, email: &EmailAddress) -> Result<Option<User>, EnsureAdminError> {
        match self.users.credentials(email).await? {
            Some(found) if found.user.role == Role::Admin => Ok(Some(found.user)),
            Some(_) => Err(EnsureAdminError::OrdinaryAccount),
            None => Ok(None),
        }
    }

    async fn open_session(&self, user: User) -> Result<SessionGrant, OpenSessionError> {
        let now = self.clock.now();
        let access = self.tokens.issue(&user, now)?;
        let refresh = self.tokens.mint_refresh()?;
        self.begin(user.id, &refresh, now).await?;
        Ok(SessionGrant { user, access, refresh })
    }

    async fn begin(&self, user: UserId, refresh: &RefreshSecret, now: Timestamp) -> Result<(), StoreError> {
        let digest = self.tokens.digest_refresh(refresh.expose());
        self.sessions.open(user, digest, now, now.plus_secs(self.session_ttl_secs)).await
    }
}

/// Why a session was not opened: never the user's doing.
#[derive(Debug, Clone, Error)]
enum OpenSessionError {
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

/// Why somebody was not signed up.
#[derive(Debug, Clone, Error)]
pub enum SignUpError {
    /// Somebody has this address.
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

/// Why somebody was not logged in.
#[derive(Debug, Clone, Error)]
pub enum LogInError {
    /// The address or the password is wrong; which of them is nobody's business.
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::ports::{Credentials, MockClock, MockPasswords, MockSessions, MockTokens, MockUsers, Turn};
    use domain::{PasswordHash, RefreshDigest};

    use super::*;
    use crate::access::proof;

    const NOW: &str = "2030-01-01T00:00:00Z";

    struct Parts {
        users: MockUsers,
        sessions: MockSessions,
        passwords: MockPasswords,
        tokens: MockTokens,
    }

    impl Parts {
        /// Tokens that can be minted, time for passwords, and no other expectation.
        fn new() -> Self {
            let mut tokens = MockTokens::new();
            tokens.expect_issue().returning(|_, _| Ok(AccessToken { text: "access".into(), ttl_secs: 60 }));
            tokens.expect_mint_refresh().returning(|| Ok(RefreshSecret::new("refresh".into())));
            tokens.expect_digest_refresh().returning(|secret| {
                let mut bytes = [0; 32];
                bytes[..secret.len().min(32)].copy_from_slice(&secret.as_bytes()[..secret.len().min(32)]);
                RefreshDigest::new(bytes)
            });
            let mut passwords = MockPasswords::new();
            passwords.expect_queue().returning(|| Ok(Turn::new(())));
            Self { users: MockUsers::new(), sessions: MockSessions::new(), passwords, tokens }
        }

        fn accounts(self) -> Accounts {
            let mut clock = MockClock::new();
            clock.expect_now().return_const(Timestamp::parse(NOW).unwrap());
            Accounts::new(
                Arc::new(self.users),
                Arc::new(self.sessions),
                Arc::new(self.passwords),
                Arc::new(self.tokens),
                Arc::new(clock),
                30,
            )
        }
    }

    fn ada() -> SignUp {
        SignUp {
            name: PersonName::parse("Ada").unwrap(),
            email: EmailAddress::parse("ada@example.com").unwrap(),
            password: Password::parse("correct horse").unwrap(),
        }
    }

    fn user(role: Role) -> User {
        User {
            id: UserId::new(1).unwrap(),
            name: ada().name,
            email: ada().email,
            role,
            created_at: Timestamp::parse(NOW).unwrap(),
        }
    }

    fn hash() -> PasswordHash {
        PasswordHash::new("hash".into())
    }

    #[tokio::test]
    async fn signing_up_makes_an_ordinary_account_whose_session_ends_in_time() {
        let mut parts = Parts::new();
        parts.passwords.expect_hash().times(1).returning(|_, _| Ok(hash()));
        parts.users.expect_add().withf(|new| new.role == Role::User).times(1).returning(|_| Ok(user(Role::User)));
        parts
            .sessions
            .expect_open()
            .withf(|_, _, now, ends| *ends == now.plus_secs(30))
            .times(1)
            .returning(|_, _, _, _| Ok(()));
        let grant = parts.accounts().sign_up(ada()).await.unwrap();
        assert_eq!(grant.refresh.expose(), "refresh");
    }

    #[tokio::test]
    async fn only_a_sponsored_sign_up_makes_an_admin() {
        let mut parts = Parts::new();
        parts.passwords.expect_hash().returning(|_, _| Ok(hash()));
        parts.users.expect_add().withf(|new| new.role == Role::Admin).times(1).returning(|_| Ok(user(Role::Admin)));
        parts.sessions.expect_open().returning(|_, _, _, _| Ok(()));
        let sponsor = proof::admin(UserId::new(9).unwrap());
        assert!(parts.accounts().sign_up_admin(sponsor, ada()).await.is_ok());
    }

    #[tokio::test]
    async fn an_unknown_address_is_hashed_for_all_the_same() {
        let mut parts = Parts::new();
        parts.users.expect_credentials().returning(|_| Ok(None));
        parts.passwords.expect_verify().withf(|_, _, hash| hash.is_none()).times(1).returning(|_, _, _| Ok(false));
        assert!(matches!(
            parts.accounts().log_in("ada@example.com", "whatever").await,
            Err(LogInError::InvalidCredentials)
        ));
    }

    #[tokio::test]
    async fn an_address_that_cannot_exist_takes_as_long_too() {
        let mut parts = Parts::new();
        parts.passwords.expect_verify().withf(|_, _, hash| hash.is_none()).times(1).returning(|_, _, _| Ok(false));
        assert!(matches!(parts.accounts().log_in("no address", "whatever").await, Err(LogInError::InvalidCredentials)));
    }

    #[tokio::test]
    async fn nobody_is_looked_up_for_whom_there_is_no_time() {
        let mut passwords = MockPasswords::new();
        passwords.expect_queue().returning(|| Err(PasswordsError::Busy(Duration::from_secs(2))));
        let refused = Parts { passwords, ..Parts::new() }.accounts().log_in("ada@example.com", "x").await;
        assert!(matches!(refused, Err(LogInError::Passwords(PasswordsError::Busy(_)))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_wrong_password_opens_no_session() {
        let mut parts = Parts::new();
        parts
            .users
            .expect_credentials()
            .returning(|_| Ok(Some(Credentials { user: user(Role::User), password: hash() })));
        parts.passwords.expect_verify().returning(|_, _, _| Ok(false));
        assert!(matches!(
            parts.accounts().log_in("ada@example.com", "whatever").await,
            Err(LogInError::InvalidCredentials)
        ));
    }

    #[tokio::test]
    async fn an_ordinary_account_is_never_raised_to_admin() {
        let mut parts = Parts::new();
        parts
            .users
            .expect_credentials()
            .returning(|_| Ok(Some(Credentials { user: user(Role::User), password: hash() })));
        assert!(matches!(parts.accounts().ensure_admin(ada()).await, Err(EnsureAdminError::OrdinaryAccount)));
    }

    #[tokio::test]
    async fn an_admin_who_exists_is_left_alone() {
        let mut parts = Parts::new();
        parts
            .users
            .expect_credentials()
            .returning(|_| Ok(Some(Credentials { user: user(Role::Admin), password: hash() })));
        assert!(parts.accounts().ensure_admin(ada()).await.is_ok());
    }

    #[tokio::test]
    async fn a_spent_refresh_token_grants_nothing() {
        let mut parts = Parts::new();
        parts.sessions.expect_rotate().returning(|_, _, _| Err(RotateError::Reused));
        assert!(matches!(parts.accounts().refresh("spent").await, Err(RefreshError::Rotate(RotateError::Reused))));
    }
}
