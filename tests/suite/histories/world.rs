//! The model: events, registrations and keys, changed by one order after the other.

use std::collections::BTreeMap;

use domain::event::SeatsBelowRegistrations;
use domain::{
    BookingRefused, CancellationRefused, Committed, DeletedEvent, Event, EventId, Fingerprint, KeyConflict,
    Registration, RegistrationStatus, Seats, Timestamp, UserId, Version,
};

use super::orders::{Answer, Order, Outcome, Refusal, Wish};
use super::rows::{EventRow, Rows, of_event};

pub const WEEK_SECS: u32 = 7 * 24 * 3600;

/// Events, registrations and keys, changed by one order after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    pub events: BTreeMap<EventId, Event>,
    pub registrations: BTreeMap<(EventId, UserId), Registration>,
    pub keys: BTreeMap<(UserId, String), Kept>,
}

/// The request and the outcome of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    fingerprint: Fingerprint,
    outcome: Outcome,
    since: Timestamp,
}

impl World {
    pub fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let events = events.into_iter().map(|event| (event.id, event)).collect();
        Self { events, registrations: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// Whether these are the rows of this world; other events' rows are not looked at.
    pub fn is_stored(&self, rows: &Rows) -> bool {
        self.events.iter().all(|(id, event)| {
            rows.events.get(id) == Some(&EventRow::of(event))
                && of_event(&rows.registrations, *id).eq(of_event(&self.registrations, *id))
        })
    }

    /// Carries one order out, as the only one there is. How new registrations are numbered is the
    /// store's choice.
    pub fn carry_out(&mut self, order: &Order, now: Timestamp, rows: &Rows) -> Answer {
        let key = order.key.clone().map(|key| (order.by, key));
        if let Some(kept) = key.as_ref().and_then(|key| self.keys.get(key))
            && now <= kept.since.plus_secs(WEEK_SECS)
        {
            return if kept.fingerprint == order.fingerprint() {
                Ok(Committed { outcome: kept.outcome.clone(), replayed: true })
            } else {
                Err(Refusal::Key(KeyConflict::Reused))
            };
        }
        let outcome = self.act(order, now, rows)?;
        if let Some(key) = key {
            let kept = Kept { fingerprint: order.fingerprint(), outcome: outcome.clone(), since: now };
            self.keys.insert(key, kept);
        }
        Ok(Committed { outcome, replayed: false })
    }

    fn act(&mut self, order: &Order, now: Timestamp, rows: &Rows) -> Result<Outcome, Refusal> {
        let stands = self.events.get_mut(&order.event).filter(|event| event.deleted_at.is_none());
        let event = stands.ok_or(Refusal::NoEvent)?;
        let place = (order.event, order.by);
        let held = self.registrations.get(&place);
        let status = held.map(|held| held.status);
        let registration = match order.wish {
            Wish::Book => {
                let refused = if event.starts_at <= now {
                    Some(BookingRefused::Started)
                } else if status == Some(RegistrationStatus::Confirmed) {
                    Some(BookingRefused::AlreadyRegistered)
                } else {
                    (event.seats.available() == 0).then_some(BookingRefused::SoldOut)
                };
                refused.map_or(Ok(()), |refused| Err(Refusal::Booking(refused)))?;
                free(event, event.seats.total(), event.seats.available() - 1);
                match held {
                    Some(held) => Registration {
                        status: RegistrationStatus::Confirmed,
                        registered_at: now,
                        version: held.version.next(),
                        ..held.clone()
                    },
                    None => Registration {
                        id: rows.registration(place).ok_or_else(|| Refusal::Undeserved("no row".to_owned()))?,
                        user_id: order.by,
                        event_id: order.event,
                        status: RegistrationStatus::Confirmed,
                        registered_at: now,
                        created_at: now,
                        version: Version::FIRST,
                    },
                }
            }
            Wish::Cancel => {
                if status != Some(RegistrationStatus::Confirmed) {
                    return Err(Refusal::Cancellation(CancellationRefused::NotRegistered));
                }
                if event.starts_at <= now {
                    return Err(Refusal::Cancellation(CancellationRefused::Started));
                }
                free(event, event.seats.total(), event.seats.available() + 1);
                cancelled(held.expect("what was cancelled"))
            }
            Wish::Resize(seats) => {
                let total = u32::from(seats);
                let registered = event.seats.registered();
                let available =
                    total.checked_sub(registered).ok_or(Refusal::Seats(SeatsBelowRegistrations { registered }))?;
                if total != event.seats.total() {
                    free(event, total, available);
                    event.updated_at = now;
                }
                return Ok(Outcome::Event(event.clone()));
            }
            Wish::Delete => {
                free(event, event.seats.total(), event.seats.total());
                (event.deleted_at, event.updated_at) = (Some(now), now);
                let mut cancelled_registrations = 0;
                for registration in self.registrations.values_mut() {
                    if registration.event_id == order.event && registration.status == RegistrationStatus::Confirmed {
                        *registration = cancelled(registration);
                        cancelled_registrations += 1;
                    }
                }
                return Ok(Outcome::Deleted(DeletedEvent { cancelled_registrations }));
            }
        };
        self.registrations.insert(place, registration.clone());
        Ok(Outcome::Registration(registration))
    }
}

/// Changes how many seats there are and are free.
fn free(event: &mut Event, total: u32, available: u32) {
    event.seats = Seats::stored(total, available).expect("no more are free than there are");
    event.version = event.version.next();
}

fn cancelled(registration: &Registration) -> Registration {
    Registration { status: RegistrationStatus::Cancelled, version: registration.version.next(), ..registration.clone() }
}
