//! A user's row.

use std::fmt;

use domain::ports::{Credentials, StoreError};
use domain::{Attendee, EmailAddress, PasswordHash, PersonName, Role, Timestamp, User};
use sea_orm::entity::prelude::*;
use sea_orm::{DerivePartialModel, FromQueryResult};

use super::{Row, Text};

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) name: Text,
    pub(crate) email: Text,
    pub(crate) password: String,
    pub(crate) role: String,
    pub(crate) notifications: bool,
    pub(crate) created_at: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl fmt::Debug for Model {
    /// Without the hash of the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}", self.id)
    }
}

/// A user's row without the hash of their password, which only log-in reads.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub(crate) struct Profile {
    pub(crate) id: i64,
    pub(crate) name: Text,
    pub(crate) email: Text,
    pub(crate) role: String,
    pub(crate) notifications: bool,
    pub(crate) created_at: DateTimeUtc,
}

/// As much of a user's row as an organiser sees.
#[derive(Clone, Debug, FromQueryResult)]
pub(crate) struct Contact {
    pub(crate) id: i64,
    pub(crate) name: Text,
    pub(crate) email: Text,
}

impl TryFrom<Profile> for User {
    type Error = StoreError;

    fn try_from(row: Profile) -> Result<Self, StoreError> {
        let at = Row { table: "users", id: row.id };
        Ok(Self {
            id: at.user_id("id", row.id)?,
            name: PersonName::stored(row.name.as_str()),
            email: EmailAddress::stored(row.email.as_str()),
            role: role(&row.role, at)?,
            notifications: row.notifications,
            created_at: Timestamp::stored(row.created_at),
        })
    }
}

impl From<Model> for Profile {
    fn from(Model { id, name, email, password: _, role, notifications, created_at }: Model) -> Self {
        Self { id, name, email, role, notifications, created_at }
    }
}

impl TryFrom<Model> for Credentials {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let password = PasswordHash::new(row.password.clone());
        Ok(Self { user: Profile::from(row).try_into()?, password })
    }
}

impl TryFrom<Contact> for Attendee {
    type Error = StoreError;

    fn try_from(row: Contact) -> Result<Self, StoreError> {
        let at = Row { table: "users", id: row.id };
        Ok(Self {
            id: at.user_id("id", row.id)?,
            name: PersonName::stored(row.name.as_str()),
            email: EmailAddress::stored(row.email.as_str()),
        })
    }
}

pub(crate) fn role(stored: &str, at: Row) -> Result<Role, StoreError> {
    Role::from_name(stored).ok_or_else(|| at.fault("role", "no such role"))
}
