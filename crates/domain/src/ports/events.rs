//! The programme of events.

use std::sync::Arc;

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::{
    Author, Command, Committed, DeleteEvent, DeletedEvent, DeletionRefused, Event, EventDraft, EventFilter, EventId,
    KeyConflict, Page, PageRequest, SeatCommandError, UpdateEvent, UpdateRefused,
};

/// The events that stand. A deleted event is absent for every method but the replay of a command.
///
/// Each write is one transaction, in which the command's key is kept with its outcome; the row of
/// the event is locked before it is read. Whether a new start is in the future is decided when it is
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
    async fn update(&self, command: Command<UpdateEvent, Author>) -> Result<Committed<Event>, UpdateEventError>;

    /// Takes an event off the programme and cancels its registrations.
    async fn delete(&self, command: Command<DeleteEvent, Author>) -> Result<Committed<DeletedEvent>, DeleteEventError>;
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
pub type UpdateEventError = SeatCommandError<UpdateRefused>;

/// Why an event was not deleted.
pub type DeleteEventError = SeatCommandError<DeletionRefused>;
