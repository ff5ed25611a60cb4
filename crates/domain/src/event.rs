//! Events and the rules of their seats.

use thiserror::Error;

use crate::{Description, EventId, EventTitle, Invalid, RegistrationStatus, Timestamp, Venue};

/// Counts the changes of a row: it only grows, and every committed change raises it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a row nobody has changed yet.
    pub const FIRST: Self = Self(1);

    /// The version of this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The version after one more change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How many seats an event has: 1–1,000,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeatCount(u32);

impl SeatCount {
    /// The greatest number of seats.
    pub const MAX: u32 = 1_000_000;

    /// A house of this many seats.
    pub fn new(seats: u64) -> Result<Self, Invalid> {
        u32::try_from(seats)
            .ok()
            .filter(|seats| (1..=Self::MAX).contains(seats))
            .map(Self)
            .ok_or(Invalid::OutOfRange { min: 1, max: u64::from(Self::MAX) })
    }

    /// The number of seats.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// The seats of an event; never more are free than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seats {
    total: u32,
    available: u32,
}

impl Seats {
    /// A house nobody has booked yet.
    pub fn all_free(total: SeatCount) -> Self {
        Self { total: total.get(), available: total.get() }
    }

    /// Seats as they were stored; `None` if more are free than there are.
    pub fn stored(total: u32, available: u32) -> Option<Self> {
        (available <= total).then_some(Self { total, available })
    }

    /// How many there are.
    pub fn total(self) -> u32 {
        self.total
    }

    /// How many are free.
    pub fn available(self) -> u32 {
        self.available
    }

    /// How many are held by a confirmed registration.
    pub fn registered(self) -> u32 {
        self.total - self.available
    }

    fn resize(self, total: SeatCount) -> Result<Self, SeatsBelowRegistrations> {
        let available = total
            .get()
            .checked_sub(self.registered())
            .ok_or(SeatsBelowRegistrations { registered: self.registered() })?;
        Ok(Self { total: total.get(), available })
    }
}

/// When an event starts, as an organiser sets it: in the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartsAt(Timestamp);

impl StartsAt {
    /// The instant, if it is after `now`.
    pub fn new(at: Timestamp, now: Timestamp) -> Result<Self, Invalid> {
        if at > now { Ok(Self(at)) } else { Err(Invalid::NotInFuture) }
    }

    /// Whether it is still in the future.
    pub fn is_after(self, now: Timestamp) -> bool {
        self.0 > now
    }

    /// The instant.
    pub fn get(self) -> Timestamp {
        self.0
    }
}

/// An event as its organiser first writes it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventDraft {
    /// Its name.
    pub title: EventTitle,
    /// What it is about.
    pub description: Option<Description>,
    /// When it starts.
    pub starts_at: StartsAt,
    /// Where it takes place.
    pub venue: Venue,
    /// How many seats there are.
    pub total_seats: SeatCount,
}

/// Changes to an event; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventPatch {
    /// A new name.
    pub title: Option<EventTitle>,
    /// A new text, or `Some(None)` for no text any more.
    pub description: Option<Option<Description>>,
    /// A new start.
    pub starts_at: Option<StartsAt>,
    /// A new place.
    pub venue: Option<Venue>,
    /// A new number of seats.
    pub total_seats: Option<SeatCount>,
}

/// Which versions of an event a change is meant for (`If-Match`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Whatever it is by now.
    #[default]
    Any,
    /// Only if it still is one of these.
    OneOf(Vec<Version>),
}

impl Precondition {
    /// Whether a change of the event at this version is still meant.
    pub fn admits(&self, version: Version) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }
}

/// Something people can book a seat for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's number.
    pub id: EventId,
    /// Its name.
    pub title: EventTitle,
    /// What it is about.
    pub description: Option<Description>,
    /// When it starts; from then on seats are neither sold nor given back.
    pub starts_at: Timestamp,
    /// Where it takes place.
    pub venue: Venue,
    /// Its seats.
    pub seats: Seats,
    /// When it was written down.
    pub created_at: Timestamp,
    /// When its organiser changed it last.
    pub updated_at: Timestamp,
    /// When it was taken off the programme.
    pub deleted_at: Option<Timestamp>,
    /// Raised by every change, of seats too.
    pub version: Version,
}

impl Event {
    /// Sells a seat to somebody who holds `held` already, if anything.
    ///
    /// Nothing changes on refusal. That the user holds a seat is told before that there is none.
    pub fn book(&mut self, held: Option<RegistrationStatus>, now: Timestamp) -> Result<(), BookingRefused> {
        if self.starts_at <= now {
            return Err(BookingRefused::Started);
        }
        if held == Some(RegistrationStatus::Confirmed) {
            return Err(BookingRefused::AlreadyRegistered);
        }
        self.seats.available = self.seats.available.checked_sub(1).ok_or(BookingRefused::SoldOut)?;
        self.version = self.version.next();
        Ok(())
    }

    /// Takes back the seat of somebody who holds `held`, if anything.
    ///
    /// Nothing changes on refusal.
    pub fn cancel(&mut self, held: Option<RegistrationStatus>, now: Timestamp) -> Result<(), CancellationRefused> {
        if held != Some(RegistrationStatus::Confirmed) {
            return Err(CancellationRefused::NotRegistered);
        }
        if self.starts_at <= now {
            return Err(CancellationRefused::Started);
        }
        self.seats.available += 1;
        self.version = self.version.next();
        Ok(())
    }

    /// Applies an organiser's changes. Answers whether anything is different now; if not, the
    /// event is as it was, its version and time of change included.
    pub fn revise(&mut self, patch: EventPatch, now: Timestamp) -> Result<bool, SeatsBelowRegistrations> {
        let mut revised = self.clone();
        if let Some(total) = patch.total_seats {
            revised.seats = self.seats.resize(total)?;
        }
        if let Some(title) = patch.title {
            revised.title = title;
        }
        if let Some(description) = patch.description {
            revised.description = description;
        }
        if let Some(starts_at) = patch.starts_at {
            revised.starts_at = starts_at.get();
        }
        if let Some(venue) = patch.venue {
            revised.venue = venue;
        }
        let different = revised != *self;
        if different {
            revised.updated_at = now;
            revised.version = self.version.next();
            *self = revised;
        }
        Ok(different)
    }

    /// Takes the event off the programme; every seat is free again.
    pub fn delete(&mut self, now: Timestamp) {
        self.seats.available = self.seats.total;
        self.deleted_at = Some(now);
        self.updated_at = now;
        self.version = self.version.next();
    }
}

/// Why a seat was not sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BookingRefused {
    /// The event has begun.
    #[error("the event has started")]
    Started,
    /// The user holds a seat.
    #[error("the user holds a seat at this event")]
    AlreadyRegistered,
    /// No seat is left.
    #[error("the event is sold out")]
    SoldOut,
}

/// Why a seat was not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CancellationRefused {
    /// The user holds no seat.
    #[error("the user holds no seat at this event")]
    NotRegistered,
    /// The event has begun.
    #[error("the event has started")]
    Started,
}

/// More seats are held than the event would have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{registered} seats are booked: the event cannot have fewer")]
pub struct SeatsBelowRegistrations {
    /// How many are held.
    pub registered: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: &str) -> Timestamp {
        Timestamp::parse(raw).expect("a time")
    }

    fn before() -> Timestamp {
        at("2030-04-01T00:00:00Z")
    }

    fn event(total: u32, available: u32) -> Event {
        Event {
            id: EventId::new(1).expect("an id"),
            title: EventTitle::parse("Concert").expect("a title"),
            description: None,
            starts_at: at("2030-05-01T19:30:00Z"),
            venue: Venue::parse("Opera").expect("a venue"),
            seats: Seats::stored(total, available).expect("seats"),
            created_at: before(),
            updated_at: before(),
            deleted_at: None,
            version: Version::FIRST,
        }
    }

    #[test]
    fn booking_takes_one_seat_and_raises_the_version() {
        let mut event = event(10, 10);
        assert_eq!(event.book(None, before()), Ok(()));
        assert_eq!((event.seats.available(), event.seats.registered()), (9, 1));
        assert_eq!(event.version, Version::FIRST.next());
    }

    #[test]
    fn the_last_seat_is_sold_once() {
        let mut event = event(10, 1);
        assert_eq!(event.book(None, before()), Ok(()));
        assert_eq!(event.book(None, before()), Err(BookingRefused::SoldOut));
        assert_eq!(event.seats.available(), 0);
    }

    #[test]
    fn holding_a_seat_is_told_before_sold_out_and_after_started() {
        let mut event = event(10, 0);
        let held = Some(RegistrationStatus::Confirmed);
        assert_eq!(event.book(held, before()), Err(BookingRefused::AlreadyRegistered));
        assert_eq!(event.book(held, event.starts_at), Err(BookingRefused::Started));
    }

    #[test]
    fn a_cancelled_seat_can_be_booked_again() {
        let mut event = event(1, 1);
        assert_eq!(event.book(None, before()), Ok(()));
        assert_eq!(event.cancel(Some(RegistrationStatus::Confirmed), before()), Ok(()));
        assert_eq!(event.book(Some(RegistrationStatus::Cancelled), before()), Ok(()));
    }

    #[test]
    fn only_a_held_seat_comes_back_and_only_before_the_start() {
        let mut event = event(10, 9);
        let unchanged = event.clone();
        assert_eq!(event.cancel(None, before()), Err(CancellationRefused::NotRegistered));
        assert_eq!(
            event.cancel(Some(RegistrationStatus::Cancelled), before()),
            Err(CancellationRefused::NotRegistered)
        );
        assert_eq!(
            event.cancel(Some(RegistrationStatus::Confirmed), event.starts_at),
            Err(CancellationRefused::Started)
        );
        assert_eq!(event, unchanged);
    }

    #[test]
    fn resizing_moves_the_free_seats_by_the_same_number() {
        let mut event = event(10, 4);
        let resize = |seats| EventPatch { total_seats: SeatCount::new(seats).ok(), ..EventPatch::default() };
        assert_eq!(event.revise(resize(15), before()), Ok(true));
        assert_eq!((event.seats.total(), event.seats.available()), (15, 9));
        assert_eq!(event.revise(resize(6), before()), Ok(true));
        assert_eq!((event.seats.total(), event.seats.available()), (6, 0));
        assert_eq!(event.revise(resize(5), before()), Err(SeatsBelowRegistrations { registered: 6 }));
        assert_eq!((event.seats.total(), event.seats.available()), (6, 0));
    }

    #[test]
    fn a_patch_that_changes_nothing_leaves_the_version() {
        let mut event = event(10, 4);
        let unchanged = event.clone();
        assert_eq!(event.revise(EventPatch::default(), at("2030-04-02T00:00:00Z")), Ok(false));
        let same = EventPatch { title: Some(event.title.clone()), ..EventPatch::default() };
        assert_eq!(event.revise(same, at("2030-04-02T00:00:00Z")), Ok(false));
        assert_eq!(event, unchanged);
    }

    #[test]
    fn deleting_frees_every_seat() {
        let mut event = event(10, 4);
        event.delete(before());
        assert_eq!(event.seats.available(), 10);
        assert_eq!(event.deleted_at, Some(before()));
    }

    #[test]
    fn an_event_is_set_for_the_future() {
        assert_eq!(StartsAt::new(before(), before()), Err(Invalid::NotInFuture));
        assert!(StartsAt::new(at("2030-04-01T00:00:00.000001Z"), before()).is_ok());
    }
}
