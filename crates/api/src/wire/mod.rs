//! The shapes clients see. Each is made from the domain's by `From`, beside its definition.

mod event;
mod history;
mod registration;
mod seats;
mod session;
mod time;
mod user;
mod webhook;

pub(crate) use event::{CreateEvent, DeletedEvent, Event, EventDetail, EventList, Present, UpdateEvent};
pub(crate) use history::HistoryList;
pub(crate) use registration::{
    Message, Registration, RegistrationWithEvent, RegistrationWithUser, RegistrationsWithEvents,
    RegistrationsWithUsers, Status,
};
pub(crate) use seats::{DeletedSeats, SeatState};
pub(crate) use session::{Grant, LogIn, RefreshToken, SignUp};
pub(crate) use time::Time;
pub(crate) use user::{UpdateUser, User};
pub(crate) use webhook::{
    CreateWebhook, Deliveries, Delivery, DeliveryStatus, Queued, Replay, Replayed, UpdateWebhook, Webhook,
    WebhookSecret, Webhooks,
};
