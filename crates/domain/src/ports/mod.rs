//! What the program needs from the outside, as traits. Each says what its caller may rely on:
//! what is atomic, what absence means, which errors there are.
//!
//! With the feature `mock`, every port `X` has a `MockX` beside it.

mod audit;
mod bookings;
mod clock;
mod deliveries;
mod events;
mod fact_lag;
mod history;
mod leases;
mod mailer;
mod mails;
mod outbox;
mod passwords;
mod probe;
mod publisher;
mod registrations;
mod seat_changes;
mod sessions;
mod store;
mod tokens;
mod unpublished;
mod users;
mod versions;
mod webhook_sender;
mod webhooks;

pub use audit::{Audit, CountAstray, FactAstray, Inconsistency, InvalidValue, SeatsAstray};
pub use bookings::{BookError, Bookings, CancelError};
pub use clock::Clock;
pub use deliveries::{AfterAttempt, Attempt, Deliveries, DueDelivery};
pub use events::{CreateEventError, DeleteEventError, Events, UpdateEventError};
pub use fact_lag::{FactLag, Untold};
pub use history::{History, HistoryError, HistoryFilter, HistoryPage, Position};
pub use leases::{Job, Leases};
pub use mailer::{MailFailed, Mailer};
pub use mails::{AfterMail, DueMail, MailAttempt, Mails};
pub use outbox::{Outbox, Projected};
pub use passwords::{HashPermit, Passwords, PasswordsError};
pub use probe::Probe;
pub use publisher::{PublishFailed, Publisher};
pub use registrations::{RegistrationFilter, Registrations};
pub use seat_changes::{Heard, SeatChanges, SeatListener};
pub use sessions::{RotateError, Sessions};
pub use store::{Cause, StoreError, Unavailable};
pub use tokens::{AccessToken, InvalidToken, Tokens};
pub use unpublished::Unpublished;
pub use users::{AccountChange, AddUserError, Credentials, NewUser, ProfilePatch, UpdateUserError, Users};
pub use versions::{EventStamp, VersionAnswer, VersionQuestion, Versions};
pub use webhook_sender::{SendFailed, WebhookAccepted, WebhookMessage, WebhookSender, WebhookUrlRefused};
pub use webhooks::{CreateWebhookError, OrderDeliveryError, Webhooks};

#[cfg(feature = "mock")]
pub use {
    audit::MockAudit, bookings::MockBookings, clock::MockClock, deliveries::MockDeliveries, events::MockEvents,
    fact_lag::MockFactLag, history::MockHistory, leases::MockLeases, mailer::MockMailer, mails::MockMails,
    outbox::MockOutbox, passwords::MockPasswords, probe::MockProbe, publisher::MockPublisher,
    registrations::MockRegistrations, seat_changes::MockSeatChanges, seat_changes::MockSeatListener,
    sessions::MockSessions, tokens::MockTokens, unpublished::MockUnpublished, users::MockUsers, versions::MockVersions,
    webhook_sender::MockWebhookSender, webhooks::MockWebhooks,
};
