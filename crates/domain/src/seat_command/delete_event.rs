//! Taking an event off the programme.

use thiserror::Error;

use super::{Denied, Needs, SeatCommand};
use crate::seat_book::SeatBook;
use crate::{Author, EventId, Precondition, Timestamp};

/// Takes an event off the programme and cancels its registrations.
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

/// Why an event was not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DeletionRefused {
    /// It has changed since.
    #[error("the event is at another version")]
    Stale,
}

impl SeatCommand for DeleteEvent {
    type Done = DeletedEvent;
    type Refused = DeletionRefused;

    fn event(&self) -> EventId {
        self.event
    }

    fn needs(&self) -> Needs {
        Needs { everyone: true, ..Needs::default() }
    }

    fn decide(
        &self,
        book: &mut SeatBook,
        author: Author,
        now: Timestamp,
    ) -> Result<DeletedEvent, Denied<DeletionRefused>> {
        if !self.precondition.admits(book.event().version) {
            return Err(Denied::Refused(DeletionRefused::Stale));
        }
        let cancelled_registrations = book.event().seats.registered().into();
        book.delete(author, now);
        Ok(DeletedEvent { cancelled_registrations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{at, event_id, user_id};
    use crate::seat_book::tests::book;
    use crate::{BookSeat, SeatCommandError, Version};

    #[test]
    fn deleting_frees_every_seat_and_nothing_follows() {
        let mut book = book(10, 4, &[]);
        let (by, now) = (user_id(1).into(), at("2030-04-01T00:00:00Z"));
        let stale = DeleteEvent { event: event_id(1), precondition: Precondition::OneOf(vec![Version::new(99)]) };
        let refused = book.carry_out(&stale, by, now);
        assert!(matches!(refused, Err(SeatCommandError::Refused(DeletionRefused::Stale))), "{refused:?}");
        assert!(!book.cancels_everyone());

        let deletion = DeleteEvent { event: event_id(1), precondition: Precondition::Any };
        let deleted = book.carry_out(&deletion, by, now).expect("a deletion");
        assert_eq!((deleted.cancelled_registrations, book.event().seats.available()), (6, 10));
        assert_eq!(book.event().deleted_at, Some(now));
        assert!(book.cancels_everyone());
        let late = book.carry_out(&BookSeat { event: event_id(1), user: user_id(1) }, by, now);
        assert!(matches!(late, Err(SeatCommandError::EventNotFound)), "{late:?}");
    }
}
