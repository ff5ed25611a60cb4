//! Mail to people about their seats.

use crate::{EmailAddress, Event, PersonName, Timestamp};

/// What a mail says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailKind {
    /// The recipient has a seat.
    SeatConfirmed,
    /// The recipient has no seat any more.
    SeatCancelled,
    /// The event takes place at another time or in another place.
    EventMoved,
    /// The event does not take place.
    EventDeleted,
    /// The event begins soon.
    Reminder,
}

impl MailKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::SeatConfirmed, Self::SeatCancelled, Self::EventMoved, Self::EventDeleted, Self::Reminder];

    /// Its name: that of its templates, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SeatConfirmed => "seat_confirmed",
            Self::SeatCancelled => "seat_cancelled",
            Self::EventMoved => "event_moved",
            Self::EventDeleted => "event_deleted",
            Self::Reminder => "reminder",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A mail to one person, to be put into words when it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its name, the same at every attempt: the local part of its `Message-ID`.
    pub id: String,
    /// When there was something to say.
    pub at: Timestamp,
    /// The recipient's address.
    pub to: EmailAddress,
    /// The recipient's name.
    pub name: PersonName,
    /// What it says.
    pub kind: MailKind,
    /// The event it is about, as it was when there was something to say.
    pub event: Event,
}
