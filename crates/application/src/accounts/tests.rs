//! Accounts over mocked ports: what a failure or a forbidden call must do.

use std::time::Duration;

use domain::ports::{
    Credentials, HashPermit, MockPasswords, MockSessions, MockTokens, MockUsers, PasswordsError, RotateError,
};
use domain::sample::{self, NOW, clock, email, user_id};
use domain::{PasswordHash, RefreshDigest};

use super::*;
use crate::access::proof;

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
        passwords.expect_queue().returning(|| Ok(HashPermit::new(())));
        Self { users: MockUsers::new(), sessions: MockSessions::new(), passwords, tokens }
    }

    fn accounts(self) -> Accounts {
        Accounts::new(
            Arc::new(self.users),
            Arc::new(self.sessions),
            Arc::new(self.passwords),
            Arc::new(self.tokens),
            clock(NOW),
            30,
        )
    }
}

fn ada() -> SignUp {
    SignUp {
        name: PersonName::parse("Ada").unwrap(),
        email: email("ada@example.com"),
        password: Password::parse("correct horse").unwrap(),
    }
}

fn user(role: Role) -> User {
    User { role, ..sample::user(1) }
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
    let sponsor = proof::admin(user_id(9));
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
async fn no_account_is_looked_up_when_passwords_are_busy() {
    let mut passwords = MockPasswords::new();
    passwords.expect_queue().returning(|| Err(PasswordsError::Busy(Duration::from_secs(2))));
    let refused = Parts { passwords, ..Parts::new() }.accounts().log_in("ada@example.com", "x").await;
    assert!(matches!(refused, Err(LogInError::Passwords(PasswordsError::Busy(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_wrong_password_opens_no_session() {
    let mut parts = Parts::new();
    parts.users.expect_credentials().returning(|_| Ok(Some(Credentials { user: user(Role::User), password: hash() })));
    parts.passwords.expect_verify().returning(|_, _, _| Ok(false));
    assert!(matches!(
        parts.accounts().log_in("ada@example.com", "whatever").await,
        Err(LogInError::InvalidCredentials)
    ));
}

#[tokio::test]
async fn an_ordinary_account_is_never_raised_to_admin() {
    let mut parts = Parts::new();
    parts.users.expect_credentials().returning(|_| Ok(Some(Credentials { user: user(Role::User), password: hash() })));
    assert!(matches!(parts.accounts().ensure_admin(ada()).await, Err(EnsureAdminError::OrdinaryAccount)));
}

#[tokio::test]
async fn an_existing_admin_is_left_alone() {
    let mut parts = Parts::new();
    parts.users.expect_credentials().returning(|_| Ok(Some(Credentials { user: user(Role::Admin), password: hash() })));
    assert!(parts.accounts().ensure_admin(ada()).await.is_ok());
}

#[tokio::test]
async fn a_spent_refresh_token_grants_nothing() {
    let mut parts = Parts::new();
    parts.sessions.expect_rotate().returning(|_, _, _| Err(RotateError::Reused));
    assert!(matches!(parts.accounts().refresh("spent").await, Err(RefreshError::Rotate(RotateError::Reused))));
}

#[tokio::test]
async fn a_new_password_is_hashed_and_a_role_alone_needs_none() {
    for password in [None, Some(Password::parse("battery staple").unwrap())] {
        let mut parts = Parts::new();
        parts
            .users
            .expect_credentials()
            .returning(|_| Ok(Some(Credentials { user: user(Role::User), password: hash() })));
        parts.passwords.expect_hash().times(usize::from(password.is_some())).returning(|_, _| Ok(hash()));
        let hashed = password.as_ref().map(|_| hash());
        parts
            .users
            .expect_reissue()
            .withf(move |_, change, _| change.role == Some(Role::Admin) && change.password == hashed)
            .times(1)
            .returning(|_, _, _| Ok(Some(user(Role::Admin))));
        let changed = parts.accounts().reissue(&ada().email, Some(Role::Admin), password).await.unwrap();
        assert_eq!(changed.unwrap().role, Role::Admin);
    }
}

#[tokio::test]
async fn an_address_without_an_account_is_not_reissued() {
    let mut parts = Parts::new();
    parts.users.expect_credentials().returning(|_| Ok(None));
    let changed = parts.accounts().reissue(&ada().email, Some(Role::Admin), None).await.unwrap();
    assert_eq!(changed, None);
}
