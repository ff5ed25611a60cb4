//! What is kept, and how it is written down.

use std::borrow::Cow;
use std::sync::Arc;

use domain::{
    Description, Event, EventId, EventTitle, Page, Registration, RegistrationId, RegistrationStatus,
    RegistrationWithEvent, Seats, Timestamp, UserId, Venue, Version,
};
use serde::{Deserialize, Serialize};

/// A body: an answer to readers, with the versions of the rows it was made from.
///
/// The versions of events are inside them. Those of whole lists are labels, confirmed before the
/// list's load began: a label older than its rows is never confirmed again, and so harmless; one
/// newer than its rows would make an old list pass for a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// An event.
    Event(Arc<Event>),
    /// A page of events.
    EventPage {
        /// The programme's version, confirmed before the page was loaded.
        catalogue: Version,
        /// The page.
        page: Arc<Page<Event>>,
    },
    /// The newest of a user's registrations.
    Registrations {
        /// The sum of the versions of all the user's registrations, confirmed before these were
        /// loaded; `None` if there were none.
        version: Option<Version>,
        /// The newest, and the number of all.
        page: Page<RegistrationWithEvent>,
    },
}

impl Snapshot {
    /// Roughly how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let held = match self {
            Self::Event(event) => size_of::<Event>() + texts_of(event),
            Self::EventPage { page, .. } => page.rows.iter().map(|event| size_of::<Event>() + texts_of(event)).sum(),
            Self::Registrations { page, .. } => {
                page.rows.iter().map(|booking| size_of::<RegistrationWithEvent>() + texts_of(&booking.event)).sum()
            }
        };
        size_of::<Self>() + held
    }

    /// The body as bytes for another process of the same version.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings and numbers in structs and vectors: none of them has a form JSON lacks.
        serde_json::to_vec(&SnapshotShape::from(self)).unwrap_or_default()
    }

    /// Reads a body; `None` for everything that [`Snapshot::encode`] never wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<SnapshotShape<'_>>(bytes).ok()?.try_into().ok()
    }
}

fn texts_of(event: &Event) -> usize {
    let description = event.description.as_ref().map_or(0, |description| description.as_str().len());
    event.title.as_str().len() + description + event.venue.as_str().len()
}

/// The bytes say something that cannot be.
struct Impossible;

impl From<domain::Invalid> for Impossible {
    fn from(_: domain::Invalid) -> Self {
        Self
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum SnapshotShape<'a> {
    #[serde(borrow)]
    Event(EventShape<'a>),
    EventPage {
        catalogue: u64,
        total: u64,
        #[serde(borrow)]
        rows: Vec<EventShape<'a>>,
    },
    Registrations {
        version: Option<u64>,
        total: u64,
        #[serde(borrow)]
        rows: Vec<BookingShape<'a>>,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventShape<'a> {
    id: u64,
    #[serde(borrow)]
    title: Cow<'a, str>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    starts_at: String,
    #[serde(borrow)]
    venue: Cow<'a, str>,
    total_seats: u32,
    available_seats: u32,
    created_at: String,
    updated_at: String,
    deleted_at: Option<String>,
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BookingShape<'a> {
    id: u64,
    user_id: u64,
    status: Cow<'a, str>,
    registered_at: String,
    created_at: String,
    version: u64,
    #[serde(borrow)]
    event: EventShape<'a>,
}

impl<'a> From<&'a Snapshot> for SnapshotShape<'a> {
    fn from(body: &'a Snapshot) -> Self {
        match body {
            Snapshot::Event(event) => Self::Event((&**event).into()),
            Snapshot::EventPage { catalogue, page } => Self::EventPage {
                catalogue: catalogue.get(),
                total: page.total,
                rows: page.rows.iter().map(Into::into).collect(),
            },
            Snapshot::Registrations { version, page } => Self::Registrations {
                version: version.map(Version::get),
                total: page.total,
                rows: page.rows.iter().map(Into::into).collect(),
            },
        }
    }
}

impl<'a> From<&'a Event> for EventShape<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            id: event.id.get(),
            title: event.title.as_str().into(),
            description: event.description.as_ref().map(|description| description.as_str().into()),
            starts_at: event.starts_at.to_string(),
            venue: event.venue.as_str().into(),
            total_seats: event.seats.total(),
            available_seats: event.seats.available(),
            created_at: event.created_at.to_string(),
            updated_at: event.updated_at.to_string(),
            deleted_at: event.deleted_at.map(|at| at.to_string()),
            version: event.version.get(),
        }
    }
}

impl<'a> From<&'a RegistrationWithEvent> for BookingShape<'a> {
    fn from(booking: &'a RegistrationWithEvent) -> Self {
        let registration = &booking.registration;
        Self {
            id: registration.id.get(),
            user_id: registration.user_id.get(),
            status: registration.status.as_str().into(),
            registered_at: registration.registered_at.to_string(),
            created_at: registration.created_at.to_string(),
            version: registration.version.get(),
            event: (&booking.event).into(),
        }
    }
}

impl TryFrom<SnapshotShape<'_>> for Snapshot {
    type Error = Impossible;

    fn try_from(shape: SnapshotShape<'_>) -> Result<Self, Impossible> {
        Ok(match shape {
            SnapshotShape::Event(event) => Self::Event(Arc::new(event.try_into()?)),
            SnapshotShape::EventPage { catalogue, total, rows } => {
                let page = Arc::new(Page { rows: all(rows)?, total });
                Self::EventPage { catalogue: Version::new(catalogue), page }
            }
            SnapshotShape::Registrations { version, total, rows } => {
                Self::Registrations { version: version.map(Version::new), page: Page { rows: all(rows)?, total } }
            }
        })
    }
}

impl TryFrom<EventShape<'_>> for Event {
    type Error = Impossible;

    fn try_from(shape: EventShape<'_>) -> Result<Self, Impossible> {
        Ok(Self {
            id: EventId::new(shape.id).ok_or(Impossible)?,
            title: EventTitle::stored(&shape.title),
            description: shape.description.map(|text| Description::stored(&text)),
            starts_at: Timestamp::parse(&shape.starts_at)?,
            venue: Venue::stored(&shape.venue),
            seats: Seats::stored(shape.total_seats, shape.available_seats).ok_or(Impossible)?,
            created_at: Timestamp::parse(&shape.created_at)?,
            updated_at: Timestamp::parse(&shape.updated_at)?,
            deleted_at: shape.deleted_at.map(|at| Timestamp::parse(&at)).transpose()?,
            version: Version::new(shape.version),
        })
    }
}

impl TryFrom<BookingShape<'_>> for RegistrationWithEvent {
    type Error = Impossible;

    fn try_from(shape: BookingShape<'_>) -> Result<Self, Impossible> {
        let event = Event::try_from(shape.event)?;
        let registration = Registration {
            id: RegistrationId::new(shape.id).ok_or(Impossible)?,
            user_id: UserId::new(shape.user_id).ok_or(Impossible)?,
            event_id: event.id,
            status: RegistrationStatus::from_name(&shape.status).ok_or(Impossible)?,
            registered_at: Timestamp::parse(&shape.registered_at)?,
            created_at: Timestamp::parse(&shape.created_at)?,
            version: Version::new(shape.version),
        };
        Ok(Self { registration, event })
    }
}

fn all<S, T: TryFrom<S, Error = Impossible>>(shapes: Vec<S>) -> Result<Vec<T>, Impossible> {
    shapes.into_iter().map(T::try_from).collect()
}

#[cfg(test)]
mod tests {
    use domain::sample::{at, event_id, registration, seats};

    use super::*;

    /// An event of this id and version, every field of it different from its neighbours.
    fn event(id: u64, version: u64) -> Event {
        Event {
            id: event_id(id),
            title: EventTitle::parse("Été \"à\" \\ l’opéra 🎭").unwrap(),
            description: Description::parse("one\r\n\ttwo").ok(),
            starts_at: at("2030-05-01T19:30:00.000001Z"),
            venue: Venue::parse("Opera").unwrap(),
            seats: seats(1_000_000, 7),
            created_at: at("2030-04-01T00:00:00.1Z"),
            updated_at: at("2030-04-02T00:00:00.12Z"),
            deleted_at: None,
            version: Version::new(version),
        }
    }

    /// A user's registration for [`event`] of this id and version.
    fn booking(user: u64, event_id: u64, event_version: u64) -> RegistrationWithEvent {
        RegistrationWithEvent {
            registration: Registration {
                registered_at: at("2030-04-03T00:00:00.123Z"),
                created_at: at("2030-04-03T00:00:00Z"),
                version: Version::new(3),
                ..registration(1000 + event_id, user, event_id)
            },
            event: event(event_id, event_version),
        }
    }

    fn bodies() -> Vec<Snapshot> {
        let bare = Event { description: None, ..event(2, u64::MAX) };
        let empty = Event { description: Description::parse("").ok(), ..event(3, 0) };
        let deleted = Event { deleted_at: Some(at("9999-12-31T23:59:59.999999Z")), ..event(4, 5) };
        // Texts that a client could not send.
        let by_hand = Event {
            title: EventTitle::stored("a\tb\0"),
            venue: Venue::stored(""),
            description: Some(Description::stored("\u{7}")),
            ..event(5, 1)
        };
        let mut cancelled = booking(9, 4, 5);
        cancelled.registration.status = RegistrationStatus::Cancelled;
        cancelled.event = deleted.clone();
        vec![
            Snapshot::Event(event(1, 12).into()),
            Snapshot::EventPage {
                catalogue: Version::new(77),
                page: Page { rows: vec![event(1, 12), bare, empty, deleted, by_hand], total: u64::MAX }.into(),
            },
            Snapshot::EventPage { catalogue: Version::FIRST, page: Page { rows: Vec::new(), total: 3 }.into() },
            Snapshot::Registrations {
                version: Some(Version::new(8)),
                page: Page { rows: vec![booking(9, 1, 12), cancelled], total: 130 },
            },
            Snapshot::Registrations { version: None, page: Page { rows: Vec::new(), total: 0 } },
        ]
    }

    #[test]
    fn every_field_comes_back() {
        for body in bodies() {
            assert_eq!(Snapshot::decode(&body.encode()), Some(body));
        }
    }

    #[test]
    fn rubbish_is_nothing() {
        for rubbish in ["", "null", "{}", "[]", "\"event\"", "{\"event\":{}}", "{\"event\":1}", "\u{0}", "{\"x\":[]}"] {
            assert_eq!(Snapshot::decode(rubbish.as_bytes()), None, "{rubbish:?}");
        }
        assert_eq!(Snapshot::decode("[".repeat(100_000).as_bytes()), None);
        assert_eq!(Snapshot::decode(&[0xff; 64]), None);
    }

    #[test]
    fn a_body_with_invalid_values_is_not_decoded() {
        let text = String::from_utf8(Snapshot::Event(event(1, 12).into()).encode()).unwrap();
        for (part, forged) in [
            ("\"id\":1,", "\"id\":0,"),
            ("\"id\":1,", "\"id\":1,\"price\":2,"),
            ("\"available_seats\":7", "\"available_seats\":1000001"),
            ("\"available_seats\":7", "\"available_seats\":-1"),
            ("2030-05-01T19", "2030-05-01T25"),
        ] {
            let altered = text.replacen(part, forged, 1);
            assert_ne!(altered, text, "{part} is there");
            assert_eq!(Snapshot::decode(altered.as_bytes()), None, "{forged}");
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_nothing() {
        for body in bodies() {
            let bytes = body.encode();
            for end in 0..bytes.len() {
                assert_eq!(Snapshot::decode(&bytes[..end]), None);
            }
        }
    }

    #[test]
    fn a_body_weighs_at_least_its_texts() {
        let mut long = event(1, 1);
        long.description = Description::parse(&"x".repeat(10_000)).ok();
        let page = Page { rows: vec![long.clone(); 100], total: 100 }.into();
        assert!(Snapshot::Event(long.into()).weight() > 10_000);
        assert!(Snapshot::EventPage { catalogue: Version::FIRST, page }.weight() > 1_000_000);
    }
}
