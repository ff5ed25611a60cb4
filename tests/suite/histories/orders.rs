//! Orders of users and their answers.

use adapter_sql::Sql;
use domain::event::SeatsBelowRegistrations;
use domain::ports::{BookError, Bookings, CancelError, DeleteEventError, Events, UpdateEventError};
use domain::{
    Author, BookSeat, BookingRefused, CancelSeat, CancellationRefused, Command, Committed, DeleteEvent, DeletedEvent,
    Event, EventId, EventPatch, Fingerprint, IdempotencyKey, KeyConflict, Once, Precondition, Registration,
    RevisionRefused, SeatCount, UpdateEvent, UpdateRefused, UserId,
};

/// The request of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub by: UserId,
    pub event: EventId,
    pub wish: Wish,
    pub key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    Book,
    Cancel,
    Resize(u8),
    Delete,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Registration(Registration),
    Event(Event),
    Deleted(DeletedEvent),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    NoEvent,
    Booking(BookingRefused),
    Cancellation(CancellationRefused),
    Seats(SeatsBelowRegistrations),
    Key(KeyConflict),
    /// A refusal that no order of a history may get: that the store failed, or that the user is gone.
    Undeserved(String),
}

pub type Answer = Result<Committed<Outcome>, Refusal>;

/// An order with its answer.
#[derive(Debug, Clone)]
pub struct Told {
    pub order: Order,
    pub answer: Answer,
}

impl Order {
    pub fn fingerprint(&self) -> Fingerprint {
        let (kind, seats) = match self.wish {
            Wish::Book => (1, 0),
            Wish::Cancel => (2, 0),
            Wish::Resize(seats) => (3, seats),
            Wish::Delete => (4, 0),
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.event.get().to_be_bytes());
        bytes[8..10].copy_from_slice(&[kind, seats]);
        Fingerprint::new(bytes)
    }

    /// Whether both have the same user and idempotency key.
    pub fn shares_key(&self, other: &Self) -> bool {
        self.key.is_some() && self.by == other.by && self.key == other.key
    }

    fn command<T>(&self, what: T) -> Command<T, Author> {
        let once = self
            .key
            .as_ref()
            .map(|key| Once { key: IdempotencyKey::parse(key).unwrap(), fingerprint: self.fingerprint() });
        Command { by: self.by.into(), once, what }
    }

    pub async fn ask(&self, sql: &Sql) -> Answer {
        let event = self.event;
        match self.wish {
            Wish::Book => {
                done(sql.book(self.command(BookSeat { event, user: self.by })).await, Outcome::Registration, |error| {
                    match error {
                        BookError::EventNotFound => Refusal::NoEvent,
                        BookError::Refused(refused) => Refusal::Booking(refused),
                        BookError::Key(conflict) => Refusal::Key(conflict),
                        other => Refusal::Undeserved(format!("{other:?}")),
                    }
                })
            }
            Wish::Cancel => done(
                sql.cancel(self.command(CancelSeat { event, user: self.by })).await,
                Outcome::Registration,
                |error| match error {
                    CancelError::EventNotFound => Refusal::NoEvent,
                    CancelError::Refused(refused) => Refusal::Cancellation(refused),
                    CancelError::Key(conflict) => Refusal::Key(conflict),
                    other => Refusal::Undeserved(format!("{other:?}")),
                },
            ),
            Wish::Resize(seats) => {
                let what = UpdateEvent { event, patch: resize(seats), precondition: Precondition::Any };
                done(sql.update(self.command(what)).await, Outcome::Event, |error| match error {
                    UpdateEventError::EventNotFound => Refusal::NoEvent,
                    UpdateEventError::Refused(UpdateRefused::Revision(RevisionRefused::Seats(refused))) => {
                        Refusal::Seats(refused)
                    }
                    UpdateEventError::Key(conflict) => Refusal::Key(conflict),
                    other => Refusal::Undeserved(format!("{other:?}")),
                })
            }
            Wish::Delete => {
                let what = DeleteEvent { event, precondition: Precondition::Any };
                done(sql.delete(self.command(what)).await, Outcome::Deleted, |error| match error {
                    DeleteEventError::EventNotFound => Refusal::NoEvent,
                    DeleteEventError::Key(conflict) => Refusal::Key(conflict),
                    other => Refusal::Undeserved(format!("{other:?}")),
                })
            }
        }
    }
}

fn resize(seats: u8) -> EventPatch {
    EventPatch { total_seats: Some(SeatCount::new(seats.into()).unwrap()), ..EventPatch::default() }
}

fn done<T, E>(
    answer: Result<Committed<T>, E>,
    outcome: impl FnOnce(T) -> Outcome,
    refusal: impl FnOnce(E) -> Refusal,
) -> Answer {
    match answer {
        Ok(done) => Ok(Committed { outcome: outcome(done.outcome), replayed: done.replayed }),
        Err(error) => Err(refusal(error)),
    }
}

impl Told {
    /// Whether the order changed nothing.
    pub fn did_nothing(&self) -> bool {
        self.answer.as_ref().map_or(true, |done| done.replayed)
    }

    pub fn kind(&self) -> &'static str {
        match (&self.answer, self.order.wish) {
            (Ok(Committed { replayed: false, .. }), Wish::Book) => "booked",
            (Ok(Committed { replayed: false, .. }), Wish::Cancel) => "cancelled",
            (Ok(Committed { replayed: false, .. }), Wish::Resize(_)) => "resized",
            (Ok(Committed { replayed: false, .. }), Wish::Delete) => "deleted",
            (Ok(Committed { replayed: true, .. }), Wish::Book) => "replayed booking",
            (Ok(Committed { replayed: true, .. }), Wish::Cancel) => "replayed cancellation",
            (Ok(Committed { replayed: true, .. }), Wish::Resize(_) | Wish::Delete) => "replayed change",
            (Err(Refusal::NoEvent), _) => "no event",
            (Err(Refusal::Booking(BookingRefused::AlreadyRegistered)), _) => "already registered",
            (Err(Refusal::Booking(BookingRefused::SoldOut)), _) => "sold out",
            (
                Err(Refusal::Booking(BookingRefused::Started) | Refusal::Cancellation(CancellationRefused::Started)),
                _,
            ) => "started",
            (Err(Refusal::Cancellation(CancellationRefused::NotRegistered)), _) => "not registered",
            (Err(Refusal::Seats(_)), _) => "seats below registrations",
            (Err(Refusal::Key(KeyConflict::Reused)), _) => "key reused",
            (Err(Refusal::Key(KeyConflict::InProgress)), _) => "key in progress",
            (Err(Refusal::Undeserved(_)), _) => "undeserved",
        }
    }
}
