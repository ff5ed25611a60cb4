//! A store behind the domain's ports, whichever adapters and decorators it is made of, with the
//! people and events a test needs in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use adapter_memory::MemoryBodies;
use adapter_redis::{Redis, RedisBodies};
use adapter_sql::{Sql, SqlOptions};
use caching::{Bodies, Cache, CacheOptions, CachedEvents, CachedRegistrations, Seal, Tiered};
use domain::ports::{
    Audit, BookError, Bookings, CancelError, Clock, Events, Registrations, SeatChanges, Sessions, UpdateEventError,
    Users, VersionAnswer, VersionQuestion, Versions,
};
use domain::sample::{self, event_id, new_user, page, user_id};
use domain::{
    BookSeat, CancelSeat, Command, Committed, DeleteEvent, DeletedEvent, Event, EventDraft, EventFilter, EventId,
    EventPatch, Once, Precondition, Registration, Role, Timestamp, UpdateEvent, User, UserId,
};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::clock::MovableClock;
use super::postgres::{PostgresDatabase, PostgresServer};
use super::redis::shared_url;

/// The size of the cache in the process.
const MAX_BYTES: u64 = 8 << 20;

/// The timeout of a read of bodies from Redis.
pub const FAR: Duration = Duration::from_millis(90);

/// Every port of one database. The clock stands still until a test moves it.
pub struct Store {
    /// The programme, through a cache if the store has one.
    pub events: Arc<dyn Events>,
    /// The lists of registrations, through a cache if the store has one.
    pub registrations: Arc<dyn Registrations>,
    pub bookings: Arc<dyn Bookings>,
    pub users: Arc<dyn Users>,
    pub sessions: Arc<dyn Sessions>,
    pub versions: Arc<dyn Versions>,
    pub audit: Arc<dyn Audit>,
    pub clock: Arc<MovableClock>,
    sql: Arc<Sql>,
    home: Home,
    people: AtomicU32,
    admin: OnceCell<UserId>,
}

/// A database, dropped with this value.
pub enum Home {
    Sqlite(TempDir),
    Postgres(PostgresDatabase),
    /// The one database of a server that a test can break.
    Server(PostgresServer),
}

impl Home {
    /// A place for a SQLite file.
    pub fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    /// A Postgres database without any table.
    pub async fn empty_postgres() -> Self {
        Self::Postgres(PostgresDatabase::empty().await)
    }

    /// Opens it as the program does.
    pub async fn open(&self, clock: Arc<MovableClock>) -> Sql {
        Sql::connect(&SqlOptions::new(self.url(), 10), clock).await.unwrap()
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        match self {
            Self::Sqlite(folder) => format!("sqlite://{}", folder.path().join("boxoffice.db").display()),
            Self::Postgres(database) => database.url(),
            Self::Server(server) => server.url(),
        }
    }
}

impl Store {
    /// A SQLite file.
    pub async fn sqlite() -> Self {
        let (sql, clock, home) = Self::migrated_sqlite().await;
        Self::plain(sql, clock, home)
    }

    /// A Postgres database.
    pub async fn postgres() -> Self {
        let (sql, clock, home) = Self::migrated_postgres().await;
        Self::plain(sql, clock, home)
    }

    /// A SQLite file behind a cache in the process: the embedded default.
    pub async fn sqlite_cached() -> Self {
        let (sql, clock, home) = Self::migrated_sqlite().await;
        Self::cached(sql, clock, home, Arc::new(MemoryBodies::new(MAX_BYTES)))
    }

    /// A Postgres database behind a cache in the process and in Redis, as in production. The Redis is
    /// shared with other tests, whose bodies stand under the same keys: each is rubbish to all others.
    pub async fn postgres_cached() -> Self {
        Self::postgres_cached_by(&shared_url()).await
    }

    /// A Postgres database behind a cache in the process and in this Redis.
    pub async fn postgres_cached_by(redis_url: &str) -> Self {
        let (sql, clock, home) = Self::migrated_postgres().await;
        let seal = Seal::new(b"a secret of at least thirty-two bytes", &sql.database_id().await.unwrap());
        let redis = Redis::new(redis_url).unwrap();
        let near = Arc::new(MemoryBodies::new(MAX_BYTES));
        let far = Arc::new(RedisBodies::new(redis, seal));
        Self::cached(sql, clock, home, Arc::new(Tiered::new(near, far, FAR)))
    }

    async fn migrated_sqlite() -> (Sql, Arc<MovableClock>, Home) {
        let home = Home::sqlite();
        let clock = Arc::new(MovableClock::new());
        let sql = home.open(clock.clone()).await;
        sql.migrate_up().await.unwrap();
        (sql, clock, home)
    }

    async fn migrated_postgres() -> (Sql, Arc<MovableClock>, Home) {
        let home = Home::Postgres(PostgresDatabase::migrated().await);
        let clock = Arc::new(MovableClock::new());
        (home.open(clock.clone()).await, clock, home)
    }

    fn plain(sql: Sql, clock: Arc<MovableClock>, home: Home) -> Self {
        let sql = Arc::new(sql);
        Self {
            events: sql.clone(),
            registrations: sql.clone(),
            bookings: sql.clone(),
            users: sql.clone(),
            sessions: sql.clone(),
            versions: sql.clone(),
            audit: sql.clone(),
            clock,
            sql,
            home,
            people: AtomicU32::new(0),
            admin: OnceCell::new(),
        }
    }

    fn cached(sql: Sql, clock: Arc<MovableClock>, home: Home, bodies: Arc<dyn Bodies>) -> Self {
        let plain = Self::plain(sql, clock, home);
        let cache = Cache::new(plain.versions.clone(), bodies, CacheOptions::default());
        Self {
            events: Arc::new(CachedEvents::new(plain.events.clone(), cache.clone())),
            registrations: Arc::new(CachedRegistrations::new(plain.registrations.clone(), cache)),
            ..plain
        }
    }

    /// The adapter itself, for the ports that no cache stands before.
    pub fn sql(&self) -> &Sql {
        &self.sql
    }

    /// The same database as another process has it open.
    pub async fn another(&self) -> Sql {
        self.home.open(self.clock.clone()).await
    }

    /// Has it announce changes of seats there.
    pub fn announce_to(&self, changes: Arc<dyn SeatChanges>) {
        self.sql.announce_to(changes);
    }

    /// The present instant of the store's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Adds a new user.
    pub async fn user(&self) -> User {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        self.add_user(&format!("user{number}@example.com"), Role::User).await
    }

    /// Adds so many new users.
    pub async fn users(&self, count: usize) -> Vec<UserId> {
        let mut users = Vec::with_capacity(count);
        for _ in 0..count {
            users.push(self.user().await.id);
        }
        users
    }

    /// The admin in whose name events are written.
    pub async fn admin(&self) -> UserId {
        *self.admin.get_or_init(|| async { self.add_user("admin@example.com", Role::Admin).await.id }).await
    }

    async fn add_user(&self, email: &str, role: Role) -> User {
        self.users.add(new_user(email, role, self.now())).await.unwrap()
    }

    /// An event in a month, with so many seats.
    pub async fn event(&self, seats: u64) -> Event {
        self.add_event(self.draft("Concert", seats)).await
    }

    /// An event of this title, in a month.
    pub async fn event_titled(&self, title: &str) -> Event {
        self.add_event(self.draft(title, 10)).await
    }

    /// Puts an event on the programme.
    pub async fn add_event(&self, draft: EventDraft) -> Event {
        let by = self.admin().await;
        self.events.create(Command { by, once: None, what: draft }).await.unwrap().outcome
    }

    /// An event in a month.
    pub fn draft(&self, title: &str, seats: u64) -> EventDraft {
        sample::draft(title, seats, self.now())
    }

    /// The event, which has to be there.
    pub async fn found(&self, event: EventId) -> Event {
        Arc::unwrap_or_clone(self.events.find(event).await.unwrap().expect("the event"))
    }

    /// Every event of a filter, in its order.
    pub async fn listed(&self, filter: &EventFilter) -> Vec<Event> {
        let page = self.events.list(filter, page(1, 100)).await.unwrap();
        assert_eq!(page.total, page.rows.len() as u64);
        Arc::unwrap_or_clone(page).rows
    }

    pub async fn book(&self, user: UserId, event: EventId) -> Result<Registration, BookError> {
        self.book_once(user, event, None).await.map(|done| done.outcome)
    }

    pub async fn book_once(
        &self,
        user: UserId,
        event: EventId,
        once: Option<Once>,
    ) -> Result<Committed<Registration>, BookError> {
        self.bookings.book(Command { by: user.into(), once, what: BookSeat { event, user } }).await
    }

    pub async fn cancel(&self, user: UserId, event: EventId) -> Result<Registration, CancelError> {
        self.cancel_once(user, event, None).await.map(|done| done.outcome)
    }

    pub async fn cancel_once(
        &self,
        user: UserId,
        event: EventId,
        once: Option<Once>,
    ) -> Result<Committed<Registration>, CancelError> {
        self.bookings.cancel(Command { by: user.into(), once, what: CancelSeat { event, user } }).await
    }

    pub async fn update(&self, event: EventId, patch: EventPatch) -> Result<Event, UpdateEventError> {
        let what = UpdateEvent { event, patch, precondition: Precondition::Any };
        self.events.update(Command { by: self.admin().await.into(), once: None, what }).await.map(|done| done.outcome)
    }

    pub async fn delete(&self, event: EventId) -> DeletedEvent {
        let what = DeleteEvent { event, precondition: Precondition::Any };
        self.events.delete(Command { by: self.admin().await.into(), once: None, what }).await.unwrap().outcome
    }

    /// Forgets the idempotency keys that were claimed before this instant; answers how many there were.
    pub async fn purge_keys(&self, older_than: Timestamp) -> u64 {
        self.sql.purge_idempotency_keys(older_than).await.unwrap()
    }

    /// The present versions of everything named.
    pub async fn confirm(&self, events: &[EventId], attendees: &[UserId]) -> VersionAnswer {
        let question = VersionQuestion {
            catalogue: true,
            events: events.iter().copied().collect(),
            attendees: attendees.iter().copied().collect(),
        };
        self.versions.confirm(&question).await.unwrap()
    }

    /// Fails if seats and registrations do not agree anywhere.
    pub async fn assert_consistent(&self) {
        assert_eq!(self.audit.inconsistencies().await.unwrap(), []);
    }

    /// Runs a statement past the program, as an operator at the SQL prompt would.
    pub async fn run_sql(&self, statement: &str) -> Result<(), DbErr> {
        let database = connect_past(&self.home.url()).await;
        let done = database.execute_unprepared(statement).await.map(drop);
        database.close().await?;
        done
    }
}

/// Undoes a change of the tables, and all later ones, as if they had never been made.
pub async fn undo(sql: &Sql, change: &str) {
    while sql.migration_status().await.unwrap().iter().any(|(name, made)| name == change && *made) {
        sql.migrate_down().await.unwrap();
    }
}

/// A connection past the program.
pub async fn connect_past(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    Database::connect(options).await.unwrap()
}

/// The id of a user that never existed.
pub fn unknown_user() -> UserId {
    user_id(4_000_000)
}

/// The id of an event that never existed.
pub fn unknown_event() -> EventId {
    event_id(4_000_000)
}
