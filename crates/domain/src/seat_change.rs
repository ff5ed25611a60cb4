//! What happened to the seats of an event, for those who watch it.

use crate::{Event, EventId, Seats, Version};

/// The seats of an event at one version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeatSnapshot {
    /// Whose seats.
    pub event: EventId,
    /// How many there are, and how many are free.
    pub seats: Seats,
    /// The event's version.
    pub version: Version,
}

impl From<&Event> for SeatSnapshot {
    fn from(event: &Event) -> Self {
        Self { event: event.id, seats: event.seats, version: event.version }
    }
}

/// A committed change of an event. Of two changes of one event, that of the greater version is the
/// newer, and says all there is to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeatChange {
    /// The event stands, with these seats.
    Moved(SeatSnapshot),
    /// The event left the programme.
    Deleted {
        /// Which.
        event: EventId,
        /// The version its deletion raised it to.
        version: Version,
    },
}

impl SeatChange {
    /// Whose change it is.
    pub fn event(&self) -> EventId {
        match self {
            Self::Moved(seats) => seats.event,
            Self::Deleted { event, .. } => *event,
        }
    }

    /// The version of the event after it.
    pub fn version(&self) -> Version {
        match self {
            Self::Moved(seats) => seats.version,
            Self::Deleted { version, .. } => *version,
        }
    }
}

impl From<&Event> for SeatChange {
    fn from(event: &Event) -> Self {
        match event.deleted_at {
            None => Self::Moved(event.into()),
            Some(_) => Self::Deleted { event: event.id, version: event.version },
        }
    }
}
