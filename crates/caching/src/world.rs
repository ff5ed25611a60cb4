//! A store for the unit tests of this crate: it keeps the promises of the domain's ports about
//! versions, counts what it is asked, and can hold an answer it has already read.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use domain::ports::{
    CreateEventError, DeleteEventError, EventStamp, Events, RegistrationFilter, Registrations, StoreError,
    UpdateEventError, VersionAnswer, VersionQuestion, Versions,
};
use domain::sample::{self, at, event_id, seats, user_id};
use domain::{
    Author, Command, Committed, DeleteEvent, DeletedEvent, Event, EventDraft, EventFilter, EventId, EventTitle, Page,
    PageRequest, Registration, RegistrationStatus, RegistrationWithEvent, RegistrationWithUser, Seats, Timeline,
    UpdateEvent, UserId, Version,
};
use tokio::sync::oneshot;

pub(crate) fn page_of(size: u32) -> PageRequest {
    PageRequest { number: 1, size }
}

/// An event of which seven seats are free.
fn new_event(number: u64, version: Version) -> Event {
    Event { seats: seats(1_000_000, 7), version, ..sample::event(number) }
}

/// A call that has read its answer and waits to be let go.
pub(crate) struct Held {
    pub(crate) reached: oneshot::Receiver<()>,
    pub(crate) proceed: oneshot::Sender<()>,
}

type Gate = (oneshot::Sender<()>, oneshot::Receiver<()>);

pub(crate) struct World {
    state: Mutex<State>,
    counts: Mutex<HashMap<&'static str, usize>>,
    gates: Mutex<HashMap<&'static str, Gate>>,
}

/// What a server has, or the part of it that a standby got.
#[derive(Clone)]
pub(crate) struct State {
    timeline: Timeline,
    catalogue: Version,
    events: BTreeMap<u64, Event>,
    registrations: BTreeMap<(UserId, EventId), Registration>,
    cut_off: bool,
}

impl World {
    /// Events 1 to `events`, each with 1,000,000 seats of which 7 are free.
    pub(crate) fn new(events: u64) -> Self {
        let events = (1..=events).map(|number| (number, new_event(number, Version::FIRST))).collect();
        let state = State {
            timeline: Timeline::FIRST,
            catalogue: Version::FIRST,
            events,
            registrations: BTreeMap::new(),
            cut_off: false,
        };
        Self { state: Mutex::new(state), counts: Mutex::default(), gates: Mutex::default() }
    }

    /// Holds the next call of this name once it has read.
    pub(crate) fn hold(&self, call: &'static str) -> Held {
        let ((reach, reached), (proceed, proceeds)) = (oneshot::channel(), oneshot::channel());
        self.gates.lock().unwrap().insert(call, (reach, proceeds));
        Held { reached, proceed }
    }

    pub(crate) fn count(&self, call: &'static str) -> usize {
        self.counts.lock().unwrap().get(call).copied().unwrap_or_default()
    }

    pub(crate) fn cut_off(&self, cut_off: bool) {
        self.state().cut_off = cut_off;
    }

    pub(crate) fn event(&self, number: u64) -> Option<Arc<Event>> {
        self.state().standing(event_id(number))
    }

    pub(crate) fn page(&self, size: u32) -> Arc<Page<Event>> {
        self.state().page(page_of(size)).into()
    }

    pub(crate) fn bookings(&self, number: u64, most: usize) -> Page<RegistrationWithEvent> {
        self.state().bookings(user_id(number), most)
    }

    pub(crate) fn add(&self) {
        let mut state = self.state();
        let number = state.events.len() as u64 + 1;
        let version = state.version(1);
        state.events.insert(number, new_event(number, version));
        state.catalogue = state.catalogue.next();
    }

    pub(crate) fn delete(&self, number: u64) {
        let mut state = self.state();
        let event = state.events.get_mut(&number).unwrap();
        event.deleted_at = Some(at("2030-04-05T00:00:00Z"));
        event.version = event.version.next();
        state.catalogue = state.catalogue.next();
        for registration in state.registrations.values_mut().filter(|one| one.event_id == event_id(number)) {
            registration.status = RegistrationStatus::Cancelled;
            registration.version = registration.version.next();
        }
    }

    pub(crate) fn book(&self, number: u64, holder: u64) {
        let mut state = self.state();
        if !state.move_seats(number, -1) {
            return;
        }
        let new = Registration { version: state.version(0), ..sample::registration(1000 + number, holder, number) };
        let registration = state.registrations.entry((user_id(holder), event_id(number))).or_insert(new);
        registration.status = RegistrationStatus::Confirmed;
        registration.version = registration.version.next();
    }

    pub(crate) fn cancel(&self, number: u64, holder: u64) {
        let mut state = self.state();
        let held = state.registrations.get(&(user_id(holder), event_id(number))).map(|one| one.status);
        if held != Some(RegistrationStatus::Confirmed) || !state.move_seats(number, 1) {
            return;
        }
        let registration = state.registrations.get_mut(&(user_id(holder), event_id(number))).unwrap();
        registration.status = RegistrationStatus::Cancelled;
        registration.version = registration.version.next();
    }

    /// As much as a standby has at this moment.
    pub(crate) fn copied(&self) -> State {
        self.state().clone()
    }

    /// Loses what was committed since the standby's copy was made, and promotes the standby.
    pub(crate) fn promote(&self, standby: State) {
        let mut state = self.state();
        let timeline = Timeline::new(state.timeline.get() + 1).unwrap();
        *state = State { timeline, ..standby };
        state.catalogue = state.version(state.catalogue.count());
        let mut events = std::mem::take(&mut state.events);
        for event in events.values_mut() {
            event.version = state.version(event.version.count());
        }
        state.events = events;
        let mut registrations = std::mem::take(&mut state.registrations);
        for one in registrations.values_mut() {
            one.version = state.version(one.version.count());
        }
        state.registrations = registrations;
    }

    /// Gives an event another title.
    pub(crate) fn rename(&self, number: u64, title: &str) {
        let mut state = self.state();
        let event = state.events.get_mut(&number).unwrap();
        event.title = EventTitle::parse(title).unwrap();
        event.version = event.version.next();
        state.catalogue = state.catalogue.next();
    }

    /// One seat less here and one more there, in one transaction.
    pub(crate) fn shift(&self, from: u64, to: u64) {
        let mut state = self.state();
        if state.move_seats(from, -1) {
            assert!(state.move_seats(to, 1), "there is more room than seats that are moved");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn call<T>(&self, name: &'static str, read: impl FnOnce(&State) -> T) -> Result<T, StoreError> {
        *self.counts.lock().unwrap().entry(name).or_default() += 1;
        let answer = {
            let state = self.state();
            if state.cut_off {
                return Err(StoreError::unavailable("cut off"));
            }
            read(&state)
        };
        let gate = self.gates.lock().unwrap().remove(name);
        if let Some((reach, proceeds)) = gate {
            reach.send(()).ok();
            proceeds.await.ok();
        }
        Ok(answer)
    }
}

impl State {
    /// The version of a row that counts so many changes.
    fn version(&self, count: u64) -> Version {
        Version::on(self.timeline, count).unwrap()
    }

    /// Answers whether there was a seat to be moved.
    fn move_seats(&mut self, number: u64, by: i32) -> bool {
        let event = self.events.get_mut(&number).unwrap();
        let (before, total) = (event.seats.available(), event.seats.total());
        let Some(seats) = before.checked_add_signed(by).and_then(|available| Seats::stored(total, available)) else {
            return false;
        };
        event.seats = seats;
        event.version = event.version.next();
        if (before == 0) != (seats.available() == 0) {
            self.catalogue = self.catalogue.next();
        }
        true
    }

    fn standing(&self, id: EventId) -> Option<Arc<Event>> {
        self.events.get(&id.get()).filter(|event| event.deleted_at.is_none()).cloned().map(Arc::new)
    }

    fn page(&self, page: PageRequest) -> Page<Event> {
        let standing: Vec<_> = self.events.values().filter(|event| event.deleted_at.is_none()).cloned().collect();
        let total = standing.len() as u64;
        let first = usize::try_from(page.offset()).unwrap();
        Page { rows: standing.into_iter().skip(first).take(page.size as usize).collect(), total }
    }

    fn bookings(&self, holder: UserId, most: usize) -> Page<RegistrationWithEvent> {
        let mut all: Vec<_> = self.registrations.values().filter(|one| one.user_id == holder).cloned().collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.id));
        let total = all.len() as u64;
        let with_event = |registration: Registration| {
            let event = self.events[&registration.event_id.get()].clone();
            RegistrationWithEvent { registration, event }
        };
        Page { rows: all.into_iter().take(most).map(with_event).collect(), total }
    }

    fn answer(&self, question: &VersionQuestion) -> VersionAnswer {
        let stamp = |event: &Event| EventStamp { version: event.version, deleted: event.deleted_at.is_some() };
        let sum = |holder: UserId| {
            let theirs = self.registrations.values().filter(|one| one.user_id == holder);
            theirs.map(|one| one.version.count()).reduce(|a, b| a + b).map(|sum| self.version(sum))
        };
        VersionAnswer {
            timeline: self.timeline,
            catalogue: question.catalogue.then_some(self.catalogue),
            events: question.events.iter().filter_map(|id| Some((*id, stamp(self.events.get(&id.get())?)))).collect(),
            attendees: question.attendees.iter().filter_map(|holder| Some((*holder, sum(*holder)?))).collect(),
        }
    }
}

#[async_trait]
impl Versions for World {
    async fn confirm(&self, question: &VersionQuestion) -> Result<VersionAnswer, StoreError> {
        self.call("confirm", |state| state.answer(question)).await
    }
}

#[async_trait]
impl Events for World {
    async fn find(&self, id: EventId) -> Result<Option<Arc<Event>>, StoreError> {
        self.call("find", |state| state.standing(id)).await
    }

    async fn find_many(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let wanted = |event: &&Event| event.deleted_at.is_none() && ids.contains(&event.id);
        self.call("find_many", |state| state.events.values().rev().filter(wanted).cloned().collect()).await
    }

    async fn list(&self, _: &EventFilter, page: PageRequest) -> Result<Arc<Page<Event>>, StoreError> {
        self.call("list", |state| state.page(page).into()).await
    }

    async fn create(&self, _: Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
        Err(CreateEventError::AuthorGone)
    }

    async fn update(&self, _: Command<UpdateEvent, Author>) -> Result<Committed<Event>, UpdateEventError> {
        Err(UpdateEventError::AuthorGone)
    }

    async fn delete(&self, _: Command<DeleteEvent, Author>) -> Result<Committed<DeletedEvent>, DeleteEventError> {
        Err(DeleteEventError::AuthorGone)
    }
}

#[async_trait]
impl Registrations for World {
    async fn of_event(
        &self,
        _: EventId,
        _: RegistrationFilter,
        _: PageRequest,
    ) -> Result<Option<Page<RegistrationWithUser>>, StoreError> {
        Ok(None)
    }

    async fn of_user(
        &self,
        user: UserId,
        _: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<RegistrationWithEvent>, StoreError> {
        self.call("of_user", |state| state.bookings(user, page.size as usize)).await
    }
}
