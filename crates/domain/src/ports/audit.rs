//! Whether what is stored agrees with itself.

use std::fmt;

use async_trait::async_trait;

use super::StoreError;
use crate::EventId;

/// An event whose seats and registrations do not agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inconsistency {
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

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, total_seats, available_seats, confirmed, deleted } = self;
        let deleted = if *deleted { " (deleted)" } else { "" };
        write!(
            f,
            "event {event}{deleted}: {total_seats} seats, {available_seats} available, \
             but {confirmed} confirmed registrations"
        )
    }
}

/// Verifies the store's invariants.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Audit: Send + Sync {
    /// Every event for which `available = total − confirmed` does not hold, or that is deleted and
    /// has confirmed registrations, by id. Read in one snapshot.
    async fn inconsistencies(&self) -> Result<Vec<Inconsistency>, StoreError>;
}
