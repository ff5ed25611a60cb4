//! Whether what is stored agrees with itself.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::{EventId, UserId};

/// Something stored that does not agree with something else that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inconsistency {
    /// An event's seats and its registrations.
    Seats(SeatsAstray),
    /// An event, and what lists of events show of it: it stands and is not listed as it is, or is
    /// listed and does not stand.
    Listing {
        /// The event.
        event: EventId,
    },
    /// The events on the programme within some days, and their kept number.
    Count(CountAstray),
    /// A value that the API would not take, from before the store refused it.
    Value(InvalidValue),
}

/// A stored value that the API would not take. It is shown as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidValue {
    /// Its table.
    pub table: String,
    /// The id of its row, which may be no id itself.
    pub row: i64,
    /// Its column.
    pub column: String,
    /// What is wrong, to be read after the column's name: "is blank".
    pub fault: String,
}

/// An event whose seats and registrations do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatsAstray {
    /// The event.
    pub event: EventId,
    /// Its number of seats, as stored.
    pub total_seats: i64,
    /// Its number of free seats, as stored.
    pub available_seats: i64,
    /// How many confirmed registrations it has.
    pub confirmed: i64,
    /// Whether it is deleted, and so should have no confirmed registration.
    pub deleted: bool,
}

/// A count of events that is not theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountAstray {
    /// The first of the days, counted from 0001-01-01.
    pub first_day: i64,
    /// How many days.
    pub days: i64,
    /// By how many the kept number of events is too great.
    pub excess: i64,
    /// By how many the kept number of events with free seats is too great.
    pub excess_with_seats: i64,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seats(SeatsAstray { event, total_seats, available_seats, confirmed, deleted }) => {
                let deleted = if *deleted { " (deleted)" } else { "" };
                write!(
                    f,
                    "event {event}{deleted}: {total_seats} seats, {available_seats} available, \
                     but {confirmed} confirmed registrations"
                )
            }
            Self::Listing { event } => write!(f, "event {event}: the programme does not list it as it is"),
            Self::Count(CountAstray { first_day, days, excess, excess_with_seats }) => write!(
                f,
                "programme: the events of {days} days from day {first_day} on are counted wrongly, \
                 by {excess:+}, and by {excess_with_seats:+} with free seats"
            ),
            Self::Value(InvalidValue { table, row, column, fault }) => write!(f, "{table} {row}: {column} {fault}"),
        }
    }
}

/// A row that the history tells otherwise of, or nothing, though it is from after there were facts: it was written by
/// hand, or by a release that writes no facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FactAstray {
    /// No fact says that the event was created.
    Created(EventId),
    /// No fact says that the event was deleted.
    Deleted(EventId),
    /// A registration is something else than the last fact about it says.
    Registration {
        /// At which event.
        event: EventId,
        /// Whose.
        user: UserId,
        /// Whether it is confirmed.
        is_confirmed: bool,
        /// Whether the last fact says that it is; `None` if there is none.
        is_told_confirmed: Option<bool>,
    },
}

impl fmt::Display for FactAstray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |is_confirmed| if is_confirmed { "confirmed" } else { "cancelled" };
        match *self {
            Self::Created(event) => write!(f, "event {event}: no fact says that it was created"),
            Self::Deleted(event) => write!(f, "event {event}: no fact says that it was deleted"),
            Self::Registration { event, user, is_confirmed, is_told_confirmed } => {
                write!(f, "event {event}: the registration of user {user} is {}, but ", word(is_confirmed))?;
                match is_told_confirmed {
                    None => f.write_str("no fact says so"),
                    Some(told) => write!(f, "the history says {}", word(told)),
                }
            }
        }
    }
}

/// Verifies the store's invariants.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Audit: Send + Sync {
    /// Every event for which `available = total − confirmed` does not hold, or that is deleted and
    /// has confirmed registrations, by id; then every event that is listed otherwise than it is, by
    /// id; then every count of the programme that is wrong; then every invalid value, by table, row and column. Each of
    /// the four is read in one snapshot.
    async fn inconsistencies(&self) -> Result<Vec<Inconsistency>, StoreError>;

    /// Every event and registration that the history tells otherwise of, in order. Rows from before there were facts, or
    /// from before the oldest that is kept, need none.
    async fn facts_astray(&self) -> Result<Vec<FactAstray>, StoreError>;
}
