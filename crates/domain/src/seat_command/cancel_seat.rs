//! Giving a seat back.

use thiserror::Error;

use super::{Denied, Needs, SeatCommand};
use crate::seat_book::SeatBook;
use crate::{Author, EventId, Registration, Timestamp, UserId};

/// Takes a user's seat back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CancelSeat {
    /// At which event.
    pub event: EventId,
    /// Whose.
    pub user: UserId,
}

/// Why a seat was not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CancellationRefused {
    /// The user holds no seat.
    #[error("the user holds no seat at this event")]
    NotRegistered,
    /// The event has begun.
    #[error("the event has started")]
    Started,
}

impl SeatCommand for CancelSeat {
    type Done = Registration;
    type Refused = CancellationRefused;

    fn event(&self) -> EventId {
        self.event
    }

    fn needs(&self) -> Needs {
        Needs { registrations: vec![self.user], ..Needs::default() }
    }

    fn decide(
        &self,
        book: &mut SeatBook,
        author: Author,
        now: Timestamp,
    ) -> Result<Registration, Denied<CancellationRefused>> {
        let not_registered = Denied::Refused(CancellationRefused::NotRegistered);
        if !book.holds_seat(self.user)? {
            return Err(not_registered);
        }
        if book.event().starts_at <= now {
            return Err(Denied::Refused(CancellationRefused::Started));
        }
        book.cancel(self.user, author)?.ok_or(not_registered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistrationStatus;
    use crate::sample::{START, at, event_id, user_id};
    use crate::seat_book::tests::{book, holds, refused};

    fn decide(book: &mut SeatBook, number: u64, now: &str) -> Result<Registration, CancellationRefused> {
        let command = CancelSeat { event: event_id(1), user: user_id(number) };
        refused(book.carry_out(&command, user_id(number).into(), at(now)))
    }

    #[test]
    fn a_cancelled_seat_is_free_again() {
        let mut book = book(1, 0, &[holds(1, RegistrationStatus::Confirmed)]);
        let cancelled = decide(&mut book, 1, "2030-04-01T00:00:00Z").expect("a seat");
        assert_eq!(cancelled.status, RegistrationStatus::Cancelled);
        assert_eq!(book.event().seats.available(), 1);
        assert_eq!(decide(&mut book, 1, "2030-04-01T00:00:00Z"), Err(CancellationRefused::NotRegistered));
    }

    #[test]
    fn only_a_held_seat_comes_back_and_only_before_the_start() {
        let mut book = book(10, 9, &[holds(1, RegistrationStatus::Confirmed), holds(2, RegistrationStatus::Cancelled)]);
        for without_seat in [2, 3] {
            let refused = decide(&mut book, without_seat, "2030-04-01T00:00:00Z");
            assert_eq!(refused, Err(CancellationRefused::NotRegistered), "{without_seat}");
        }
        assert_eq!(decide(&mut book, 1, START), Err(CancellationRefused::Started));
        assert!(!book.is_changed());
    }
}
