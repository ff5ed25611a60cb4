//! Events and the rules of their seats.

use thiserror::Error;

use crate::{Description, EventId, EventTitle, Invalid, Timeline, Timestamp, Venue};

/// Which state of a row it is: a number that every committed change raises.
///
/// A row counts its changes, and a primary that is lost takes the last of them with it: the standby that is
/// promoted counts other changes by the same numbers. So the [`Timeline`] of the server that read the row stands
/// above the count, and an equal version is an equal row. On the first timeline the version is the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The version of a row that was never changed, on the first timeline.
    pub const FIRST: Self = Self(1);

    /// The bits of the count. With 8,192 timelines above it, a version is a number that JSON keeps exactly.
    const COUNT_BITS: u32 = 40;

    /// The bits of the timeline.
    const TIMELINE_BITS: u32 = u64::BITS - Self::COUNT_BITS;

    /// The version of this number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The version of a row that counts so many changes, read on this timeline; `None` if one of the two numbers is
    /// too great.
    pub fn on(timeline: Timeline, count: u64) -> Option<Self> {
        let promotions = u64::from(timeline.get() - 1);
        let fits = count >> Self::COUNT_BITS == 0 && promotions >> Self::TIMELINE_BITS == 0;
        fits.then_some(Self((promotions << Self::COUNT_BITS) | count))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// How many changes the row counts: what is stored.
    pub fn count(self) -> u64 {
        self.0 & ((1 << Self::COUNT_BITS) - 1)
    }

    /// The timeline that the row was read on.
    pub fn timeline(self) -> Timeline {
        let promotions = u32::try_from(self.0 >> Self::COUNT_BITS).unwrap_or(u32::MAX);
        promotions.checked_add(1).and_then(Timeline::new).unwrap_or(Timeline::FIRST)
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

/// The seats of an event; never more are free than there are. Registrations are counted beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seats {
    total: u32,
    available: u32,
    registered: u32,
}

impl Seats {
    /// A house without any registration.
    pub fn all_free(total: SeatCount) -> Self {
        Self { total: total.get(), available: total.get(), registered: 0 }
    }

    /// Seats as they were stored, each that is not free with a registration; `None` if more are free than there are.
    pub fn stored(total: u32, available: u32) -> Option<Self> {
        let registered = total.checked_sub(available)?;
        Some(Self { total, available, registered })
    }

    /// How many there are.
    pub fn total(self) -> u32 {
        self.total
    }

    /// How many are free.
    pub fn available(self) -> u32 {
        self.available
    }

    /// How many are not free.
    fn taken(self) -> u32 {
        self.total - self.available
    }

    /// How many registrations are confirmed.
    pub fn registered(self) -> u32 {
        self.registered
    }

    /// A registration more takes a seat.
    pub(crate) fn take(self) -> Self {
        Self { available: self.available.saturating_sub(1), registered: self.registered + 1, ..self }
    }

    /// A registration less gives its seat back.
    pub(crate) fn give_back(self) -> Self {
        let available = (self.available + 1).min(self.total);
        Self { available, registered: self.registered.saturating_sub(1), ..self }
    }

    fn resize(self, total: SeatCount) -> Result<Self, SeatsBelowRegistrations> {
        let available =
            total.get().checked_sub(self.taken()).ok_or(SeatsBelowRegistrations { registered: self.taken() })?;
        Ok(Self { total: total.get(), available, ..self })
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
    /// When it starts: in the future, unless it is the start that the event has.
    pub starts_at: Option<Timestamp>,
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
    /// Applies an organiser's changes. Answers whether anything is different now; if not, the
    /// event is as it was, its version and time of change included.
    ///
    /// Nothing changes on refusal. A start that has passed is refused only if it is another one: a whole event may be
    /// written back after it began.
    pub(crate) fn revise(&mut self, patch: EventPatch, now: Timestamp) -> Result<bool, RevisionRefused> {
        let mut revised = self.clone();
        if let Some(starts_at) = patch.starts_at.filter(|starts_at| *starts_at != self.starts_at) {
            revised.starts_at = StartsAt::new(starts_at, now).map_err(|_| RevisionRefused::Past)?.get();
        }
        if let Some(total) = patch.total_seats {
            revised.seats = self.seats.resize(total)?;
        }
        if let Some(title) = patch.title {
            revised.title = title;
        }
        if let Some(description) = patch.description {
            revised.description = description;
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
    pub(crate) fn delete(&mut self, now: Timestamp) {
        self.seats = Seats { available: self.seats.total, registered: 0, ..self.seats };
        self.deleted_at = Some(now);
        self.updated_at = now;
        self.version = self.version.next();
    }
}

/// Why an event was not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RevisionRefused {
    /// Its new start has passed.
    #[error("the event would have started already")]
    Past,
    /// More seats are held than it would have.
    #[error(transparent)]
    Seats(#[from] SeatsBelowRegistrations),
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
    use crate::sample::{self, at, now, seats};

    fn event(total: u32, available: u32) -> Event {
        Event { seats: seats(total, available), ..sample::event(1) }
    }

    #[test]
    fn a_version_of_a_later_timeline_is_the_greater_one() {
        let on = |timeline, count| Version::on(Timeline::new(timeline).expect("a timeline"), count);
        assert_eq!(on(1, 7), Some(Version::new(7)), "on the first timeline the version is the count");
        assert!(on(1, (1 << 40) - 1) < on(2, 0) && on(2, 3) < on(2, 4) && on(2, 4) < on(3, 1));
        let version = on(2, 3).expect("a version");
        assert_eq!((version.count(), version.timeline().get()), (3, 2));
        assert_eq!((version.next().count(), version.next().timeline()), (4, version.timeline()));
        assert!(on(8_192, (1 << 40) - 1).is_some_and(|greatest| greatest.get() < 1 << 53));
        assert_eq!((on(1, 1 << 40), on(u32::MAX, 1)), (None, None));
    }

    #[test]
    fn resizing_moves_the_free_seats_by_the_same_number() {
        let mut event = event(10, 4);
        let resize = |seats| EventPatch { total_seats: SeatCount::new(seats).ok(), ..EventPatch::default() };
        assert_eq!(event.revise(resize(15), now()), Ok(true));
        assert_eq!((event.seats.total(), event.seats.available()), (15, 9));
        assert_eq!(event.revise(resize(6), now()), Ok(true));
        assert_eq!((event.seats.total(), event.seats.available()), (6, 0));
        assert_eq!(event.revise(resize(5), now()), Err(SeatsBelowRegistrations { registered: 6 }.into()));
        assert_eq!((event.seats.total(), event.seats.available()), (6, 0));
    }

    #[test]
    fn a_patch_that_changes_nothing_leaves_the_version() {
        let mut event = event(10, 4);
        let unchanged = event.clone();
        assert_eq!(event.revise(EventPatch::default(), now().plus_secs(60)), Ok(false));
        let same = EventPatch { title: Some(event.title.clone()), ..EventPatch::default() };
        assert_eq!(event.revise(same, now().plus_secs(60)), Ok(false));
        assert_eq!(event, unchanged);
    }

    #[test]
    fn a_start_that_has_passed_can_be_written_back_but_not_moved() {
        let mut event = event(10, 4);
        let (unchanged, began) = (event.clone(), event.starts_at.plus_secs(1));
        let start = |starts_at| EventPatch { starts_at: Some(starts_at), ..EventPatch::default() };
        assert_eq!(event.revise(start(event.starts_at), began), Ok(false));
        let title = EventTitle::parse("Recital").ok();
        assert_eq!(event.revise(EventPatch { title, ..start(event.starts_at) }, began), Ok(true));
        for moved in [now(), at("2030-05-01T19:30:00.000001Z"), began] {
            let patch = EventPatch { title: Some(unchanged.title.clone()), ..start(moved) };
            assert_eq!(event.revise(patch, began), Err(RevisionRefused::Past), "{moved}");
        }
        assert_eq!((event.title.as_str(), event.starts_at), ("Recital", unchanged.starts_at));
        assert_eq!(event.revise(start(began.plus_secs(1)), began), Ok(true));
    }

    #[test]
    fn deleting_frees_every_seat() {
        let mut event = event(10, 4);
        event.delete(now());
        assert_eq!(event.seats.available(), 10);
        assert_eq!(event.deleted_at, Some(now()));
    }

    #[test]
    fn an_event_is_set_for_the_future() {
        assert_eq!(StartsAt::new(now(), now()), Err(Invalid::NotInFuture));
        assert!(StartsAt::new(at("2030-01-15T12:00:00.000001Z"), now()).is_ok());
    }
}
