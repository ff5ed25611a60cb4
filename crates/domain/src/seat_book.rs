//! What seat commands are decided on: an event whose row is locked, with the registrations that they need.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use thiserror::Error;

use crate::happening::{Change, Happening};
use crate::{
    Author, Denied, Event, EventPatch, Registration, RegistrationId, RegistrationStatus, RevisionRefused, SeatCommand,
    SeatCommandError, SeatSnapshot, Seats, Timestamp, UserId, Version,
};

/// One event with registrations at it, as they were found under the event's lock and as commands leave them.
///
/// A store opens the book with what it read, has [`SeatBook::carry_out`] decide one command after the other, and writes
/// what is new and changed. The book moves seats and registrations together, so that the seats that are taken are always
/// those of confirmed registrations.
#[derive(Debug, Clone)]
pub struct SeatBook {
    found: Arc<Event>,
    event: Event,
    /// The event as it was when more of it than its seats was changed last.
    details: Arc<Event>,
    is_revised: bool,
    registrations: BTreeMap<UserId, Option<Entry>>,
    numbers: VecDeque<RegistrationId>,
    happened: Vec<Happening>,
}

#[derive(Debug, Clone)]
struct Entry {
    registration: Registration,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Found,
    New,
    Changed,
}

/// The book lacks what a command did not say that it [needs](SeatCommand::needs).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotLoaded {
    /// Whether the user is registered was not read.
    #[error("the registration of user {0} was not loaded")]
    Registration(UserId),
    /// There is no number for a new registration.
    #[error("no number was reserved for a registration of user {0}")]
    Number(UserId),
}

impl SeatBook {
    /// The book of an event as it was found, without registrations.
    pub fn open(event: Event) -> Self {
        let found = Arc::new(event.clone());
        Self {
            details: Arc::clone(&found),
            found,
            event,
            is_revised: false,
            registrations: BTreeMap::new(),
            numbers: VecDeque::new(),
            happened: Vec::new(),
        }
    }

    /// Enters a user's registration as it was found, or that there is none.
    pub fn load(&mut self, user: UserId, registration: Option<Registration>) {
        let found = |registration| Entry { registration, state: State::Found };
        self.registrations.insert(user, registration.map(found));
    }

    /// Reserves a number for a registration that a command may make.
    pub fn reserve(&mut self, number: RegistrationId) {
        self.numbers.push_back(number);
    }

    /// Has a command decided. Nothing changes if it is denied.
    pub fn carry_out<C: SeatCommand>(
        &mut self,
        command: &C,
        by: Author,
        now: Timestamp,
    ) -> Result<C::Done, SeatCommandError<C::Refused>> {
        if self.event.deleted_at.is_some() {
            return Err(SeatCommandError::EventNotFound);
        }
        command.decide(self, by, now).map_err(SeatCommandError::from)
    }

    /// The event as it is by now.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// The user's registration as it is by now, confirmed or cancelled.
    pub fn registration(&self, user: UserId) -> Result<Option<&Registration>, NotLoaded> {
        let entry = self.registrations.get(&user).ok_or(NotLoaded::Registration(user))?;
        Ok(entry.as_ref().map(|entry| &entry.registration))
    }

    /// Whether the user holds a seat by now.
    pub fn holds_seat(&self, user: UserId) -> Result<bool, NotLoaded> {
        Ok(self.registration(user)?.is_some_and(|held| held.status == RegistrationStatus::Confirmed))
    }

    /// Sells the user a seat, which has to be free; the user's cancelled registration is confirmed again.
    pub(crate) fn confirm(&mut self, user: UserId, by: Author, now: Timestamp) -> Result<Registration, NotLoaded> {
        let entry = self.registrations.get_mut(&user).ok_or(NotLoaded::Registration(user))?;
        let entry = if let Some(entry) = entry {
            entry.renew(RegistrationStatus::Confirmed);
            entry.registration.registered_at = now;
            entry
        } else {
            let id = self.numbers.pop_front().ok_or(NotLoaded::Number(user))?;
            entry.insert(Entry {
                registration: Registration {
                    id,
                    user_id: user,
                    event_id: self.event.id,
                    status: RegistrationStatus::Confirmed,
                    registered_at: now,
                    created_at: now,
                    version: Version::on(self.event.version.timeline(), Version::FIRST.count())
                        .unwrap_or(Version::FIRST),
                },
                state: State::New,
            })
        };
        let registration = entry.registration.clone();
        let seats = self.move_seats(self.event.seats.take());
        let (told, event) = (registration.clone(), Arc::clone(&self.details));
        self.happened.push(Happening { by, what: Change::Confirmed { registration: told, event, seats } });
        Ok(registration)
    }

    /// Takes back the user's seat; `None` if the user has no registration.
    pub(crate) fn cancel(&mut self, user: UserId, by: Author) -> Result<Option<Registration>, NotLoaded> {
        let entry = self.registrations.get_mut(&user).ok_or(NotLoaded::Registration(user))?;
        let Some(entry) = entry else { return Ok(None) };
        entry.renew(RegistrationStatus::Cancelled);
        let registration = entry.registration.clone();
        let seats = self.move_seats(self.event.seats.give_back());
        let (told, event) = (registration.clone(), Arc::clone(&self.details));
        self.happened.push(Happening { by, what: Change::Cancelled { registration: told, event, seats } });
        Ok(Some(registration))
    }

    fn move_seats(&mut self, seats: Seats) -> SeatSnapshot {
        self.event.seats = seats;
        self.event.version = self.event.version.next();
        SeatSnapshot::from(&self.event)
    }

    /// Applies an organiser's changes to the event. A patch that changes nothing is nothing that happened.
    pub(crate) fn revise(&mut self, patch: EventPatch, by: Author, now: Timestamp) -> Result<(), RevisionRefused> {
        let (starts_at, venue) = (self.event.starts_at, self.event.venue.clone());
        if self.event.revise(patch, now)? {
            self.is_revised = true;
            self.details = Arc::new(self.event.clone());
            let moved = self.event.starts_at != starts_at || self.event.venue != venue;
            self.happened.push(Happening { by, what: Change::Updated { event: self.event.clone(), moved } });
        }
        Ok(())
    }

    /// Takes the event off the programme and cancels every registration at it.
    pub(crate) fn delete(&mut self, by: Author, now: Timestamp) {
        self.event.delete(now);
        self.is_revised = true;
        self.happened.push(Happening { by, what: Change::Deleted(self.event.clone()) });
    }

    /// The event as it was found.
    pub fn found(&self) -> &Event {
        &self.found
    }

    /// Whether commands changed anything.
    pub fn is_changed(&self) -> bool {
        !self.happened.is_empty()
    }

    /// Whether more of the event than its seats is to be written.
    pub fn is_revised(&self) -> bool {
        self.is_revised
    }

    /// Whether every registration at the event is to be cancelled, also those that were not loaded.
    pub fn cancels_everyone(&self) -> bool {
        self.event.deleted_at != self.found.deleted_at
    }

    /// Who deleted the event, if it was deleted.
    pub fn author_of_deletion(&self) -> Option<Author> {
        let deletion = self.happened.iter().rfind(|happening| matches!(happening.what, Change::Deleted(_)));
        deletion.map(|happening| happening.by)
    }

    /// Registrations to be added.
    pub fn new_registrations(&self) -> impl Iterator<Item = &Registration> {
        self.registrations_that_are(State::New)
    }

    /// Registrations to be written back.
    pub fn changed_registrations(&self) -> impl Iterator<Item = &Registration> {
        self.registrations_that_are(State::Changed)
    }

    /// What the commands did, in their order.
    pub fn into_happened(self) -> Vec<Happening> {
        self.happened
    }

    fn registrations_that_are(&self, state: State) -> impl Iterator<Item = &Registration> {
        let entries = self.registrations.values().flatten();
        entries.filter(move |entry| entry.state == state).map(|entry| &entry.registration)
    }
}

impl Entry {
    fn renew(&mut self, status: RegistrationStatus) {
        self.registration.status = status;
        self.registration.version = self.registration.version.next();
        if self.state == State::Found {
            self.state = State::Changed;
        }
    }
}

impl<R> From<NotLoaded> for Denied<R> {
    fn from(missing: NotLoaded) -> Self {
        Self::NotLoaded(missing)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Debug;

    use super::*;
    use crate::sample::{self, at, event_id, registration_id, seats, user_id};
    use crate::{BookSeat, CancelSeat};

    /// A user's registration as it was found.
    pub(crate) fn holds(number: u64, status: RegistrationStatus) -> Registration {
        Registration { status, version: Version::new(7), ..sample::registration(100 + number, number, 1) }
    }

    /// A book of nine users, of whom some have registrations.
    pub(crate) fn book(total: u32, available: u32, held: &[Registration]) -> SeatBook {
        let mut book = SeatBook::open(Event { seats: seats(total, available), ..sample::event(1) });
        for number in 1..10 {
            book.load(user_id(number), held.iter().find(|held| held.user_id == user_id(number)).cloned());
            book.reserve(registration_id(number));
        }
        book
    }

    /// What the rule said of a command that reached it.
    pub(crate) fn refused<T, R: Debug>(answer: Result<T, SeatCommandError<R>>) -> Result<T, R> {
        answer.map_err(|error| match error {
            SeatCommandError::Refused(refused) => refused,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_registration_that_is_new_and_changed_is_added_once_as_it_ended() {
        let mut book = book(5, 5, &[]);
        let (ada, now) = (user_id(1), at("2030-04-01T00:00:00Z"));
        for _ in 0..2 {
            book.carry_out(&BookSeat { event: event_id(1), user: ada }, ada.into(), now).expect("a seat");
            book.carry_out(&CancelSeat { event: event_id(1), user: ada }, ada.into(), now).expect("a seat");
        }
        let added: Vec<_> = book.new_registrations().collect();
        assert_eq!((added.len(), added[0].status, added[0].version.count()), (1, RegistrationStatus::Cancelled, 4));
        assert_eq!(book.changed_registrations().count(), 0);
        assert_eq!((book.event().seats.available(), book.event().version.get()), (5, 5));
        assert_eq!((book.found().seats.available(), book.found().version), (5, Version::FIRST));
    }

    #[test]
    fn facts_are_in_order_with_the_seats_that_were_left() {
        let mut book = book(5, 5, &[]);
        for number in [1, 2] {
            let command = BookSeat { event: event_id(1), user: user_id(number) };
            book.carry_out(&command, user_id(number).into(), at("2030-04-01T00:00:00Z")).expect("a seat");
        }
        let told: Vec<_> = book
            .into_happened()
            .iter()
            .map(|one| (one.by, one.what.seats().map(|seats| seats.version().get())))
            .collect();
        assert_eq!(told, [(user_id(1).into(), Some(2)), (user_id(2).into(), Some(3))]);
    }

    #[test]
    fn a_row_that_was_not_loaded_is_a_fault_and_changes_nothing() {
        let mut book = book(5, 5, &[]);
        let stranger = user_id(77);
        let command = BookSeat { event: event_id(1), user: stranger };
        let answer = book.carry_out(&command, stranger.into(), at("2030-04-01T00:00:00Z"));
        assert!(matches!(answer, Err(SeatCommandError::Store(_))), "{answer:?}");
        book.load(stranger, None);
        book.numbers.clear();
        let answer = book.carry_out(&command, stranger.into(), at("2030-04-01T00:00:00Z"));
        assert!(matches!(answer, Err(SeatCommandError::Store(_))), "{answer:?}");
        assert!(!book.is_changed() && book.event() == book.found());
    }
}
