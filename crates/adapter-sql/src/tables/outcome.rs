//! What commands did, as it is kept with their idempotency keys: JSON in shapes of its own, so that the tables can change
//! and old outcomes still replay.
//!
//! The rules of a shape:
//!
//! - What was written once is read for ever. `released`, in the tests below, has a text of each shape that a release wrote.
//! - `v` is the version of a shape. Outcomes from before there was one have none, and are of version 1.
//! - A new member has a default for the outcomes without it, and its shape a new version. An older release, which may
//!   serve beside a newer one, ignores members that it does not know. So members are added, and none is renamed or
//!   removed; one that is not read any more, such as `title_folded`, is written as long as an older release needs it.
//! - An outcome of a later version is read as one of the present version.

use chrono::{DateTime, Utc};
use domain::ports::StoreError;
use domain::{
    DeletedEvent, Description, EmailAddress, Event, EventId, EventTitle, FactPattern, PersonName, Registration,
    RegistrationId, RegistrationStatus, Role, Seats, Timeline, Timestamp, User, UserId, Venue, Version, Webhook,
    WebhookId, WebhookUrl,
};
use serde::{Deserialize, Serialize};

use crate::tables::rows::On;

/// What a command did, in a form that can be kept.
pub(crate) trait Outcome: Sized {
    /// The JSON to be kept.
    fn to_json(&self) -> Result<String, StoreError>;

    /// The outcome of JSON that this release or another one kept. Its version is of this timeline: a shape holds the count.
    fn from_json(json: &str, timeline: Timeline) -> Result<Self, StoreError>;
}

/// Writes and reads outcomes through their shapes.
macro_rules! kept_as {
    ($($outcome:ty: $shape:ty),+ $(,)?) => {$(
        impl Outcome for $outcome {
            fn to_json(&self) -> Result<String, StoreError> {
                serde_json::to_string(&<$shape>::from(self)).map_err(StoreError::fault)
            }

            fn from_json(json: &str, timeline: Timeline) -> Result<Self, StoreError> {
                let shape: $shape = serde_json::from_str(json).map_err(unreadable)?;
                let kept = On { row: shape, timeline };
                kept.try_into().map_err(|Meaningless(member)| unreadable(format!("{member} has no meaning")))
            }
        }
    )+};
}

kept_as!(
    Registration: RegistrationShape,
    Event: EventShape,
    DeletedEvent: DeletionShape,
    User: UserShape,
    Webhook: WebhookShape,
);

fn unreadable(why: impl std::fmt::Display) -> StoreError {
    StoreError::fault(format!("the outcome of an idempotency key: {why}"))
}

/// A member of a shape whose value is none.
struct Meaningless(&'static str);

/// The version of each shape that is written.
const VERSION: u32 = 1;

/// The version of a profile's shape that says whether the person is told by mail.
const WITH_NOTIFICATIONS: u32 = 2;

/// The version of a shape that names none.
fn unnamed() -> u32 {
    1
}

/// A booking or a cancellation.
#[derive(Serialize, Deserialize)]
struct RegistrationShape {
    id: u64,
    user_id: u64,
    event_id: u64,
    status: String,
    registration_date: DateTime<Utc>,
    created_at: DateTime<Utc>,
    version: u64,
    #[serde(default = "unnamed")]
    v: u32,
}

impl From<&Registration> for RegistrationShape {
    fn from(registration: &Registration) -> Self {
        Self {
            id: registration.id.get(),
            user_id: registration.user_id.get(),
            event_id: registration.event_id.get(),
            status: registration.status.as_str().to_owned(),
            registration_date: registration.registered_at.as_datetime(),
            created_at: registration.created_at.as_datetime(),
            version: registration.version.count(),
            v: VERSION,
        }
    }
}

impl TryFrom<On<RegistrationShape>> for Registration {
    type Error = Meaningless;

    fn try_from(On { row: shape, timeline }: On<RegistrationShape>) -> Result<Self, Meaningless> {
        Ok(Self {
            id: RegistrationId::new(shape.id).ok_or(Meaningless("id"))?,
            user_id: UserId::new(shape.user_id).ok_or(Meaningless("user_id"))?,
            event_id: EventId::new(shape.event_id).ok_or(Meaningless("event_id"))?,
            status: RegistrationStatus::from_name(&shape.status).ok_or(Meaningless("status"))?,
            registered_at: Timestamp::stored(shape.registration_date),
            created_at: Timestamp::stored(shape.created_at),
            version: Version::on(timeline, shape.version).ok_or(Meaningless("version"))?,
        })
    }
}

/// An event that was created or changed.
#[derive(Serialize, Deserialize)]
struct EventShape {
    id: u64,
    title: String,
    description: Option<String>,
    date: DateTime<Utc>,
    venue: String,
    total_seats: u32,
    available_seats: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    deleted_at: Option<DateTime<Utc>>,
    version: u64,
    /// Only the releases that name no version need it.
    #[serde(default)]
    title_folded: String,
    #[serde(default = "unnamed")]
    v: u32,
}

impl From<&Event> for EventShape {
    fn from(event: &Event) -> Self {
        Self {
            id: event.id.get(),
            title: event.title.as_str().to_owned(),
            description: event.description.as_ref().map(|text| text.as_str().to_owned()),
            date: event.starts_at.as_datetime(),
            venue: event.venue.as_str().to_owned(),
            total_seats: event.seats.total(),
            available_seats: event.seats.available(),
            created_at: event.created_at.as_datetime(),
            updated_at: event.updated_at.as_datetime(),
            deleted_at: event.deleted_at.map(Timestamp::as_datetime),
            version: event.version.count(),
            title_folded: event.title.folded(),
            v: VERSION,
        }
    }
}

impl TryFrom<On<EventShape>> for Event {
    type Error = Meaningless;

    fn try_from(On { row: shape, timeline }: On<EventShape>) -> Result<Self, Meaningless> {
        Ok(Self {
            id: EventId::new(shape.id).ok_or(Meaningless("id"))?,
            title: EventTitle::stored(&shape.title),
            description: shape.description.as_deref().map(Description::stored),
            starts_at: Timestamp::stored(shape.date),
            venue: Venue::stored(&shape.venue),
            seats: Seats::stored(shape.total_seats, shape.available_seats).ok_or(Meaningless("available_seats"))?,
            created_at: Timestamp::stored(shape.created_at),
            updated_at: Timestamp::stored(shape.updated_at),
            deleted_at: shape.deleted_at.map(Timestamp::stored),
            version: Version::on(timeline, shape.version).ok_or(Meaningless("version"))?,
        })
    }
}

/// A deletion.
#[derive(Serialize, Deserialize)]
struct DeletionShape {
    cancelled_registrations: u64,
    #[serde(default = "unnamed")]
    v: u32,
}

impl From<&DeletedEvent> for DeletionShape {
    fn from(deleted: &DeletedEvent) -> Self {
        Self { cancelled_registrations: deleted.cancelled_registrations, v: VERSION }
    }
}

impl TryFrom<On<DeletionShape>> for DeletedEvent {
    type Error = Meaningless;

    fn try_from(On { row: shape, .. }: On<DeletionShape>) -> Result<Self, Meaningless> {
        Ok(Self { cancelled_registrations: shape.cancelled_registrations })
    }
}

/// A profile that was changed.
#[derive(Serialize, Deserialize)]
struct UserShape {
    id: u64,
    name: String,
    email: String,
    role: String,
    #[serde(default = "told_by_mail")]
    notifications: bool,
    created_at: DateTime<Utc>,
    #[serde(default = "unnamed")]
    v: u32,
}

/// Of an outcome from before there was mail.
fn told_by_mail() -> bool {
    true
}

impl From<&User> for UserShape {
    fn from(user: &User) -> Self {
        Self {
            id: user.id.get(),
            name: user.name.as_str().to_owned(),
            email: user.email.as_str().to_owned(),
            role: user.role.as_str().to_owned(),
            notifications: user.notifications,
            created_at: user.created_at.as_datetime(),
            v: WITH_NOTIFICATIONS,
        }
    }
}

impl TryFrom<On<UserShape>> for User {
    type Error = Meaningless;

    fn try_from(On { row: shape, .. }: On<UserShape>) -> Result<Self, Meaningless> {
        Ok(Self {
            id: UserId::new(shape.id).ok_or(Meaningless("id"))?,
            name: PersonName::stored(&shape.name),
            email: EmailAddress::stored(&shape.email),
            role: Role::from_name(&shape.role).ok_or(Meaningless("role"))?,
            notifications: shape.notifications,
            created_at: Timestamp::stored(shape.created_at),
        })
    }
}

/// A webhook that was made. Its secret is shown once, and not kept here.
#[derive(Serialize, Deserialize)]
struct WebhookShape {
    id: u64,
    url: String,
    types: Vec<String>,
    description: Option<String>,
    enabled: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    #[serde(default = "unnamed")]
    v: u32,
}

impl From<&Webhook> for WebhookShape {
    fn from(webhook: &Webhook) -> Self {
        Self {
            id: webhook.id.get(),
            url: webhook.url.as_str().to_owned(),
            types: webhook.types.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            description: webhook.description.clone(),
            enabled: webhook.enabled,
            created_at: webhook.created_at.as_datetime(),
            updated_at: webhook.updated_at.as_datetime(),
            v: VERSION,
        }
    }
}

impl TryFrom<On<WebhookShape>> for Webhook {
    type Error = Meaningless;

    fn try_from(On { row: shape, .. }: On<WebhookShape>) -> Result<Self, Meaningless> {
        Ok(Self {
            id: WebhookId::new(shape.id).ok_or(Meaningless("id"))?,
            url: WebhookUrl::stored(&shape.url),
            types: shape.types.iter().map(|pattern| FactPattern::stored(pattern)).collect(),
            description: shape.description,
            enabled: shape.enabled,
            created_at: Timestamp::stored(shape.created_at),
            updated_at: Timestamp::stored(shape.updated_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use domain::sample::{self, at, event_id, seats};

    use super::*;

    /// What releases kept of each outcome, the oldest first: lines are added, and none is changed or removed. The last of
    /// each is what this release keeps.
    mod released {
        pub(super) const BOOKING: [&str; 2] = [
            r#"{"id":7,"user_id":3,"event_id":12,"status":"confirmed","registration_date":"2030-01-15T12:00:00.123456Z","created_at":"2030-01-15T12:00:00Z","version":4}"#,
            r#"{"id":7,"user_id":3,"event_id":12,"status":"confirmed","registration_date":"2030-01-15T12:00:00.123456Z","created_at":"2030-01-15T12:00:00Z","version":4,"v":1}"#,
        ];
        pub(super) const CANCELLATION: [&str; 2] = [
            r#"{"id":7,"user_id":3,"event_id":12,"status":"cancelled","registration_date":"2030-01-15T12:00:00.123456Z","created_at":"2030-01-15T12:00:00Z","version":5}"#,
            r#"{"id":7,"user_id":3,"event_id":12,"status":"cancelled","registration_date":"2030-01-15T12:00:00.123456Z","created_at":"2030-01-15T12:00:00Z","version":5,"v":1}"#,
        ];
        pub(super) const EVENT: [&str; 2] = [
            r#"{"id":12,"title":"Été \"quoted\"","description":"one\r\n\ttwo","date":"2031-05-01T19:30:00Z","venue":"Opera","total_seats":10,"available_seats":9,"created_at":"2030-01-15T12:00:00.500Z","updated_at":"2030-01-15T12:00:00.000001Z","deleted_at":null,"version":2,"title_folded":"été \"quoted\""}"#,
            r#"{"id":12,"title":"Été \"quoted\"","description":"one\r\n\ttwo","date":"2031-05-01T19:30:00Z","venue":"Opera","total_seats":10,"available_seats":9,"created_at":"2030-01-15T12:00:00.500Z","updated_at":"2030-01-15T12:00:00.000001Z","deleted_at":null,"version":2,"title_folded":"été \"quoted\"","v":1}"#,
        ];
        pub(super) const BARE_EVENT: [&str; 2] = [
            r#"{"id":12,"title":"Été \"quoted\"","description":null,"date":"2031-05-01T19:30:00Z","venue":"Opera","total_seats":10,"available_seats":9,"created_at":"2030-01-15T12:00:00.500Z","updated_at":"2030-01-15T12:00:00.000001Z","deleted_at":null,"version":2,"title_folded":"été \"quoted\""}"#,
            r#"{"id":12,"title":"Été \"quoted\"","description":null,"date":"2031-05-01T19:30:00Z","venue":"Opera","total_seats":10,"available_seats":9,"created_at":"2030-01-15T12:00:00.500Z","updated_at":"2030-01-15T12:00:00.000001Z","deleted_at":null,"version":2,"title_folded":"été \"quoted\"","v":1}"#,
        ];
        pub(super) const DELETION: [&str; 2] =
            [r#"{"cancelled_registrations":3}"#, r#"{"cancelled_registrations":3,"v":1}"#];
        pub(super) const USER: [&str; 3] = [
            r#"{"id":3,"name":"Ada","email":"ada@example.com","role":"admin","created_at":"2030-01-15T12:00:00Z"}"#,
            r#"{"id":3,"name":"Ada","email":"ada@example.com","role":"admin","created_at":"2030-01-15T12:00:00Z","v":1}"#,
            r#"{"id":3,"name":"Ada","email":"ada@example.com","role":"admin","notifications":true,"created_at":"2030-01-15T12:00:00Z","v":2}"#,
        ];
    }

    /// The timeline that the outcomes are read on. A shape does not hold it.
    fn on() -> Timeline {
        Timeline::new(3).unwrap()
    }

    fn version(count: u64) -> Version {
        Version::on(on(), count).unwrap()
    }

    fn booking() -> Registration {
        Registration {
            registered_at: at("2030-01-15T12:00:00.123456Z"),
            created_at: at("2030-01-15T12:00:00Z"),
            version: version(4),
            ..sample::registration(7, 3, 12)
        }
    }

    fn cancellation() -> Registration {
        Registration { status: RegistrationStatus::Cancelled, version: version(5), ..booking() }
    }

    fn event() -> Event {
        Event {
            id: event_id(12),
            title: EventTitle::parse("Été \"quoted\"").unwrap(),
            description: Some(Description::parse("one\r\n\ttwo").unwrap()),
            starts_at: at("2031-05-01T19:30:00Z"),
            venue: Venue::parse("Opera").unwrap(),
            seats: seats(10, 9),
            created_at: at("2030-01-15T12:00:00.5Z"),
            updated_at: at("2030-01-15T12:00:00.000001Z"),
            deleted_at: None,
            version: version(2),
        }
    }

    fn bare_event() -> Event {
        Event { description: None, ..event() }
    }

    fn deletion() -> DeletedEvent {
        DeletedEvent { cancelled_registrations: 3 }
    }

    fn user() -> User {
        User { role: Role::Admin, created_at: at("2030-01-15T12:00:00Z"), ..sample::user(3) }
    }

    fn reads_all<O: Outcome + PartialEq + Debug>(released: &[&str], outcome: &O) {
        for json in released {
            assert_eq!(&O::from_json(json, on()).unwrap(), outcome, "{json}");
        }
        let of_a_later_version = released[0].replacen('{', r#"{"v":99,"seat":{"row":[1]},"#, 1);
        assert_eq!(&O::from_json(&of_a_later_version, on()).unwrap(), outcome, "{of_a_later_version}");
    }

    #[test]
    fn every_outcome_that_a_release_kept_is_read() {
        reads_all(&released::BOOKING, &booking());
        reads_all(&released::CANCELLATION, &cancellation());
        reads_all(&released::EVENT, &event());
        reads_all(&released::BARE_EVENT, &bare_event());
        reads_all(&released::DELETION, &deletion());
        reads_all(&released::USER, &user());
    }

    /// If this fails, a shape has changed: give it a new version, and add what it writes now to `released`.
    #[test]
    fn a_shape_that_changes_has_a_new_version() {
        for (json, released) in [
            (booking().to_json(), released::BOOKING.last()),
            (cancellation().to_json(), released::CANCELLATION.last()),
            (event().to_json(), released::EVENT.last()),
            (bare_event().to_json(), released::BARE_EVENT.last()),
            (deletion().to_json(), released::DELETION.last()),
            (user().to_json(), released::USER.last()),
        ] {
            assert_eq!(Some(json.unwrap().as_str()), released.copied());
        }
    }

    /// The releases that name no version read an outcome as the row of a table, and need its every column.
    #[test]
    fn an_older_release_finds_every_member_that_it_needs() {
        let members = |json: &str| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).unwrap();
        for (oldest, newest) in [
            (released::BOOKING.first(), released::BOOKING.last()),
            (released::EVENT.first(), released::EVENT.last()),
            (released::DELETION.first(), released::DELETION.last()),
            (released::USER.first(), released::USER.last()),
        ] {
            let newest = members(newest.unwrap());
            for (name, value) in members(oldest.unwrap()) {
                assert_eq!(newest.get(&name), Some(&value), "{name}");
            }
        }
    }

    #[test]
    fn an_outcome_without_a_meaning_is_a_fault() {
        for json in ["", "null", "{}", "[]", &released::BOOKING[0].replace("confirmed", "maybe")] {
            assert!(Registration::from_json(json, on()).is_err(), "{json}");
        }
    }
}
