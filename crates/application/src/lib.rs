//! What people can do: one plain struct per noun over the domain's ports.
//!
//! | module | who | what |
//! |---|---|---|
//! | [`access`] | everybody | turns a token into a proof of who is asking |
//! | [`accounts`] | anyone | sign up, log in, refresh, log out |
//! | [`catalogue`] | anyone, admins | browse and run events |
//! | [`bookings`] | signed in, admins | book, cancel, list |
//! | [`profile`] | signed in | show and change oneself |
//! | [`live_seats`] | anyone | watch the seats of events |
//!
//! A use case that needs somebody asks for their proof ([`Bearer`], [`SignedIn`], [`Admin`]) in its
//! signature; only [`Access`] makes one, so no route can forget to check. This room holds no IO, no protocol
//! and no rule about seats: those are the domain's.

pub mod access;
pub mod accounts;
pub mod bookings;
pub mod catalogue;
pub mod live_seats;
pub mod profile;

pub use access::{Access, AccessError, Admin, Bearer, SignedIn};
pub use accounts::{Accounts, EnsureAdminError, LogInError, RefreshError, SessionGrant, SignUp, SignUpError};
pub use bookings::{AttendeesError, SeatBookings};
pub use catalogue::Catalogue;
pub use live_seats::{LiveSeats, SeatState, Watch};
pub use profile::{Profile, ShowProfileError};
