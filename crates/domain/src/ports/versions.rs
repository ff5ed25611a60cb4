//! The present version of rows: what makes an answer from a cache a true one.

use std::collections::{BTreeSet, HashMap};

use async_trait::async_trait;

use super::StoreError;
use crate::{EventId, Timeline, UserId, Version};

/// Confirms versions.
///
/// Every transaction that changes a row raises its version, and every promotion of a standby raises the versions of
/// all rows, so two readings of an equal version have read equal rows. Timelines never go back: once an answer was
/// of one, an answer of an earlier one is refused as unavailable.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Versions: Send + Sync {
    /// The versions asked for, all from one snapshot that is taken after the call began.
    async fn confirm(&self, question: &VersionQuestion) -> Result<VersionAnswer, StoreError>;
}

/// Which versions are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionQuestion {
    /// That of the programme as a whole.
    pub catalogue: bool,
    /// Those of these events.
    pub events: BTreeSet<EventId>,
    /// Those of these users' registrations.
    pub attendees: BTreeSet<UserId>,
}

impl VersionQuestion {
    /// Asks for everything the other asks for as well.
    pub fn merge(&mut self, other: &Self) {
        self.catalogue |= other.catalogue;
        self.events.extend(&other.events);
        self.attendees.extend(&other.attendees);
    }
}

/// The versions at one instant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VersionAnswer {
    /// The timeline of the database that answered: that of every version here.
    pub timeline: Timeline,
    /// That of the programme, if asked for: raised when an event is added, edited or deleted, sells
    /// out or has seats again. While it stays, no list changes its events, except one by free seats.
    pub catalogue: Option<Version>,
    /// Those of the events, deleted ones included; an id that no event ever had is missing.
    pub events: HashMap<EventId, EventStamp>,
    /// The sum of the versions of each user's registrations: it grows with every change of any of
    /// them. A user without registrations is missing.
    pub attendees: HashMap<UserId, Version>,
}

/// The state of an event's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventStamp {
    /// Its version.
    pub version: Version,
    /// Whether the event is off the programme.
    pub deleted: bool,
}
