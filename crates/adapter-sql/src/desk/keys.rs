//! Idempotency keys of many commands, claimed and kept in their transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use data_encoding::HEXLOWER;
use domain::ports::StoreError;
use domain::{KeyConflict, Once, UserId};
use sea_orm::{ConnectionTrait, QueryResult, Statement};

use super::command::{Claimed, DeskCommand};
use super::store::{Store, column};
use crate::access::bulk_rows::BulkRows;
use crate::access::engine::Engine;
use crate::access::error::{Obstacle, failed, is_lock_timeout};
use crate::tables::idempotency::{self, Kept};
use crate::tables::rows::{Row, stored};

/// A key, by its user and its name.
type Name = (UserId, String);

/// Keys that a transaction has, by the place of their command.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_place: HashMap<usize, Name>,
    /// Whether one of them has outlived its outcome and was taken over.
    pub(super) taken_over: bool,
}

/// The keys of open commands, with the places of the commands.
pub(super) fn wanted(commands: &[Arc<dyn DeskCommand>], open: &[bool]) -> BTreeMap<Name, usize> {
    let open = commands.iter().zip(open).enumerate().filter(|(_, (_, open))| **open);
    open.filter_map(|(place, (command, _))| {
        let (user, once) = key_of(command)?;
        Some(((user, once.key.as_str().to_owned()), place))
    })
    .collect()
}

/// Claims keys. Answers those that the transaction has now, and the places of commands that are decided by their keys.
/// Unless it is `patient`, a key that another transaction has makes the whole batch fail after a moment.
pub(super) async fn claim(
    store: &Store<'_>,
    wanted: BTreeMap<Name, usize>,
    commands: &[Arc<dyn DeskCommand>],
    patient: bool,
) -> Result<(Keys, Vec<usize>), StoreError> {
    let (mut keys, mut decided) = (Keys::default(), Vec::new());
    let (now, timeline) = (store.tx.now(), store.tx.timeline().await?);
    let of = |place: usize| commands.get(place).and_then(|command| Some((command, key_of(command)?.1)));
    if !patient {
        // The events' rows are locked.
        idempotency::hurry(store.tx, store.engine).await?;
    }
    let given: Vec<_> = wanted.iter().filter_map(|((user, _), place)| Some((*user, of(*place)?.1))).collect();
    let free = match store.insert_keys(&given).await {
        Ok(free) => free,
        Err(Insertion::Held(_)) if patient => {
            // The transaction is aborted: the commands are decided, and nothing more is done.
            for place in wanted.into_values() {
                if let Some((command, _)) = of(place) {
                    command.fail(Obstacle::Key(KeyConflict::InProgress));
                }
                decided.push(place);
            }
            return Ok((keys, decided));
        }
        // Taken alone, only that command waits for its key.
        Err(Insertion::Held(error)) => return Err(StoreError::fault(error)),
        Err(Insertion::Failed(error)) => return Err(error),
    };
    let others: Vec<_> = wanted.iter().filter(|(name, _)| !free.contains(*name)).collect();
    let kept = store.kept_keys(others.iter().map(|(name, _)| *name)).await?;
    if !patient {
        idempotency::calm_down(store.tx, store.engine).await?;
    }
    for (name, place) in others {
        let Some((command, once)) = of(*place) else { continue };
        let claimed = match kept.get(name) {
            // The key was forgotten, or its account deleted, between two statements: the next try finds it free.
            None => {
                command.fail(Obstacle::Key(KeyConflict::InProgress));
                Claimed::Decided
            }
            Some(kept) => command.meet(kept, now, timeline),
        };
        match claimed {
            Claimed::Decided => decided.push(*place),
            Claimed::Unused => drop(keys.by_place.insert(*place, name.clone())),
            Claimed::Outlived => {
                idempotency::take_over(store.tx, name.0, once).await?;
                keys.taken_over = true;
                keys.by_place.insert(*place, name.clone());
            }
        }
    }
    keys.by_place.extend(wanted.into_iter().filter(|(name, _)| free.contains(name)).map(|(name, place)| (place, name)));
    Ok((keys, decided))
}

/// Keeps the outcomes of what was carried out with their keys, and frees the keys of what was not. Answers whether there
/// is an outcome.
pub(super) async fn keep_outcomes(
    store: &Store<'_>,
    keys: &Keys,
    commands: &[Arc<dyn DeskCommand>],
) -> Result<bool, StoreError> {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for (place, name) in &keys.by_place {
        let outcome = commands.get(*place).map(|command| command.outcome()).transpose()?.flatten();
        match outcome {
            Some(outcome) => kept.push((name, outcome)),
            None => refused.push(name),
        }
    }
    let any = !kept.is_empty();
    if any {
        let (names, outcomes): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
        let given = store.names(names.iter().copied()).texts("outcome", outcomes.into_iter());
        let sql = format!(
            "UPDATE idempotency_keys SET outcome = given.outcome FROM {} \
             WHERE idempotency_keys.user_id = given.user_id AND idempotency_keys.key = given.key",
            given.table()
        );
        store.execute(&sql, given).await?;
    }
    if !refused.is_empty() {
        let given = store.names(refused.iter().copied());
        let sql = format!(
            "DELETE FROM idempotency_keys WHERE outcome IS NULL \
             AND (user_id, key) IN (SELECT given.user_id, given.key FROM {})",
            given.table()
        );
        store.execute(&sql, given).await?;
    }
    Ok(any)
}

/// Why keys were not inserted.
enum Insertion {
    /// Another transaction has one of them, uncommitted.
    Held(sea_orm::DbErr),
    Failed(StoreError),
}

impl Store<'_> {
    /// Inserts keys in their order, each waiting for a transaction that has it uncommitted. Answers those that
    /// were free.
    async fn insert_keys(&self, keys: &[(UserId, &Once)]) -> Result<BTreeSet<Name>, Insertion> {
        let now = self.tx.now();
        let given = self
            .rows()
            .numbers("user_id", keys.iter().map(|(user, _)| stored(user.get())))
            .texts("key", keys.iter().map(|(_, once)| once.key.as_str()))
            .texts("fingerprint", keys.iter().map(|(_, once)| HEXLOWER.encode(once.fingerprint.as_bytes())))
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
            if is_lock_timeout(&error) { Insertion::Held(error) } else { Insertion::Failed(failed(error)) }
        })?;
        free.iter().map(name_of).collect::<Result<_, _>>().map_err(Insertion::Failed)
    }

    /// The rows of keys that were there before, locked, so that of two commands that find a key outlived only one
    /// takes it over.
    async fn kept_keys<'k>(
        &self,
        names: impl Iterator<Item = &'k Name> + Clone,
    ) -> Result<HashMap<Name, Kept>, StoreError> {
        let names: Vec<_> = names.collect();
        if names.is_empty() {
            return Ok(HashMap::new());
        }
        let given = self.names(names.iter().copied());
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
        rows.iter().map(|row| Ok((name_of(row)?, Kept::from_row(row)?))).collect()
    }

    fn names<'k>(&self, names: impl Iterator<Item = &'k Name> + Clone) -> BulkRows {
        self.rows()
            .numbers("user_id", names.clone().map(|(user, _)| stored(user.get())))
            .texts("key", names.map(|(_, key)| key.as_str()))
    }
}

fn key_of(command: &Arc<dyn DeskCommand>) -> Option<(UserId, &Once)> {
    command.author().user().zip(command.once())
}

fn name_of(row: &QueryResult) -> Result<Name, StoreError> {
    let user: i64 = column(row, "user_id")?;
    Ok((Row { table: "users", id: user }.user_id("id", user)?, column(row, "key")?))
}
