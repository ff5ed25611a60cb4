//! Pages of the history.
//!
//! What is committed and not projected yet is projected first, so that a fact can be read as soon as its change is.

use std::fmt::Write;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::ports::{History, HistoryError, HistoryFilter, HistoryPage, Position, StoreError};
use domain::{EventId, Fact, FactId, FactType, Timestamp};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::tables::outbox::Turn;
use crate::tables::rows::{Row, stored};

/// How long a reader waits for what is committed to be projected. After a flood of facts that takes longer: then the
/// reader is shown what is there, and finds the rest by going on.
const CATCH_UP: Duration = Duration::from_secs(2);

/// What a fact is made of.
const COLUMNS: &str = "position, at, fact_id, type, event_id, body";

#[async_trait]
impl History for Sql {
    async fn page(&self, filter: &HistoryFilter, after: Position, limit: u32) -> Result<HistoryPage, HistoryError> {
        self.catch_up().await?;
        self.projected(filter.clone(), after, limit).await
    }

    async fn knows_event(&self, event: EventId) -> Result<bool, StoreError> {
        let known = self.read("knows_event", move |reading| async move {
            let sql = "SELECT 1 AS known FROM events WHERE id = $1";
            let values = [stored(event.get()).into()];
            let statement = Statement::from_sql_and_values(reading.engine.backend(), sql, values);
            reading.db.query_one_raw(statement).await.map_err(failed)
        });
        Ok(known.await?.is_some())
    }
}

impl Sql {
    /// A page of what is projected already.
    pub(crate) async fn projected(
        &self,
        filter: HistoryFilter,
        after: Position,
        limit: u32,
    ) -> Result<HistoryPage, HistoryError> {
        let found = self.browse("list_history", move |reading| page(reading, filter, after, limit)).await?;
        found.ok_or(HistoryError::CursorExpired)
    }

    /// Projects what was committed by now.
    pub(crate) async fn catch_up(&self) -> Result<(), StoreError> {
        let until = Instant::now() + CATCH_UP;
        let newest = self.read("newest_facts", |reading| async move {
            let sql = "SELECT max(id) AS newest FROM facts";
            let row = reading.db.query_one_raw(Statement::from_string(reading.engine.backend(), sql)).await;
            let row = row.map_err(failed)?;
            row.map_or(Ok(None), |row| row.try_get::<Option<i64>>("", "newest").map_err(failed))
        });
        let Some(newest) = newest.await? else { return Ok(()) };
        while Instant::now() < until {
            self.project_facts(Turn::Wait).await?;
            let left = self.read("facts_left", move |reading| async move {
                let sql = "SELECT 1 AS there FROM facts WHERE id <= $1 LIMIT 1";
                let statement = Statement::from_sql_and_values(reading.engine.backend(), sql, [newest.into()]);
                reading.db.query_one_raw(statement).await.map_err(failed)
            });
            if left.await?.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// `None` if facts after the position were dropped.
async fn page(
    reading: Reading,
    filter: HistoryFilter,
    after: Position,
    limit: u32,
) -> Result<Option<HistoryPage>, StoreError> {
    let Some(state) = state(&reading).await? else { return Ok(None) };
    if after != Position::START && after < state.dropped {
        return Ok(None);
    }
    let mut query = Query::default();
    query.matching(&filter, after, state.last, limit);
    let statement = Statement::from_sql_and_values(reading.engine.backend(), query.sql, query.values);
    let rows = reading.db.query_all_raw(statement).await.map_err(failed)?;
    let mut facts = Vec::with_capacity(rows.len());
    let mut next = state.last.max(after);
    let is_full = rows.len() >= usize::try_from(limit).unwrap_or(usize::MAX);
    for row in &rows {
        let position: i64 = row.try_get("", "position").map_err(failed)?;
        if is_full {
            next = Position::new(u64::try_from(position).unwrap_or_default());
        }
        // A type that only a later release knows is passed over: it goes on behind it.
        if let Some(fact) = fact(row, position)? {
            facts.push(fact);
        }
    }
    Ok(Some(HistoryPage { facts, next }))
}

struct State {
    /// The last position that was given out.
    last: Position,
    /// The last one that was dropped.
    dropped: Position,
}

async fn state(reading: &Reading) -> Result<Option<State>, StoreError> {
    let sql = "SELECT position, dropped FROM history_state WHERE id = 1";
    let row = reading.db.query_one_raw(Statement::from_string(reading.engine.backend(), sql)).await.map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let position = |name| {
        let number: i64 = row.try_get("", name).map_err(failed)?;
        Ok::<_, StoreError>(Position::new(u64::try_from(number).unwrap_or_default()))
    };
    Ok(Some(State { last: position("position")?, dropped: position("dropped")? }))
}

fn fact(row: &QueryResult, position: i64) -> Result<Option<Fact>, StoreError> {
    let text = |name: &str| row.try_get::<String>("", name).map_err(failed);
    let Some(kind) = FactType::from_name(&text("type")?) else { return Ok(None) };
    let at: DateTimeUtc = row.try_get("", "at").map_err(failed)?;
    let event: Option<i64> = row.try_get("", "event_id").map_err(failed)?;
    let place = Row { table: "history", id: position };
    Ok(Some(Fact {
        id: FactId::new(text("fact_id")?),
        kind,
        at: Timestamp::stored(at),
        event: event.map(|event| place.event_id("event_id", event)).transpose()?,
        body: text("body")?.into(),
    }))
}

/// A statement as it is written, with its values.
#[derive(Default)]
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    /// The place of a value.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("${}", self.values.len())
    }

    /// What a user is concerned with is found by two indexes, and each gives its rows in order.
    fn matching(&mut self, filter: &HistoryFilter, after: Position, last: Position, limit: u32) {
        let mut common = String::new();
        let (after, last) = (self.bind(stored(after.get())), self.bind(stored(last.get())));
        let _ = write!(common, "position > {after} AND position <= {last}");
        if let Some(event) = filter.event {
            let _ = write!(common, " AND event_id = {}", self.bind(stored(event.get())));
        }
        if let Some(user) = filter.user {
            let _ = write!(common, " AND user_id = {}", self.bind(stored(user.get())));
        }
        if let Some(by) = filter.by {
            let by = self.bind(stored(by.get()));
            // Spelled like the two indexes that have it.
            let _ = write!(
                common,
                " AND by_id = {by} AND (user_id = {by} OR (by_id IS NOT NULL AND (user_id IS NULL OR user_id <> by_id)))"
            );
        }
        if let Some(from) = filter.from {
            let _ = write!(common, " AND at >= {}", self.bind(from.as_datetime()));
        }
        if let Some(to) = filter.to {
            let _ = write!(common, " AND at <= {}", self.bind(to.as_datetime()));
        }
        if !filter.types.is_empty() {
            let names: Vec<_> = filter.types.iter().map(|kind| self.bind(kind.as_str())).collect();
            let _ = write!(common, " AND type IN ({})", names.join(", "));
            if !filter.types.iter().any(|kind| kind.as_str().starts_with("registration.")) {
                common.push_str(" AND type NOT LIKE 'registration.%'");
            }
        }
        let select = |condition: String| {
            format!(
                "SELECT {COLUMNS} FROM history \
                 WHERE {common}{condition} ORDER BY position LIMIT {limit}"
            )
        };
        self.sql = match filter.concerns {
            None => select(String::new()),
            Some(user) => {
                let user = self.bind(stored(user.get()));
                let (about, by) = (
                    select(format!(" AND user_id = {user}")),
                    select(format!(
                        " AND by_id = {user} AND by_id IS NOT NULL AND (user_id IS NULL OR user_id <> by_id)"
                    )),
                );
                format!(
                    "SELECT {COLUMNS} FROM (SELECT {COLUMNS} FROM ({about}) AS about UNION ALL \
                     SELECT {COLUMNS} FROM ({by}) AS done) AS found ORDER BY position LIMIT {limit}"
                )
            }
        };
    }
}
