//! People, as clients see them.

use domain::ports::ProfilePatch;
use domain::{EmailAddress, PersonName};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use crate::field::{Given, sound};

/// A person with an account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 7)]
    id: u64,
    #[schema(min_length = 1, max_length = 100, example = "Ada Lovelace")]
    name: String,
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
    role: Role,
    /// Whether the person is told of their seats by mail. Mail about the account itself is always sent.
    notifications: bool,
    /// When the person signed up.
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-01-15T09:30:00Z")]
    created_at: Time,
}

/// What an account may do: `user` browses and books, `admin` runs the events as well.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Admin,
}

impl From<domain::Role> for Role {
    fn from(role: domain::Role) -> Self {
        match role {
            domain::Role::User => Self::User,
            domain::Role::Admin => Self::Admin,
        }
    }
}

impl From<&domain::User> for User {
    fn from(user: &domain::User) -> Self {
        Self {
            id: user.id.get(),
            name: user.name.as_str().to_owned(),
            email: user.email.as_str().to_owned(),
            role: user.role.into(),
            notifications: user.notifications,
            created_at: user.created_at.into(),
        }
    }
}

/// Changes to one's own profile; what is left out stays.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = UpdateUserRequest)]
#[garde(context(()))]
pub(crate) struct UpdateUser {
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$", example = "Ada King")]
    name: Given<PersonName>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<String>, nullable = false, format = Email, min_length = 3, max_length = 254, example = "ada.king@example.com")]
    email: Given<EmailAddress>,
    /// Whether to be told of one's seats by mail.
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<bool>, nullable = false, example = false)]
    notifications: Given<bool>,
}

impl From<UpdateUser> for ProfilePatch {
    fn from(update: UpdateUser) -> Self {
        Self {
            name: update.name.optional(),
            email: update.email.optional(),
            notifications: update.notifications.optional(),
        }
    }
}
