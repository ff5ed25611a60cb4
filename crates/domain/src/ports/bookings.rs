//! Selling seats and taking them back.

use async_trait::async_trait;

use crate::{
    Author, BookSeat, BookingRefused, CancelSeat, CancellationRefused, Command, Committed, Registration,
    SeatCommandError,
};

/// The two verbs that move a user's seat. Each is one transaction: the event's row is locked, the
/// command's rule decides on what is read under the lock, and the registration, the seat count and the
/// command's key are committed together or not at all.
///
/// A command once begun is carried out even if its caller stops waiting.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Bookings: Send + Sync {
    /// Sells a user one seat; their cancelled registration is confirmed again.
    async fn book(&self, command: Command<BookSeat, Author>) -> Result<Committed<Registration>, BookError>;

    /// Takes a user's seat back.
    async fn cancel(&self, command: Command<CancelSeat, Author>) -> Result<Committed<Registration>, CancelError>;
}

/// Why no seat was sold.
pub type BookError = SeatCommandError<BookingRefused>;

/// Why no seat was taken back.
pub type CancelError = SeatCommandError<CancellationRefused>;
