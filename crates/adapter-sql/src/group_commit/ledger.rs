//! What the domain's rule makes of orders, one after the other, on rows that are locked.

use std::collections::HashMap;

use domain::ports::StoreError;
use domain::{Event, EventId, RegistrationStatus, Timestamp, UserId, Version};

use super::{Ask, Verb, Verdict};
use crate::entity::{registration, stored};

/// The rows of a transaction, as they are and as they will be.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    events: HashMap<EventId, Result<Entry<Event>, StoreError>>,
    registrations: HashMap<(UserId, EventId), Entry<registration::Model>>,
}

#[derive(Debug)]
struct Entry<R> {
    row: R,
    change: Change,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    None,
    New,
    Changed,
}

impl Ledger {
    /// An event that stands, locked; or why its row cannot be read.
    pub(super) fn add_event(&mut self, id: EventId, event: Result<Event, StoreError>) {
        self.events.insert(id, event.map(|row| Entry { row, change: Change::None }));
    }

    /// A registration there is, of an event that is locked.
    pub(super) fn add_registration(&mut self, user: UserId, event: EventId, row: registration::Model) {
        self.registrations.insert((user, event), Entry { row, change: Change::None });
    }

    /// Carries an order out, or says why not. The registration is as it is after the order; one that
    /// is new has the id 0 until it is written.
    pub(super) fn decide(&mut self, ask: &Ask, now: Timestamp) -> Result<registration::Model, Verdict> {
        let event = match self.events.get_mut(&ask.event) {
            None => return Err(Verdict::NoEvent),
            Some(Err(error)) => return Err(Verdict::Store(error.clone())),
            Some(Ok(event)) => event,
        };
        let held = self.registrations.get_mut(&(ask.by, ask.event));
        let status = held.as_ref().map(|held| held.row.status()).transpose().map_err(Verdict::Store)?;
        match ask.verb {
            Verb::Book => event.row.book(status, now).map_err(Verdict::NotBooked)?,
            Verb::Cancel => event.row.cancel(status, now).map_err(Verdict::NotCancelled)?,
        }
        event.change = Change::Changed;
        let entry = match held {
            Some(entry) => {
                entry.row.version += 1;
                if entry.change == Change::None {
                    entry.change = Change::Changed;
                }
                entry
            }
            None => self.registrations.entry((ask.by, ask.event)).or_insert(Entry {
                row: registration::Model {
                    id: 0,
                    user_id: stored(ask.by.get()),
                    event_id: stored(ask.event.get()),
                    status: String::new(),
                    registration_date: now.as_datetime(),
                    created_at: now.as_datetime(),
                    version: stored(Version::FIRST.get()),
                },
                change: Change::New,
            }),
        };
        match ask.verb {
            Verb::Book => {
                RegistrationStatus::Confirmed.as_str().clone_into(&mut entry.row.status);
                entry.row.registration_date = now.as_datetime();
            }
            Verb::Cancel => RegistrationStatus::Cancelled.as_str().clone_into(&mut entry.row.status),
        }
        Ok(entry.row.clone())
    }

    /// Whether anything was carried out.
    pub(super) fn is_changed(&self) -> bool {
        self.changed_events().next().is_some()
    }

    /// Events whose seats or version are other than before.
    pub(super) fn changed_events(&self) -> impl Iterator<Item = &Event> {
        self.events
            .values()
            .filter_map(|event| event.as_ref().ok())
            .filter(|event| event.change == Change::Changed)
            .map(|event| &event.row)
    }

    /// Which events have seats left.
    pub(super) fn seats_left(&self) -> impl Iterator<Item = (EventId, bool)> {
        self.events
            .values()
            .filter_map(|event| event.as_ref().ok())
            .map(|event| (event.row.id, event.row.seats.available() > 0))
    }

    /// Registrations that are to be inserted.
    pub(super) fn new_registrations(&self) -> impl Iterator<Item = &registration::Model> {
        self.registrations_of(Change::New)
    }

    /// Registrations that are to be updated.
    pub(super) fn changed_registrations(&self) -> impl Iterator<Item = &registration::Model> {
        self.registrations_of(Change::Changed)
    }

    fn registrations_of(&self, change: Change) -> impl Iterator<Item = &registration::Model> {
        self.registrations.values().filter(move |entry| entry.change == change).map(|entry| &entry.row)
    }
}

#[cfg(test)]
mod tests {
    use domain::event::{BookingRefused, CancellationRefused};
    use domain::{EventTitle, Seats, Venue};

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn now() -> Timestamp {
        at("2030-01-01T00:00:00Z")
    }

    fn ledger(seats: u32) -> Ledger {
        let id = EventId::new(1).unwrap();
        let mut ledger = Ledger::default();
        ledger.add_event(
            id,
            Ok(Event {
                id,
                title: EventTitle::parse("Concert").unwrap(),
                description: None,
                starts_at: at("2030-05-01T00:00:00Z"),
                venue: Venue::parse("Opera").unwrap(),
                seats: Seats::stored(10, seats).unwrap(),
                created_at: now(),
                updated_at: now(),
                deleted_at: None,
                version: Version::FIRST,
            }),
        );
        ledger
    }

    fn ask(verb: Verb, user: u64, event: u64) -> Ask {
        Ask { verb, by: UserId::new(user).unwrap(), event: EventId::new(event).unwrap(), once: None }
    }

    #[test]
    fn orders_are_decided_in_the_order_they_came() {
        let mut ledger = ledger(1);
        assert!(ledger.decide(&ask(Verb::Book, 1, 1), now()).is_ok());
        assert!(matches!(
            ledger.decide(&ask(Verb::Book, 1, 1), now()),
            Err(Verdict::NotBooked(BookingRefused::AlreadyRegistered))
        ));
        assert!(matches!(
            ledger.decide(&ask(Verb::Book, 2, 1), now()),
            Err(Verdict::NotBooked(BookingRefused::SoldOut))
        ));
        assert!(ledger.decide(&ask(Verb::Cancel, 1, 1), now()).is_ok());
        assert!(ledger.decide(&ask(Verb::Book, 2, 1), now()).is_ok());
        assert!(matches!(
            ledger.decide(&ask(Verb::Cancel, 1, 1), now()),
            Err(Verdict::NotCancelled(CancellationRefused::NotRegistered))
        ));
        assert!(matches!(ledger.decide(&ask(Verb::Book, 1, 9), now()), Err(Verdict::NoEvent)));
        assert_eq!(ledger.changed_events().next().unwrap().seats.available(), 0);
        assert_eq!(ledger.new_registrations().count(), 2, "each user has one row, whatever happened to it");
    }

    #[test]
    fn a_row_that_is_new_and_changed_is_written_once_as_it_ended() {
        let mut ledger = ledger(5);
        for verb in [Verb::Book, Verb::Cancel, Verb::Book, Verb::Cancel] {
            ledger.decide(&ask(verb, 1, 1), now()).unwrap();
        }
        let row = ledger.new_registrations().next().unwrap();
        assert_eq!((row.status.as_str(), row.version), ("cancelled", 4));
        assert_eq!(ledger.changed_registrations().count(), 0);
        let event = ledger.changed_events().next().unwrap();
        assert_eq!((event.seats.available(), event.version.get()), (5, 5));
    }

    #[test]
    fn refusals_change_nothing() {
        let mut ledger = ledger(0);
        assert!(ledger.decide(&ask(Verb::Book, 1, 1), now()).is_err());
        assert!(!ledger.is_changed());
    }
}
