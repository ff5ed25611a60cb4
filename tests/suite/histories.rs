//! Whether what many people were told at the same time could have been told to them one after the
//! other: bookings are committed in batches, and nobody may be able to see that.
//!
//! Random small histories run on a real database, many of them in step: what everybody asks for in
//! one round is asked for at the same instant, so orders of many histories gather in batches as they
//! happen to come. Then each history is looked at by itself. Orders about different events that share
//! no idempotency key have nothing to do with each other, and rounds do not overlap; so for the few
//! orders of a round that have to do with each other there must be *some* order in which the
//! [model](World), which is the domain's rule applied to one order at a time, gives every answer that
//! was given and ends at the very rows that are stored.
//!
//! A failure prints the seed, the round and what is stored. The seed brings back the same histories;
//! how their orders meet in batches is up to the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::sync::Arc;

use adapter_sql::Sql;
use domain::event::{BookingRefused, CancellationRefused, SeatsBelowRegistrations};
use domain::ports::{
    BookError, BookSeat, Bookings, CancelError, CancelSeat, Clock, DeleteEvent, DeleteEventError, DeletedEvent, Events,
    UpdateEvent, UpdateEventError,
};
use domain::{
    Command, Committed, Event, EventId, EventPatch, EventTitle, Fingerprint, IdempotencyKey, KeyConflict, Once,
    Precondition, Registration, RegistrationId, RegistrationStatus, SeatCount, Seats, Timestamp, UserId, Venue,
    Version,
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

/// Orders of a round that have to do with each other, at most: they are tried in every order.
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
        assert!(seen.contains_key(kind), "nobody was ever told {kind:?}: {seen:?}");
    }
}

/// What has to happen somewhere, for else nothing was tried: every answer but that a key is in use.
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

// --- What is asked for, and what is told

/// What somebody asks for.
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

/// What a write did.
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
    /// What nobody in a history has deserved: that the store failed, or that they are gone.
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

    /// Whether both come with the same idempotency key.
    fn shares_key(&self, other: &Self) -> bool {
        self.key.is_some() && self.by == other.by && self.key == other.key
    }

    fn command<T>(&self, what: T) -> Command<T> {
        let once = self
            .key
            .as_ref()
            .map(|key| Once { key: IdempotencyKey::parse(key).unwrap(), fingerprint: self.fingerprint() });
        Command { by: self.by, once, what }
    }

    async fn ask(&self, sql: &Sql) -> Answer {
        let event = self.event;
        match self.wish {
            Wish::Book => {
                done(sql.book(self.command(BookSeat { event })).await, Outcome::Registration, |error| match error {
                    BookError::EventNotFound => Refusal::NoEvent,
                    BookError::Refused(refused) => Refusal::Booking(refused),
                    BookError::Key(conflict) => Refusal::Key(conflict),
                    other => Refusal::Undeserved(format!("{other:?}")),
                })
            }
            Wish::Cancel => {
                done(sql.cancel(self.command(CancelSeat { event })).await, Outcome::Registration, |error| match error {
                    CancelError::EventNotFound => Refusal::NoEvent,
                    CancelError::Refused(refused) => Refusal::Cancellation(refused),
                    CancelError::Key(conflict) => Refusal::Key(conflict),
                    other => Refusal::Undeserved(format!("{other:?}")),
                })
            }
            Wish::Resize(seats) => {
                let what = UpdateEvent { event, patch: resize(seats), precondition: Precondition::Any };
                done(sql.update(self.command(what)).await, Outcome::Event, |error| match error {
                    UpdateEventError::NotFound => Refusal::NoEvent,
                    UpdateEventError::Seats(refused) => Refusal::Seats(refused),
                    UpdateEventError::Key(conflict) => Refusal::Key(conflict),
                    other => Refusal::Undeserved(format!("{other:?}")),
                })
            }
            Wish::Delete => {
                let what = DeleteEvent { event, precondition: Precondition::Any };
                done(sql.delete(self.command(what)).await, Outcome::Deleted, |error| match error {
                    DeleteEventError::NotFound => Refusal::NoEvent,
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
    /// Whether nothing was done for this order.
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

/// Events, registrations and keys, where one thing happens after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    events: BTreeMap<EventId, Event>,
    registrations: BTreeMap<(EventId, UserId), Registration>,
    keys: BTreeMap<(UserId, String), Kept>,
}

/// What a key stands for.
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
                event.book(status, now).map_err(Refusal::Booking)?;
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
                event.cancel(status, now).map_err(Refusal::Cancellation)?;
                cancelled(held.expect("what was cancelled"))
            }
            Wish::Resize(seats) => {
                event.revise(resize(seats), now).map_err(Refusal::Seats)?;
                return Ok(Outcome::Event(event.clone()));
            }
            Wish::Delete => {
                event.delete(now);
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

fn cancelled(registration: &Registration) -> Registration {
    Registration { status: RegistrationStatus::Cancelled, version: registration.version.next(), ..registration.clone() }
}

// --- What is stored

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
    /// The rows of these events, as somebody at the SQL prompt sees them.
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
            assert!(twice.is_none(), "somebody has two registrations of one event: {twice:?}");
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

/// The worlds there can be after a round, if it began in one of these: each is where some order of
/// what was told leads to, and has the rows that are stored. None if it cannot have happened.
fn explain(worlds: &[World], told: &[Told], now: Timestamp, rows: &Rows) -> Vec<World> {
    let (in_progress, decided): (Vec<_>, Vec<_>) =
        told.iter().partition(|one| one.answer == Err(Refusal::Key(KeyConflict::InProgress)));
    // Somebody is told that their key is in use only while it is.
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
    /// Where the search has been: what was left to explain, and in which world.
    seen: Vec<(BTreeSet<usize>, World)>,
    ends: Vec<World>,
}

impl Search<'_> {
    /// Tries to explain what is left, beginning in this world.
    fn go_on(&mut self, mut left: BTreeSet<usize>, world: World) {
        // What did nothing and can be explained here can be explained here first: whatever comes
        // after it happens in the same world as without it.
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

/// What a few people do about a few events.
struct History {
    rounds: Vec<Vec<Order>>,
    /// Events that have to do with each other, and what may be true of them by now.
    tangles: Vec<Tangle>,
}

struct Tangle {
    events: BTreeSet<EventId>,
    worlds: Vec<World>,
}

impl Company {
    /// Puts users and events into the database, and makes up what they will do.
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

    /// The numbers of its events; nobody else's are among them.
    fn events(&self) -> RangeInclusive<u64> {
        let ids = || self.histories.iter().flat_map(|history| &history.tangles).flat_map(|tangle| &tangle.events);
        ids().min().unwrap().get()..=ids().max().unwrap().get()
    }

    /// Asks for everything of a round at once; answers what was told in each history.
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

    /// Finds out what may be true now; or tells what cannot be explained.
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

// --- Whether the search finds what is wrong

/// Histories that did not happen on any database.
mod doctored {
    use super::*;

    fn noon() -> Timestamp {
        Timestamp::parse("2030-01-15T12:00:00Z").unwrap()
    }

    fn user(number: u64) -> UserId {
        UserId::new(number).unwrap()
    }

    fn event(number: u64, seats: u64) -> Event {
        Event {
            id: EventId::new(number).unwrap(),
            title: EventTitle::parse("Concert").unwrap(),
            description: None,
            starts_at: noon().plus_secs(365 * 24 * 3600),
            venue: Venue::parse("Opera").unwrap(),
            seats: Seats::all_free(SeatCount::new(seats).unwrap()),
            created_at: noon(),
            updated_at: noon(),
            deleted_at: None,
            version: Version::FIRST,
        }
    }

    /// An order about event 1.
    fn order(by: u64, wish: Wish, key: Option<&str>) -> Order {
        Order { by: user(by), event: EventId::new(1).unwrap(), wish, key: key.map(str::to_owned) }
    }

    /// A round as an honest database carries it out.
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
            !explain(std::slice::from_ref(&self.before), &self.told, noon(), rows).is_empty()
        }
    }

    /// Rows from which a new registration has the number of its event and user.
    fn numbers(order: &Order) -> Rows {
        let id = RegistrationId::new(order.event.get() * 1_000_000 + order.by.get()).unwrap();
        let row = Registration {
            id,
            user_id: order.by,
            event_id: order.event,
            status: RegistrationStatus::Confirmed,
            registered_at: noon(),
            created_at: noon(),
            version: Version::FIRST,
        };
        Rows { registrations: BTreeMap::from([((order.event, order.by), row)]), ..Rows::default() }
    }

    /// A round about an event of so many seats that nobody has booked yet.
    fn round(seats: u64, orders: &[Order]) -> Round {
        Round::honest(&World::new([event(1, seats)]), orders, noon())
    }

    #[test]
    fn whatever_happened_is_explained_in_whatever_order_it_is_told() {
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
        registration.user_id = user(2);
        registration.id = RegistrationId::new(1_000_002).unwrap();
        round.after.registrations.insert((registration.event_id, user(2)), registration.clone());
        round.told[1].answer = Ok(booked);
        assert!(!round.is_explained());
    }

    #[test]
    fn a_seat_that_was_refused_while_it_was_free_is_found() {
        let mut round = round(2, &[order(1, Wish::Book, None), order(2, Wish::Book, None)]);
        round.after.registrations.remove(&(EventId::new(1).unwrap(), user(2)));
        let event = round.after.events.values_mut().next().unwrap();
        event.seats = Seats::stored(2, 1).unwrap();
        event.version = Version::new(2);
        round.told[1].answer = Err(Refusal::Booking(BookingRefused::SoldOut));
        assert!(!round.is_explained());
    }

    #[test]
    fn a_cancellation_that_was_told_and_lost_is_found() {
        let booked = round(1, &[order(1, Wish::Book, None)]);
        let round = Round::honest(&booked.after, &[order(1, Wish::Cancel, None)], noon());
        assert!(round.is_explained());
        assert!(!round.is_explained_with(&booked.rows()), "nothing of it is stored");
        let mut rows = round.rows();
        rows.events = booked.rows().events;
        assert!(!round.is_explained_with(&rows), "the seat did not come back");
        let mut rows = round.rows();
        rows.registrations = booked.rows().registrations;
        assert!(!round.is_explained_with(&rows), "the registration is held still");
    }

    #[test]
    fn a_booking_that_was_told_and_lost_is_found() {
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
        let mut round = Round::honest(&forgetful, &[order(1, Wish::Book, key)], noon());
        round.before = booked.after;
        assert!(!round.is_explained());
    }

    #[test]
    fn a_key_that_nobody_uses_is_not_in_progress() {
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
    fn a_failure_of_the_store_is_never_deserved() {
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
            let users: Vec<_> = (1..=2 + dice.below(4) as u64).map(user).collect();
            let mut history = History::make_up(events, &users, &mut dice);
            for orders in std::mem::take(&mut history.rounds) {
                for tangle in &mut history.tangles {
                    let mut orders = orders.clone();
                    orders.retain(|order| tangle.events.contains(&order.event));
                    shuffle(&mut orders, &mut dice);
                    let mut round = Round::honest(&tangle.worlds[0], &orders, noon());
                    tangle.worlds = vec![round.after.clone()];
                    shuffle(&mut round.told, &mut dice);
                    assert!(round.is_explained(), "history {number}: {:#?}", round.told);
                    let what = doctor(&mut round, &mut dice);
                    assert!(!round.is_explained(), "history {number}, {what}: {:#?}", round.told);
                }
            }
        }
    }

    /// Makes one thing wrong in a round, and says what.
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
