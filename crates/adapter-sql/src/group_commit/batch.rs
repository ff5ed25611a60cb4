//! Many orders in one transaction: rows are locked, read, decided on and written with a few
//! statements, however many orders there are.
//!
//! The order of locks is the same for everybody: events by id, then idempotency keys by user and
//! key, then registrations, which the lock on their event covers. So transactions over the same
//! events and keys wait for each other and never in a circle.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use domain::ports::StoreError;
use domain::{Committed, Event, EventId, KeyConflict, Once, SeatChange, Timestamp, UserId};
use sea_orm::{ConnectionTrait, FromQueryResult, QueryResult, Statement, TryGetable, Value};
use serde_json::{Value as Json, json};

use super::bound::{self, Kind, instant, list};
use super::ledger::Ledger;
use super::{Ask, Verdict};
use crate::entity::{Row, event, registration, stored};
use crate::error::{failed, is_lock_timeout};
use crate::idempotency::{self, Kept};
use crate::tx::{Engine, Tx};
use crate::work::Writing;

/// What to do about an event whose row somebody else holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// Leave its orders undecided.
    SkipHeld,
    /// Wait for it, as long as the connection lets one wait.
    Wait,
}

/// What a transaction did with one order.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// It is decided.
    Decided(Verdict),
    /// Its event is held by somebody else.
    Held,
    /// Another order with the same idempotency key goes first.
    Later,
    /// It has to be looked at by itself.
    Alone,
}

/// What is known of a transaction before it is committed, in case the answer is lost.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Postgres's number of the transaction.
    pub(super) transaction: OnceLock<String>,
    /// What will be true if it was committed.
    pub(super) parts: OnceLock<Vec<Part>>,
    /// Which of the locked events have seats left.
    pub(super) seats: OnceLock<Vec<(EventId, bool)>>,
    /// What those who watch the events are to be told if it was committed.
    pub(super) changes: OnceLock<Vec<SeatChange>>,
}

/// Rows are found by an index, even if the table was small when the statement was planned.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off";

/// Decides all the orders and commits what was decided.
pub(super) async fn transact(
    writing: Writing,
    asks: Arc<[Ask]>,
    locking: Locking,
    progress: Arc<Progress>,
) -> Result<Vec<Part>, StoreError> {
    let tx = writing.begin().await?;
    if writing.engine == Engine::Postgres {
        tx.execute_unprepared(BY_INDEX).await.map_err(failed)?;
    }
    let decided = Batch { tx: &tx, engine: writing.engine, asks: &asks, locking }.decide(&progress).await;
    match decided {
        Ok(Decided { parts, changed: false }) => {
            // Only locks to let go: a rollback spares the flush.
            tx.discard().await;
            Ok(parts)
        }
        Ok(Decided { parts, changed: true }) => {
            let committed = tx.finish(Ok(parts)).await;
            if committed.is_ok() {
                writing.sql.announce(progress.changes.get().into_iter().flatten().copied());
            }
            committed
        }
        Err(error) => tx.finish(Err(error)).await,
    }
}

struct Decided {
    parts: Vec<Part>,
    changed: bool,
}

struct Batch<'a> {
    tx: &'a Tx,
    engine: Engine,
    asks: &'a [Ask],
    locking: Locking,
}

/// What is known of an order before the rule is asked.
enum Standing {
    /// The rule decides.
    Open,
    Settled(Part),
}

impl Batch<'_> {
    async fn decide(&self, progress: &Progress) -> Result<Decided, StoreError> {
        let mut ledger = Ledger::default();
        let held = self.lock_events(&mut ledger, progress).await?;
        let mut standings = self.standings(&held);
        let claimed = self.claim_keys(&mut standings).await?;
        self.load_registrations(&mut ledger, &standings).await?;

        let now = self.tx.now();
        let mut rows = Vec::new();
        let mut parts = Vec::with_capacity(self.asks.len());
        for (ask, standing) in self.asks.iter().zip(standings) {
            parts.push(match standing {
                Standing::Settled(part) => part,
                Standing::Open => match ledger.decide(ask, now) {
                    Err(refused) => Part::Decided(refused),
                    Ok(row) => {
                        rows.push((parts.len(), row));
                        Part::Later
                    }
                },
            });
        }
        let ids = self.write(&ledger).await?;
        for (index, row) in &mut rows {
            if row.id == 0 {
                // Not written: somebody else wrote it past the event's lock, or the user is gone.
                row.id = *ids
                    .get(&(row.user_id, row.event_id))
                    .ok_or_else(|| StoreError::fault("a registration was in the way"))?;
            }
            parts[*index] =
                Part::Decided(Verdict::Done(Committed { outcome: row.clone().try_into()?, replayed: false }));
        }
        self.keep_outcomes(&claimed, &rows).await?;
        let changed = ledger.is_changed() || claimed.taken_over;
        let _ = progress.parts.set(parts.clone());
        let _ = progress.seats.set(ledger.seats_left().collect());
        let _ = progress.changes.set(ledger.changed_events().map(SeatChange::from).collect());
        Ok(Decided { parts, changed })
    }

    /// Locks the events by id and enters those that stand. Answers those that somebody else holds.
    async fn lock_events(&self, ledger: &mut Ledger, progress: &Progress) -> Result<HashSet<EventId>, StoreError> {
        let wanted: BTreeSet<_> = self.asks.iter().map(|ask| ask.event).collect();
        let numbers = || self.engine.numbers(wanted.iter().map(|id| stored(id.get())));
        let is_wanted = self.engine.is_one_of("id", 1);
        let (transaction, lock) = match (self.engine, self.locking) {
            (Engine::Postgres, Locking::SkipHeld) => {
                (", pg_current_xact_id()::text AS transaction", "FOR UPDATE SKIP LOCKED")
            }
            (Engine::Postgres, Locking::Wait) => (", pg_current_xact_id()::text AS transaction", "FOR UPDATE"),
            (Engine::Sqlite, _) => ("", ""),
        };
        let sql = format!("SELECT *{transaction} FROM events WHERE {is_wanted} ORDER BY id {lock}");
        let mut found = HashSet::new();
        for row in self.query(&sql, vec![numbers()]).await? {
            if self.engine == Engine::Postgres {
                let _ = progress.transaction.set(column(&row, "transaction")?);
            }
            let row = event::Model::from_query_result(&row, "").map_err(failed)?;
            let id = Row { table: "events", id: row.id }.event_id("id", row.id)?;
            found.insert(id);
            if row.deleted_at.is_none() {
                ledger.add_event(id, Event::try_from(row));
            }
        }
        if self.engine == Engine::Sqlite || self.locking == Locking::Wait || found.len() == wanted.len() {
            return Ok(HashSet::new());
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
        Ok(held)
    }

    /// Orders that this transaction decides, and those it leaves to another.
    fn standings(&self, held: &HashSet<EventId>) -> Vec<Standing> {
        let mut keys = HashSet::new();
        let standing = |ask: &Ask| {
            if held.contains(&ask.event) {
                return Standing::Settled(Part::Held);
            }
            let first = ask.once.as_ref().is_none_or(|once| keys.insert((ask.by, once.key.as_str().to_owned())));
            if first { Standing::Open } else { Standing::Settled(Part::Later) }
        };
        self.asks.iter().map(standing).collect()
    }

    /// Claims the keys of open orders, and settles those that need not be carried out.
    async fn claim_keys(&self, standings: &mut [Standing]) -> Result<Claimed, StoreError> {
        let mut claimed = Claimed::default();
        let mut keyed = BTreeMap::new();
        for (index, (ask, standing)) in self.asks.iter().zip(&*standings).enumerate() {
            if let (Some(once), Standing::Open) = (&ask.once, standing) {
                keyed.insert((ask.by, once.key.as_str().to_owned()), index);
            }
        }
        if keyed.is_empty() {
            return Ok(claimed);
        }
        let now = self.tx.now();
        // The events' rows are locked: nobody waits long for somebody else's key.
        idempotency::hurry(self.tx, self.engine).await?;
        let inserted = self.insert_keys(keyed.values().filter_map(|index| self.keyed(*index)), now).await?;
        let others: Vec<_> = keyed.iter().filter(|(key, _)| !inserted.contains(*key)).collect();
        let kept = self.kept_keys(others.iter().map(|(key, _)| *key)).await?;
        idempotency::calm_down(self.tx, self.engine).await?;
        for (key, index) in others {
            let Some((_, once)) = self.keyed(*index) else { continue };
            let part = match kept.get(key) {
                // The user is gone, or the key was forgotten just now.
                None => Part::Alone,
                Some(kept) => match kept.meet::<registration::Model, _>(once, now) {
                    Ok(idempotency::Met::Outlived) => {
                        idempotency::take_over(self.tx, key.0, once).await?;
                        claimed.taken_over = true;
                        claimed.by_order.insert(*index, key.clone());
                        continue;
                    }
                    Ok(idempotency::Met::Unused) => {
                        claimed.by_order.insert(*index, key.clone());
                        continue;
                    }
                    Ok(idempotency::Met::Replay(committed)) => Part::Decided(Verdict::Done(committed)),
                    Err(idempotency::NotMet::Reused) => Part::Decided(Verdict::Key(KeyConflict::Reused)),
                    Err(idempotency::NotMet::Store(error)) => Part::Decided(Verdict::Store(error)),
                },
            };
            standings[*index] = Standing::Settled(part);
        }
        claimed.by_order.extend(keyed.into_iter().filter(|(key, _)| inserted.contains(key)).map(|(key, i)| (i, key)));
        Ok(claimed)
    }

    fn keyed(&self, index: usize) -> Option<(UserId, &Once)> {
        let ask = self.asks.get(index)?;
        Some((ask.by, ask.once.as_ref()?))
    }

    /// Inserts keys in their order, each waiting for whoever has it uncommitted. Answers those that
    /// were free.
    async fn insert_keys<'a>(
        &self,
        keys: impl Iterator<Item = (UserId, &'a Once)>,
        now: Timestamp,
    ) -> Result<BTreeSet<(UserId, String)>, StoreError> {
        let (users, rows): (Vec<_>, Vec<_>) = keys
            .map(|(user, once)| {
                let fingerprint = hex(once.fingerprint.as_bytes());
                (
                    stored(user.get()),
                    json!({ "user_id": user.get(), "key": once.key.as_str(), "fingerprint": fingerprint }),
                )
            })
            .unzip();
        let among = self.among("users.id", 3);
        let table = self.table(&[("user_id", Kind::Number), ("key", Kind::Text), ("fingerprint", Kind::Text)]);
        let (bytes, at) = match self.engine {
            Engine::Postgres => ("decode(given.fingerprint, 'hex')", "CAST($2 AS timestamptz)"),
            Engine::Sqlite => ("unhex(given.fingerprint)", "?2"),
        };
        let sql = format!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, created_at) \
             SELECT given.user_id, given.key, {bytes}, {at} FROM {table} JOIN users ON users.id = given.user_id \
             WHERE {among} ORDER BY given.user_id, given.key ON CONFLICT DO NOTHING RETURNING user_id, key"
        );
        let mut values = self.values(list(rows.into_iter()), users.into_iter());
        values.insert(1, instant(now.as_datetime()).into());
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        let free = self.tx.query_all_raw(statement).await.map_err(|error| {
            // Somebody holds one of the keys; taken alone, only that order waits for it.
            if is_lock_timeout(&error) { StoreError::fault(error) } else { failed(error) }
        })?;
        free.iter().map(key_of).collect()
    }

    async fn kept_keys<'a>(
        &self,
        keys: impl Iterator<Item = &'a (UserId, String)>,
    ) -> Result<HashMap<(UserId, String), Kept>, StoreError> {
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let among = self.among("kept.user_id", 2);
        let table = self.table(&[("user_id", Kind::Number), ("key", Kind::Text)]);
        let lock = match self.engine {
            Engine::Postgres => "FOR UPDATE OF kept",
            Engine::Sqlite => "",
        };
        let sql = format!(
            "SELECT kept.user_id, kept.key, kept.fingerprint, kept.outcome, kept.created_at \
             FROM {table} JOIN idempotency_keys kept ON kept.user_id = given.user_id AND kept.key = given.key \
             WHERE {among} ORDER BY kept.user_id, kept.key {lock}"
        );
        let rows = self.query(&sql, self.values(list(keys.iter().map(|key| named(key))), users_of(&keys))).await?;
        rows.iter().map(|row| Ok((key_of(row)?, Kept::from_row(row)?))).collect()
    }

    /// Enters the registrations that open orders are about.
    async fn load_registrations(&self, ledger: &mut Ledger, standings: &[Standing]) -> Result<(), StoreError> {
        let wanted: BTreeSet<_> = self
            .asks
            .iter()
            .zip(standings)
            .filter(|(_, standing)| matches!(standing, Standing::Open))
            .map(|(ask, _)| (ask.by, ask.event))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let rows = wanted.iter().map(|(user, event)| json!({ "user_id": user.get(), "event_id": event.get() }));
        let among = self.among("registrations.user_id", 2);
        let table = self.table(&[("user_id", Kind::Number), ("event_id", Kind::Number)]);
        let sql = format!(
            "SELECT registrations.* FROM {table} JOIN registrations \
             ON registrations.user_id = given.user_id AND registrations.event_id = given.event_id WHERE {among}"
        );
        let values = self.values(list(rows), wanted.iter().map(|(user, _)| stored(user.get())));
        for row in self.query(&sql, values).await? {
            let row = registration::Model::from_query_result(&row, "").map_err(failed)?;
            let registration = domain::Registration::try_from(row.clone())?;
            ledger.add_registration(registration.user_id, registration.event_id, row);
        }
        Ok(())
    }

    /// Writes what was decided. Answers the ids of new registrations, by user and event.
    async fn write(&self, ledger: &Ledger) -> Result<HashMap<(i64, i64), i64>, StoreError> {
        let ids = self.insert_registrations(ledger).await?;
        if ledger.changed_registrations().next().is_some() {
            let among = self.among("registrations.id", 2);
            let table = self.table(&[
                ("id", Kind::Number),
                ("status", Kind::Text),
                ("at", Kind::Instant),
                ("version", Kind::Number),
            ]);
            let sql = format!(
                "UPDATE registrations SET status = given.status, registration_date = given.at, \
                 version = given.version FROM {table} WHERE registrations.id = given.id AND {among}"
            );
            let ids = ledger.changed_registrations().map(|row| row.id);
            let values = self.values(list(ledger.changed_registrations().map(written)), ids);
            self.execute(&sql, values).await?;
        }
        if ledger.is_changed() {
            let rows = ledger.changed_events().map(|event| {
                json!({
                    "id": event.id.get(),
                    "available_seats": event.seats.available(),
                    "version": event.version.get(),
                })
            });
            let table =
                self.table(&[("id", Kind::Number), ("available_seats", Kind::Number), ("version", Kind::Number)]);
            let among = self.among("events.id", 2);
            let sql = format!(
                "UPDATE events SET available_seats = given.available_seats, version = given.version \
                 FROM {table} WHERE events.id = given.id AND {among}"
            );
            let values = self.values(list(rows), ledger.changed_events().map(|event| stored(event.id.get())));
            self.execute(&sql, values).await?;
        }
        Ok(ids)
    }

    async fn insert_registrations(&self, ledger: &Ledger) -> Result<HashMap<(i64, i64), i64>, StoreError> {
        if ledger.new_registrations().next().is_none() {
            return Ok(HashMap::new());
        }
        let among = self.among("users.id", 2);
        let table = self.table(&[
            ("user_id", Kind::Number),
            ("event_id", Kind::Number),
            ("status", Kind::Text),
            ("at", Kind::Instant),
            ("created_at", Kind::Instant),
            ("version", Kind::Number),
        ]);
        let sql = format!(
            "INSERT INTO registrations (user_id, event_id, status, registration_date, created_at, version) \
             SELECT given.user_id, given.event_id, given.status, given.at, given.created_at, given.version \
             FROM {table} JOIN users ON users.id = given.user_id \
             WHERE {among} ON CONFLICT (user_id, event_id) DO NOTHING RETURNING id, user_id, event_id"
        );
        let users = ledger.new_registrations().map(|row| row.user_id);
        let values = self.values(list(ledger.new_registrations().map(written)), users);
        let rows = self.query(&sql, values).await?;
        rows.iter().map(|row| Ok(((column(row, "user_id")?, column(row, "event_id")?), column(row, "id")?))).collect()
    }

    /// Keeps the outcomes of what was carried out with their keys, and frees the keys of what was not.
    async fn keep_outcomes(&self, claimed: &Claimed, rows: &[(usize, registration::Model)]) -> Result<(), StoreError> {
        if claimed.by_order.is_empty() {
            return Ok(());
        }
        let mut refused: HashMap<usize, &(UserId, String)> =
            claimed.by_order.iter().map(|(index, key)| (*index, key)).collect();
        let (mut kept, mut users) = (Vec::new(), Vec::new());
        for (index, row) in rows {
            if let Some((user, key)) = refused.remove(index) {
                let outcome = serde_json::to_string(row).map_err(StoreError::fault)?;
                kept.push(json!({ "user_id": user.get(), "key": key, "outcome": outcome }));
                users.push(stored(user.get()));
            }
        }
        let among = self.among("idempotency_keys.user_id", 2);
        if !kept.is_empty() {
            let table = self.table(&[("user_id", Kind::Number), ("key", Kind::Text), ("outcome", Kind::Text)]);
            let sql = format!(
                "UPDATE idempotency_keys SET outcome = given.outcome FROM {table} \
                 WHERE idempotency_keys.user_id = given.user_id AND idempotency_keys.key = given.key AND {among}"
            );
            self.execute(&sql, self.values(list(kept.into_iter()), users.into_iter())).await?;
        }
        if !refused.is_empty() {
            let freed: Vec<_> = refused.into_values().collect();
            let table = self.table(&[("user_id", Kind::Number), ("key", Kind::Text)]);
            let sql = format!(
                "DELETE FROM idempotency_keys WHERE outcome IS NULL AND {among} AND EXISTS (SELECT 1 FROM {table} \
                 WHERE given.user_id = idempotency_keys.user_id AND given.key = idempotency_keys.key)"
            );
            self.execute(&sql, self.values(list(freed.iter().map(|key| named(key))), users_of(&freed))).await?;
        }
        Ok(())
    }

    /// A condition that every row of `given` fulfils already, and that leads to the column's index. Its
    /// value is the last of [`Batch::values`]. `SQLite` looks each given row up by itself.
    fn among(&self, column: &str, place: usize) -> String {
        match self.engine {
            Engine::Postgres => self.engine.is_one_of(column, place),
            Engine::Sqlite => "true".to_owned(),
        }
    }

    /// The rows of `given`, and what [`Batch::among`] compares with.
    fn values(&self, rows: Value, among: impl Iterator<Item = i64>) -> Vec<Value> {
        match self.engine {
            Engine::Postgres => vec![rows, self.engine.numbers(among)],
            Engine::Sqlite => vec![rows],
        }
    }

    fn table(&self, columns: &[(&str, Kind)]) -> String {
        bound::table(self.engine, columns)
    }

    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, StoreError> {
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        self.tx.query_all_raw(statement).await.map_err(failed)
    }

    async fn execute(&self, sql: &str, values: Vec<Value>) -> Result<(), StoreError> {
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        self.tx.execute_raw(statement).await.map(drop).map_err(failed)
    }
}

/// Keys that this transaction has, by the place of their order.
#[derive(Debug, Default)]
struct Claimed {
    by_order: HashMap<usize, (UserId, String)>,
    /// Whether one of them was somebody's who has outlived it.
    taken_over: bool,
}

fn written(row: &registration::Model) -> Json {
    json!({
        "id": row.id,
        "user_id": row.user_id,
        "event_id": row.event_id,
        "status": row.status,
        "at": instant(row.registration_date),
        "created_at": instant(row.created_at),
        "version": row.version,
    })
}

fn named((user, key): &(UserId, String)) -> Json {
    json!({ "user_id": user.get(), "key": key })
}

fn users_of(keys: &[&(UserId, String)]) -> impl Iterator<Item = i64> {
    keys.iter().map(|(user, _)| stored(user.get()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn key_of(row: &QueryResult) -> Result<(UserId, String), StoreError> {
    let user: i64 = column(row, "user_id")?;
    Ok((Row { table: "users", id: user }.user_id("id", user)?, column(row, "key")?))
}

fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    row.try_get("", name).map_err(failed)
}

#[cfg(test)]
mod tests {
    use domain::event::StartsAt;
    use domain::ports::{Clock, Events, NewUser, Users};
    use domain::{
        Command, EmailAddress, EventDraft, EventTitle, Fingerprint, IdempotencyKey, PasswordHash, PersonName, Role,
        SeatCount, Venue,
    };

    use super::super::Verb;
    use super::*;
    use crate::{Sql, SqlOptions};

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::parse("2030-01-15T12:00:00Z").unwrap()
        }
    }

    fn once(key: &str) -> Once {
        Once { key: IdempotencyKey::parse(key).unwrap(), fingerprint: Fingerprint::new([1; 32]) }
    }

    /// Taken one by one, orders get the same answers; so whether they went together shows only here.
    #[tokio::test]
    async fn orders_with_keys_and_without_go_together() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/boxoffice.db", folder.path().display());
        let sql = Sql::connect(&SqlOptions { url, pool_size: 2 }, Arc::new(Noon)).await.unwrap();
        sql.migrate_up().await.unwrap();
        let mut users = Vec::new();
        for number in 0..3 {
            let new = NewUser {
                name: PersonName::parse("Ada").unwrap(),
                email: EmailAddress::parse(&format!("user{number}@example.com")).unwrap(),
                password: PasswordHash::new("hash".to_owned()),
                role: Role::User,
                created_at: Noon.now(),
            };
            users.push(sql.add(new).await.unwrap().id);
        }
        let draft = EventDraft {
            title: EventTitle::parse("Concert").unwrap(),
            description: None,
            starts_at: StartsAt::new(Noon.now().plus_secs(3600), Noon.now()).unwrap(),
            venue: Venue::parse("Opera").unwrap(),
            total_seats: SeatCount::new(10).unwrap(),
        };
        let event = sql.create(Command { by: users[0], once: None, what: draft }).await.unwrap().outcome.id;

        let ask = |verb, by, once| Ask { verb, by, event, once };
        let asks: Arc<[Ask]> = [
            ask(Verb::Book, users[0], Some(once("a"))),
            ask(Verb::Book, users[0], Some(once("a"))),
            ask(Verb::Book, users[1], None),
            ask(Verb::Book, users[2], Some(once("a"))),
            ask(Verb::Cancel, users[1], Some(once("b"))),
        ]
        .into();
        let together = async |asks: &Arc<[Ask]>| {
            let (asks, progress) = (Arc::clone(asks), Arc::new(Progress::default()));
            sql.write("test", move |writing| transact(writing, asks, Locking::SkipHeld, progress)).await
        };
        let done = |part: &Part| match part {
            Part::Decided(Verdict::Done(committed)) => Some(committed.replayed),
            _ => None,
        };
        let parts = together(&asks).await.unwrap();
        assert!(matches!(parts[1], Part::Later), "{parts:?}");
        let acted: Vec<_> = parts.iter().map(done).collect();
        assert_eq!(acted, [Some(false), None, Some(false), Some(false), Some(false)], "{parts:?}");
        let again = together(&asks).await.unwrap();
        let replayed: Vec<_> = again.iter().map(done).collect();
        assert_eq!(replayed, [Some(true), None, Some(false), Some(true), Some(true)], "{again:?}");
    }
}
