//! The programme of events.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::event::SeatsBelowRegistrations;
use crate::{
    Command, Committed, Event, EventDraft, EventFilter, EventId, EventPatch, KeyConflict, Page, PageRequest,
    Precondition,
};

/// The events that stand. A deleted event is absent for every method but the replay of a command.
///
/// Each write is one transaction, in which the command's key is kept with its outcome; the row of
/// the event is locked before it is read. Whether a start is in the future is asked again when it is
/// written, and not when an outcome is replayed: that was in time when it was made.
///
/// What is read is shared: two readers may be given the very same value, and nothing can change it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Events: Send + Sync {
    /// The event, or `None` if there is none or it is deleted.
    async fn find(&self, id: EventId) -> Result<Option<Arc<Event>>, StoreError>;

    /// Those of the events that stand, in no particular order.
    async fn find_many(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError>;

    /// One page of the events that match, with the number of all that match; both from one snapshot.
    async fn list(&self, filter: &EventFilter, page: PageRequest) -> Result<Arc<Page<Event>>, StoreError>;

    /// Adds an event with every seat free.
    async fn create(&self, command: Command<EventDraft>) -> Result<Committed<Event>, CreateEventError>;

    /// Changes an event. A patch that changes nothing leaves its version and its time of change.
    async fn update(&self, command: Command<UpdateEvent>) -> Result<Committed<Event>, UpdateEventError>;

    /// Takes an event off the programme and cancels its registrations.
    async fn delete(&self, command: Command<DeleteEvent>) -> Result<Committed<DeletedEvent>, DeleteEventError>;
}

/// A change of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateEvent {
    /// Which.
    pub event: EventId,
    /// What.
    pub patch: EventPatch,
    /// At which version.
    pub precondition: Precondition,
}

/// A deletion of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteEvent {
    /// Which.
    pub event: EventId,
    /// At which version.
    pub precondition: Precondition,
}

/// What a deletion did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedEvent {
    /// How many confirmed registrations became cancelled.
    pub cancelled_registrations: u64,
}

/// Why no event was added.
#[derive(Debug, Clone, Error)]
pub enum CreateEventError {
    /// Its start has passed.
    #[error("the event would have started already")]
    Past,
    /// The author's account is gone.
    #[error("the author's account does not exist")]
    AuthorGone,
    /// The idempotency key stands in the way.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an event was not changed.
#[derive(Debug, Clone, Error)]
pub enum UpdateEventError {
    /// There is none of this id.
    #[error("no such event")]
    NotFound,
    /// It has changed since.
    #[error("the event is at another version")]
    Stale,
    /// Its new start has passed.
    #[error("the event would have started already")]
    Past,
    /// More seats are booked than it would have.
    #[error(transparent)]
    Seats(#[from] SeatsBelowRegistrations),
    /// The author's account is gone.
    #[error("the author's account does not exist")]
    AuthorGone,
    /// The idempotency key stands in the way.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why an event was not deleted.
#[derive(Debug, Clone, Error)]
pub enum DeleteEventError {
    /// There is none of this id.
    #[error("no such event")]
    NotFound,
    /// It has changed since.
    #[error("the event is at another version")]
    Stale,
    /// The author's account is gone.
    #[error("the author's account does not exist")]
    AuthorGone,
    /// The idempotency key stands in the way.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
