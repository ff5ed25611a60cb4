//! Registrations, as clients see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::{Event, Time};

/// A user's place at an event.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the field is called so on the wire")]
pub(crate) struct Registration {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 345)]
    id: u64,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 7)]
    user_id: u64,
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 12)]
    event_id: u64,
    status: Status,
    /// When the seat was booked, the last time if more than once.
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-02-01T12:00:00Z")]
    registration_date: Time,
    /// When the user booked this event for the first time.
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-02-01T12:00:00Z")]
    created_at: Time,
}

/// Whether the place is held.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegistrationStatus)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Confirmed,
    Cancelled,
}

impl From<domain::RegistrationStatus> for Status {
    fn from(status: domain::RegistrationStatus) -> Self {
        match status {
            domain::RegistrationStatus::Confirmed => Self::Confirmed,
            domain::RegistrationStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl From<&domain::Registration> for Registration {
    fn from(registration: &domain::Registration) -> Self {
        Self {
            id: registration.id.get(),
            user_id: registration.user_id.get(),
            event_id: registration.event_id.get(),
            status: registration.status.into(),
            registration_date: registration.registered_at.into(),
            created_at: registration.created_at.into(),
        }
    }
}

/// A registration with its holder, as an event's organiser sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegistrationWithUser)]
pub(crate) struct RegistrationWithUser {
    #[serde(flatten)]
    registration: Registration,
    user: Attendee,
}

/// The holder of a registration.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Attendee {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 7)]
    id: u64,
    #[schema(min_length = 1, max_length = 100, example = "Ada Lovelace")]
    name: String,
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
}

impl From<&domain::RegistrationWithUser> for RegistrationWithUser {
    fn from(attendance: &domain::RegistrationWithUser) -> Self {
        Self {
            registration: (&attendance.registration).into(),
            user: Attendee {
                id: attendance.user.id.get(),
                name: attendance.user.name.as_str().to_owned(),
                email: attendance.user.email.as_str().to_owned(),
            },
        }
    }
}

/// A registration with its event, as its holder sees it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegistrationWithEvent)]
pub(crate) struct RegistrationWithEvent {
    #[serde(flatten)]
    registration: Registration,
    event: BookedEvent,
}

/// The event of a registration, even if it was deleted since.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RegisteredEvent)]
pub(crate) struct BookedEvent {
    #[serde(flatten)]
    event: Event,
    /// When the event was deleted; `null` while it stands.
    #[schema(required = true, value_type = Option<String>, format = DateTime, max_length = 27, example = json!(null))]
    deleted_at: Option<Time>,
}

impl From<&domain::RegistrationWithEvent> for RegistrationWithEvent {
    fn from(booking: &domain::RegistrationWithEvent) -> Self {
        Self {
            registration: (&booking.registration).into(),
            event: BookedEvent { event: (&booking.event).into(), deleted_at: booking.event.deleted_at.map(Time::from) },
        }
    }
}

/// What was done, in words.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    #[schema(max_length = 200, example = "The registration was cancelled.")]
    message: &'static str,
}

impl Message {
    pub(crate) fn new(message: &'static str) -> Self {
        Self { message }
    }
}

/// One page of an event's registrations, newest first.
#[derive(ToSchema)]
#[schema(as = EventRegistrations, max_items = 1000)]
#[expect(dead_code, reason = "describes an array that is sent without a wrapper")]
pub(crate) struct RegistrationsWithUsers(Vec<RegistrationWithUser>);

/// One page of a user's registrations, newest first.
#[derive(ToSchema)]
#[schema(as = UserRegistrations, max_items = 1000)]
#[expect(dead_code, reason = "describes an array that is sent without a wrapper")]
pub(crate) struct RegistrationsWithEvents(Vec<RegistrationWithEvent>);
