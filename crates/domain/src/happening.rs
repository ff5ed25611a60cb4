//! What a transaction did, for those who are told of it.

use std::sync::Arc;

use crate::{Author, Event, Registration, SeatChange, SeatSnapshot, UserId};

/// One thing that a transaction did. It is true once the transaction is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// Who asked for it.
    pub by: Author,
    /// What it was.
    pub what: Change,
}

/// What was changed, as it is after the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An event was added to the programme.
    Created(Event),
    /// A seat was booked.
    Confirmed {
        /// Whose it is now.
        registration: Registration,
        /// The event, whose seats may be of an earlier version.
        event: Arc<Event>,
        /// The seats that are left.
        seats: SeatSnapshot,
    },
    /// A seat was given back.
    Cancelled {
        /// Whose it was.
        registration: Registration,
        /// The event, whose seats may be of an earlier version.
        event: Arc<Event>,
        /// The seats that are left.
        seats: SeatSnapshot,
    },
    /// An event's details or size became others.
    Updated {
        /// The event.
        event: Event,
        /// Whether it takes place at another time or in another place.
        moved: bool,
    },
    /// An event left the programme, and every registration at it was cancelled.
    Deleted(Event),
    /// An account was made.
    UserCreated(UserId),
    /// An account's name, address or role became another one.
    UserUpdated(UserId),
}

impl Change {
    /// What those who watch the event are told of it: a new event has no watchers.
    pub fn seats(&self) -> Option<SeatChange> {
        match self {
            Self::Confirmed { seats, .. } | Self::Cancelled { seats, .. } => Some(SeatChange::Moved(*seats)),
            Self::Updated { event, .. } | Self::Deleted(event) => Some(event.into()),
            Self::Created(_) | Self::UserCreated(_) | Self::UserUpdated(_) => None,
        }
    }
}
