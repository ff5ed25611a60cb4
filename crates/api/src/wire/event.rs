//! Events, as clients see them.

use domain::{
    Description, EventDraft, EventPatch, EventTitle, Page, PageRequest, SeatCount, StartsAt, Timestamp, Venue,
};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use crate::field::{Given, present, sound, sound_or_null, upcoming};
use crate::problem::Problem;
use crate::violation::Violation;

/// Something people can book a seat for. `available_seats` is always `total_seats` less the
/// confirmed registrations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 12)]
    id: u64,
    #[schema(min_length = 1, max_length = 200, example = "Nocturnes by candlelight")]
    title: String,
    #[schema(required = true, max_length = 10_000, example = "Chopin, on a piano of 1848.")]
    description: Option<String>,
    /// When the event starts.
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-05-01T19:30:00Z")]
    date: Time,
    #[schema(min_length = 1, max_length = 200, example = "Opera House")]
    venue: String,
    #[schema(minimum = 1, maximum = 1_000_000, example = 120)]
    total_seats: u32,
    #[schema(minimum = 0, maximum = 1_000_000, example = 87)]
    available_seats: u32,
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-01-15T09:30:00Z")]
    created_at: Time,
    /// When an admin changed the event last; bookings do not count.
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-01-16T10:00:00Z")]
    updated_at: Time,
}

impl From<&domain::Event> for Event {
    fn from(event: &domain::Event) -> Self {
        Self {
            id: event.id.get(),
            title: event.title.as_str().to_owned(),
            description: event.description.as_ref().map(|text| text.as_str().to_owned()),
            date: event.starts_at.into(),
            venue: event.venue.as_str().to_owned(),
            total_seats: event.seats.total(),
            available_seats: event.seats.available(),
            created_at: event.created_at.into(),
            updated_at: event.updated_at.into(),
        }
    }
}

/// An event with the number of its confirmed registrations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventDetail {
    #[serde(flatten)]
    event: Event,
    #[schema(minimum = 0, maximum = 1_000_000, example = 33)]
    registration_count: u32,
}

impl From<&domain::Event> for EventDetail {
    fn from(event: &domain::Event) -> Self {
        Self { event: event.into(), registration_count: event.seats.registered() }
    }
}

/// One page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    #[schema(max_items = 100)]
    data: Vec<Event>,
    /// How many events match, on all pages together.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 1)]
    total: u64,
    #[schema(minimum = 1, maximum = 1_000_000, example = 1)]
    page: u32,
    #[schema(minimum = 1, maximum = 100, example = 10)]
    limit: u32,
}

impl EventList {
    pub(crate) fn new(events: &Page<domain::Event>, page: PageRequest) -> Self {
        Self {
            data: events.rows.iter().map(Event::from).collect(),
            total: events.total,
            page: page.number,
            limit: page.size,
        }
    }
}

/// What a deletion did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventDeletion)]
pub(crate) struct DeletedEvent {
    #[schema(max_length = 200, example = "The event was deleted.")]
    message: &'static str,
    /// How many confirmed registrations became cancelled.
    #[schema(minimum = 0, maximum = 1_000_000, example = 33)]
    cancelled_registrations: u64,
}

impl From<&domain::DeletedEvent> for DeletedEvent {
    fn from(deleted: &domain::DeletedEvent) -> Self {
        Self { message: "The event was deleted.", cancelled_registrations: deleted.cancelled_registrations }
    }
}

/// A new event.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = CreateEventRequest)]
#[garde(context(Timestamp))]
pub(crate) struct CreateEvent {
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$", example = "Nocturnes by candlelight")]
    title: Given<EventTitle>,
    /// Tabs and line ends are the only control characters it may have.
    #[serde(default)]
    #[garde(custom(sound_or_null))]
    #[schema(value_type = Option<String>, max_length = 10_000, example = "Chopin, on a piano of 1848.")]
    description: Given<Description>,
    /// When the event starts: in the future.
    #[serde(default)]
    #[garde(custom(present), custom(upcoming))]
    #[schema(required = true, value_type = String, format = DateTime, max_length = 64, example = "2030-05-01T19:30:00Z")]
    date: Given<Timestamp>,
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$", example = "Opera House")]
    venue: Given<Venue>,
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = u32, minimum = 1, maximum = 1_000_000, example = 120)]
    total_seats: Given<SeatCount>,
}

impl CreateEvent {
    pub(crate) fn into_draft(self, now: Timestamp) -> Result<EventDraft, Problem> {
        Ok(EventDraft {
            title: self.title.required("title")?,
            description: self.description.optional(),
            starts_at: in_future(self.date.required("date")?, now)?,
            venue: self.venue.required("venue")?,
            total_seats: self.total_seats.required("total_seats")?,
        })
    }
}

/// What a new start of an event is held against: the start that it has, and the present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Present {
    pub(crate) starts_at: Timestamp,
    pub(crate) now: Timestamp,
}

/// Changes to an event; what is left out stays.
///
/// Whether the start may be set is decided where the event is locked. Only an answer that names wrong fields anyway
/// needs to know it before.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[schema(as = UpdateEventRequest, description = "Changes to an event; what is left out stays.")]
#[garde(context(Option<Present>))]
pub(crate) struct UpdateEvent {
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$", example = "Nocturnes by candlelight")]
    title: Given<EventTitle>,
    /// `null` takes the description away.
    #[serde(default)]
    #[garde(custom(sound_or_null))]
    #[schema(value_type = Option<String>, max_length = 10_000, example = "Chopin, on a piano of 1848.")]
    description: Given<Description>,
    /// When the event starts: in the future, unless it is the start that the event has.
    #[serde(default)]
    #[garde(custom(sound), custom(upcoming_or_kept))]
    #[schema(value_type = Option<String>, nullable = false, format = DateTime, max_length = 64, example = "2030-05-01T19:30:00Z")]
    date: Given<Timestamp>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<String>, nullable = false, min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$", example = "Opera House")]
    venue: Given<Venue>,
    /// No fewer than there are confirmed registrations.
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<u32>, nullable = false, minimum = 1, maximum = 1_000_000, example = 150)]
    total_seats: Given<SeatCount>,
}

impl From<UpdateEvent> for EventPatch {
    fn from(update: UpdateEvent) -> Self {
        Self {
            title: update.title.optional(),
            description: update.description.nullable(),
            starts_at: update.date.optional(),
            venue: update.venue.optional(),
            total_seats: update.total_seats.optional(),
        }
    }
}

/// garde rule: if the field is a time and the event is known, it is the event's start or after `now`.
#[expect(clippy::ref_option, reason = "garde hands the context over as it is")]
fn upcoming_or_kept(date: &Given<Timestamp>, present: &Option<Present>) -> garde::Result {
    match (date, present) {
        (Given::Value(date), Some(present)) if *date != present.starts_at => {
            upcoming(&Given::Value(*date), &present.now)
        }
        _ => Ok(()),
    }
}

fn in_future(date: Timestamp, now: Timestamp) -> Result<StartsAt, Problem> {
    StartsAt::new(date, now).map_err(|invalid| Problem::validation(vec![Violation::from(invalid).of("date")]))
}
