//! What people can do: one plain struct per noun over the domain's ports.
//!
//! | module | who | what |
//! |---|---|---|
//! | [`access`] | all clients | turns a token into a proof of who is asking |
//! | [`accounts`] | all clients | sign up, log in, refresh, log out |
//! | [`catalogue`] | all clients, admins | browse and run events |
//! | [`bookings`] | signed in, admins | book, cancel, list |
//! | [`history`] | signed in, admins | read what happened |
//! | [`webhooks`], [`courier`] | admins, the program | who is told of it, and the telling |
//! | [`publication`], [`postman`] | the program | telling the broker, and telling people by mail |
//! | [`profile`] | signed in | show and change oneself |
//! | [`live_seats`] | all clients | watch the seats of events |
//!
//! A use case that needs a user asks for their proof ([`Bearer`], [`SignedIn`], [`Admin`]) in its
//! signature; only [`Access`] makes one, so no route can forget to check. This room holds no IO, no protocol
//! and no rule about seats: those are the domain's.

pub mod access;
pub mod accounts;
pub mod bookings;
pub mod catalogue;
pub mod courier;
pub mod history;
mod leader;
pub mod live_seats;
mod outage;
pub mod postman;
pub mod profile;
pub mod publication;
mod retries;
pub mod webhooks;

pub use access::{Access, AccessError, Admin, Bearer, SignedIn};
pub use accounts::{
    Accounts, EnsureAdminError, LogInError, RefreshError, ReissueError, SessionGrant, SignUp, SignUpError,
};
pub use bookings::{AttendeesError, SeatBookings};
pub use catalogue::Catalogue;
pub use courier::Courier;
pub use history::{EventHistoryError, HistoryReader};
pub use live_seats::{LiveSeats, SeatState, Watch};
pub use postman::Postman;
pub use profile::{Profile, ShowProfileError};
pub use publication::Publication;
pub use webhooks::{WebhookDraft, WebhookError, WebhookRegistry, WebhookWithSecret};
