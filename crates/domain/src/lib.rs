//! What is true about events, people and bookings, whatever database or protocol is around.
//!
//! This room holds value types that parse once and are trusted afterwards, the rules that decide
//! whether a seat may be sold, and the ports: traits that say what the rest of the program needs
//! from the outside. It must not hold IO, serialisation, a runtime, or the name of any technology.
//!
//! | module | what it holds |
//! |---|---|
//! | [`event`], [`registration`], [`user`], [`session`] | the entities and their rules |
//! | [`seat_command`] | what may be wanted of an event's seats, and the rules that decide it |
//! | [`seat_book`] | what they are decided on: an event and registrations, and what becomes of them |
//! | [`happening`], [`seat_change`] | what a transaction did, and what those who watch an event are told of it |
//! | [`fact`], [`webhook`], [`mail`] | what is written down of it, and who else is told |
//! | [`timeline`] | which history of a database a version belongs to |
//! | [`text`], [`timestamp`], [`id`], [`page`], [`filter`] | the values they are made of |
//! | [`command`], [`author`] | how a write is asked for, by whom, and what it answers |
//! | [`ports`] | what adapters fill in |
//! | `sample` | fixtures of all of these for tests, with the feature `mock` |

pub mod author;
pub mod command;
pub mod event;
pub mod fact;
pub mod filter;
pub mod happening;
pub mod id;
pub mod invalid;
pub mod mail;
pub mod page;
pub mod ports;
pub mod registration;
#[cfg(any(test, feature = "mock"))]
pub mod sample;
pub mod seat_book;
pub mod seat_change;
pub mod seat_command;
pub mod session;
pub mod text;
pub mod timeline;
pub mod timestamp;
pub mod user;
pub mod webhook;

pub use author::Author;
pub use command::{Command, Committed, Fingerprint, IdempotencyKey, KeyConflict, Once};
pub use event::{Event, EventDraft, EventPatch, Precondition, RevisionRefused, SeatCount, Seats, StartsAt, Version};
pub use fact::{Fact, FactId, FactPattern, FactType};
pub use filter::{EventFilter, EventOrder, EventSort, TitleSearch};
pub use happening::Happening;
pub use id::{DeliveryId, EventId, MailId, RegistrationId, SessionId, UserId, WebhookId};
pub use invalid::Invalid;
pub use mail::{Mail, MailKind};
pub use page::{Page, PageNumber, PageRequest, PageSize};
pub use registration::{Registration, RegistrationStatus, RegistrationWithEvent, RegistrationWithUser};
pub use seat_book::SeatBook;
pub use seat_change::{SeatChange, SeatSnapshot};
pub use seat_command::{
    BookSeat, BookingRefused, CancelSeat, CancellationRefused, DeleteEvent, DeletedEvent, DeletionRefused, Denied,
    Needs, SeatCommand, SeatCommandError, UpdateEvent, UpdateRefused,
};
pub use session::{RefreshDigest, RefreshSecret};
pub use text::{Description, EmailAddress, EventTitle, Password, PasswordHash, PersonName, Venue};
pub use timeline::Timeline;
pub use timestamp::Timestamp;
pub use user::{Attendee, Holder, Role, SignedUp, Standing, User};
pub use webhook::{Delivery, DeliveryStatus, NewWebhook, Replay, Webhook, WebhookPatch, WebhookSecret, WebhookUrl};
