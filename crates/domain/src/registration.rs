//! A user's place at an event.

use crate::{Attendee, Event, EventId, RegistrationId, Timestamp, UserId, Version};

/// Whether the place is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RegistrationStatus {
    /// The seat is theirs.
    Confirmed,
    /// The seat was given back, or the event deleted.
    Cancelled,
}

impl RegistrationStatus {
    /// The status's name, as clients and tables write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Confirmed, Self::Cancelled].into_iter().find(|status| status.as_str() == name)
    }
}

/// A user's place at an event. There is one per user and event for ever: a cancelled one is
/// confirmed again when the user books again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The registration's number.
    pub id: RegistrationId,
    /// Who.
    pub user_id: UserId,
    /// For what.
    pub event_id: EventId,
    /// Whether it is held.
    pub status: RegistrationStatus,
    /// When the seat was booked, the last time if more than once.
    pub registered_at: Timestamp,
    /// When the user booked this event for the first time.
    pub created_at: Timestamp,
    /// Raised by every change.
    pub version: Version,
}

/// A registration as an event's organiser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationWithUser {
    /// The registration.
    pub registration: Registration,
    /// Whose it is.
    pub user: Attendee,
}

/// A registration as its holder sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationWithEvent {
    /// The registration.
    pub registration: Registration,
    /// What it is for, deleted or not.
    pub event: Event,
}
