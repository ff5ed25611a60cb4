//! What a batch loads into the books of its events and writes back from them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::ports::StoreError;
use domain::{Author, Event, EventId, Happening, Registration, RegistrationId, SeatBook, Timestamp, UserId};
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement, TryGetable, Value};

use super::progress::{Progress, Transaction};
use crate::access::bulk_rows::BulkRows;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Writing;
use crate::access::timeline::COLUMN as TIMELINE;
use crate::access::transaction::Tx;
use crate::tables::rows::{On, Row, Text, columns, event, registration, stored};
use crate::tables::{cancellations, events};

/// What to do about an event whose row another transaction holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// Leave its commands undecided.
    SkipHeld,
    /// Wait for it, as long as the connection lets one wait.
    Wait,
}

/// The books of the events that are locked and stand, or why an event's row cannot be read.
#[derive(Debug, Default)]
pub(super) struct Books(HashMap<EventId, Result<Locked, StoreError>>);

#[derive(Debug)]
struct Locked {
    book: SeatBook,
    title_folded: Text,
}

impl Books {
    /// The book of an event; `None` if the event does not stand.
    pub(super) fn get(&mut self, event: EventId) -> Result<Option<&mut SeatBook>, StoreError> {
        match self.0.get_mut(&event) {
            None => Ok(None),
            Some(Ok(locked)) => Ok(Some(&mut locked.book)),
            Some(Err(error)) => Err(error.clone()),
        }
    }

    pub(super) fn is_changed(&self) -> bool {
        self.changed().next().is_some()
    }

    /// Which events have seats left.
    pub(super) fn seats_left(&self) -> impl Iterator<Item = (EventId, bool)> {
        self.readable().map(|locked| locked.book.event()).map(|event| (event.id, event.seats.available() > 0))
    }

    /// What was done, event by event.
    pub(super) fn into_happened(self) -> Vec<Happening> {
        self.0.into_values().flatten().flat_map(|locked| locked.book.into_happened()).collect()
    }

    fn readable(&self) -> impl Iterator<Item = &Locked> {
        self.0.values().filter_map(|locked| locked.as_ref().ok())
    }

    fn changed(&self) -> impl Iterator<Item = &Locked> {
        self.readable().filter(|locked| locked.book.is_changed())
    }
}

/// The statements of one transaction.
pub(super) struct Store<'a> {
    pub(super) tx: &'a Tx,
    pub(super) engine: Engine,
}

impl<'a> Store<'a> {
    pub(super) fn new(tx: &'a Tx, engine: Engine) -> Self {
        Self { tx, engine }
    }

    /// Locks events by id and opens the books of those that stand. Answers those that another transaction holds.
    pub(super) async fn lock_events(
        &self,
        wanted: &BTreeSet<EventId>,
        locking: Locking,
        progress: &Progress,
    ) -> Result<(Books, HashSet<EventId>), StoreError> {
        let numbers = || self.engine.numbers(wanted.iter().map(|id| stored(id.get())));
        let is_wanted = self.engine.is_one_of("id", 1);
        let (transaction, lock) = match (self.engine, locking) {
            (Engine::Postgres, Locking::SkipHeld) => {
                (", pg_current_xact_id()::text AS transaction", "FOR UPDATE SKIP LOCKED")
            }
            (Engine::Postgres, Locking::Wait) => (", pg_current_xact_id()::text AS transaction", "FOR UPDATE"),
            (Engine::Sqlite, _) => ("", ""),
        };
        let (columns, timeline) = (columns::<event::Entity>("events"), self.engine.timeline());
        let sql = format!(
            "SELECT {columns}, {timeline} AS {TIMELINE}{transaction} FROM events WHERE {is_wanted} ORDER BY id {lock}"
        );
        let (mut books, mut found) = (Books::default(), HashSet::new());
        for row in self.query(&sql, vec![numbers()]).await? {
            let timeline = self.tx.read_on(&row)?;
            if self.engine == Engine::Postgres {
                progress.known().transaction = Some(Transaction { id: column(&row, "transaction")?, timeline });
            }
            let row = event::Model::from_query_result(&row, "").map_err(failed)?;
            let id = Row { table: "events", id: row.id }.event_id("id", row.id)?;
            found.insert(id);
            if row.deleted_at.is_none() {
                let title_folded = row.title_folded.clone();
                let event = Event::try_from(On { row, timeline });
                books.0.insert(id, event.map(|event| Locked { book: SeatBook::open(event), title_folded }));
            }
        }
        if self.engine == Engine::Sqlite || locking == Locking::Wait || found.len() == wanted.len() {
            return Ok((books, HashSet::new()));
        }
        // What was passed over is held, unless it never was.
        let sql = format!("SELECT id FROM events WHERE {is_wanted}");
        let mut held = HashSet::new();
        for row in self.query(&sql, vec![numbers()]).await? {
            let id: i64 = column(&row, "id")?;
            let id = Row { table: "events", id }.event_id("id", id)?;
            if !found.contains(&id) {
                held.insert(id);
            }
        }
        Ok((books, held))
    }

    /// Enters users' registrations into the books, with the number of a new one where one may be made. Answers
    /// when the users' accounts were made; a user without an account is not among them.
    pub(super) async fn load_registrations(
        &self,
        books: &mut Books,
        wanted: &BTreeMap<(UserId, EventId), bool>,
    ) -> Result<HashMap<UserId, Timestamp>, StoreError> {
        let mut accounts = HashMap::new();
        if wanted.is_empty() {
            return Ok(accounts);
        }
        let given = self
            .rows()
            .numbers("user_id", wanted.keys().map(|(user, _)| stored(user.get())))
            .numbers("event_id", wanted.keys().map(|(_, event)| stored(event.get())))
            .numbers("is_new", wanted.values().map(|is_new| i64::from(*is_new)));
        let is_new = "registrations.id IS NULL AND given.is_new = 1";
        let number = match self.engine {
            Engine::Postgres => format!("CASE WHEN {is_new} THEN nextval('registrations_id_seq') END"),
            // The write lock is held: the numbers after the greatest that was ever given out are free.
            Engine::Sqlite => format!(
                "CASE WHEN {is_new} THEN row_number() OVER (PARTITION BY {is_new} ORDER BY given.user_id, given.event_id) \
                 + COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'registrations'), 0) END"
            ),
        };
        // Through an index of users: that of events (`+ 0` rules it out) would lead to all who are booked.
        let sql = format!(
            "SELECT given.user_id AS holder, given.event_id AS event, users.created_at AS account_since, \
             {number} AS number, {} FROM {} JOIN users ON users.id = given.user_id LEFT JOIN registrations \
             ON registrations.user_id = given.user_id AND registrations.event_id + 0 = given.event_id",
            columns::<registration::Entity>("registrations"),
            given.table()
        );
        let timeline = self.tx.timeline().await?;
        for row in self.query(&sql, given.values()).await? {
            let (user, event): (i64, i64) = (column(&row, "holder")?, column(&row, "event")?);
            let user = Row { table: "users", id: user }.user_id("id", user)?;
            accounts.insert(user, Timestamp::stored(column(&row, "account_since")?));
            let event = Row { table: "events", id: event }.event_id("id", event)?;
            let Some(Ok(Locked { book, .. })) = books.0.get_mut(&event) else { continue };
            let registration = match column::<Option<i64>>(&row, "id")? {
                Some(_) => {
                    let row = registration::Model::from_query_result(&row, "").map_err(failed)?;
                    Some(Registration::try_from(On { row, timeline })?)
                }
                None => None,
            };
            book.load(user, registration);
            if let Some(number) = column::<Option<i64>>(&row, "number")? {
                book.reserve(registration_id(number)?);
            }
        }
        Ok(accounts)
    }

    /// When users' accounts were made; a user without an account is not among them.
    pub(super) async fn load_accounts(
        &self,
        users: &BTreeSet<UserId>,
    ) -> Result<HashMap<UserId, Timestamp>, StoreError> {
        if users.is_empty() {
            return Ok(HashMap::new());
        }
        let sql = format!("SELECT id, created_at FROM users WHERE {}", self.engine.is_one_of("id", 1));
        let rows = self.query(&sql, vec![self.engine.numbers(users.iter().map(|id| stored(id.get())))]).await?;
        let account = |row: &QueryResult| {
            let id: i64 = column(row, "id")?;
            Ok((Row { table: "users", id }.user_id("id", id)?, Timestamp::stored(column(row, "created_at")?)))
        };
        rows.iter().map(account).collect()
    }

    /// Writes what commands left in the books. What concerns every event, the catalogue's row, is written last: by
    /// triggers on the events.
    pub(super) async fn write(&self, writing: &Writing, books: &Books) -> Result<(), StoreError> {
        for locked in books.changed().filter(|locked| locked.book.cancels_everyone()) {
            // Of a great event it takes seconds, in which only those wait that want its seats.
            writing.take_all_the_time(self.tx).await?;
            let registered = u64::from(locked.book.found().seats.registered());
            let by = locked.book.author_of_deletion().and_then(Author::user);
            cancellations::write_facts(self.tx, self.engine, locked.book.event(), by).await?;
            let cancelled = cancellations::cancel(self.tx, locked.book.event().id).await?;
            if cancelled != registered {
                let event = locked.book.event().id;
                tracing::warn!(%event, cancelled, registered, "an event counted other registrations than it had");
            }
        }
        let new = books.changed().flat_map(|locked| locked.book.new_registrations()).collect();
        self.insert_registrations(new).await?;
        let changed = books.changed().flat_map(|locked| locked.book.changed_registrations()).collect();
        self.update_registrations(changed).await?;
        let seats = books.changed().filter(|locked| !locked.book.is_revised());
        self.update_seats(seats.map(|locked| locked.book.event()).collect()).await?;
        for Locked { book, title_folded } in books.changed().filter(|locked| locked.book.is_revised()) {
            let columns = event::changes(title_folded, book.found(), book.event());
            events::write(self.tx, book.event().id, columns).await?;
        }
        Ok(())
    }

    /// A row that was written past its event's lock makes the whole statement fail.
    async fn insert_registrations(&self, new: Vec<&Registration>) -> Result<(), StoreError> {
        if new.is_empty() {
            return Ok(());
        }
        let given = self
            .rows()
            .numbers("id", new.iter().map(|row| stored(row.id.get())))
            .numbers("user_id", new.iter().map(|row| stored(row.user_id.get())))
            .numbers("event_id", new.iter().map(|row| stored(row.event_id.get())))
            .texts("status", new.iter().map(|row| row.status.as_str()))
            .instants("at", new.iter().map(|row| row.registered_at.as_datetime()))
            .instants("created_at", new.iter().map(|row| row.created_at.as_datetime()))
            .numbers("version", new.iter().map(|row| stored(row.version.count())));
        let sql = format!(
            "INSERT INTO registrations (id, user_id, event_id, status, registration_date, created_at, version) \
             SELECT id, user_id, event_id, status, at, created_at, version FROM {}",
            given.table()
        );
        self.execute(&sql, given).await
    }

    async fn update_registrations(&self, changed: Vec<&Registration>) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        let given = self
            .rows()
            .numbers("id", changed.iter().map(|row| stored(row.id.get())))
            .texts("status", changed.iter().map(|row| row.status.as_str()))
            .instants("at", changed.iter().map(|row| row.registered_at.as_datetime()))
            .numbers("version", changed.iter().map(|row| stored(row.version.count())));
        let sql = format!(
            "UPDATE registrations SET status = given.status, registration_date = given.at, \
             version = given.version FROM {} WHERE registrations.id = given.id",
            given.table()
        );
        self.execute(&sql, given).await
    }

    /// Writes seats alone: the time of change is the organiser's, and stays.
    async fn update_seats(&self, changed: Vec<&Event>) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        let given = self
            .rows()
            .numbers("id", changed.iter().map(|event| stored(event.id.get())))
            .numbers("available_seats", changed.iter().map(|event| event.seats.available().into()))
            .numbers("version", changed.iter().map(|event| stored(event.version.count())));
        let sql = format!(
            "UPDATE events SET available_seats = given.available_seats, version = given.version \
             FROM {} WHERE events.id = given.id",
            given.table()
        );
        self.execute(&sql, given).await
    }

    pub(super) fn rows(&self) -> BulkRows {
        BulkRows::new(self.engine)
    }

    pub(super) async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, StoreError> {
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        self.tx.query_all_raw(statement).await.map_err(failed)
    }

    pub(super) async fn execute(&self, sql: &str, given: BulkRows) -> Result<(), StoreError> {
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, given.values());
        self.tx.execute_raw(statement).await.map(drop).map_err(failed)
    }
}

fn registration_id(number: i64) -> Result<RegistrationId, StoreError> {
    Row { table: "registrations", id: number }.registration_id("id", number)
}

pub(super) fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    row.try_get("", name).map_err(failed)
}
