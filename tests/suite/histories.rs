//! Bookings are committed in batches, and no client may be able to see that: the answers to many
//! users at the same time have to be possible for the same requests one after the other.
//!
//! Random small histories run on a real database, many of them in step: all orders of one round are
//! sent at the same instant, so orders of many histories gather in batches. Then each history is
//! checked by itself. Orders about different events that share no idempotency key do not depend on
//! each other, and rounds do not overlap. So for the few orders of a round that depend on each other
//! there must be *some* sequence in which the [model](World), which applies the domain's rule to one
//! order at a time, gives every answer that was given and ends at the very rows that are stored.
//!
//! A failure prints the seed, the round and what is stored. The seed brings back the same histories;
//! how their orders meet in batches is up to the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use adapter_sql::Sql;
use domain::event::SeatsBelowRegistrations;
use domain::ports::{BookError, Bookings, CancelError, Clock, DeleteEventError, Events, UpdateEventError};
use domain::{
    Author, BookSeat, BookingRefused, CancelSeat, CancellationRefused, Command, Committed, DeleteEvent, DeletedEvent,
    Event, EventId, EventPatch, Fingerprint, IdempotencyKey, KeyConflict, Once, Precondition, Registration,
    RegistrationId, RegistrationStatus, RevisionRefused, SeatCount, Seats, Timestamp, UpdateEvent, UpdateRefused,
    UserId, Version,
};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, DatabaseConnection, QueryResult, Statement, TryGetable};

use crate::harness::all_at_once;
use crate::harness::clock::MovableClock;
use crate::harness::dice::Dice;
use crate::harness::postgres::PostgresDatabase;
use crate::harness::store::{Home, connect_past};

/// Histories that run in step.
const COMPANY: usize = 50;

/// How often a company runs, on each database.
const COMPANIES: usize = 101;

/// Rounds of a history.
const ROUNDS: usize = 4;

/// The most orders of a round that depend on each other: the search tries them in every sequence.
const TANGLE: usize = 6;

const WEEK_SECS: u32 = 7 * 24 * 3600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_on_sqlite_could_have_happened_one_after_the_other() {
    let clock = Arc::new(MovableClock::new());
    let home = Home::sqlite();
    let sql = home.open(clock.clone()).await;
    sql.migrate_up().await.unwrap();
    run(&home, &clock, &[sql]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_on_postgres_could_have_happened_one_after_the_other() {
    let clock = Arc::new(MovableClock::new());
    let home = Home::Postgres(PostgresDatabase::migrated().await);
    let instances = [home.open(clock.clone()).await, home.open(clock.clone()).await];
    run(&home, &clock, &instances).await;
}

/// Runs every company, by turns on the first instance and on all of them.
async fn run(home: &Home, clock: &MovableClock, instances: &[Sql]) {
    let mut dice = Dice::new();
    let past = connect_past(&home.url()).await;
    let mut seen = BTreeMap::new();
    for number in 0..COMPANIES {
        let used = if number % 2 == 0 { &instances[..1] } else { instances };
        let mut company = Company::gather(&past, &used[0], clock.now(), &mut dice).await;
        for round in 0..ROUNDS {
            clock.set(company.instants[round]);
            let told = company.round(round, used, &mut dice).await;
            let rows = Rows::read(&past, company.events()).await;
            rows.assert_seats_are_held();
            for (history, told) in company.histories.iter_mut().zip(told) {
                for one in &told {
                    *seen.entry(one.kind()).or_insert(0_u32) += 1;
                }
                if let Err(why) = history.follow(&told, clock.now(), &rows) {
                    panic!("company {number}, round {round}, {} instance(s): {why}", used.len());
                }
            }
        }
        clock.advance_secs(3600);
    }
    past.close().await.unwrap();
    eprintln!("{} histories, in which was told: {seen:?}", COMPANIES * COMPANY);
    for kind in KINDS {
        assert!(seen.contains_key(kind), "no order had the answer {kind:?}: {seen:?}");
    }
}

/// The answers that a run has to contain: every kind but that a key is in use.
const KINDS: [&str; 14] = [
    "already registered",
    "booked",
    "cancelled",
    "deleted",
    "key reused",
    "no event",
    "not registered",
    "replayed booking",
    "replayed cancellation",
    "replayed change",
    "resized",
    "seats below registrations",
    "sold out",
    "started",
];

// --- Orders and answers

/// The request of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Order {
    by: UserId,
    event: EventId,
    wish: Wish,
    key: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Book,
    Cancel,
    Resize(u8),
    Delete,
}

/// The outcome of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Registration(Registration),
    Event(Event),
    Deleted(DeletedEvent),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    NoEvent,
    Booking(BookingRefused),
    Cancellation(CancellationRefused),
    Seats(SeatsBelowRegistrations),
    Key(KeyConflict),
    /// A refusal that no order of a history may get: that the store failed, or that the user is gone.
    Undeserved(String),
}

type Answer = Result<Committed<Outcome>, Refusal>;

/// An order with its answer.
#[derive(Debug, Clone)]
struct Told {
    order: Order,
    answer: Answer,
}

impl Order {
    fn fingerprint(&self) -> Fingerprint {
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
    fn shares_key(&self, other: &Self) -> bool {
        self.key.is_some() && self.by == other.by && self.key == other.key
    }

    fn command<T>(&self, what: T) -> Command<T, Author> {
        let once = self
            .key
            .as_ref()
            .map(|key| Once { key: IdempotencyKey::parse(key).unwrap(), fingerprint: self.fingerprint() });
        Command { by: self.by.into(), once, what }
    }

    async fn ask(&self, sql: &Sql) -> Answer {
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
    fn did_nothing(&self) -> bool {
        self.answer.as_ref().map_or(true, |done| done.replayed)
    }

    fn kind(&self) -> &'static str {
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

// --- The model

/// Events, registrations and keys, changed by one order after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    events: BTreeMap<EventId, Event>,
    registrations: BTreeMap<(EventId, UserId), Registration>,
    keys: BTreeMap<(UserId, String), Kept>,
}

/// The request and the outcome of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    fingerprint: Fingerprint,
    outcome: Outcome,
    since: Timestamp,
}

impl World {
    fn new(events: impl IntoIterator<Item = Event>) -> Self {
        let events = events.into_iter().map(|event| (event.id, event)).collect();
        Self { events, registrations: BTreeMap::new(), keys: BTreeMap::new() }
    }

    /// Carries one order out, as the only one there is. How new registrations are numbered is the
    /// store's choice.
    fn carry_out(&mut self, order: &Order, now: Timestamp, rows: &Rows) -> Answer {
        let key = order.key.clone().map(|key| (order.by, key));
        if let Some(kept) = key.as_ref().and_then(|key| self.keys.get(key))
            && now <= kept.since.plus_secs(WEEK_SECS)
        {
            return if kept.fingerprint == order.fingerprint() {
                Ok(Committed { outcome: kept.outcome.clone(), replayed: true })
            } else {
                Err(Refusal::Key(KeyConflict::Reused))
            };
        }
        let outcome = self.act(order, now, rows)?;
        if let Some(key) = key {
            let kept = Kept { fingerprint: order.fingerprint(), outcome: outcome.clone(), since: now };
            self.keys.insert(key, kept);
        }
        Ok(Committed { outcome, replayed: false })
    }

    fn act(&mut self, order: &Order, now: Timestamp, rows: &Rows) -> Result<Outcome, Refusal> {
        let stands = self.events.get_mut(&order.event).filter(|event| event.deleted_at.is_none());
        let event = stands.ok_or(Refusal::NoEvent)?;
        let place = (order.event, order.by);
        let held = self.registrations.get(&place);
        let status = held.map(|held| held.status);
        let registration = match order.wish {
            Wish::Book => {
                let refused = if event.starts_at <= now {
                    Some(BookingRefused::Started)
                } else if status == Some(RegistrationStatus::Confirmed) {
                    Some(BookingRefused::AlreadyRegistered)
                } else {
                    (event.seats.available() == 0).then_some(BookingRefused::SoldOut)
                };
                refused.map_or(Ok(()), |refused| Err(Refusal::Booking(refused)))?;
                free(event, event.seats.total(), event.seats.available() - 1);
                match held {
                    Some(held) => Registration {
                        status: RegistrationStatus::Confirmed,
                        registered_at: now,
                        version: held.version.next(),
                        ..held.clone()
                    },
                    None => Registration {
                        id: rows.registration(place).ok_or_else(|| Refusal::Undeserved("no row".to_owned()))?,
                        user_id: order.by,
                        event_id: order.event,
                        status: RegistrationStatus::Confirmed,
                        registered_at: now,
                        created_at: now,
                        version: Version::FIRST,
                    },
                }
            }
            Wish::Cancel => {
                if status != Some(RegistrationStatus::Confirmed) {
                    return Err(Refusal::Cancellation(CancellationRefused::NotRegistered));
                }
                if event.starts_at <= now {
                    return Err(Refusal::Cancellation(CancellationRefused::Started));
                }
                free(event, event.seats.total(), event.seats.available() + 1);
                cancelled(held.expect("what was cancelled"))
            }
            Wish::Resize(seats) => {
                let total = u32::from(seats);
                let registered = event.seats.registered();
                let available =
                    total.checked_sub(registered).ok_or(Refusal::Seats(SeatsBelowRegistrations { registered }))?;
                if total != event.seats.total() {
                    free(event, total, available);
                    event.updated_at = now;
                }
                return Ok(Outcome::Event(event.clone()));
            }
            Wish::Delete => {
                free(event, event.seats.total(), event.seats.total());
                (event.deleted_at, event.updated_at) = (Some(now), now);
                let mut cancelled_registrations = 0;
                for registration in self.registrations.values_mut() {
                    if registration.event_id == order.event && registration.status == RegistrationStatus::Confirmed {
                        *registration = cancelled(registration);
                        cancelled_registrations += 1;
                    }
                }
                return Ok(Outcome::Deleted(DeletedEvent { cancelled_registrations }));
            }
        };
        self.registrations.insert(place, registration.clone());
        Ok(Outcome::Registration(registration))
    }
}

/// Changes how many seats there are and are free.
fn free(event: &mut Event, total: u32, available: u32) {
    event.seats = Seats::stored(total, available).expect("no more are free than there are");
    event.version = event.version.next();
}

fn cancelled(registration: &Registration) -> Registration {
    Registration { status: RegistrationStatus::Cancelled, version: registration.version.next(), ..registration.clone() }
}

// --- The stored rows

/// The rows after a round.
#[derive(Debug, Clone, Default)]
struct Rows {
    events: BTreeMap<EventId, EventRow>,
    registrations: BTreeMap<(EventId, UserId), Registration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct EventRow {
    seats: Seats,
    version: Version,
    updated_at: Timestamp,
    deleted_at: Option<Timestamp>,
}

impl EventRow {
    fn of(event: &Event) -> Self {
        Self { seats: event.seats, version: event.version, updated_at: event.updated_at, deleted_at: event.deleted_at }
    }
}

impl Rows {
    /// Reads the rows of these events with SQL.
    async fn read(past: &DatabaseConnection, events: RangeInclusive<u64>) -> Self {
        let (first, last) = (events.start(), events.end());
        let sql = format!(
            "SELECT id, CAST(total_seats AS bigint) AS total, CAST(available_seats AS bigint) AS available, version, \
             updated_at, deleted_at FROM events WHERE id BETWEEN {first} AND {last}"
        );
        let mut rows = Self::default();
        for row in query(past, &sql).await {
            let count = |name| u32::try_from(number(&row, name)).unwrap();
            let seats = Seats::stored(count("total"), count("available")).unwrap();
            let found = EventRow {
                seats,
                version: Version::new(number(&row, "version")),
                updated_at: Timestamp::new(column::<DateTimeUtc>(&row, "updated_at")),
                deleted_at: column::<Option<DateTimeUtc>>(&row, "deleted_at").map(Timestamp::new),
            };
            rows.events.insert(EventId::new(number(&row, "id")).unwrap(), found);
        }
        let sql = format!(
            "SELECT id, user_id, event_id, status, registration_date, created_at, version FROM registrations \
             WHERE event_id BETWEEN {first} AND {last}"
        );
        for row in query(past, &sql).await {
            let found = Registration {
                id: RegistrationId::new(number(&row, "id")).unwrap(),
                user_id: UserId::new(number(&row, "user_id")).unwrap(),
                event_id: EventId::new(number(&row, "event_id")).unwrap(),
                status: RegistrationStatus::from_name(&column::<String>(&row, "status")).unwrap(),
                registered_at: Timestamp::new(column::<DateTimeUtc>(&row, "registration_date")),
                created_at: Timestamp::new(column::<DateTimeUtc>(&row, "created_at")),
                version: Version::new(number(&row, "version")),
            };
            let twice = rows.registrations.insert((found.event_id, found.user_id), found);
            assert!(twice.is_none(), "a user has two registrations of one event: {twice:?}");
        }
        rows
    }

    fn registration(&self, place: (EventId, UserId)) -> Option<RegistrationId> {
        self.registrations.get(&place).map(|registration| registration.id)
    }

    /// Whether these are the rows of that world; other events' rows are not looked at.
    fn are_of(&self, world: &World) -> bool {
        world.events.iter().all(|(id, event)| {
            self.events.get(id) == Some(&EventRow::of(event))
                && of_event(&self.registrations, *id).eq(of_event(&world.registrations, *id))
        })
    }

    /// Fails if some event has another number of holders than of seats that are taken.
    fn assert_seats_are_held(&self) {
        for (id, event) in &self.events {
            let confirmed =
                of_event(&self.registrations, *id).filter(|row| row.status == RegistrationStatus::Confirmed).count();
            assert_eq!(
                confirmed,
                event.seats.registered() as usize,
                "holders and taken seats of event {id}: {event:?}"
            );
        }
    }
}

/// One event's registrations, by user.
fn of_event(
    registrations: &BTreeMap<(EventId, UserId), Registration>,
    event: EventId,
) -> impl Iterator<Item = &Registration> {
    let least = UserId::new(1).unwrap();
    registrations.range((event, least)..).take_while(move |((of, _), _)| *of == event).map(|(_, row)| row)
}

async fn query(past: &DatabaseConnection, sql: &str) -> Vec<QueryResult> {
    past.query_all_raw(Statement::from_string(past.get_database_backend(), sql)).await.unwrap()
}

fn column<T: TryGetable>(row: &QueryResult, name: &str) -> T {
    row.try_get("", name).unwrap()
}

fn number(row: &QueryResult, name: &str) -> u64 {
    u64::try_from(column::<i64>(row, name)).unwrap()
}

// --- The search for an order

/// The possible worlds after a round that began in one of these: each is the end of some sequence of the
/// orders with their answers, and has the rows that are stored. Empty if the round cannot have happened.
fn explain(worlds: &[World], told: &[Told], now: Timestamp, rows: &Rows) -> Vec<World> {
    let (in_progress, decided): (Vec<_>, Vec<_>) =
        told.iter().partition(|one| one.answer == Err(Refusal::Key(KeyConflict::InProgress)));
    // An order may get `InProgress` only if another order of the round has its key.
    if !in_progress.iter().all(|one| told.iter().filter(|other| one.order.shares_key(&other.order)).count() > 1) {
        return Vec::new();
    }
    let mut search = Search { told: decided, now, rows, seen: Vec::new(), ends: Vec::new() };
    for world in worlds {
        search.go_on((0..search.told.len()).collect(), world.clone());
    }
    search.ends
}

struct Search<'a> {
    told: Vec<&'a Told>,
    now: Timestamp,
    rows: &'a Rows,
    /// The visited states of the search: the orders left to explain, and the world.
    seen: Vec<(BTreeSet<usize>, World)>,
    ends: Vec<World>,
}

impl Search<'_> {
    /// Tries to explain the orders that are left, beginning in this world.
    fn go_on(&mut self, mut left: BTreeSet<usize>, world: World) {
        // Take an order that did nothing as soon as this world explains it: it does not change the
        // world for the orders after it.
        left.retain(|index| !(self.told[*index].did_nothing() && self.after(*index, &world).is_some()));
        let been_here = (left, world);
        if self.seen.contains(&been_here) {
            return;
        }
        let (left, world) = &been_here;
        if left.is_empty() && self.rows.are_of(world) && !self.ends.contains(world) {
            self.ends.push(world.clone());
        }
        for index in left {
            if !self.told[*index].did_nothing()
                && let Some(next) = self.after(*index, world)
            {
                let mut rest = left.clone();
                rest.remove(index);
                self.go_on(rest, next);
            }
        }
        self.seen.push(been_here);
    }

    /// The world after one order was carried out next, if that explains its answer.
    fn after(&self, index: usize, world: &World) -> Option<World> {
        let Told { order, answer } = self.told[index];
        let mut next = world.clone();
        (next.carry_out(order, self.now, self.rows) == *answer).then_some(next)
    }
}

// --- Histories

/// Histories in step, on events and users of their own.
struct Company {
    instants: [Timestamp; ROUNDS],
    histories: Vec<History>,
}

/// The orders of a few users about a few events.
struct History {
    rounds: Vec<Vec<Order>>,
    /// Events whose orders depend on each other, and their possible worlds by now.
    tangles: Vec<Tangle>,
}

struct Tangle {
    events: BTreeSet<EventId>,
    worlds: Vec<World>,
}

impl Company {
    /// Puts users and events into the database, and makes up random orders.
    async fn gather(past: &DatabaseConnection, sql: &Sql, now: Timestamp, dice: &mut Dice) -> Self {
        let instants = instants(now, dice);
        let casts: Vec<_> = (0..COMPANY).map(|_| (2 + dice.below(3), 2 + dice.below(4))).collect();
        let events = casts.iter().map(|(events, _)| events).sum();
        let users = casts.iter().map(|(_, users)| users).sum();
        let mut users = add_users(past, users, now).await.into_iter();
        let ids = add_events(past, events, &instants, dice).await;
        let mut events = sql.find_many(&ids).await.unwrap();
        events.sort_by_key(|event| event.id);
        let mut events = events.into_iter();
        let histories = casts
            .into_iter()
            .map(|(number_of_events, number_of_users)| {
                let events: Vec<_> = events.by_ref().take(number_of_events).collect();
                let users: Vec<_> = users.by_ref().take(number_of_users).collect();
                History::make_up(events, &users, dice)
            })
            .collect();
        Self { instants, histories }
    }

    /// The ids of its events, and of no others.
    fn events(&self) -> RangeInclusive<u64> {
        let ids = || self.histories.iter().flat_map(|history| &history.tangles).flat_map(|tangle| &tangle.events);
        ids().min().unwrap().get()..=ids().max().unwrap().get()
    }

    /// Sends all orders of a round at once; returns the answers by history.
    async fn round(&self, round: usize, instances: &[Sql], dice: &mut Dice) -> Vec<Vec<Told>> {
        let mut orders: Vec<_> = self
            .histories
            .iter()
            .enumerate()
            .flat_map(|(index, history)| history.rounds[round].iter().map(move |order| (index, order.clone())))
            .collect();
        shuffle(&mut orders, dice);
        let asking: Vec<_> = orders.into_iter().map(|(index, order)| ask(index, order, dice.pick(instances))).collect();
        let mut told = vec![Vec::new(); self.histories.len()];
        for (index, one) in all_at_once(asking).await {
            told[index].push(one);
        }
        told
    }
}

async fn ask(index: usize, order: Order, sql: Sql) -> (usize, Told) {
    let answer = order.ask(&sql).await;
    (index, Told { order, answer })
}

impl History {
    fn make_up(events: Vec<Event>, users: &[UserId], dice: &mut Dice) -> Self {
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        // Sometimes two events share keys.
        let entangled = dice.below(4) == 0;
        let knot = |event: EventId| if entangled && event == ids[1] { ids[0] } else { event };
        let mut rounds: Vec<Vec<Order>> = vec![Vec::new(); ROUNDS];
        // Most are short: 4 to 24 orders.
        for _ in 0..4 + dice.below(21).min(dice.below(21)) {
            let order = Self::order(&ids, users, &knot, rounds.concat().as_slice(), dice);
            let round = &mut rounds[dice.below(ROUNDS)];
            if round.iter().filter(|other| knot(other.event) == knot(order.event)).count() < TANGLE {
                round.push(order);
            }
        }
        let mut tangles: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for event in events {
            tangles.entry(knot(event.id)).or_default().push(event);
        }
        let tangles = tangles.into_values().map(|events| Tangle {
            events: events.iter().map(|event| event.id).collect(),
            worlds: vec![World::new(events)],
        });
        Self { rounds, tangles: tangles.collect() }
    }

    fn order(
        events: &[EventId],
        users: &[UserId],
        knot: &impl Fn(EventId) -> EventId,
        before: &[Order],
        dice: &mut Dice,
    ) -> Order {
        let keyed: Vec<_> = before.iter().filter(|order| order.key.is_some()).collect();
        if !keyed.is_empty() && dice.below(4) == 0 {
            return dice.pick(&keyed).clone();
        }
        // The first event is wanted most.
        let event = events[dice.below(events.len()).min(dice.below(events.len()))];
        let wish = match dice.below(24) {
            0..=13 => Wish::Book,
            14..=20 => Wish::Cancel,
            21 | 22 => Wish::Resize(u8::try_from(1 + dice.below(4)).unwrap()),
            _ => Wish::Delete,
        };
        let by = match wish {
            Wish::Book | Wish::Cancel => dice.pick(users),
            Wish::Resize(_) | Wish::Delete => users[0],
        };
        let key = (dice.below(3) == 0).then(|| format!("{}/{}", knot(event), dice.below(2)));
        Order { by, event, wish, key }
    }

    /// Computes the possible worlds after a round, or reports the round that has none.
    fn follow(&mut self, told: &[Told], now: Timestamp, rows: &Rows) -> Result<(), String> {
        for tangle in &mut self.tangles {
            let told: Vec<_> = told.iter().filter(|one| tangle.events.contains(&one.order.event)).cloned().collect();
            let after = explain(&tangle.worlds, &told, now, rows);
            if after.is_empty() {
                return Err(tangle.report(&told, now, rows));
            }
            tangle.worlds = after;
        }
        Ok(())
    }
}

impl Tangle {
    fn report(&self, told: &[Told], now: Timestamp, rows: &Rows) -> String {
        let mut text = format!("no order explains what was told at {now}:\n");
        for Told { order, answer } in told {
            let _ = writeln!(text, "  {order:?}\n    -> {answer:?}");
        }
        let _ = writeln!(text, "It began as one of {:#?}\nStored is", self.worlds);
        for id in &self.events {
            let _ = writeln!(text, "  event {id}: {:?}", rows.events.get(id));
            for registration in of_event(&rows.registrations, *id) {
                let _ = writeln!(text, "    {registration:?}");
            }
        }
        text
    }
}

/// When the rounds are. Keys may outlive their outcome in between, by a second or not quite.
fn instants(now: Timestamp, dice: &mut Dice) -> [Timestamp; ROUNDS] {
    let pause = dice.pick(&[600, 600, 600, WEEK_SECS, WEEK_SECS + 1]);
    let long = dice.below(ROUNDS);
    let mut at = now;
    std::array::from_fn(|round| {
        at = at.plus_secs(if round == long { pause } else { 600 });
        at
    })
}

fn shuffle<T>(list: &mut [T], dice: &mut Dice) {
    for end in (1..list.len()).rev() {
        list.swap(end, dice.below(end + 1));
    }
}

async fn add_users(past: &DatabaseConnection, count: usize, now: Timestamp) -> Vec<UserId> {
    let at = instant(now);
    let rows: Vec<_> = (0..count)
        .map(|number| format!("('Ada', '{number}.{}@example.com', 'no hash', 'user', '{at}')", now.unix_secs()))
        .collect();
    let sql =
        format!("INSERT INTO users (name, email, password, role, created_at) VALUES {} RETURNING id", rows.join(", "));
    let mut ids: Vec<_> = query(past, &sql).await.iter().map(|row| UserId::new(number(row, "id")).unwrap()).collect();
    ids.sort();
    ids
}

/// Events of a few seats. Some start at a round or between two.
async fn add_events(
    past: &DatabaseConnection,
    count: usize,
    instants: &[Timestamp; ROUNDS],
    dice: &mut Dice,
) -> Vec<EventId> {
    let at = instant(instants[0]);
    let rows: Vec<_> = (0..count)
        .map(|_| {
            let starts_at = match dice.below(4) {
                0 => dice.pick(&instants[1..]).plus_secs(dice.pick(&[0, 300])),
                _ => instants[ROUNDS - 1].plus_secs(30 * 24 * 3600),
            };
            let seats = 1 + dice.below(4);
            format!("('Concert', '{}', 'Opera', {seats}, {seats}, '{at}', '{at}', 'concert')", instant(starts_at))
        })
        .collect();
    let sql = format!(
        "INSERT INTO events (title, date, venue, total_seats, available_seats, created_at, updated_at, title_folded) \
         VALUES {} RETURNING id",
        rows.join(", ")
    );
    let mut ids: Vec<_> = query(past, &sql).await.iter().map(|row| EventId::new(number(row, "id")).unwrap()).collect();
    ids.sort();
    ids
}

/// An instant as both databases read it.
fn instant(at: Timestamp) -> String {
    at.to_string().replace('Z', "+00:00")
}

// --- The search has to find wrong histories

/// Histories that did not happen on any database.
mod doctored {
    use domain::sample::{self, event_id, now, registration_id, user_id};

    use super::*;

    fn event(number: u64, seats: u64) -> Event {
        let seats = Seats::all_free(SeatCount::new(seats).unwrap());
        Event { seats, ..sample::event(number) }
    }

    /// An order about event 1.
    fn order(by: u64, wish: Wish, key: Option<&str>) -> Order {
        Order { by: user_id(by), event: event_id(1), wish, key: key.map(str::to_owned) }
    }

    /// A round as a correct database carries it out.
    struct Round {
        before: World,
        after: World,
        told: Vec<Told>,
    }

    impl Round {
        /// One order after the other.
        fn honest(before: &World, orders: &[Order], now: Timestamp) -> Self {
            let mut after = before.clone();
            let told = orders
                .iter()
                .map(|order| {
                    let answer = after.carry_out(order, now, &numbers(order));
                    Told { order: order.clone(), answer }
                })
                .collect();
            Self { before: before.clone(), after, told }
        }

        fn rows(&self) -> Rows {
            Rows {
                events: self.after.events.iter().map(|(id, event)| (*id, EventRow::of(event))).collect(),
                registrations: self.after.registrations.clone(),
            }
        }

        fn is_explained(&self) -> bool {
            self.is_explained_with(&self.rows())
        }

        fn is_explained_with(&self, rows: &Rows) -> bool {
            !explain(std::slice::from_ref(&self.before), &self.told, now(), rows).is_empty()
        }
    }

    /// Rows from which a new registration has the number of its event and user.
    fn numbers(order: &Order) -> Rows {
        let (user, event) = (order.by.get(), order.event.get());
        let row = sample::registration(event * 1_000_000 + user, user, event);
        Rows { registrations: BTreeMap::from([((order.event, order.by), row)]), ..Rows::default() }
    }

    /// A round about a new event of so many seats, without registrations.
    fn round(seats: u64, orders: &[Order]) -> Round {
        Round::honest(&World::new([event(1, seats)]), orders, now())
    }

    #[test]
    fn a_true_round_is_explained_in_any_order_of_its_answers() {
        let mut round = round(
            1,
            &[
                order(1, Wish::Book, Some("a")),
                order(2, Wish::Book, None),
                order(1, Wish::Cancel, None),
                order(2, Wish::Book, None),
                order(1, Wish::Book, Some("a")),
                order(3, Wish::Delete, None),
            ],
        );
        let kinds: Vec<_> = round.told.iter().map(Told::kind).collect();
        assert_eq!(kinds, ["booked", "sold out", "cancelled", "booked", "replayed booking", "deleted"]);
        for _ in 0..round.told.len() {
            round.told.rotate_left(1);
            assert!(round.is_explained());
            round.told.swap(0, 3);
            assert!(round.is_explained());
        }
    }

    #[test]
    fn one_seat_more_than_there_are_is_found() {
        let mut round = round(1, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
        assert!(round.is_explained());
        let mut booked = round.told[0].answer.clone().unwrap();
        let Outcome::Registration(registration) = &mut booked.outcome else { unreachable!() };
        registration.user_id = user_id(2);
        registration.id = registration_id(1_000_002);
        round.after.registrations.insert((registration.event_id, user_id(2)), registration.clone());
        round.told[1].answer = Ok(booked);
        assert!(!round.is_explained());
    }

    #[test]
    fn a_seat_that_was_refused_while_it_was_free_is_found() {
        let mut round = round(2, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
        round.after.registrations.remove(&(event_id(1), user_id(2)));
        let event = round.after.events.values_mut().next().unwrap();
        event.seats = Seats::stored(2, 1).unwrap();
        event.version = Version::new(2);
        round.told[1].answer = Err(Refusal::Booking(BookingRefused::SoldOut));
        assert!(!round.is_explained());
    }

    #[test]
    fn an_acknowledged_cancellation_that_is_not_stored_is_found() {
        let booked = round(1, &[order(1, Wish::Book, None)]);
        let round = Round::honest(&booked.after, &[order(1, Wish::Cancel, None)], now());
        assert!(round.is_explained());
        assert!(!round.is_explained_with(&booked.rows()), "the cancellation is not stored");
        let mut rows = round.rows();
        rows.events = booked.rows().events;
        assert!(!round.is_explained_with(&rows), "the seat did not come back");
        let mut rows = round.rows();
        rows.registrations = booked.rows().registrations;
        assert!(!round.is_explained_with(&rows), "the registration is held still");
    }

    #[test]
    fn an_acknowledged_booking_that_is_not_stored_is_found() {
        let empty = round(2, &[]);
        let round = round(2, &[order(1, Wish::Book, None)]);
        assert!(round.is_explained());
        assert!(!round.is_explained_with(&empty.rows()));
    }

    #[test]
    fn a_replay_of_something_else_is_found() {
        let key = Some("a");
        let mut round = round(3, &[order(1, Wish::Book, key), order(1, Wish::Cancel, None), order(1, Wish::Book, key)]);
        assert!(round.is_explained());
        let cancelled = round.told[1].answer.clone().unwrap().outcome;
        round.told[2].answer = Ok(Committed { outcome: cancelled, replayed: true });
        assert!(!round.is_explained());
    }

    #[test]
    fn a_key_that_acted_twice_is_found() {
        let key = Some("a");
        let booked = round(3, &[order(1, Wish::Book, key), order(1, Wish::Cancel, None)]);
        let mut forgetful = booked.after.clone();
        forgetful.keys.clear();
        let mut round = Round::honest(&forgetful, &[order(1, Wish::Book, key)], now());
        round.before = booked.after;
        assert!(!round.is_explained());
    }

    #[test]
    fn an_unused_key_is_not_in_progress() {
        let in_progress = Err(Refusal::Key(KeyConflict::InProgress));
        let mut alone = round(3, &[order(1, Wish::Book, Some("a")), order(2, Wish::Book, Some("a"))]);
        let mut rival = round(3, &[order(1, Wish::Book, Some("a")), order(1, Wish::Book, Some("a"))]);
        rival.told[1].answer = in_progress.clone();
        assert!(rival.is_explained());
        alone.told[1].answer = in_progress;
        alone.after = round(3, &[order(1, Wish::Book, Some("a"))]).after;
        assert!(!alone.is_explained());
    }

    #[test]
    fn a_failure_of_the_store_is_never_explained() {
        let mut round = round(1, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
        round.told[1].answer = Err(Refusal::Undeserved("Unavailable".to_owned()));
        assert!(!round.is_explained());
    }

    #[test]
    fn any_one_thing_that_is_wrong_in_a_random_history_is_found() {
        let mut dice = Dice::new();
        for number in 0..500 {
            let events: Vec<_> =
                (0..2 + dice.below(3)).map(|place| event(1 + place as u64, 1 + dice.below(4) as u64)).collect();
            let users: Vec<_> = (1..=2 + dice.below(4) as u64).map(user_id).collect();
            let mut history = History::make_up(events, &users, &mut dice);
            for orders in std::mem::take(&mut history.rounds) {
                for tangle in &mut history.tangles {
                    let mut orders = orders.clone();
                    orders.retain(|order| tangle.events.contains(&order.event));
                    shuffle(&mut orders, &mut dice);
                    let mut round = Round::honest(&tangle.worlds[0], &orders, now());
                    tangle.worlds = vec![round.after.clone()];
                    shuffle(&mut round.told, &mut dice);
                    assert!(round.is_explained(), "history {number}: {:#?}", round.told);
                    let what = doctor(&mut round, &mut dice);
                    assert!(!round.is_explained(), "history {number}, {what}: {:#?}", round.told);
                }
            }
        }
    }

    /// Makes one thing wrong in a round, and returns its name.
    fn doctor(round: &mut Round, dice: &mut Dice) -> &'static str {
        let places: Vec<_> = round.after.registrations.keys().copied().collect();
        let ids: Vec<_> = round.after.events.keys().copied().collect();
        loop {
            let event = round.after.events.get_mut(&dice.pick(&ids)).unwrap();
            let (total, available) = (event.seats.total(), event.seats.available());
            let place = (!places.is_empty()).then(|| dice.pick(&places));
            let registration = place.map(|place| round.after.registrations.get_mut(&place).unwrap());
            let told = (!round.told.is_empty()).then(|| dice.below(round.told.len()));
            match (dice.below(8), registration, told) {
                (0, ..) if available > 0 => {
                    event.seats = Seats::stored(total, available - 1).unwrap();
                    return "a seat is lost";
                }
                (1, ..) if available < total => {
                    event.seats = Seats::stored(total, available + 1).unwrap();
                    return "a seat is free that is held";
                }
                (2, ..) => {
                    event.version = event.version.next();
                    return "an event was changed once more";
                }
                (3, Some(registration), _) => {
                    registration.status = match registration.status {
                        RegistrationStatus::Confirmed => RegistrationStatus::Cancelled,
                        RegistrationStatus::Cancelled => RegistrationStatus::Confirmed,
                    };
                    return "a registration has the other status";
                }
                (4, Some(registration), _) => {
                    registration.version = registration.version.next();
                    return "a registration was changed once more";
                }
                (5, Some(_), _) => {
                    round.after.registrations.remove(&place.unwrap());
                    return "a registration is gone";
                }
                (6, _, Some(index)) => {
                    if let Ok(done) = &mut round.told[index].answer {
                        done.replayed = !done.replayed;
                        return "something done is told as replayed, or the other way round";
                    }
                }
                (7, _, Some(index)) => {
                    let told = &mut round.told[index];
                    // A change that changes nothing may as well come after the deletion.
                    if !told.did_nothing() && matches!(told.order.wish, Wish::Book | Wish::Cancel) {
                        told.answer = Err(Refusal::NoEvent);
                        return "something done is told as refused";
                    }
                }
                _ => {}
            }
        }
    }
}
