//! What a transaction did, as it writes it down: one row of JSON for all of it.
//!
//! A row for each booking would cost the log of the database a third more; one for each transaction costs next to
//! nothing. So the shape is compact: an event is there once, and a fact has what differs. [`FactsShape::render`] makes
//! the whole of each fact of it, later and elsewhere. The rules of shapes are those of [`super::outcome`].

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::happening::Change;
use domain::ports::StoreError;
use domain::{
    Description, Event, EventId, EventTitle, FactType, Happening, MailKind, Registration, SeatSnapshot, Seats,
    Timestamp, UserId, Venue, Version,
};
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Uuid};

/// The version of the shape that is written.
const VERSION: u32 = 1;

/// Characters of a description that a fact has at most.
const DESCRIPTION_CHARS: usize = 4_000;

/// Why a seat is cancelled whose event is deleted.
const EVENT_DELETED: &str = "event_deleted";

/// What one transaction did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct FactsShape {
    v: u32,
    events: Vec<EventShape>,
    facts: Vec<FactShape>,
}

/// An event without what each fact has of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct EventShape {
    id: u64,
    title: String,
    description: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    description_truncated: bool,
    date: DateTime<Utc>,
    venue: String,
    total_seats: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// One fact.
#[derive(Debug, Serialize, Deserialize)]
struct FactShape {
    /// Its type.
    t: String,
    /// Which user did it; the program itself otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<u64>,
    /// The place of its event among the events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<usize>,
    /// The event's free seats after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    available: Option<u32>,
    /// The event's version after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    registration: Option<RegistrationShape>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Whether the event takes place at another time or in another place.
    #[serde(default, skip_serializing_if = "is_false")]
    moved: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegistrationShape {
    id: u64,
    user_id: u64,
    status: String,
    registration_date: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

impl From<&Event> for EventShape {
    fn from(event: &Event) -> Self {
        let text = event.description.as_ref().map(Description::as_str);
        let end = text.and_then(|text| text.char_indices().nth(DESCRIPTION_CHARS)).map(|(end, _)| end);
        Self {
            id: event.id.get(),
            title: event.title.as_str().to_owned(),
            description: text.map(|text| end.map_or(text, |end| &text[..end]).to_owned()),
            description_truncated: end.is_some(),
            date: event.starts_at.as_datetime(),
            venue: event.venue.as_str().to_owned(),
            total_seats: event.seats.total(),
            created_at: event.created_at.as_datetime(),
            updated_at: event.updated_at.as_datetime(),
        }
    }
}

impl From<&Registration> for RegistrationShape {
    fn from(registration: &Registration) -> Self {
        Self {
            id: registration.id.get(),
            user_id: registration.user_id.get(),
            status: registration.status.as_str().to_owned(),
            registration_date: registration.registered_at.as_datetime(),
            created_at: registration.created_at.as_datetime(),
        }
    }
}

impl FactsShape {
    fn new() -> Self {
        Self { v: VERSION, events: Vec::new(), facts: Vec::new() }
    }

    fn of(happened: &[Happening]) -> Self {
        let mut facts = Self::new();
        // Bookings of one event in one batch share it.
        let mut shared: HashMap<*const Event, usize> = HashMap::new();
        for Happening { by, what } in happened {
            let by = by.user().map(UserId::get);
            let fact = match what {
                Change::Created(event) => facts.about(FactType::EventCreated, event),
                Change::Updated { event, moved } => {
                    FactShape { moved: *moved, ..facts.about(FactType::EventUpdated, event) }
                }
                Change::Deleted(event) => facts.about(FactType::EventDeleted, event),
                Change::Confirmed { registration, event, seats } => {
                    let event = *shared.entry(Arc::as_ptr(event)).or_insert_with(|| facts.add(event));
                    about_a_seat(FactType::RegistrationConfirmed, event, registration, seats)
                }
                Change::Cancelled { registration, event, seats } => {
                    let event = *shared.entry(Arc::as_ptr(event)).or_insert_with(|| facts.add(event));
                    let fact = about_a_seat(FactType::RegistrationCancelled, event, registration, seats);
                    FactShape { cause: Some("holder".to_owned()), ..fact }
                }
                Change::UserCreated(user) => about_a_user(FactType::UserCreated, *user),
                Change::UserUpdated(user) => about_a_user(FactType::UserUpdated, *user),
            };
            facts.facts.push(FactShape { by, ..fact });
        }
        facts
    }

    fn add(&mut self, event: &Event) -> usize {
        self.events.push(event.into());
        self.events.len() - 1
    }

    fn about(&mut self, kind: FactType, event: &Event) -> FactShape {
        let place = self.add(event);
        about_an_event(kind, place, &event.into())
    }
}

fn of_type(kind: FactType) -> FactShape {
    FactShape {
        t: kind.as_str().to_owned(),
        by: None,
        e: None,
        available: None,
        version: None,
        registration: None,
        user: None,
        cause: None,
        moved: false,
    }
}

fn about_an_event(kind: FactType, place: usize, seats: &SeatSnapshot) -> FactShape {
    let (available, version) = (Some(seats.seats.available()), Some(seats.version.get()));
    FactShape { e: Some(place), available, version, ..of_type(kind) }
}

fn about_a_seat(kind: FactType, place: usize, registration: &Registration, seats: &SeatSnapshot) -> FactShape {
    FactShape { registration: Some(registration.into()), ..about_an_event(kind, place, seats) }
}

fn about_a_user(kind: FactType, user: UserId) -> FactShape {
    FactShape { user: Some(user.get()), ..of_type(kind) }
}

/// What a transaction did, as a row of `facts` has it.
pub(crate) fn written(happened: &[Happening]) -> Result<String, StoreError> {
    json(&FactsShape::of(happened))
}

/// The text before, between and after the registrations of facts that say of each that it was cancelled with its event.
pub(crate) struct Cancellations {
    /// Before the first fact.
    pub(crate) head: String,
    /// A fact up to where its registration belongs; `}` ends it.
    pub(crate) fact: String,
    /// After the last fact.
    pub(crate) tail: &'static str,
}

impl Cancellations {
    pub(crate) fn of(event: &Event, by: Option<UserId>) -> Result<Self, StoreError> {
        let mut shared = FactsShape::new();
        let place = shared.add(event);
        let fact = FactShape {
            by: by.map(UserId::get),
            cause: Some(EVENT_DELETED.to_owned()),
            ..about_an_event(FactType::RegistrationCancelled, place, &event.into())
        };
        let (head, fact) = (json(&shared)?, json(&fact)?);
        Ok(Self { head: until(head, "]}"), fact: until(fact, "}") + ",\"registration\":", tail: "]}" })
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(StoreError::fault)
}

fn until(mut text: String, end: &str) -> String {
    if text.ends_with(end) {
        text.truncate(text.len() - end.len());
    }
    text
}

/// A name for the facts of a transaction that no other transaction has, on whatever timeline.
pub(crate) fn new_batch(now: Timestamp) -> String {
    let at = now.as_datetime();
    let secs = u64::try_from(at.timestamp()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, secs, at.timestamp_subsec_nanos())).to_string()
}

/// A fact as the history keeps it.
#[derive(Debug)]
pub(crate) struct RenderedFact {
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) kind: String,
    pub(crate) event: Option<u64>,
    pub(crate) user: Option<u64>,
    pub(crate) by: Option<u64>,
    pub(crate) body: String,
    /// What its user is told by mail; of an event that moved, everybody who has a seat.
    pub(crate) mail: Option<MailKind>,
}

/// The `CloudEvents` object of a fact, as every reader and receiver gets it.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'a str,
    time: String,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
    datacontenttype: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    registration: Option<RegistrationData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    by: Option<u64>,
}

#[derive(Serialize)]
struct EventData<'a> {
    id: u64,
    title: &'a str,
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "is_false")]
    description_truncated: bool,
    date: String,
    venue: &'a str,
    total_seats: u32,
    available_seats: u32,
    created_at: String,
    updated_at: String,
}

#[derive(Serialize)]
struct RegistrationData<'a> {
    id: u64,
    user_id: u64,
    event_id: u64,
    status: &'a str,
    registration_date: String,
    created_at: String,
}

#[derive(Serialize)]
struct UserData {
    id: u64,
}

/// As every answer writes instants.
fn time(at: DateTime<Utc>) -> String {
    Timestamp::stored(at).to_string()
}

/// Makes each fact of a row of `facts`.
pub(crate) fn render(
    what: &str,
    batch: &str,
    first: i64,
    at: DateTime<Utc>,
    source: &str,
) -> Result<Vec<RenderedFact>, StoreError> {
    let shape: FactsShape =
        serde_json::from_str(what).map_err(|why| StoreError::fault(format!("facts {batch}: {why}")))?;
    shape
        .facts
        .iter()
        .zip(first..)
        .map(|(fact, number)| fact.render(&shape.events, format!("{batch}-{number}"), at, source))
        .collect()
}

impl FactShape {
    fn render(
        &self,
        events: &[EventShape],
        id: String,
        at: DateTime<Utc>,
        source: &str,
    ) -> Result<RenderedFact, StoreError> {
        let event = match self.e {
            Some(place) => Some(events.get(place).ok_or_else(|| StoreError::fault(format!("fact {id} has no event")))?),
            None => None,
        };
        let user = self.user.or(self.registration.as_ref().map(|registration| registration.user_id));
        let event_id = event.map(|event| event.id);
        let subject = match (event_id, user) {
            (Some(event), _) => format!("events/{event}"),
            (None, Some(user)) => format!("users/{user}"),
            (None, None) => "boxoffice".to_owned(),
        };
        let body = serde_json::to_string(&CloudEvent {
            specversion: "1.0",
            id: &id,
            source,
            r#type: &self.t,
            time: time(at),
            subject,
            sequence: self.version.map(|version| version.to_string()),
            datacontenttype: "application/json",
            data: Data {
                event: event.map(|event| self.event_data(event)),
                registration: self.registration.as_ref().map(|registration| RegistrationData {
                    id: registration.id,
                    user_id: registration.user_id,
                    event_id: event_id.unwrap_or_default(),
                    status: &registration.status,
                    registration_date: time(registration.registration_date),
                    created_at: time(registration.created_at),
                }),
                user: user.map(|id| UserData { id }),
                cause: self.cause.as_deref(),
                by: self.by,
            },
        });
        Ok(RenderedFact {
            at,
            kind: self.t.clone(),
            event: event_id,
            user,
            by: self.by,
            mail: self.mail(),
            body: body.map_err(StoreError::fault)?,
            id,
        })
    }

    fn mail(&self) -> Option<MailKind> {
        match FactType::from_name(&self.t)? {
            FactType::RegistrationConfirmed => Some(MailKind::SeatConfirmed),
            FactType::RegistrationCancelled if self.cause.as_deref() == Some(EVENT_DELETED) => {
                Some(MailKind::EventDeleted)
            }
            FactType::RegistrationCancelled => Some(MailKind::SeatCancelled),
            FactType::EventUpdated => self.moved.then_some(MailKind::EventMoved),
            FactType::EventCreated | FactType::EventDeleted | FactType::UserCreated | FactType::UserUpdated => None,
        }
    }

    fn event_data<'a>(&self, event: &'a EventShape) -> EventData<'a> {
        EventData {
            id: event.id,
            title: &event.title,
            description: event.description.as_deref(),
            description_truncated: event.description_truncated,
            date: time(event.date),
            venue: &event.venue,
            total_seats: event.total_seats,
            available_seats: self.available.unwrap_or_default(),
            created_at: time(event.created_at),
            updated_at: time(event.updated_at),
        }
    }
}

/// As much of a `CloudEvents` object as is read again.
#[derive(Deserialize)]
struct Told {
    sequence: Option<String>,
    data: ToldData,
}

#[derive(Deserialize)]
struct ToldData {
    event: Option<ToldEvent>,
}

#[derive(Deserialize)]
struct ToldEvent {
    id: u64,
    title: String,
    description: Option<String>,
    date: DateTime<Utc>,
    venue: String,
    total_seats: u32,
    available_seats: u32,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// The event of a fact as it was then, from the fact's body. `None` if there is none.
pub(crate) fn event_told(body: &str) -> Option<Event> {
    let Told { sequence, data } = serde_json::from_str(body).ok()?;
    let told = data.event?;
    Some(Event {
        id: EventId::new(told.id)?,
        title: EventTitle::stored(&told.title),
        description: told.description.as_deref().map(Description::stored),
        starts_at: Timestamp::stored(told.date),
        venue: Venue::stored(&told.venue),
        seats: Seats::stored(told.total_seats, told.available_seats)?,
        created_at: Timestamp::stored(told.created_at),
        updated_at: Timestamp::stored(told.updated_at),
        deleted_at: None,
        version: Version::new(sequence?.parse().ok()?),
    })
}
