//! What one adapter on its own has to keep, tried on a file: races, replays, and rows that somebody
//! wrote by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use domain::event::{BookingRefused, CancellationRefused};
use domain::ports::*;
use domain::*;
use sea_orm::ConnectionTrait;
use tempfile::TempDir;
use tokio::sync::Notify;

use super::*;

/// A clock that stands still until it is moved.
struct Wall(AtomicI64);

impl Clock for Wall {
    fn now(&self) -> Timestamp {
        Timestamp::new(DateTime::<Utc>::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap())
    }
}

impl Wall {
    fn pass(&self, time: TimeDelta) {
        self.0.fetch_add(time.num_microseconds().unwrap(), Ordering::SeqCst);
    }
}

/// A database of its own, in a file that goes with it.
struct Store {
    sql: Sql,
    wall: Arc<Wall>,
    url: String,
    _folder: TempDir,
}

fn at(raw: &str) -> Timestamp {
    Timestamp::parse(raw).unwrap()
}

impl Store {
    async fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/deep/er/boxoffice.db", folder.path().display());
        let start = at("2030-01-01T00:00:00Z").as_datetime().timestamp_micros();
        let wall = Arc::new(Wall(AtomicI64::new(start)));
        let sql = Self::connect(&url, &wall).await;
        Self { sql, wall, url, _folder: folder }
    }

    async fn connect(url: &str, wall: &Arc<Wall>) -> Sql {
        let options = SqlOptions::new(url, 8);
        Sql::connect(&options, Arc::clone(wall) as Arc<dyn Clock>).await.unwrap()
    }

    async fn ready() -> Self {
        let store = Self::empty().await;
        store.sql.migrate_up().await.unwrap();
        store
    }

    async fn by_hand(&self, sql: &str) {
        self.sql.0.pools.present().writer.execute_unprepared(sql).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        let engine = self.sql.0.pools.engine();
        let statement = sea_orm::Statement::from_string(engine.backend(), sql);
        let row = self.sql.0.pools.present().reader.query_one_raw(statement).await.unwrap().unwrap();
        row.try_get_by_index::<i64>(0).or_else(|_| row.try_get_by_index::<i32>(0).map(i64::from)).unwrap()
    }

    async fn user(&self, n: usize) -> UserId {
        let user = NewUser {
            name: PersonName::parse("Ada").unwrap(),
            email: email(n),
            password: PasswordHash::new("hash".to_owned()),
            role: Role::User,
            created_at: self.wall.now(),
        };
        self.sql.add(user).await.unwrap().id
    }

    async fn users(&self, count: usize) -> Vec<UserId> {
        let mut users = Vec::new();
        for n in 0..count {
            users.push(self.user(n).await);
        }
        users
    }

    async fn event(&self, by: UserId, title: &str, seats: u64) -> Event {
        self.event_on(by, title, seats, "2030-05-01T19:30:00Z").await
    }

    async fn event_on(&self, by: UserId, title: &str, seats: u64, date: &str) -> Event {
        let what = EventDraft {
            title: EventTitle::parse(title).unwrap(),
            description: None,
            starts_at: StartsAt::new(at(date), self.wall.now()).unwrap(),
            venue: Venue::parse("Opera").unwrap(),
            total_seats: SeatCount::new(seats).unwrap(),
        };
        self.sql.create(Command { by, once: None, what }).await.unwrap().outcome
    }

    async fn find(&self, id: EventId) -> Event {
        Arc::unwrap_or_clone(Events::find(&self.sql, id).await.unwrap().unwrap())
    }

    async fn version_of(&self, event: EventId) -> u64 {
        let question = VersionQuestion { events: [event].into(), ..VersionQuestion::default() };
        self.sql.confirm(&question).await.unwrap().events[&event].version.get()
    }

    async fn catalogue(&self) -> u64 {
        let question = VersionQuestion { catalogue: true, ..VersionQuestion::default() };
        self.sql.confirm(&question).await.unwrap().catalogue.unwrap().get()
    }

    async fn titles(&self, filter: EventFilter) -> Vec<String> {
        let page = self.sql.list(&filter, PageRequest { number: 1, size: 100 }).await.unwrap();
        assert_eq!(page.total, page.rows.len() as u64);
        page.rows.iter().map(|event| event.title.as_str().to_owned()).collect()
    }
}

fn email(n: usize) -> EmailAddress {
    EmailAddress::parse(&format!("u{n}@example.com")).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as a command takes it")]
fn once(key: &str, fingerprint: u8) -> Option<Once> {
    Some(Once { key: IdempotencyKey::parse(key).unwrap(), fingerprint: Fingerprint::new([fingerprint; 32]) })
}

fn book(by: UserId, event: &Event, once: Option<Once>) -> Command<BookSeat> {
    Command { by, once, what: BookSeat { event: event.id } }
}

fn cancel(by: UserId, event: &Event, once: Option<Once>) -> Command<CancelSeat> {
    Command { by, once, what: CancelSeat { event: event.id } }
}

fn delete(by: UserId, event: &Event, once: Option<Once>) -> Command<DeleteEvent> {
    Command { by, once, what: DeleteEvent { event: event.id, precondition: Precondition::Any } }
}

fn search(raw: &str) -> EventFilter {
    EventFilter { search: TitleSearch::parse(raw).unwrap(), ..EventFilter::default() }
}

fn first_page() -> PageRequest {
    PageRequest { number: 1, size: 100 }
}

/// Runs all at once and answers their results in order.
async fn all_at_once<T: Send + 'static>(work: Vec<impl Future<Output = T> + Send + 'static>) -> Vec<T> {
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_seats_are_sold_ten_times_to_a_hundred_who_want_one() {
    let store = Store::ready().await;
    let users = store.users(100).await;
    let event = store.event(users[0], "Concert", 10).await;
    let wishes = users.iter().map(|&user| {
        let (sql, command) = (store.sql.clone(), book(user, &event, None));
        async move { sql.book(command).await }
    });
    let mut sold = 0;
    for result in all_at_once(wishes.collect()).await {
        match result {
            Ok(_) => sold += 1,
            Err(BookError::Refused(BookingRefused::SoldOut)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(sold, 10);
    let after = store.find(event.id).await;
    assert_eq!((after.seats.available(), after.version.get()), (0, 11));
    assert_eq!(after.updated_at, event.updated_at);
    assert_eq!(store.sql.inconsistencies().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_bookings_and_cancellations_leaves_seats_and_registrations_in_agreement() {
    let store = Store::ready().await;
    let users = store.users(6).await;
    let event = store.event(users[0], "Concert", 3).await;
    let mut calls = Vec::new();
    for round in 0..30 {
        for &user in &users {
            let (sql, event) = (store.sql.clone(), event.clone());
            calls.push(async move {
                let refused = if (round + user.get()) % 2 == 0 {
                    match sql.book(book(user, &event, None)).await {
                        Ok(_) | Err(BookError::Refused(_)) => None,
                        Err(error) => Some(format!("{error:?}")),
                    }
                } else {
                    match sql.cancel(cancel(user, &event, None)).await {
                        Ok(_) | Err(CancelError::Refused(_)) => None,
                        Err(error) => Some(format!("{error:?}")),
                    }
                };
                assert_eq!(refused, None);
            });
        }
    }
    all_at_once(calls).await;
    assert_eq!(store.sql.inconsistencies().await.unwrap(), []);
    assert!(store.number("SELECT COUNT(*) FROM registrations").await <= 6, "one row per user for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seat_comes_back_however_many_cancel_at_once() {
    let store = Store::ready().await;
    let users = store.users(2).await;
    let event = store.event(users[0], "Concert", 5).await;
    for &user in &users {
        store.sql.book(book(user, &event, None)).await.unwrap();
    }
    let tries = (0..20).map(|_| {
        let (sql, command) = (store.sql.clone(), cancel(users[1], &event, None));
        async move { sql.cancel(command).await.is_ok() }
    });
    let done = all_at_once(tries.collect()).await.into_iter().filter(|&done| done).count();
    assert_eq!((done, store.find(event.id).await.seats.available()), (1, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_under_a_key_happens_once_however_often_it_comes() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    let event = store.event(user, "Concert", 10).await;
    let tries = (0..20).map(|_| {
        let (sql, command) = (store.sql.clone(), book(user, &event, once("k", 1)));
        async move { sql.book(command).await.unwrap() }
    });
    let answers = all_at_once(tries.collect()).await;
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.outcome == answers[0].outcome));
    store.sql.cancel(cancel(user, &event, once("c", 1))).await.unwrap();
    let other = store.sql.book(book(user, &event, once("k", 2))).await;
    assert!(matches!(other, Err(BookError::Key(KeyConflict::Reused))));
    store.sql.delete(delete(user, &event, once("d", 1))).await.unwrap();
    let again = store.sql.book(book(user, &event, once("k", 1))).await.unwrap();
    assert!(again.replayed, "even if the event has been deleted since");
    assert_eq!(again.outcome, answers[0].outcome);
    let again = store.sql.delete(delete(user, &event, once("d", 1))).await.unwrap();
    assert_eq!((again.replayed, again.outcome.cancelled_registrations), (true, 0));
    assert!(matches!(store.sql.delete(delete(user, &event, None)).await, Err(DeleteEventError::NotFound)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_free_again_after_a_refusal_and_after_seven_days() {
    let store = Store::ready().await;
    let users = store.users(2).await;
    let event = store.event(users[0], "Concert", 1).await;
    store.sql.book(book(users[0], &event, None)).await.unwrap();
    let refused = store.sql.book(book(users[1], &event, once("k", 1))).await;
    assert!(matches!(refused, Err(BookError::Refused(BookingRefused::SoldOut))));
    store.sql.cancel(cancel(users[0], &event, None)).await.unwrap();
    assert!(!store.sql.book(book(users[1], &event, once("k", 1))).await.unwrap().replayed);
    store.wall.pass(TimeDelta::days(7));
    assert!(store.sql.book(book(users[1], &event, once("k", 1))).await.unwrap().replayed);
    store.wall.pass(TimeDelta::seconds(1));
    let cancelled = store.sql.cancel(cancel(users[1], &event, once("k", 2))).await.unwrap();
    assert!(!cancelled.replayed);
    assert_eq!(store.sql.purge_idempotency_keys(store.wall.now()).await.unwrap(), 0);
    store.wall.pass(TimeDelta::seconds(1));
    assert_eq!(store.sql.purge_idempotency_keys(store.wall.now()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_somebody_who_is_gone_is_refused() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    let event = store.event(user, "Concert", 1).await;
    let gone = UserId::new(999).unwrap();
    assert!(matches!(store.sql.book(book(gone, &event, None)).await, Err(BookError::AuthorGone)));
    assert!(matches!(store.sql.book(book(gone, &event, once("k", 1))).await, Err(BookError::AuthorGone)));
    let patch = Command { by: gone, once: None, what: ProfilePatch::default() };
    assert!(matches!(Users::update(&store.sql, patch).await, Err(UpdateUserError::AuthorGone)));
    assert_eq!(store.find(event.id).await, event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revived_registration_is_registered_anew() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    let event = store.event(user, "Concert", 1).await;
    let first = store.sql.book(book(user, &event, None)).await.unwrap().outcome;
    store.wall.pass(TimeDelta::hours(1));
    store.sql.cancel(cancel(user, &event, None)).await.unwrap();
    let again = store.sql.cancel(cancel(user, &event, None)).await;
    assert!(matches!(again, Err(CancelError::Refused(CancellationRefused::NotRegistered))));
    let second = store.sql.book(book(user, &event, None)).await.unwrap().outcome;
    assert_eq!((second.id, second.created_at, second.version.get()), (first.id, first.created_at, 3));
    assert_eq!(second.registered_at, first.registered_at.plus_secs(3600));
    let listed = store.sql.of_user(user, RegistrationFilter::default(), first_page()).await.unwrap();
    assert_eq!((listed.total, &listed.rows[0].registration), (1, &second));
    assert_eq!(listed.rows[0].event, store.find(event.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_cancels_what_was_confirmed_and_keeps_it_readable() {
    let store = Store::ready().await;
    let users = store.users(3).await;
    let event = store.event(users[0], "Concert", 5).await;
    for &user in &users {
        store.sql.book(book(user, &event, None)).await.unwrap();
    }
    store.sql.cancel(cancel(users[2], &event, None)).await.unwrap();
    let deleted = store.sql.delete(delete(users[0], &event, None)).await.unwrap();
    assert_eq!(deleted.outcome.cancelled_registrations, 2);
    assert_eq!(Events::find(&store.sql, event.id).await.unwrap(), None);
    assert_eq!(store.sql.find_many(&[event.id]).await.unwrap(), []);
    let attendees = store.sql.of_event(event.id, RegistrationFilter::default(), first_page()).await.unwrap().unwrap();
    assert_eq!(attendees.total, 3);
    assert!(attendees.rows.iter().all(|row| row.registration.status == RegistrationStatus::Cancelled));
    assert!(attendees.rows.windows(2).all(|pair| pair[0].registration.id > pair[1].registration.id));
    let never = store.sql.of_event(EventId::new(77).unwrap(), RegistrationFilter::default(), first_page()).await;
    assert_eq!(never.unwrap(), None);
    assert!(matches!(store.sql.book(book(users[0], &event, None)).await, Err(BookError::EventNotFound)));
    assert_eq!(store.sql.inconsistencies().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_refused_when_stale_and_replayed_when_not_new() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    let event = store.event(user, "Concert", 5).await;
    let update = |precondition, title: &str, once| {
        let patch = EventPatch { title: EventTitle::parse(title).ok(), ..EventPatch::default() };
        Command { by: user, once, what: UpdateEvent { event: event.id, patch, precondition } }
    };
    store.wall.pass(TimeDelta::seconds(1));
    let first = Precondition::OneOf(vec![event.version]);
    let done = Events::update(&store.sql, update(first.clone(), "Recital", once("u", 1))).await.unwrap();
    assert_eq!((done.outcome.version.get(), done.outcome.updated_at), (2, store.wall.now()));
    assert_eq!(store.find(event.id).await, done.outcome);
    let stale = Events::update(&store.sql, update(first.clone(), "Ballet", None)).await;
    assert!(matches!(stale, Err(UpdateEventError::Stale)));
    let replay = Events::update(&store.sql, update(first, "Recital", once("u", 1))).await.unwrap();
    assert_eq!((replay.replayed, replay.outcome), (true, done.outcome.clone()));
    let nothing = Events::update(&store.sql, update(Precondition::Any, "Recital", None)).await.unwrap();
    assert_eq!(nothing.outcome, done.outcome);
    assert_eq!(store.titles(search("RECITAL")).await, ["Recital"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_belongs_to_one() {
    let store = Store::ready().await;
    let (ada, bob) = (store.user(1).await, store.user(2).await);
    let taken = |by, n| Command { by, once: once("k", 1), what: ProfilePatch { name: None, email: Some(email(n)) } };
    let refused = Users::update(&store.sql, taken(ada, 2)).await;
    assert!(matches!(refused, Err(UpdateUserError::EmailTaken)));
    let done = Users::update(&store.sql, taken(ada, 3)).await.unwrap();
    assert_eq!(done.outcome.email, email(3));
    assert!(Users::update(&store.sql, taken(ada, 3)).await.unwrap().replayed);
    assert_eq!(store.number("SELECT COUNT(*) FROM idempotency_keys WHERE outcome LIKE '%hash%'").await, 0);
    assert_eq!(Users::find(&store.sql, ada).await.unwrap(), Some(done.outcome));
    assert_eq!(store.sql.credentials(&email(2)).await.unwrap().unwrap().user.id, bob);
    assert_eq!(store.sql.role_of(bob).await.unwrap(), Some(Role::User));
    let changes = (0..20).map(|n| {
        let sql = store.sql.clone();
        let what = ProfilePatch { name: PersonName::parse(&format!("Ada {n}")).ok(), email: Some(email(100 + n)) };
        async move { Users::update(&sql, Command { by: ada, once: once(&format!("n{n}"), 1), what }).await.map(|_| ()) }
    });
    for change in all_at_once(changes.collect()).await {
        change.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_spent_once_and_its_return_ends_the_family() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    let token = |n: u8| RefreshDigest::new([n; 32]);
    let (now, later) = (store.wall.now(), store.wall.now().plus_secs(60));
    store.sql.open(user, token(1), now, later).await.unwrap();
    assert_eq!(store.sql.rotate(token(1), token(2), now).await.unwrap().id, user);
    assert!(matches!(store.sql.rotate(token(9), token(3), now).await, Err(RotateError::Invalid)));
    assert!(matches!(store.sql.rotate(token(1), token(3), now).await, Err(RotateError::Reused)));
    assert!(matches!(store.sql.rotate(token(2), token(3), now).await, Err(RotateError::Invalid)));
    store.sql.open(user, token(10), now, later).await.unwrap();
    assert!(matches!(store.sql.rotate(token(10), token(11), later).await, Err(RotateError::Invalid)));
    store.sql.revoke(token(77), now).await.unwrap();
    assert_eq!(store.sql.purge(later).await.unwrap(), 1);
    assert_eq!(store.sql.purge(later.plus_secs(1)).await.unwrap(), 1);
    assert_eq!(store.number("SELECT COUNT(*) FROM refresh_tokens").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_while_it_is_renewed_leaves_no_live_token() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    let (now, later) = (store.wall.now(), store.wall.now().plus_secs(60));
    for round in 0..20_u8 {
        let token = move |n: u8| RefreshDigest::new([round, n].repeat(16).try_into().unwrap());
        store.sql.open(user, token(0), now, later).await.unwrap();
        let mut race: Vec<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>> = Vec::new();
        for n in 1..5 {
            let sql = store.sql.clone();
            race.push(Box::pin(async move {
                match sql.rotate(token(0), token(n), now).await {
                    Ok(_) | Err(RotateError::Invalid | RotateError::Reused) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }));
        }
        let sql = store.sql.clone();
        race.push(Box::pin(async move { sql.revoke(token(0), now).await.unwrap() }));
        all_at_once(race).await;
        for n in 0..5 {
            assert!(store.sql.rotate(token(n), token(99), now).await.is_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_migrate_an_empty_database_at_once_both_find_it_ready() {
    let store = Store::empty().await;
    assert!(store.sql.migration_status().await.unwrap().iter().all(|(_, applied)| !applied));
    let starts = (0..4).map(|_| {
        let (url, wall) = (store.url.clone(), Arc::clone(&store.wall));
        async move {
            let sql = Store::connect(&url, &wall).await;
            sql.migrate_up().await.map(|()| sql)
        }
    });
    let mut names = Vec::new();
    for started in all_at_once(starts.collect()).await {
        let sql = started.unwrap();
        names.push(sql.database_id().await.unwrap());
        sql.close().await;
    }
    assert!(names.iter().all(|name| *name == names[0] && name.len() >= 32), "{names:?}");
    let all = store.sql.migration_status().await.unwrap();
    assert!(all.iter().all(|(_, applied)| *applied));
    for _ in &all {
        store.sql.migrate_down().await.unwrap();
    }
    assert!(store.sql.migration_status().await.unwrap().iter().all(|(_, applied)| !applied));
    store.sql.migrate_up().await.unwrap();
    store.user(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_ordered_and_counted() {
    let store = Store::ready().await;
    let user = store.user(1).await;
    for (title, date) in [
        ("École 100%", "2030-05-01T00:00:00Z"),
        ("b_c", "2030-05-01T00:00:00.5Z"),
        ("bxc", "2030-05-01T00:00:00.500001Z"),
        ("Zoo", "2030-05-02T00:00:00Z"),
        ("zoo", "2030-05-02T00:00:00Z"),
    ] {
        store.event_on(user, title, 1, date).await;
    }
    assert_eq!(store.titles(EventFilter::default()).await, ["École 100%", "b_c", "bxc", "Zoo", "zoo"]);
    assert_eq!(store.titles(search("éCOLE 100%")).await, ["École 100%"]);
    assert_eq!(store.titles(search("B_C")).await, ["b_c"]);
    assert_eq!(store.titles(search("\\")).await, Vec::<String>::new());
    let order = |raw: &str| EventFilter { order: EventOrder::parse(raw).unwrap(), ..EventFilter::default() };
    assert_eq!(store.titles(order("title")).await, ["b_c", "bxc", "Zoo", "zoo", "École 100%"]);
    assert_eq!(store.titles(order("-date")).await, ["Zoo", "zoo", "bxc", "b_c", "École 100%"]);
    let between =
        |from: &str, to: &str| EventFilter { from: Some(at(from)), to: Some(at(to)), ..EventFilter::default() };
    assert_eq!(store.titles(between("2030-05-01T00:00:00Z", "2030-05-01T00:00:00Z")).await, ["École 100%"]);
    assert_eq!(store.titles(between("2030-05-01T00:00:00.5Z", "2030-05-01T00:00:00.5Z")).await, ["b_c"]);
    assert_eq!(
        store.titles(between("2030-05-01T00:00:00.000001Z", "2030-05-01T23:59:59.999999Z")).await,
        ["b_c", "bxc"]
    );
    let zoo = store.sql.list(&search("zoo"), first_page()).await.unwrap().rows[0].clone();
    assert_eq!(store.sql.find_many(&[zoo.id, EventId::new(77).unwrap()]).await.unwrap(), std::slice::from_ref(&zoo));
    store.sql.book(book(user, &zoo, None)).await.unwrap();
    let available = EventFilter { available_only: true, ..search("zoo") };
    assert_eq!(store.titles(available).await, ["zoo"]);
    assert_eq!(store.titles(order("available_seats")).await[0], "Zoo");
    let past = store.sql.list(&EventFilter::default(), PageRequest { number: 9, size: 2 }).await.unwrap();
    assert_eq!((past.total, past.rows.len()), (5, 0));
    let second = store.sql.list(&EventFilter::default(), PageRequest { number: 2, size: 2 }).await.unwrap();
    assert_eq!((second.total, second.rows[0].title.as_str()), (5, "bxc"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_moves_with_what_lists_show_and_with_nothing_else() {
    let store = Store::ready().await;
    let users = store.users(2).await;
    let mut last = store.catalogue().await;
    let mut moved = async || {
        let now = store.catalogue().await;
        let moved = now - last;
        last = now;
        moved
    };
    let event = store.event(users[0], "Concert", 2).await;
    assert_eq!(moved().await, 1);
    store.sql.book(book(users[0], &event, None)).await.unwrap();
    assert_eq!(moved().await, 0);
    store.sql.book(book(users[1], &event, None)).await.unwrap();
    assert_eq!(moved().await, 1, "sold out");
    store.sql.cancel(cancel(users[1], &event, None)).await.unwrap();
    assert_eq!(moved().await, 1, "seats again");
    let patch = EventPatch { venue: Venue::parse("Park").ok(), ..EventPatch::default() };
    let what = UpdateEvent { event: event.id, patch, precondition: Precondition::Any };
    Events::update(&store.sql, Command { by: users[0], once: None, what }).await.unwrap();
    assert_eq!(moved().await, 1);
    store.sql.delete(delete(users[0], &event, None)).await.unwrap();
    assert_eq!(moved().await, 1);
    assert_eq!(store.version_of(event.id).await, 6, "each change counts once");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_of_many_kinds_are_confirmed_together() {
    let store = Store::ready().await;
    let users = store.users(2).await;
    let event = store.event(users[0], "Concert", 5).await;
    store.sql.book(book(users[0], &event, None)).await.unwrap();
    store.sql.cancel(cancel(users[0], &event, None)).await.unwrap();
    store.sql.delete(delete(users[0], &event, None)).await.unwrap();
    let many = (1..40_000).filter_map(EventId::new).collect();
    let question = VersionQuestion { catalogue: true, events: many, attendees: users.iter().copied().collect() };
    let answer = store.sql.confirm(&question).await.unwrap();
    assert!(answer.catalogue.is_some());
    assert_eq!(answer.events.len(), 1);
    assert_eq!(answer.events[&event.id], EventStamp { version: Version::new(4), deleted: true });
    assert_eq!(answer.attendees, [(users[0], Version::new(2))].into());
    assert_eq!(store.sql.confirm(&VersionQuestion::default()).await.unwrap(), VersionAnswer::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_by_hand_are_read_counted_and_sorted() {
    let store = Store::ready().await;
    let before = store.catalogue().await;
    store
        .by_hand("INSERT INTO users (name, email, password, role) VALUES ('Ada', 'Ada@Example.com', 'x', 'user')")
        .await;
    store
        .by_hand(
            "INSERT INTO events (title, description, date, venue, total_seats, available_seats) VALUES
             (' Late ', NULL, '2030-01-01T10:00:00.250Z', 'Opera', 5, 4),
             ('Early', 'x', '2030-01-01 10:00:00', 'Opera', 5, 5),
             ('Middle', 'x', '2030-01-01T12:00:00.000+02:00', 'Opera', 5, 5)",
        )
        .await;
    store.by_hand("INSERT INTO registrations (user_id, event_id, status) VALUES (1, 1, 'confirmed')").await;
    let one = EventId::new(1).unwrap();
    assert!(store.catalogue().await > before);
    assert_eq!(store.titles(EventFilter::default()).await, ["Early", "Middle", "Late"]);
    assert_eq!(store.titles(search("LATE")).await, ["Late"]);
    let exact = EventFilter {
        from: Some(at("2030-01-01T10:00:00Z")),
        to: Some(at("2030-01-01T10:00:00Z")),
        ..EventFilter::default()
    };
    assert_eq!(store.titles(exact).await, ["Early", "Middle"]);
    let page = store.sql.of_user(UserId::new(1).unwrap(), RegistrationFilter::default(), first_page()).await.unwrap();
    assert_eq!(page.rows[0].event.id, one);
    assert_eq!(store.sql.inconsistencies().await.unwrap(), []);

    let (version, catalogue) = (store.version_of(one).await, store.catalogue().await);
    store.by_hand("UPDATE events SET title = 'Renamed' WHERE id = 1").await;
    assert!(store.version_of(one).await > version);
    assert!(store.catalogue().await > catalogue);
    assert_eq!(store.titles(search("renamed")).await, ["Renamed"]);
    let version = store.version_of(one).await;
    store.by_hand("UPDATE events SET available_seats = 3 WHERE id = 1").await;
    assert_eq!(store.version_of(one).await, version + 1);
    let found = store.sql.inconsistencies().await.unwrap();
    let [Inconsistency::Seats(seats)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((seats.available_seats, seats.confirmed), (3, 1));
    store.by_hand("UPDATE registrations SET status = 'cancelled'").await;
    assert_eq!(store.number("SELECT version FROM registrations").await, 2);
    store.by_hand("DELETE FROM registrations").await;
    let catalogue = store.catalogue().await;
    store.by_hand("DELETE FROM events WHERE id = 1").await;
    assert!(store.catalogue().await > catalogue);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_the_domain_would_not_write_is_a_fault_that_names_it() {
    let store = Store::ready().await;
    store
        .by_hand(
            "INSERT INTO events (title, date, venue, total_seats, available_seats)
             VALUES ('', '2030-01-01 10:00:00', 'Opera', 5, 5)",
        )
        .await;
    let fault = Events::find(&store.sql, EventId::new(1).unwrap()).await.unwrap_err().to_string();
    assert!(fault.contains("events 1: title"), "{fault}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_goes_on_when_its_caller_is_gone() {
    let store = Store::ready().await;
    let users = store.users(20).await;
    let event = store.event(users[0], "Concert", 20).await;
    for &user in &users {
        let (sql, command) = (store.sql.clone(), book(user, &event, None));
        let impatient = tokio::spawn(async move { sql.book(command).await.map(|_| ()) });
        tokio::task::yield_now().await;
        impatient.abort();
        drop(impatient.await);
    }
    // Each either never began or was carried out; none is half done, and the writer is free.
    let again = store.event(users[0], "Recital", 1).await;
    store.sql.book(book(users[0], &again, None)).await.unwrap();
    assert_eq!(store.sql.inconsistencies().await.unwrap(), []);
    assert!(store.sql.pool_states().iter().all(|pool| (1..=pool.max).contains(&pool.open)));
    assert!(store.sql.ping().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_connection_is_seen_in_its_line() {
    let store = Store::ready().await;
    let (begun, released) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let holder = tokio::spawn({
        let (sql, begun, released) = (store.sql.clone(), Arc::clone(&begun), Arc::clone(&released));
        let hold = async move |writing: crate::work::Writing| {
            let tx = writing.begin().await?;
            begun.notify_one();
            released.notified().await;
            tx.discard().await;
            Ok::<_, StoreError>(())
        };
        async move { sql.write("hold", hold).await }
    });
    begun.notified().await;
    let waiter = tokio::spawn({
        let sql = store.sql.clone();
        async move { sql.purge_idempotency_keys(at("2029-01-01T00:00:00Z")).await }
    });
    let waiting = || store.sql.pool_states().map(|pool| pool.waiting);
    while waiting() != [1, 0] {
        tokio::task::yield_now().await;
    }
    let [writer, reader] = store.sql.pool_states();
    assert_eq!((writer.name, writer.max, writer.open, writer.idle), ("writer", 1, 1, 0));
    assert_eq!((reader.name, reader.max), ("reader", 8));
    released.notify_one();
    holder.await.unwrap().unwrap();
    waiter.await.unwrap().unwrap();
    assert_eq!(waiting(), [0, 0]);
}
