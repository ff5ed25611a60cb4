//! An event's row.

use domain::ports::StoreError;
use domain::{Description, Event, EventTitle, Seats, Timestamp, Venue};
use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;

use super::{On, Row, Text, stored};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) id: i64,
    pub(crate) title: Text,
    pub(crate) description: Option<Text>,
    pub(crate) date: DateTimeUtc,
    pub(crate) venue: Text,
    pub(crate) total_seats: i32,
    pub(crate) available_seats: i32,
    pub(crate) created_at: DateTimeUtc,
    pub(crate) updated_at: DateTimeUtc,
    pub(crate) deleted_at: Option<DateTimeUtc>,
    pub(crate) version: i64,
    pub(crate) title_folded: Text,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl TryFrom<On<Model>> for Event {
    type Error = StoreError;

    fn try_from(On { row, timeline }: On<Model>) -> Result<Self, StoreError> {
        let at = Row { table: "events", id: row.id };
        let seats = u32::try_from(row.total_seats)
            .ok()
            .zip(u32::try_from(row.available_seats).ok())
            .and_then(|(total, available)| Seats::stored(total, available))
            .ok_or_else(|| at.fault("available_seats", "more than there are"))?;
        Ok(Self {
            id: at.event_id("id", row.id)?,
            title: EventTitle::stored(row.title.as_str()),
            description: row.description.map(|text| Description::stored(text.as_str())),
            starts_at: Timestamp::stored(row.date),
            venue: Venue::stored(row.venue.as_str()),
            seats,
            created_at: Timestamp::stored(row.created_at),
            updated_at: Timestamp::stored(row.updated_at),
            deleted_at: row.deleted_at.map(Timestamp::stored),
            version: at.version(timeline, row.version)?,
        })
    }
}

/// The columns of a change: those whose value is another one now. A column that stays is not written, so that a row with
/// an invalid value in it can be changed elsewhere: the tables refuse an invalid value only when it is written.
pub(crate) fn changes(title_folded: &Text, before: &Event, after: &Event) -> ActiveModel {
    let mut columns = ActiveModel { version: Set(stored(after.version.count())), ..Default::default() };
    if after.title != before.title {
        columns.title = Set(after.title.as_str().into());
    }
    // A title that was written by hand was folded by the database, which knows fewer scripts.
    let folded = after.title.folded();
    if folded != title_folded.as_str() {
        columns.title_folded = Set(folded.into());
    }
    if after.description != before.description {
        columns.description = Set(after.description.as_ref().map(|text| text.as_str().into()));
    }
    if after.starts_at != before.starts_at {
        columns.date = Set(after.starts_at.as_datetime());
    }
    if after.venue != before.venue {
        columns.venue = Set(after.venue.as_str().into());
    }
    if after.seats != before.seats {
        columns.total_seats = Set(seats(after.seats.total()));
        columns.available_seats = Set(seats(after.seats.available()));
    }
    columns.updated_at = Set(after.updated_at.as_datetime());
    columns.deleted_at = Set(after.deleted_at.map(Timestamp::as_datetime));
    columns
}

/// A number of seats as a column holds it; there are a million at most.
pub(crate) fn seats(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
