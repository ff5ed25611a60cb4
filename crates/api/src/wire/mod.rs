//! The shapes clients see. Each is made from the domain's by `From`, beside its definition.

mod event;
mod registration;
mod seats;
mod session;
mod time;
mod user;

pub(crate) use event::{CreateEvent, DeletedEvent, Event, EventDetail, EventList, UpdateEvent};
pub(crate) use registration::{Attendance, Attendances, Booking, Bookings, Message, Registration, Status};
pub(crate) use seats::{DeletedSeats, SeatState};
pub(crate) use session::{Grant, LogIn, RefreshToken, SignUp};
pub(crate) use time::Time;
pub(crate) use user::{UpdateUser, User};
