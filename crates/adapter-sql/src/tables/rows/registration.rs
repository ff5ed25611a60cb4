//! A registration's row.

use domain::ports::StoreError;
use domain::{Registration, RegistrationStatus, Timestamp};
use sea_orm::entity::prelude::*;

use super::{On, Row};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "registrations")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) user_id: i64,
    pub(crate) event_id: i64,
    pub(crate) status: String,
    pub(crate) registration_date: DateTimeUtc,
    pub(crate) created_at: DateTimeUtc,
    pub(crate) version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn status(&self) -> Result<RegistrationStatus, StoreError> {
        RegistrationStatus::from_name(&self.status).ok_or_else(|| self.at().fault("status", "no such status"))
    }

    fn at(&self) -> Row {
        Row { table: "registrations", id: self.id }
    }
}

impl TryFrom<On<Model>> for Registration {
    type Error = StoreError;

    fn try_from(On { row, timeline }: On<Model>) -> Result<Self, StoreError> {
        let at = row.at();
        Ok(Self {
            id: at.registration_id("id", row.id)?,
            user_id: at.user_id("user_id", row.user_id)?,
            event_id: at.event_id("event_id", row.event_id)?,
            status: row.status()?,
            registered_at: Timestamp::stored(row.registration_date),
            created_at: Timestamp::stored(row.created_at),
            version: at.version(timeline, row.version)?,
        })
    }
}
