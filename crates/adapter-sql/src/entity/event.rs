//! An event's row.

use domain::ports::StoreError;
use domain::{Description, Event, EventTitle, Seats, Venue};
use sea_orm::ActiveValue::{NotSet, Set};
use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Row, stored};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, Serialize, Deserialize)]
#[sea_orm(table_name = "events")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) description: Option<String>,
    pub(crate) date: DateTimeUtc,
    pub(crate) venue: String,
    pub(crate) total_seats: i32,
    pub(crate) available_seats: i32,
    pub(crate) created_at: DateTimeUtc,
    pub(crate) updated_at: DateTimeUtc,
    pub(crate) deleted_at: Option<DateTimeUtc>,
    pub(crate) version: i64,
    pub(crate) title_folded: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<Model> for Event {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let at = Row { table: "events", id: row.id };
        let seats = u32::try_from(row.total_seats)
            .ok()
            .zip(u32::try_from(row.available_seats).ok())
            .and_then(|(total, available)| Seats::stored(total, available))
            .ok_or_else(|| at.fault("available_seats", "more than there are"))?;
        Ok(Self {
            id: at.event_id("id", row.id)?,
            title: EventTitle::parse(&row.title).map_err(|why| at.fault("title", why))?,
            description: row
                .description
                .map(|text| Description::parse(&text))
                .transpose()
                .map_err(|why| at.fault("description", why))?,
            starts_at: at.instant("date", row.date)?,
            venue: Venue::parse(&row.venue).map_err(|why| at.fault("venue", why))?,
            seats,
            created_at: at.instant("created_at", row.created_at)?,
            updated_at: at.instant("updated_at", row.updated_at)?,
            deleted_at: row.deleted_at.map(|instant| at.instant("deleted_at", instant)).transpose()?,
            version: at.version(row.version)?,
        })
    }
}

impl From<&Event> for Model {
    fn from(event: &Event) -> Self {
        Self {
            id: stored(event.id.get()),
            title: event.title.as_str().to_owned(),
            description: event.description.as_ref().map(|text| text.as_str().to_owned()),
            date: event.starts_at.as_datetime(),
            venue: event.venue.as_str().to_owned(),
            total_seats: seats(event.seats.total()),
            available_seats: seats(event.seats.available()),
            created_at: event.created_at.as_datetime(),
            updated_at: event.updated_at.as_datetime(),
            deleted_at: event.deleted_at.map(domain::Timestamp::as_datetime),
            version: stored(event.version.get()),
            title_folded: event.title.folded(),
        }
    }
}

impl Model {
    /// Every column but the id, to be written.
    pub(crate) fn into_columns(self) -> ActiveModel {
        ActiveModel {
            id: NotSet,
            title: Set(self.title),
            description: Set(self.description),
            date: Set(self.date),
            venue: Set(self.venue),
            total_seats: Set(self.total_seats),
            available_seats: Set(self.available_seats),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
            deleted_at: Set(self.deleted_at),
            version: Set(self.version),
            title_folded: Set(self.title_folded),
        }
    }
}

/// A number of seats as a column holds it; there are a million at most.
pub(crate) fn seats(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
