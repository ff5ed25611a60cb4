//! Facts made into history: by one process at a time, in the order of their ids.
//!
//! Ids are given out before transactions commit, so a row may appear behind one that was projected already. That is why
//! rows are taken and deleted, and never remembered by the last id. For one event the order of ids is the order of
//! commits: its row's lock is held from before the row of facts is written until the commit.

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use domain::ports::{Outbox, Projected, StoreError};
use domain::{FactType, MailKind, RegistrationStatus, Timestamp, Version};
use metrics::counter;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use tokio::time::{sleep, timeout};

use crate::Sql;
use crate::access::bulk_rows::BulkRows;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Writing;
use crate::access::raw::column;
use crate::access::transaction::Tx;
use crate::tables::facts::{RenderedFact, render};
use crate::tables::rows::stored;
use crate::tables::webhooks::patterns;

/// Rows that one transaction projects: it holds back what the database may clean up, so it is short.
const ROWS: u32 = 50;

/// How long a process sleeps that is not woken: other instances write facts as well.
const POLL: Duration = Duration::from_millis(250);

/// How long what tells of facts gives way to commands that wait, and how often it looks whether they still do.
const YIELD: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(20);

/// More commands than these waiting is a crowd, and for how long after they were seen: a crowd's queue is short in between.
const CROWD: usize = 32;
const CROWDED: Duration = Duration::from_millis(300);

/// Rows of history that one transaction drops.
const DROPPED_AT_ONCE: u32 = 5_000;

/// The lock of the process that projects, among advisory locks of the database.
const LEADER: i64 = 0x626f_786f_6666_6163;

/// What a process knows of its projection.
#[derive(Debug, Default)]
pub(crate) struct Projection {
    /// Months that have a partition.
    months: Mutex<HashSet<NaiveDate>>,
    /// When a crowd was seen last.
    crowd: Mutex<Option<Instant>>,
}

/// Whether to wait for another process that projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Its work is as good as ours.
    Skip,
    /// What it has not committed yet is wanted.
    Wait,
}

#[async_trait]
impl Outbox for Sql {
    async fn wait(&self) {
        let _ = timeout(POLL, self.0.written.notified()).await;
    }

    async fn project(&self) -> Result<Projected, StoreError> {
        self.give_way().await;
        self.project_facts(Turn::Skip).await
    }

    async fn drop_history(&self, before: Timestamp) -> Result<u64, StoreError> {
        let mut dropped = 0;
        loop {
            let more: u64 = self.write("drop_history", move |writing| drop_history(writing, before)).await?;
            dropped += more;
            if more < u64::from(DROPPED_AT_ONCE) {
                return Ok(dropped);
            }
        }
    }
}

impl Sql {
    /// Waits while a crowd books, but not for long: a sale is not slowed by its own news.
    pub(crate) async fn give_way(&self) {
        let calm = async {
            while self.0.projection.is_crowded(self.waiting_commands()) {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(YIELD, calm).await;
    }

    pub(crate) async fn project_facts(&self, turn: Turn) -> Result<Projected, StoreError> {
        let pending = self.read("pending_facts", |reading| async move {
            let sql = "SELECT 1 AS present FROM facts LIMIT 1";
            reading.db.query_one_raw(Statement::from_string(reading.engine.backend(), sql)).await.map_err(failed)
        });
        if pending.await?.is_none() {
            return Ok(Projected::default());
        }
        self.write("project_facts", move |writing| project(writing, turn)).await
    }
}

/// A row of `facts`.
struct Written {
    id: i64,
    batch: String,
    first: i64,
    at: DateTime<Utc>,
    what: String,
}

async fn project(writing: Writing, turn: Turn) -> Result<Projected, StoreError> {
    let tx = writing.begin().await?;
    let projecting = Projecting { sql: &writing.sql, tx: &tx, engine: writing.engine };
    let facts = match projecting.run(turn).await {
        Ok(facts) if facts.is_empty() => {
            tx.discard().await;
            return Ok(Projected::default());
        }
        Ok(facts) => tx.finish(Ok(facts)).await?,
        Err(error) => return tx.finish(Err(error)).await,
    };
    for channel in [&writing.sql.0.queued, &writing.sql.0.projected, &writing.sql.0.mailed] {
        channel.notify_one();
    }
    for fact in &facts {
        counter!("facts_total", "type" => fact.kind.clone()).increment(1);
    }
    Ok(Projected { facts: facts.len(), more: true })
}

/// What a fact has people told by mail: one user, or all who have a seat at the event.
struct Told {
    kind: MailKind,
    event: i64,
    user: Option<i64>,
    position: i64,
}

struct Projecting<'a> {
    sql: &'a Sql,
    tx: &'a Tx,
    engine: Engine,
}

impl Projecting<'_> {
    /// Projects some rows. Answers their facts: none if there are none, or if another process projects.
    async fn run(&self, turn: Turn) -> Result<Vec<RenderedFact>, StoreError> {
        if !self.lead(turn).await? {
            return Ok(Vec::new());
        }
        let written = self.take().await?;
        if written.is_empty() {
            return Ok(Vec::new());
        }
        let source = self.source().await?;
        let mut facts = Vec::new();
        for row in &written {
            facts.extend(render(&row.what, &row.batch, row.first, row.at, &source)?);
        }
        self.add_months(&facts).await?;
        let first = self.insert(&facts).await?;
        self.queue_deliveries(first, &facts).await?;
        if self.sql.0.queues_mail.load(Ordering::Relaxed) {
            self.queue_mails(first, &facts).await?;
        }
        let ids = self.engine.numbers(written.iter().map(|row| row.id));
        self.execute(&format!("DELETE FROM facts WHERE {}", self.engine.is_one_of("id", 1)), vec![ids]).await?;
        Ok(facts)
    }

    /// Becomes the process that projects, until the transaction ends. On `SQLite` the write lock says so already.
    async fn lead(&self, turn: Turn) -> Result<bool, StoreError> {
        let sql = match (self.engine, turn) {
            (Engine::Sqlite, _) => return Ok(true),
            (Engine::Postgres, Turn::Skip) => format!("SELECT pg_try_advisory_xact_lock({LEADER}) AS leads"),
            (Engine::Postgres, Turn::Wait) => format!("SELECT true AS leads FROM pg_advisory_xact_lock({LEADER})"),
        };
        let rows = self.query(&sql, Vec::new()).await?;
        rows.first().map_or(Ok(false), |row| column(row, "leads"))
    }

    async fn take(&self) -> Result<Vec<Written>, StoreError> {
        let sql = format!("SELECT id, batch, first, at, what FROM facts ORDER BY id LIMIT {ROWS}");
        let rows = self.query(&sql, Vec::new()).await?;
        rows.iter()
            .map(|row| {
                Ok(Written {
                    id: column(row, "id")?,
                    batch: column(row, "batch")?,
                    first: column::<i32>(row, "first")?.into(),
                    at: column(row, "at")?,
                    what: column(row, "what")?,
                })
            })
            .collect()
    }

    /// What facts of this database name as their source.
    async fn source(&self) -> Result<String, StoreError> {
        let rows = self.query("SELECT database_id FROM catalogue WHERE id = 1", Vec::new()).await?;
        let row = rows.first().ok_or_else(|| StoreError::fault("the catalogue has no row"))?;
        Ok(format!("boxoffice/{}", column::<String>(row, "database_id")?))
    }

    /// Makes the partitions that facts belong in. Usually they were made ahead.
    async fn add_months(&self, facts: &[RenderedFact]) -> Result<(), StoreError> {
        if self.engine == Engine::Sqlite {
            return Ok(());
        }
        for month in facts.iter().filter_map(|fact| month_of(fact.at)).collect::<BTreeSet<_>>() {
            if !self.sql.0.projection.knows(month) {
                add_month(self, month).await?;
            }
        }
        Ok(())
    }

    /// Writes the facts after the last position. Positions of a later timeline are greater than all of an earlier one, of
    /// which some may be lost.
    async fn insert(&self, facts: &[RenderedFact]) -> Result<i64, StoreError> {
        let rows = self.query("SELECT position FROM history_state WHERE id = 1", Vec::new()).await?;
        let last: i64 = column(rows.first().ok_or_else(|| StoreError::fault("history_state has no row"))?, "position")?;
        let timeline = Version::on(self.tx.timeline().await?, 0).map_or(0, |version| stored(version.get()));
        let positions = last.max(timeline) + 1..;
        // No id is 0: an array of the driver holds no NULL.
        let id = |id: Option<u64>| id.map_or(0, stored);
        let given = BulkRows::new(self.engine)
            .numbers("position", positions.clone().take(facts.len()))
            .instants("at", facts.iter().map(|fact| fact.at))
            .texts("fact_id", facts.iter().map(|fact| fact.id.as_str()))
            .texts("type", facts.iter().map(|fact| fact.kind.as_str()))
            .numbers("event_id", facts.iter().map(|fact| id(fact.event)))
            .numbers("user_id", facts.iter().map(|fact| id(fact.user)))
            .numbers("by_id", facts.iter().map(|fact| id(fact.by)))
            .texts("body", facts.iter().map(|fact| fact.body.as_str()));
        let sql = format!(
            "INSERT INTO history (position, at, fact_id, type, event_id, user_id, by_id, body) \
             SELECT position, at, fact_id, type, nullif(event_id, 0), nullif(user_id, 0), nullif(by_id, 0), body FROM {}",
            given.table()
        );
        self.execute(&sql, given.values()).await?;
        let last = positions.start + i64::try_from(facts.len()).unwrap_or(i64::MAX) - 1;
        self.execute("UPDATE history_state SET position = $1 WHERE id = 1", vec![last.into()]).await?;
        Ok(positions.start)
    }

    /// Queues each fact for the webhooks that want it: those that are enabled. Whoever adds or enables one has everything
    /// projected before that was committed by then.
    async fn queue_deliveries(&self, first: i64, facts: &[RenderedFact]) -> Result<(), StoreError> {
        let rows = self.query("SELECT id, types FROM webhooks WHERE enabled", Vec::new()).await?;
        let mut queued = Vec::new();
        for row in &rows {
            let (id, types) = (column::<i64>(row, "id")?, patterns(&column::<String>(row, "types")?));
            let is_wanted = |fact: &RenderedFact| {
                let kind = FactType::from_name(&fact.kind);
                kind.is_some_and(|kind| types.iter().any(|pattern| pattern.matches(kind)))
            };
            queued.extend(facts.iter().zip(first..).filter(|(fact, _)| is_wanted(fact)).map(|one| (id, one)));
        }
        if queued.is_empty() {
            return Ok(());
        }
        // Of one event in the order of its facts: ids are given out in this order.
        queued.sort_by_key(|(_, (_, position))| *position);
        let now = self.tx.now().as_datetime();
        let given = BulkRows::new(self.engine)
            .numbers("webhook_id", queued.iter().map(|(webhook, _)| *webhook))
            .texts("fact_id", queued.iter().map(|(_, (fact, _))| fact.id.as_str()))
            .texts("type", queued.iter().map(|(_, (fact, _))| fact.kind.as_str()))
            .numbers("event_id", queued.iter().map(|(_, (fact, _))| fact.event.map_or(0, stored)))
            .numbers("position", queued.iter().map(|(_, (_, position))| *position))
            .instants("at", std::iter::repeat_n(now, queued.len()));
        let sql = format!(
            "INSERT INTO deliveries (webhook_id, fact_id, type, event_id, position, next_attempt_at, created_at) \
             SELECT webhook_id, fact_id, type, nullif(event_id, 0), position, at, at FROM {} ORDER BY position",
            given.table()
        );
        self.execute(&sql, given.values()).await
    }

    /// Queues mail to whoever a fact is about, and to all who have a seat at an event that moved.
    async fn queue_mails(&self, first: i64, facts: &[RenderedFact]) -> Result<(), StoreError> {
        let now = self.tx.now().as_datetime();
        let told = facts.iter().zip(first..).filter_map(|(fact, position)| {
            Some(Told { kind: fact.mail?, event: stored(fact.event?), user: fact.user.map(stored), position })
        });
        let (personal, general): (Vec<_>, Vec<_>) = told.partition(|told| told.user.is_some());
        if !personal.is_empty() {
            let given = BulkRows::new(self.engine)
                .texts("kind", personal.iter().map(|told| told.kind.as_str()))
                .numbers("user_id", personal.iter().filter_map(|told| told.user))
                .numbers("event_id", personal.iter().map(|told| told.event))
                .numbers("position", personal.iter().map(|told| told.position))
                .instants("at", std::iter::repeat_n(now, personal.len()));
            let sql = format!(
                "INSERT INTO mails (kind, user_id, event_id, position, next_attempt_at, created_at) \
                 SELECT kind, user_id, event_id, position, at, at FROM {} ORDER BY position",
                given.table()
            );
            self.execute(&sql, given.values()).await?;
        }
        for Told { kind, event, position, .. } in general {
            let sql = "INSERT INTO mails (kind, user_id, event_id, position, next_attempt_at, created_at) \
                       SELECT $1, user_id, event_id, $2, $3, $3 FROM registrations \
                       WHERE event_id = $4 AND status = $5 ORDER BY id";
            let confirmed = RegistrationStatus::Confirmed.as_str();
            let values = vec![kind.as_str().into(), position.into(), now.into(), event.into(), confirmed.into()];
            self.execute(sql, values).await?;
        }
        Ok(())
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

impl Projection {
    /// Whether there is a crowd, or was one a moment ago.
    fn is_crowded(&self, waiting: usize) -> bool {
        let mut seen = self.crowd.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting > CROWD {
            *seen = Some(Instant::now());
        }
        seen.is_some_and(|seen| seen.elapsed() < CROWDED)
    }

    fn knows(&self, month: NaiveDate) -> bool {
        self.months.lock().unwrap_or_else(PoisonError::into_inner).contains(&month)
    }

    fn learn(&self, month: NaiveDate) {
        self.months.lock().unwrap_or_else(PoisonError::into_inner).insert(month);
    }
}

/// The first day of an instant's month.
fn month_of(at: DateTime<Utc>) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(at.year(), at.month(), 1)
}

async fn add_month(projecting: &Projecting<'_>, month: NaiveDate) -> Result<(), StoreError> {
    let sql = "SELECT add_history_month(CAST($1 AS timestamp))";
    projecting.query(sql, vec![month.to_string().into()]).await?;
    projecting.sql.0.projection.learn(month);
    Ok(())
}

/// Drops rows from before an instant, whole months first.
async fn drop_history(writing: Writing, before: Timestamp) -> Result<u64, StoreError> {
    let tx = writing.begin().await?;
    let projecting = Projecting { sql: &writing.sql, tx: &tx, engine: writing.engine };
    let dropped = projecting.drop_before(before).await;
    tx.finish(dropped).await
}

impl Projecting<'_> {
    async fn drop_before(&self, before: Timestamp) -> Result<u64, StoreError> {
        if !self.lead(Turn::Skip).await? {
            return Ok(0);
        }
        if self.engine == Engine::Postgres {
            let sql = "SELECT drop_history_months(CAST($1 AS timestamp)) AS dropped";
            let rows = self.query(sql, vec![before.as_datetime().naive_utc().to_string().into()]).await?;
            if let Some(row) = rows.first() {
                self.remember_dropped(column(row, "dropped")?).await?;
            }
        }
        let sql = format!("SELECT position FROM history WHERE at < $1 ORDER BY position LIMIT {DROPPED_AT_ONCE}");
        let rows = self.query(&sql, vec![before.as_datetime().into()]).await?;
        let positions = rows.iter().map(|row| column(row, "position")).collect::<Result<Vec<i64>, _>>()?;
        let Some(last) = positions.last() else { return Ok(0) };
        self.remember_dropped(*last).await?;
        let those = self.engine.is_one_of("position", 1);
        let numbers = self.engine.numbers(positions.iter().copied());
        self.execute(&format!("DELETE FROM history WHERE {those}"), vec![numbers]).await?;
        Ok(u64::try_from(positions.len()).unwrap_or(u64::MAX))
    }

    async fn remember_dropped(&self, position: i64) -> Result<(), StoreError> {
        let sql = "UPDATE history_state SET dropped = $1 WHERE id = 1 AND dropped < $1";
        self.execute(sql, vec![position.into()]).await
    }
}
