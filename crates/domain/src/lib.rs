//! What is true about events, people and bookings, whatever database or protocol is around.
//!
//! This room holds value types that parse once and are trusted afterwards, the rules that decide
//! whether a seat may be sold, and the ports: traits that say what the rest of the program needs
//! from the outside. It must not hold IO, serialisation, a runtime, or the name of any technology.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event`], [`registration`], [`user`], [`session`] | the entities and their rules |
//! | [`seat_change`] | what those who watch an event are told |
//! | [`text`], [`timestamp`], [`id`], [`page`], [`filter`] | the values they are made of |
//! | [`command`] | how a write is asked for, and what it answers |
//! | [`ports`] | what adapters fill in |

pub mod command;
pub mod event;
pub mod filter;
pub mod id;
pub mod invalid;
pub mod page;
pub mod ports;
pub mod registration;
pub mod seat_change;
pub mod session;
pub mod text;
pub mod timestamp;
pub mod user;

pub use command::{Command, Committed, Fingerprint, IdempotencyKey, KeyConflict, Once};
pub use event::{Event, EventDraft, EventPatch, Precondition, SeatCount, Seats, StartsAt, Version};
pub use filter::{EventFilter, EventOrder, EventSort, TitleSearch};
pub use id::{EventId, RegistrationId, SessionId, UserId};
pub use invalid::Invalid;
pub use page::{Page, PageNumber, PageRequest, PageSize};
pub use registration::{Attendance, Booking, Registration, RegistrationStatus};
pub use seat_change::{SeatChange, SeatSnapshot};
pub use session::{RefreshDigest, RefreshSecret};
pub use text::{Description, EmailAddress, EventTitle, Password, PasswordHash, PersonName, Venue};
pub use timestamp::Timestamp;
pub use user::{Attendee, Role, User};
