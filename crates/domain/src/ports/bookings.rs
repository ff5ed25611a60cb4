//! Selling seats and taking them back.

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::event::{BookingRefused, CancellationRefused};
use crate::{Command, Committed, EventId, KeyConflict, Registration};

/// The two verbs that move seats. Each is one transaction: the event's row is locked, the domain's
/// rule decides on what is read under the lock, and the registration, the seat count and the
/// command's key are committed together or not at all.
///
/// A command once begun is carried out even if its caller stops waiting. That the author's account is
/// gone is told before anything else.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Bookings: Send + Sync {
    /// Sells the author one seat; their cancelled registration is confirmed again.
    async fn book(&self, command: Command<BookSeat>) -> Result<Committed<Registration>, BookError>;

    /// Takes the author's seat back.
    async fn cancel(&self, command: Command<CancelSeat>) -> Result<Committed<Registration>, CancelError>;
}

/// A wish for a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookSeat {
    /// At which event.
    pub event: EventId,
}

/// A wish to give a seat back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelSeat {
    /// At which event.
    pub event: EventId,
}

/// Why no seat was sold.
#[derive(Debug, Clone, Error)]
pub enum BookError {
    /// There is no such event, or it is deleted.
    #[error("no such event")]
    EventNotFound,
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] BookingRefused),
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

/// Why no seat was taken back.
#[derive(Debug, Clone, Error)]
pub enum CancelError {
    /// There is no such event, or it is deleted.
    #[error("no such event")]
    EventNotFound,
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] CancellationRefused),
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
