//! What the program needs from the outside, as traits. Each says what its caller may rely on:
//! what is atomic, what absence means, which errors there are.
//!
//! With the feature `mock`, every port `X` has a `MockX` beside it.

mod audit;
mod bookings;
mod clock;
mod events;
mod passwords;
mod probe;
mod registrations;
mod seat_changes;
mod sessions;
mod store;
mod tokens;
mod users;
mod versions;

pub use audit::{Audit, CountAstray, Inconsistency, SeatsAstray};
pub use bookings::{BookError, BookSeat, Bookings, CancelError, CancelSeat};
pub use clock::Clock;
pub use events::{
    CreateEventError, DeleteEvent, DeleteEventError, DeletedEvent, Events, UpdateEvent, UpdateEventError,
};
pub use passwords::{Passwords, PasswordsError, Turn};
pub use probe::Probe;
pub use registrations::{RegistrationFilter, Registrations};
pub use seat_changes::{Heard, SeatChanges, SeatListener};
pub use sessions::{RotateError, Sessions};
pub use store::{Cause, StoreError, Unavailable};
pub use tokens::{AccessToken, InvalidToken, Tokens};
pub use users::{AddUserError, Credentials, NewUser, ProfilePatch, UpdateUserError, Users};
pub use versions::{EventStamp, VersionAnswer, VersionQuestion, Versions};

#[cfg(feature = "mock")]
pub use {
    audit::MockAudit, bookings::MockBookings, clock::MockClock, events::MockEvents, passwords::MockPasswords,
    probe::MockProbe, registrations::MockRegistrations, seat_changes::MockSeatChanges, seat_changes::MockSeatListener,
    sessions::MockSessions, tokens::MockTokens, users::MockUsers, versions::MockVersions,
};
