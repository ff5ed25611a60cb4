//! The readable history of what happened.

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::{EventId, Fact, FactType, Timestamp, UserId};

/// Facts in the order in which they were written down, for reading.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait History: Send + Sync {
    /// The facts after a position that match, oldest first, and the position to go on from.
    ///
    /// A fact can be read as soon as its change is committed. Going on from each page to the next shows every fact that
    /// matches once, also those that are committed meanwhile.
    async fn page(&self, filter: &HistoryFilter, after: Position, limit: u32) -> Result<HistoryPage, HistoryError>;

    /// Whether there ever was such an event.
    async fn knows_event(&self, event: EventId) -> Result<bool, StoreError>;
}

/// A place between two facts. Greater ones come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(u64);

impl Position {
    /// Before the first fact that is still kept.
    pub const START: Self = Self(0);

    /// The position of this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

/// Which facts are wanted: those for which everything that is given holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HistoryFilter {
    /// Of one of these types; of any if there is none.
    pub types: Vec<FactType>,
    /// About this event.
    pub event: Option<EventId>,
    /// About this user.
    pub user: Option<UserId>,
    /// Done by this user.
    pub by: Option<UserId>,
    /// About this user or done by them.
    pub concerns: Option<UserId>,
    /// Made at this instant or later.
    pub from: Option<Timestamp>,
    /// Made at this instant or earlier.
    pub to: Option<Timestamp>,
}

/// Some facts, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryPage {
    /// Oldest first.
    pub facts: Vec<Fact>,
    /// After the last fact that was looked at.
    pub next: Position,
}

/// Why there is no page.
#[derive(Debug, Clone, Error)]
pub enum HistoryError {
    /// Facts after the position have been dropped: they were older than facts are kept.
    #[error("facts after this cursor are not kept any more")]
    CursorExpired,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
