//! What only the operator of the program does with accounts, at its command line.

use domain::ports::{AccountChange, PasswordsError};
use domain::{Author, EmailAddress, Password, Role, User};

use super::errors::{EnsureAdminError, ReissueError, SignUpError};
use super::{Accounts, SignUp};

impl Accounts {
    /// Makes sure that there is an admin of this address, for the operator of the program. An
    /// admin who exists already is left alone, password included.
    pub async fn ensure_admin(&self, person: SignUp) -> Result<User, EnsureAdminError> {
        let email = person.email.clone();
        match self.existing_admin(&email).await? {
            Some(user) => Ok(user),
            None => match self.add(person, Role::Admin, Some(Author::System)).await {
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

    /// Gives an existing account a role, a password, or both, for the operator of the program. A new password ends
    /// every session. `None` if there is no account of this address.
    pub async fn reissue(
        &self,
        email: &EmailAddress,
        role: Option<Role>,
        password: Option<Password>,
    ) -> Result<Option<User>, ReissueError> {
        let Some(found) = self.users.credentials(email).await? else { return Ok(None) };
        let password = match password {
            Some(password) => Some(self.passwords.hash(self.passwords.queue()?, &password).await?),
            None => None,
        };
        Ok(self.users.reissue(found.user.id, AccountChange { role, password }, self.clock.now()).await?)
    }

    async fn existing_admin(&self, email: &EmailAddress) -> Result<Option<User>, EnsureAdminError> {
        match self.users.credentials(email).await? {
            Some(found) if found.user.role == Role::Admin => Ok(Some(found.user)),
            Some(_) => Err(EnsureAdminError::OrdinaryAccount),
            None => Ok(None),
        }
    }
}
