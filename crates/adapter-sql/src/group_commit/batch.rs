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

use super::bound::Given;
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

/// Decides all the orders and commits what was decided.
pub(super) async fn transact(
    writing: Writing,
    asks: Arc<[Ask]>,
    locking: Locking,
    progress: Arc<Progress>,
) -> Result<Vec<Part>, StoreError> {
    let tx = writing.begin().await?;
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
        self.load_authors(&mut ledger, &mut standings).await?;

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
                row.id = *ids
                    .get(&(row.user_id, row.event_id))
                    .ok_or_else(|| StoreError::fault("a registration was not written"))?;
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
        let keys: Vec<_> = keys.collect();
        let given = self
            .given()
            .numbers("user_id", keys.iter().map(|(user, _)| stored(user.get())))
            .texts("key", keys.iter().map(|(_, once)| once.key.as_str()))
            .texts("fingerprint", keys.iter().map(|(_, once)| hex(once.fingerprint.as_bytes())))
            .instants("at", keys.iter().map(|_| now.as_datetime()));
        let bytes = match self.engine {
            Engine::Postgres => "decode(given.fingerprint, 'hex')",
            Engine::Sqlite => "unhex(given.fingerprint)",
        };
        let sql = format!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, created_at) \
             SELECT given.user_id, given.key, {bytes}, given.at FROM {} JOIN users ON users.id = given.user_id \
             WHERE true ORDER BY given.user_id, given.key ON CONFLICT DO NOTHING RETURNING user_id, key",
            given.table()
        );
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, given.values());
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
        let given = self.keys(keys.iter().copied());
        let lock = match self.engine {
            Engine::Postgres => "FOR UPDATE OF kept",
            Engine::Sqlite => "",
        };
        let sql = format!(
            "SELECT kept.user_id, kept.key, kept.fingerprint, kept.outcome, kept.created_at \
             FROM {} JOIN idempotency_keys kept ON kept.user_id = given.user_id AND kept.key = given.key \
             ORDER BY kept.user_id, kept.key {lock}",
            given.table()
        );
        let rows = self.query(&sql, given.values()).await?;
        rows.iter().map(|row| Ok((key_of(row)?, Kept::from_row(row)?))).collect()
    }

    /// Enters the registrations that open orders are about, and settles the orders of those whose
    /// account is gone.
    async fn load_authors(&self, ledger: &mut Ledger, standings: &mut [Standing]) -> Result<(), StoreError> {
        let wanted: BTreeSet<_> = self
            .asks
            .iter()
            .zip(&*standings)
            .filter(|(_, standing)| matches!(standing, Standing::Open))
            .map(|(ask, _)| (ask.by, ask.event))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let given = self
            .given()
            .numbers("user_id", wanted.iter().map(|(user, _)| stored(user.get())))
            .numbers("event_id", wanted.iter().map(|(_, event)| stored(event.get())));
        // Through an index of users: that of events (`+ 0` rules it out) would lead to all who are booked.
        let sql = format!(
            "SELECT given.user_id AS author, registrations.* FROM {} JOIN users ON users.id = given.user_id \
             LEFT JOIN registrations \
             ON registrations.user_id = given.user_id AND registrations.event_id + 0 = given.event_id",
            given.table()
        );
        let mut authors = HashSet::new();
        for row in self.query(&sql, given.values()).await? {
            authors.insert(column::<i64>(&row, "author")?);
            if column::<Option<i64>>(&row, "id")?.is_some() {
                let row = registration::Model::from_query_result(&row, "").map_err(failed)?;
                let registration = domain::Registration::try_from(row.clone())?;
                ledger.add_registration(registration.user_id, registration.event_id, row);
            }
        }
        for (ask, standing) in self.asks.iter().zip(standings) {
            if matches!(standing, Standing::Open) && !authors.contains(&stored(ask.by.get())) {
                *standing = Standing::Settled(Part::Decided(Verdict::AuthorGone));
            }
        }
        Ok(())
    }

    /// Writes what was decided. Answers the ids of new registrations, by user and event.
    async fn write(&self, ledger: &Ledger) -> Result<HashMap<(i64, i64), i64>, StoreError> {
        let ids = self.insert_registrations(ledger).await?;
        let changed: Vec<_> = ledger.changed_registrations().collect();
        if !changed.is_empty() {
            let given = self
                .given()
                .numbers("id", changed.iter().map(|row| row.id))
                .texts("status", changed.iter().map(|row| row.status.as_str()))
                .instants("at", changed.iter().map(|row| row.registration_date))
                .numbers("version", changed.iter().map(|row| row.version));
            let sql = format!(
                "UPDATE registrations SET status = given.status, registration_date = given.at, \
                 version = given.version FROM {} WHERE registrations.id = given.id",
                given.table()
            );
            self.execute(&sql, given).await?;
        }
        let changed: Vec<_> = ledger.changed_events().collect();
        if !changed.is_empty() {
            let given = self
                .given()
                .numbers("id", changed.iter().map(|event| stored(event.id.get())))
                .numbers("available_seats", changed.iter().map(|event| event.seats.available().into()))
                .numbers("version", changed.iter().map(|event| stored(event.version.get())));
            let sql = format!(
                "UPDATE events SET available_seats = given.available_seats, version = given.version \
                 FROM {} WHERE events.id = given.id",
                given.table()
            );
            self.execute(&sql, given).await?;
        }
        Ok(ids)
    }

    /// A row that somebody else wrote past its event's lock makes the whole statement fail.
    async fn insert_registrations(&self, ledger: &Ledger) -> Result<HashMap<(i64, i64), i64>, StoreError> {
        let new: Vec<_> = ledger.new_registrations().collect();
        if new.is_empty() {
            return Ok(HashMap::new());
        }
        let given = self
            .given()
            .numbers("user_id", new.iter().map(|row| row.user_id))
            .numbers("event_id", new.iter().map(|row| row.event_id))
            .texts("status", new.iter().map(|row| row.status.as_str()))
            .instants("at", new.iter().map(|row| row.registration_date))
            .instants("created_at", new.iter().map(|row| row.created_at))
            .numbers("version", new.iter().map(|row| row.version));
        let sql = format!(
            "INSERT INTO registrations (user_id, event_id, status, registration_date, created_at, version) \
             SELECT user_id, event_id, status, at, created_at, version FROM {} RETURNING id, user_id, event_id",
            given.table()
        );
        let rows = self.query(&sql, given.values()).await?;
        rows.iter().map(|row| Ok(((column(row, "user_id")?, column(row, "event_id")?), column(row, "id")?))).collect()
    }

    /// Keeps the outcomes of what was carried out with their keys, and frees the keys of what was not.
    async fn keep_outcomes(&self, claimed: &Claimed, rows: &[(usize, registration::Model)]) -> Result<(), StoreError> {
        if claimed.by_order.is_empty() {
            return Ok(());
        }
        let mut refused: HashMap<usize, &(UserId, String)> =
            claimed.by_order.iter().map(|(index, key)| (*index, key)).collect();
        let mut kept = Vec::new();
        for (index, row) in rows {
            if let Some(key) = refused.remove(index) {
                kept.push((key, serde_json::to_string(row).map_err(StoreError::fault)?));
            }
        }
        if !kept.is_empty() {
            let (keys, outcomes): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
            let given = self.keys(keys.iter().copied()).texts("outcome", outcomes.into_iter());
            let sql = format!(
                "UPDATE idempotency_keys SET outcome = given.outcome FROM {} \
                 WHERE idempotency_keys.user_id = given.user_id AND idempotency_keys.key = given.key",
                given.table()
            );
            self.execute(&sql, given).await?;
        }
        if !refused.is_empty() {
            let given = self.keys(refused.values().copied());
            let sql = format!(
                "DELETE FROM idempotency_keys WHERE outcome IS NULL \
                 AND (user_id, key) IN (SELECT given.user_id, given.key FROM {})",
                given.table()
            );
            self.execute(&sql, given).await?;
        }
        Ok(())
    }

    fn given(&self) -> Given {
        Given::new(self.engine)
    }

    /// Keys by their users and names.
    fn keys<'k>(&self, keys: impl Iterator<Item = &'k (UserId, String)> + Clone) -> Given {
        self.given()
            .numbers("user_id", keys.clone().map(|(user, _)| stored(user.get())))
            .texts("key", keys.map(|(_, key)| key.as_str()))
    }

    async fn query(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, StoreError> {
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, values);
        self.tx.query_all_raw(statement).await.map_err(failed)
    }

    async fn execute(&self, sql: &str, given: Given) -> Result<(), StoreError> {
        let statement = Statement::from_sql_and_values(self.engine.backend(), sql, given.values());
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
        let sql = Sql::connect(&SqlOptions::new(url, 2), Arc::new(Noon)).await.unwrap();
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
