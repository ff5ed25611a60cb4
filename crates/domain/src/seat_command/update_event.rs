//! Changing an event, its number of seats among the rest.

use thiserror::Error;

use super::{Denied, Needs, SeatCommand};
use crate::seat_book::SeatBook;
use crate::{Author, Event, EventId, EventPatch, Precondition, RevisionRefused, Timestamp};

/// Changes an event. A patch that changes nothing leaves its version and its time of change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateEvent {
    /// Which.
    pub event: EventId,
    /// What.
    pub patch: EventPatch,
    /// At which version.
    pub precondition: Precondition,
}

/// Why an event was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UpdateRefused {
    /// It has changed since.
    #[error("the event is at another version")]
    Stale,
    /// The rules say no.
    #[error(transparent)]
    Revision(#[from] RevisionRefused),
}

impl SeatCommand for UpdateEvent {
    type Done = Event;
    type Refused = UpdateRefused;

    fn event(&self) -> EventId {
        self.event
    }

    fn needs(&self) -> Needs {
        Needs::default()
    }

    fn decide(&self, book: &mut SeatBook, author: Author, now: Timestamp) -> Result<Event, Denied<UpdateRefused>> {
        if !self.precondition.admits(book.event().version) {
            return Err(Denied::Refused(UpdateRefused::Stale));
        }
        book.revise(self.patch.clone(), author, now).map_err(|refused| Denied::Refused(refused.into()))?;
        Ok(book.event().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{event_id, now, user_id};
    use crate::seat_book::tests::{book, refused};
    use crate::{SeatCount, Version};

    fn decide(book: &mut SeatBook, total: u64, precondition: Precondition) -> Result<Event, UpdateRefused> {
        let patch = EventPatch { total_seats: SeatCount::new(total).ok(), ..EventPatch::default() };
        refused(book.carry_out(&UpdateEvent { event: event_id(1), patch, precondition }, user_id(1).into(), now()))
    }

    #[test]
    fn only_a_change_is_written_and_told() {
        let mut book = book(10, 4, &[]);
        assert_eq!(decide(&mut book, 10, Precondition::Any).as_ref(), Ok(book.found()));
        assert!(!book.is_changed() && !book.is_revised());
        let revised = decide(&mut book, 15, Precondition::Any).expect("an event");
        assert_eq!((revised.seats.total(), revised.seats.available()), (15, 9));
        assert!(book.is_revised());
        assert_eq!(book.into_happened().len(), 1);
    }

    #[test]
    fn another_version_or_too_few_seats_change_nothing() {
        let mut book = book(10, 4, &[]);
        let (version, other) = (book.event().version, Version::new(99));
        assert_eq!(decide(&mut book, 5, Precondition::OneOf(vec![other])), Err(UpdateRefused::Stale));
        let few = decide(&mut book, 5, Precondition::OneOf(vec![other, version]));
        assert!(matches!(few, Err(UpdateRefused::Revision(RevisionRefused::Seats(_)))), "{few:?}");
        assert!(!book.is_changed());
    }
}
