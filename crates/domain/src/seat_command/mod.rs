//! Commands that move seats, and the rules that decide them.
//!
//! A command is a value: what is wanted of one event. It is decided on a [`SeatBook`], which holds the event under its
//! lock and the registrations that the command says it [needs](SeatCommand::needs). What comes out is in the book: rows
//! to write, and what happened. So a new command is a type here, with its outcome, its refusals and its rule.

mod book_seat;
mod cancel_seat;
mod delete_event;
mod update_event;

use std::error::Error;

use thiserror::Error as ThisError;

use crate::ports::StoreError;
use crate::seat_book::{NotLoaded, SeatBook};
use crate::{Author, EventId, KeyConflict, Timestamp, UserId};

pub use book_seat::{BookSeat, BookingRefused};
pub use cancel_seat::{CancelSeat, CancellationRefused};
pub use delete_event::{DeleteEvent, DeletedEvent, DeletionRefused};
pub use update_event::{UpdateEvent, UpdateRefused};

/// Something that is wanted of one event's seats.
pub trait SeatCommand: Send + Sync + 'static {
    /// What it answers once it is carried out.
    type Done: Clone + Send;

    /// Why the rules do not allow it.
    type Refused: Error + Clone + Send;

    /// Which event it is about.
    fn event(&self) -> EventId;

    /// What the book has to hold for it.
    fn needs(&self) -> Needs;

    /// Whether it is refused when no seat is free.
    fn takes_seats(&self) -> bool {
        false
    }

    /// Changes the book, or says why not. The event stands. Nothing changes on refusal.
    fn decide(&self, book: &mut SeatBook, author: Author, now: Timestamp) -> Result<Self::Done, Denied<Self::Refused>>;
}

/// What a command reads and changes besides its event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// Whose registrations at the event it reads.
    pub registrations: Vec<UserId>,
    /// Whether it may add a registration for each of them that has none.
    pub new_registrations: bool,
    /// Whether it changes every registration at the event, however many there are. It has a transaction to itself.
    pub everyone: bool,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied<R> {
    /// The rules say no.
    Refused(R),
    /// The book lacks what the command did not say it needs.
    NotLoaded(NotLoaded),
}

/// Why a seat command was not carried out. That the author's account is gone is told before anything else.
#[derive(Debug, Clone, ThisError)]
pub enum SeatCommandError<R> {
    /// There is no such event, or it is deleted.
    #[error("no such event")]
    EventNotFound,
    /// The rules say no.
    #[error(transparent)]
    Refused(R),
    /// The author's account is gone.
    #[error("the author's account does not exist")]
    AuthorGone,
    /// The idempotency key stands in the way.
    #[error(transparent)]
    Key(KeyConflict),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl<R> From<StoreError> for SeatCommandError<R> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<R> From<KeyConflict> for SeatCommandError<R> {
    fn from(conflict: KeyConflict) -> Self {
        Self::Key(conflict)
    }
}

impl<R> From<Denied<R>> for SeatCommandError<R> {
    fn from(denied: Denied<R>) -> Self {
        match denied {
            Denied::Refused(refused) => Self::Refused(refused),
            Denied::NotLoaded(missing) => Self::Store(StoreError::fault(missing)),
        }
    }
}
