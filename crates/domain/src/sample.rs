//! Fixtures for unit tests, of this crate and of those that switch on the feature `mock`.
//!
//! Every value is plain and valid. A test that is about one field of it says so by struct update, as in
//! `Event { deleted_at: Some(now()), ..event(1) }`.

#![expect(clippy::missing_panics_doc, reason = "a test that asks for a value that cannot be has to fail")]

use std::sync::Arc;

use crate::ports::{Clock, NewUser};
use crate::{
    EmailAddress, Event, EventDraft, EventId, EventTitle, Fingerprint, IdempotencyKey, Once, PageRequest, PasswordHash,
    PersonName, Registration, RegistrationId, RegistrationStatus, Role, SeatCount, Seats, StartsAt, Timestamp, User,
    UserId, Venue, Version,
};

/// The present: when everything was created.
pub const NOW: &str = "2030-01-15T12:00:00Z";

/// When the [`event`] starts.
pub const START: &str = "2030-05-01T19:30:00Z";

/// The instant of this RFC 3339 time.
pub fn at(raw: &str) -> Timestamp {
    Timestamp::parse(raw).expect("an RFC 3339 time")
}

/// [`NOW`].
pub fn now() -> Timestamp {
    at(NOW)
}

/// A clock that stands still at this instant.
pub fn clock(now: &str) -> Arc<dyn Clock> {
    struct Stopped(Timestamp);
    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            self.0
        }
    }
    Arc::new(Stopped(at(now)))
}

/// The event's id of this number.
pub fn event_id(number: u64) -> EventId {
    EventId::new(number).expect("an id")
}

/// The user's id of this number.
pub fn user_id(number: u64) -> UserId {
    UserId::new(number).expect("an id")
}

/// The registration's id of this number.
pub fn registration_id(number: u64) -> RegistrationId {
    RegistrationId::new(number).expect("an id")
}

/// This e-mail address.
pub fn email(raw: &str) -> EmailAddress {
    EmailAddress::parse(raw).expect("an e-mail address")
}

/// This many seats, of which so many are free.
pub fn seats(total: u32, available: u32) -> Seats {
    Seats::stored(total, available).expect("no more free seats than there are")
}

/// A concert with ten seats, all free, that was never changed.
pub fn event(number: u64) -> Event {
    Event {
        id: event_id(number),
        title: EventTitle::parse("Concert").expect("a title"),
        description: None,
        starts_at: at(START),
        venue: Venue::parse("Opera").expect("a venue"),
        seats: seats(10, 10),
        created_at: now(),
        updated_at: now(),
        deleted_at: None,
        version: Version::FIRST,
    }
}

/// An event to be created: of this title, with this many seats, thirty days after `now`.
pub fn draft(title: &str, total_seats: u64, now: Timestamp) -> EventDraft {
    EventDraft {
        title: EventTitle::parse(title).expect("a title"),
        description: None,
        starts_at: StartsAt::new(now.plus_secs(30 * 24 * 3600), now).expect("a time to come"),
        venue: Venue::parse("Opera").expect("a venue"),
        total_seats: SeatCount::new(total_seats).expect("a number of seats"),
    }
}

/// Ada, who is no admin.
pub fn user(number: u64) -> User {
    User {
        id: user_id(number),
        name: PersonName::parse("Ada").expect("a name"),
        email: email("ada@example.com"),
        role: Role::User,
        notifications: true,
        created_at: now(),
    }
}

/// An account to be added, of this address, whose password hash matches no password.
pub fn new_user(address: &str, role: Role, created_at: Timestamp) -> NewUser {
    NewUser {
        name: PersonName::parse("Ada").expect("a name"),
        email: email(address),
        password: PasswordHash::new("no hash of any password".to_owned()),
        role,
        created_at,
        by: None,
    }
}

/// A user's confirmed registration at an event, which was never changed.
pub fn registration(number: u64, user: u64, event: u64) -> Registration {
    Registration {
        id: registration_id(number),
        user_id: user_id(user),
        event_id: event_id(event),
        status: RegistrationStatus::Confirmed,
        registered_at: now(),
        created_at: now(),
        version: Version::FIRST,
    }
}

/// An idempotency key with the fingerprint of the request of this number.
pub fn once(key: &str, request: u8) -> Option<Once> {
    let key = IdempotencyKey::parse(key).expect("an idempotency key");
    Some(Once { key, fingerprint: Fingerprint::new([request; 32]) })
}

/// The page of this number and size.
pub fn page(number: u32, size: u32) -> PageRequest {
    PageRequest { number, size }
}
