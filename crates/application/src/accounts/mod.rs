//! Signing up, logging in, and staying logged in.
//!
//! What an operator does with accounts is in `operator`, why any of it fails in `errors`.

mod errors;
mod operator;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::ports::{AccessToken, Clock, NewUser, Passwords, Sessions, StoreError, Tokens, Users};
use domain::{Author, EmailAddress, Password, PersonName, RefreshSecret, Role, Timestamp, User, UserId};

use crate::Admin;

use errors::OpenSessionError;

pub use errors::{EnsureAdminError, LogInError, RefreshError, ReissueError, SignUpError};

/// The data of a sign-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignUp {
    /// Their name.
    pub name: PersonName,
    /// Their address.
    pub email: EmailAddress,
    /// The password they chose.
    pub password: Password,
}

/// A user who has logged in, with the tokens for the next requests.
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
        let user = self.add(person, Role::User, None).await?;
        Ok(self.open_session(user).await?)
    }

    /// Makes an admin's account, vouched for by an admin, and logs it in.
    pub async fn sign_up_admin(&self, sponsor: Admin, person: SignUp) -> Result<SessionGrant, SignUpError> {
        let user = self.add(person, Role::Admin, Some(sponsor.user().into())).await?;
        Ok(self.open_session(user).await?)
    }

    /// Logs a user in. An unknown address costs as much time as a wrong password, and no account is looked up
    /// if there is no time for the password.
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

    async fn add(&self, person: SignUp, role: Role, by: Option<Author>) -> Result<User, SignUpError> {
        let password = self.passwords.hash(self.passwords.queue()?, &person.password).await?;
        let created_at = self.clock.now();
        let user = NewUser { name: person.name, email: person.email, password, role, created_at, by };
        Ok(self.users.add(user).await?)
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
