//! Orders that are committed in one batch: each gets its own answer, and none fails because of another.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapter_sql::{Sql, SqlOptions};
use domain::ports::{Audit, BookError, Bookings, CancelError, Clock, Events, StoreError, Users};
use domain::sample::{draft, event_id, new_user, once};
use domain::{
    BookSeat, BookingRefused, CancelSeat, CancellationRefused, Command, Committed, EventId, EventPatch, KeyConflict,
    Registration, RegistrationStatus, Role, UserId,
};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement};

use crate::harness::clock::MovableClock;
use crate::harness::postgres::PostgresDatabase;
use crate::harness::store::{Home, Store, connect_past, unknown_event, unknown_user};
use crate::harness::{all_at_once, until};

on_both_databases!(
    of_each_persons_orders_for_one_event_at_once_one_books,
    a_cancellation_and_a_booking_at_once_leave_the_later_state,
    three_hundred_orders_at_once_each_get_their_own_answer,
    a_key_that_comes_many_times_at_once_acts_once_and_is_replayed,
    an_order_whose_caller_hangs_up_changes_nothing_for_the_others,
    a_user_whose_account_is_gone_is_refused_alone,
    a_registration_made_by_hand_concerns_its_own_order_alone,
);

/// How long orders for an event wait for its row lock while another session holds it.
const HELD_AT_MOST: Duration = Duration::from_secs(5);

async fn of_each_persons_orders_for_one_event_at_once_one_books(store: Arc<Store>) {
    let events = [store.event(100).await.id, store.event(100).await.id];
    let users = store.users(10).await;
    let orders: Vec<_> = (0..8).flat_map(|_| &users).flat_map(|user| events.map(|event| (*user, event))).collect();
    let answers = all_at_once(orders.iter().map(|(user, event)| booking(&store, *user, *event))).await;
    let mut booked = BTreeMap::new();
    for (order, answer) in orders.iter().zip(answers) {
        match answer {
            Ok(registration) => {
                assert_eq!((registration.user_id, registration.event_id), *order);
                assert_eq!(booked.insert(*order, registration.id), None, "{order:?} was booked twice");
            }
            Err(BookError::Refused(BookingRefused::AlreadyRegistered)) => {}
            Err(other) => panic!("{order:?}: {other:?}"),
        }
    }
    assert_eq!(booked.len(), 20);
    assert_eq!(booked.values().collect::<BTreeSet<_>>().len(), 20, "each has a registration of its own");
    for event in events {
        assert_eq!(store.found(event).await.seats.available(), 90);
    }
    store.assert_consistent().await;
}

async fn a_cancellation_and_a_booking_at_once_leave_the_later_state(store: Arc<Store>) {
    let event = store.event(100).await;
    let users = store.users(20).await;
    all_at_once(users.iter().map(|user| booking(&store, *user, event.id))).await;
    let orders = users.iter().map(|&user| {
        let store = store.clone();
        async move {
            let cancelling = tokio::spawn({
                let store = store.clone();
                async move { store.cancel(user, event.id).await }
            });
            (store.book(user, event.id).await, cancelling.await.unwrap())
        }
    });
    let mut held = 0;
    for (booked, cancelled) in all_at_once(orders).await {
        let cancelled = cancelled.expect("a held seat can be cancelled");
        assert_eq!(cancelled.status, RegistrationStatus::Cancelled);
        match booked {
            Ok(booked) => {
                assert_eq!((booked.id, booked.status), (cancelled.id, RegistrationStatus::Confirmed));
                assert!(booked.version > cancelled.version, "it was booked after it was cancelled");
                held += 1;
            }
            Err(BookError::Refused(BookingRefused::AlreadyRegistered)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let after = store.found(event.id).await;
    assert_eq!(after.seats.registered(), held);
    assert_eq!(after.version.get(), event.version.get() + 20 + 20 + u64::from(held), "every change was counted");
    store.assert_consistent().await;
}

/// The size of the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum House {
    /// With seats for all users.
    Large,
    /// With seats for some users.
    Small,
    Unknown,
    Deleted,
    Started,
}

async fn three_hundred_orders_at_once_each_get_their_own_answer(store: Arc<Store>) {
    const SMALL: u64 = 4;
    let houses = [House::Large, House::Small, House::Unknown, House::Deleted, House::Started];
    let mut events = Vec::new();
    for place in 0..20 {
        let house = houses[place % houses.len()];
        let event = match house {
            House::Unknown => event_id(unknown_event().get() + place as u64),
            House::Small => store.event(SMALL).await.id,
            House::Large | House::Deleted | House::Started => store.event(100).await.id,
        };
        match house {
            House::Deleted => {
                store.delete(event).await;
            }
            House::Started => {
                let soon = Some(store.now().plus_secs(60));
                store.update(event, EventPatch { starts_at: soon, ..EventPatch::default() }).await.unwrap();
            }
            House::Large | House::Small | House::Unknown => {}
        }
        events.push((event, house));
    }
    store.clock.advance_secs(60);
    let users = store.users(15).await;
    let orders: Vec<_> =
        users.iter().flat_map(|user| events.iter().map(|(event, house)| (*user, *event, *house))).collect();
    assert_eq!(orders.len(), 300);
    let answers = all_at_once(orders.iter().map(|(user, event, _)| booking(&store, *user, *event))).await;
    let mut sold: BTreeMap<EventId, u64> = BTreeMap::new();
    for ((user, event, house), answer) in orders.into_iter().zip(answers) {
        match (house, answer) {
            (House::Large | House::Small, Ok(registration)) => {
                assert_eq!((registration.user_id, registration.event_id), (user, event));
                *sold.entry(event).or_default() += 1;
            }
            (House::Small, Err(BookError::Refused(BookingRefused::SoldOut)))
            | (House::Unknown | House::Deleted, Err(BookError::EventNotFound))
            | (House::Started, Err(BookError::Refused(BookingRefused::Started))) => {}
            (house, other) => panic!("{house:?}: {other:?}"),
        }
    }
    for (event, house) in events {
        let expected = match house {
            House::Large => Some(15),
            House::Small => Some(SMALL),
            House::Unknown | House::Deleted | House::Started => None,
        };
        assert_eq!(sold.get(&event).copied(), expected, "{house:?}");
    }
    store.assert_consistent().await;
}

async fn a_key_that_comes_many_times_at_once_acts_once_and_is_replayed(store: Arc<Store>) {
    let events = [store.event(100).await.id, store.event(100).await.id];
    let users = store.users(12).await;
    // All users use the same text as their key, each for another event by turns.
    let orders: Vec<_> =
        (0..6).flat_map(|_| users.iter().enumerate()).map(|(turn, user)| (*user, events[turn % 2])).collect();
    let answers = all_at_once(orders.iter().map(|&(user, event)| {
        let store = store.clone();
        async move { insistently(&store, user, event).await.unwrap() }
    }))
    .await;
    let mut acted = BTreeMap::new();
    for ((user, event), answer) in orders.iter().zip(&answers) {
        assert_eq!((answer.outcome.user_id, answer.outcome.event_id), (*user, *event));
        if !answer.replayed {
            assert_eq!(acted.insert(*user, answer.outcome.clone()), None, "the key acted twice");
        }
    }
    assert_eq!(acted.len(), 12);
    assert!(answers.iter().all(|answer| answer.outcome == acted[&answer.outcome.user_id]));
    for event in events {
        assert_eq!(store.found(event).await.seats.available(), 94);
    }
    store.assert_consistent().await;
}

/// Books under a key, and asks again while the key is in use, as `Retry-After` says.
async fn insistently(store: &Store, user: UserId, event: EventId) -> Result<Committed<Registration>, BookError> {
    loop {
        match store.book_once(user, event, once("k", 1)).await {
            Err(BookError::Key(KeyConflict::InProgress)) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

async fn an_order_whose_caller_hangs_up_changes_nothing_for_the_others(store: Arc<Store>) {
    let event = store.event(100).await.id;
    let users = store.users(60).await;
    let orders: Vec<_> = users.iter().map(|user| tokio::spawn(booking(&store, *user, event))).collect();
    // Some orders are not received yet, some wait in the queue, and some are in a batch.
    for (turn, order) in orders.iter().enumerate() {
        if turn % 3 == 0 {
            order.abort();
        }
        tokio::task::yield_now().await;
    }
    let mut left = Vec::new();
    for ((turn, user), order) in users.into_iter().enumerate().zip(orders) {
        match order.await {
            Ok(answer) => {
                let registration = answer.unwrap();
                assert_eq!((registration.user_id, registration.status), (user, RegistrationStatus::Confirmed));
            }
            Err(ended) => {
                assert!(ended.is_cancelled() && turn % 3 == 0, "{ended:?}");
                left.push(user);
            }
        }
    }
    store.assert_consistent().await;
    let after = u32::try_from(60 - left.len()).unwrap();
    let registered = store.found(event).await.seats.registered();
    assert!((after..=60).contains(&registered), "{registered} of {after} who waited and {} who left", left.len());
    // An order whose caller hung up was carried out as a whole or not at all.
    for user in left {
        let answer = store.book(user, event).await;
        let held = matches!(answer, Ok(_) | Err(BookError::Refused(BookingRefused::AlreadyRegistered)));
        assert!(held, "{answer:?}");
    }
    assert_eq!(store.found(event).await.seats.registered(), 60);
    store.assert_consistent().await;
}

async fn a_user_whose_account_is_gone_is_refused_alone(store: Arc<Store>) {
    let events = [store.event(100).await.id, store.event(100).await.id];
    let users = store.users(20).await;
    let gone = [users[3], users[11], unknown_user()];
    store.run_sql(&format!("DELETE FROM users WHERE id IN ({}, {})", gone[0], gone[1])).await.unwrap();
    let orders: Vec<_> = users
        .iter()
        .chain(&gone[2..])
        .enumerate()
        // Some come with a key, which is claimed before anything else.
        .flat_map(|(turn, user)| events.map(|event| (*user, event, turn % 2 == 0)))
        .collect();
    let answers = all_at_once(orders.iter().map(|&(user, event, keyed)| {
        let store = store.clone();
        let key = format!("{event}");
        async move { store.book_once(user, event, if keyed { once(&key, 1) } else { None }).await }
    }))
    .await;
    for ((user, ..), answer) in orders.iter().zip(answers) {
        if gone.contains(user) {
            assert!(matches!(answer, Err(BookError::AuthorGone)), "{answer:?}");
        } else {
            assert_eq!(answer.unwrap().outcome.user_id, *user);
        }
    }
    for event in events {
        assert_eq!(store.found(event).await.seats.registered(), 18);
    }
    let cancelled = store.cancel(gone[0], events[0]).await;
    let nothing_there =
        matches!(cancelled, Err(CancelError::AuthorGone | CancelError::Refused(CancellationRefused::NotRegistered)));
    assert!(nothing_there, "{cancelled:?}");
    store.assert_consistent().await;
}

async fn a_registration_made_by_hand_concerns_its_own_order_alone(store: Arc<Store>) {
    let event = store.event(100).await.id;
    let users = store.users(20).await;
    let (confirmed, cancelled) = (users[4], users[9]);
    store
        .run_sql(&format!(
            "INSERT INTO registrations (user_id, event_id, status) \
             VALUES ({confirmed}, {event}, 'confirmed'), ({cancelled}, {event}, 'cancelled')"
        ))
        .await
        .unwrap();
    store.run_sql(&format!("UPDATE events SET available_seats = 99 WHERE id = {event}")).await.unwrap();
    let answers = all_at_once(users.iter().map(|user| booking(&store, *user, event))).await;
    for (user, answer) in users.iter().zip(answers) {
        if *user == confirmed {
            assert!(matches!(answer, Err(BookError::Refused(BookingRefused::AlreadyRegistered))), "{answer:?}");
        } else {
            assert_eq!(answer.unwrap().user_id, *user);
        }
    }
    assert_eq!(store.found(event).await.seats.registered(), 20);
    store.assert_consistent().await;
}

/// A booking to be started with others.
fn booking(
    store: &Arc<Store>,
    user: UserId,
    event: EventId,
) -> impl Future<Output = Result<Registration, BookError>> + Send + 'static {
    let store = store.clone();
    async move { store.book(user, event).await }
}

// --- While another session holds row locks: a second instance, or an operator at the SQL prompt

/// A database with instances of the program, and an operator's own connection.
struct Site {
    instances: Vec<Sql>,
    clock: Arc<MovableClock>,
    past: DatabaseConnection,
    events: Vec<EventId>,
    users: Vec<UserId>,
    home: Home,
}

impl Site {
    async fn postgres(instances: usize, events: usize, users: usize) -> Self {
        Self::open(Home::Postgres(PostgresDatabase::migrated().await), instances, events, users).await
    }

    async fn sqlite(events: usize, users: usize) -> Self {
        Self::open(Home::sqlite(), 1, events, users).await
    }

    /// Events of a thousand seats.
    async fn open(home: Home, count: usize, events: usize, users: usize) -> Self {
        let clock = Arc::new(MovableClock::new());
        let mut instances = Vec::new();
        for _ in 0..count {
            instances.push(home.open(clock.clone()).await);
        }
        instances[0].migrate_up().await.unwrap();
        let past = connect_past(&home.url()).await;
        let mut site = Self { instances, clock, past, events: Vec::new(), users: Vec::new(), home };
        for number in 0..users {
            let new = new_user(&format!("user{number}@example.com"), Role::User, site.clock.now());
            site.users.push(site.instances[0].add(new).await.unwrap().id);
        }
        for _ in 0..events {
            let draft = draft("Concert", 1000, site.clock.now());
            let created = site.instances[0].create(Command { by: site.users[0], once: None, what: draft }).await;
            site.events.push(created.unwrap().outcome.id);
        }
        site
    }

    /// A booking at the first instance, to be started with others, and the time that it took.
    fn booking(&self, user: UserId, event: EventId) -> impl Future<Output = Answered> + Send + 'static {
        let sql = self.instances[0].clone();
        async move {
            let asked = Instant::now();
            let answer = sql.book(Command { by: user.into(), once: None, what: BookSeat { event, user } }).await;
            Answered { event, answer: answer.map(|done| done.outcome), after: asked.elapsed() }
        }
    }

    /// Each user's booking of each event, in the events' order.
    fn all_bookings(&self) -> Vec<impl Future<Output = Answered> + Send + 'static> {
        self.events.iter().flat_map(|event| self.users.iter().map(|user| self.booking(*user, *event))).collect()
    }

    async fn registered(&self, event: EventId) -> usize {
        Events::find(&self.instances[0], event).await.unwrap().unwrap().seats.registered() as usize
    }

    async fn say(&self, statement: &str) {
        self.past.execute_unprepared(statement).await.unwrap();
    }

    /// Holds an event's row lock from the operator's connection, until a `ROLLBACK`.
    async fn hold(&self, event: EventId) {
        self.say("BEGIN").await;
        self.say(&format!("SELECT id FROM events WHERE id = {event} FOR UPDATE")).await;
    }

    /// Whether a session of this database waits for a lock.
    async fn a_session_waits_for_a_lock(&self) -> bool {
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let other = connect_past(&self.home.url()).await;
        let waiting = other.query_one_raw(Statement::from_string(other.get_database_backend(), sql)).await.unwrap();
        other.close().await.unwrap();
        waiting.is_some()
    }

    async fn assert_consistent(&self) {
        assert_eq!(self.instances[0].inconsistencies().await.unwrap(), []);
    }
}

/// The answer to an order, and when it came.
#[derive(Debug)]
struct Answered {
    event: EventId,
    answer: Result<Registration, BookError>,
    after: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_one_events_row_is_held_the_others_are_booked_and_it_is_after() {
    let site = Site::postgres(1, 5, 20).await;
    let held = site.events[2];
    site.hold(held).await;
    let orders = tokio::spawn(all_at_once(site.all_bookings()));
    for event in site.events.iter().filter(|event| **event != held) {
        until("the other events' bookings", async || site.registered(*event).await == 20).await;
    }
    assert_eq!(site.registered(held).await, 0);
    site.say("ROLLBACK").await;
    for answered in orders.await.unwrap() {
        assert!(answered.answer.is_ok(), "{answered:?}");
    }
    for event in &site.events {
        assert_eq!(site.registered(*event).await, 20);
    }
    site.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_one_events_row_is_held_for_long_its_orders_are_refused_for_good() {
    let site = Site::postgres(1, 4, 10).await;
    let held = site.events[0];
    site.hold(held).await;
    let answers = all_at_once(site.all_bookings()).await;
    let first_refusal = answers.iter().filter(|one| one.event == held).map(|one| one.after).min().unwrap();
    for answered in answers {
        if answered.event == held {
            let refused = matches!(answered.answer, Err(BookError::Store(StoreError::Unavailable(_))));
            assert!(refused && answered.after < HELD_AT_MOST, "{answered:?}");
        } else {
            assert!(answered.answer.is_ok() && answered.after < first_refusal, "{answered:?}");
        }
    }
    site.say("ROLLBACK").await;
    // This booking is queued behind all others: no refused order is booked after all.
    assert!(site.booking(site.users[0], held).await.answer.is_ok());
    assert_eq!(site.registered(held).await, 1);
    site.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_wait_while_another_process_writes_to_the_file() {
    let site = Site::sqlite(3, 20).await;
    site.say("BEGIN IMMEDIATE").await;
    let orders = tokio::spawn(all_at_once(site.all_bookings()));
    for event in &site.events {
        assert_eq!(site.registered(*event).await, 0, "reading goes on");
    }
    assert!(!orders.is_finished());
    site.say("ROLLBACK").await;
    for answered in orders.await.unwrap() {
        assert!(answered.answer.is_ok(), "{answered:?}");
    }
    for event in &site.events {
        assert_eq!(site.registered(*event).await, 20);
    }
    site.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn commands_are_refused_while_another_process_writes_to_the_file_for_long() {
    let site = Site::sqlite(3, 10).await;
    site.say("BEGIN IMMEDIATE").await;
    // An order that comes while others wait waits no longer than they do.
    let waves = [0, 1, 3].map(|later| {
        let orders = all_at_once(site.all_bookings());
        async move {
            // The wave starts after this time.
            tokio::time::sleep(Duration::from_secs(later)).await;
            orders.await
        }
    });
    for answered in futures_util::future::join_all(waves).await.into_iter().flatten() {
        let refused = matches!(answered.answer, Err(BookError::Store(StoreError::Unavailable(_))));
        assert!(refused && answered.after < Duration::from_millis(5_500), "{answered:?}");
    }
    site.say("ROLLBACK").await;
    for event in &site.events {
        assert!(site.booking(site.users[0], *event).await.answer.is_ok());
        assert_eq!(site.registered(*event).await, 1);
    }
    site.assert_consistent().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_instances_that_book_from_both_ends_never_deadlock() {
    let site = Site::postgres(2, 12, 40).await;
    for round in 0..5 {
        // Each user books some of the events; a few cancel and book again.
        let mut orders = Vec::new();
        for (turn, user) in site.users.iter().enumerate() {
            let mut events = site.events.clone();
            if turn % 2 == 1 {
                events.reverse();
            }
            orders.extend(events.into_iter().map(|event| (turn % 2, *user, event)));
        }
        let answers = all_at_once(orders.iter().map(|&(instance, user, event)| {
            let sql = site.instances[instance].clone();
            let key = format!("{round}/{event}");
            async move {
                let key = if round % 2 == 0 { None } else { once(&key, 1) };
                sql.book(Command { by: user.into(), once: key, what: BookSeat { event, user } }).await
            }
        }))
        .await;
        for (order, answer) in orders.iter().zip(answers) {
            let done = answer.unwrap_or_else(|error| panic!("round {round}, {order:?}: {error:?}"));
            assert!(!done.replayed);
        }
        for event in &site.events {
            assert_eq!(site.registered(*event).await, 40, "round {round}");
        }
        let cancelled = all_at_once(orders.iter().rev().map(|&(instance, user, event)| {
            // Now at the other instance.
            let sql = site.instances[1 - instance].clone();
            let what = domain::CancelSeat { event, user };
            async move { sql.cancel(Command { by: user.into(), once: None, what }).await }
        }))
        .await;
        assert!(cancelled.iter().all(Result::is_ok), "round {round}: {cancelled:?}");
        for event in &site.events {
            assert_eq!(site.registered(*event).await, 0, "round {round}");
        }
    }
    site.assert_consistent().await;
}

/// An operator's session without foreign keys does not need the lock on the event. It inserts a registration
/// for which an order is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_registration_that_gets_past_the_lock_concerns_its_own_order_alone() {
    let site = Site::postgres(1, 2, 20).await;
    let (event, hasty) = (site.events[0], site.users[7]);
    site.say("SET session_replication_role = replica").await;
    site.say("BEGIN").await;
    site.say(&format!("INSERT INTO registrations (user_id, event_id, status) VALUES ({hasty}, {event}, 'cancelled')"))
        .await;
    let orders = tokio::spawn(all_at_once(site.all_bookings()));
    until("the batch to wait for the row", async || site.a_session_waits_for_a_lock().await).await;
    site.say("COMMIT").await;
    for answered in orders.await.unwrap() {
        assert!(answered.answer.is_ok(), "{answered:?}");
    }
    for event in &site.events {
        assert_eq!(site.registered(*event).await, 20);
    }
    site.assert_consistent().await;
}

/// A registration is numbered from a sequence, to which a role that may insert into the table needs no right of its own.
#[tokio::test]
async fn a_role_that_may_use_the_tables_books_and_cancels() {
    let site = Site::open(Home::empty_postgres().await, 1, 1, 1).await;
    let (user, event) = (site.users[0], site.events[0]);
    let role = format!("clerk_{}", std::process::id());
    site.say(&format!("CREATE ROLE {role} LOGIN PASSWORD 'clerk'")).await;
    site.say(&format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}")).await;
    let url = site.home.url();
    let url = format!("postgres://{role}:clerk@{}", url.rsplit_once('@').unwrap().1);
    let sql = Sql::connect(&SqlOptions::new(url, 2), site.clock.clone()).await.unwrap();
    let by = user.into();
    let booked = sql.book(Command { by, once: None, what: BookSeat { event, user } }).await;
    let cancelled = sql.cancel(Command { by, once: None, what: CancelSeat { event, user } }).await;
    sql.close().await;
    site.say(&format!("DROP OWNED BY {role}")).await;
    site.say(&format!("DROP ROLE {role}")).await;
    assert_eq!(booked.unwrap().outcome.id, cancelled.unwrap().outcome.id);
}
