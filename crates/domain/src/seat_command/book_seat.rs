//! Booking a seat.

use thiserror::Error;

use super::{Denied, Needs, SeatCommand};
use crate::seat_book::SeatBook;
use crate::{Author, EventId, Registration, Timestamp, UserId};

/// Sells a user one seat; their cancelled registration is confirmed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookSeat {
    /// At which event.
    pub event: EventId,
    /// For whom.
    pub user: UserId,
}

/// Why a seat was not sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BookingRefused {
    /// The event has begun.
    #[error("the event has started")]
    Started,
    /// The user holds a seat.
    #[error("the user holds a seat at this event")]
    AlreadyRegistered,
    /// No seat is left.
    #[error("the event is sold out")]
    SoldOut,
}

impl SeatCommand for BookSeat {
    type Done = Registration;
    type Refused = BookingRefused;

    fn event(&self) -> EventId {
        self.event
    }

    fn needs(&self) -> Needs {
        Needs { registrations: vec![self.user], new_registrations: true, ..Needs::default() }
    }

    fn takes_seats(&self) -> bool {
        true
    }

    /// That the user holds a seat is told before that there is none.
    fn decide(
        &self,
        book: &mut SeatBook,
        author: Author,
        now: Timestamp,
    ) -> Result<Registration, Denied<BookingRefused>> {
        let refused = |reason| Err(Denied::Refused(reason));
        if book.event().starts_at <= now {
            return refused(BookingRefused::Started);
        }
        if book.holds_seat(self.user)? {
            return refused(BookingRefused::AlreadyRegistered);
        }
        if book.event().seats.available() == 0 {
            return refused(BookingRefused::SoldOut);
        }
        Ok(book.confirm(self.user, author, now)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistrationStatus;
    use crate::sample::{START, at, event_id, user_id};
    use crate::seat_book::tests::{book, holds, refused};

    fn decide(book: &mut SeatBook, number: u64, now: &str) -> Result<Registration, BookingRefused> {
        let command = BookSeat { event: event_id(1), user: user_id(number) };
        refused(book.carry_out(&command, user_id(number).into(), at(now)))
    }

    #[test]
    fn booking_takes_one_seat_and_raises_the_version() {
        let mut book = book(10, 10, &[]);
        let version = book.event().version;
        let booked = decide(&mut book, 1, "2030-04-01T12:00:00Z").expect("a seat");
        assert_eq!(
            (booked.user_id, booked.status, booked.version.count()),
            (user_id(1), RegistrationStatus::Confirmed, 1)
        );
        assert_eq!((booked.registered_at, booked.created_at), (at("2030-04-01T12:00:00Z"), at("2030-04-01T12:00:00Z")));
        assert_eq!((book.event().seats.available(), book.event().version), (9, version.next()));
    }

    #[test]
    fn the_last_seat_is_sold_once() {
        let mut book = book(10, 1, &[]);
        assert!(decide(&mut book, 1, "2030-04-01T00:00:00Z").is_ok());
        assert_eq!(decide(&mut book, 2, "2030-04-01T00:00:00Z"), Err(BookingRefused::SoldOut));
        assert_eq!(book.event().seats.available(), 0);
    }

    #[test]
    fn holding_a_seat_is_told_before_sold_out_and_after_started() {
        let mut book = book(10, 0, &[holds(1, RegistrationStatus::Confirmed)]);
        assert_eq!(decide(&mut book, 1, "2030-04-01T00:00:00Z"), Err(BookingRefused::AlreadyRegistered));
        assert_eq!(decide(&mut book, 1, START), Err(BookingRefused::Started));
        assert!(!book.is_changed());
    }

    #[test]
    fn a_cancelled_registration_is_confirmed_again() {
        let mut book = book(10, 10, &[holds(1, RegistrationStatus::Cancelled)]);
        let before = book.registration(user_id(1)).ok().flatten().cloned().expect("a registration");
        let booked = decide(&mut book, 1, "2030-04-02T00:00:00Z").expect("a seat");
        assert_eq!((booked.id, booked.created_at), (before.id, before.created_at));
        assert_eq!((booked.registered_at, booked.version), (at("2030-04-02T00:00:00Z"), before.version.next()));
        assert_eq!((book.new_registrations().count(), book.changed_registrations().count()), (0, 1));
    }
}
