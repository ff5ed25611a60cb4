//! Whether seats and registrations agree, the programme with its events, and every value with the rules of the API.

use std::collections::{BTreeSet, HashSet};

use async_trait::async_trait;
use domain::RegistrationStatus;
use domain::ports::{Audit, CountAstray, FactAstray, Inconsistency, InvalidValue, SeatsAstray, StoreError};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, QueryResult, Statement, TransactionTrait};

use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::tables::facts::render;
use crate::tables::rows::Row;

#[async_trait]
impl Audit for Sql {
    async fn inconsistencies(&self) -> Result<Vec<Inconsistency>, StoreError> {
        let pools = &self.0.pools;
        self.without_deadline(inconsistencies(pools.present().reader.clone(), pools.engine())).await
    }

    async fn facts_astray(&self) -> Result<Vec<FactAstray>, StoreError> {
        let mut found = self.facts_astray_now().await?;
        // What was committed while the tables were read may have been told by now.
        for _ in 0..LOOKS {
            if found.is_empty() {
                break;
            }
            let again = self.facts_astray_now().await?;
            found.retain(|astray| again.contains(astray));
        }
        Ok(found.into_iter().collect())
    }
}

/// How often what the history tells otherwise of is looked at again.
const LOOKS: u32 = 2;

/// 9999-12-31T23:59:59Z, in seconds since 1970: later than every row.
const END_OF_TIME: i64 = 253_402_300_799;

/// From when on rows have facts that are kept; `NULL` if none is.
const TOLD_SINCE: &str = "SELECT CASE WHEN dropped > 0 THEN (SELECT MIN(history.at) FROM history) ELSE begun_at END AS since \
    FROM history_state WHERE id = 1";

/// A registration's row does not say when it was cancelled: one that was told of nothing is looked at by its date.
const REGISTRATIONS_ASTRAY: &str = "SELECT registrations.event_id, registrations.user_id, registrations.status, newest.type \
    FROM registrations LEFT JOIN (SELECT event_id, user_id, MAX(position) AS position FROM history \
        WHERE type LIKE 'registration.%' GROUP BY event_id, user_id) AS told \
        ON told.event_id = registrations.event_id AND told.user_id = registrations.user_id \
    LEFT JOIN history AS newest ON newest.position = told.position \
    WHERE CASE WHEN told.position IS NULL THEN registrations.registration_date >= $1 \
        ELSE newest.type <> 'registration.' || registrations.status END";

const EVENTS_ASTRAY: &str = "SELECT id, 'created' AS lacks FROM events WHERE created_at >= $1 AND NOT EXISTS \
        (SELECT 1 FROM history WHERE history.event_id = events.id AND history.type = 'event.created') \
    UNION ALL SELECT id, 'deleted' AS lacks FROM events WHERE deleted_at >= $1 AND NOT EXISTS \
        (SELECT 1 FROM history WHERE history.event_id = events.id AND history.type = 'event.deleted')";

impl Sql {
    /// Facts that are in no history yet are read, and not projected: an operator's command queues no mail.
    async fn facts_astray_now(&self) -> Result<BTreeSet<FactAstray>, StoreError> {
        let pools = &self.0.pools;
        self.without_deadline(facts_astray(pools.present().reader.clone(), pools.engine())).await
    }
}

/// What is told by facts that are in no history yet.
struct Unprojected {
    events: HashSet<u64>,
    registrations: HashSet<(u64, u64)>,
}

impl Unprojected {
    async fn read(db: &DatabaseConnection, engine: Engine) -> Result<Self, StoreError> {
        let mut unprojected = Self { events: HashSet::new(), registrations: HashSet::new() };
        let sql = "SELECT batch, first, at, what FROM facts";
        for row in without_deadline(db, Statement::from_string(engine.backend(), sql)).await? {
            let text = |name| row.try_get::<String>("", name).map_err(failed);
            let first: i32 = row.try_get("", "first").map_err(failed)?;
            let at: DateTimeUtc = row.try_get("", "at").map_err(failed)?;
            for fact in render(&text("what")?, &text("batch")?, first.into(), at, "")? {
                match (fact.event, fact.user) {
                    (Some(event), Some(user)) => drop(unprojected.registrations.insert((event, user))),
                    (Some(event), None) => drop(unprojected.events.insert(event)),
                    (None, _) => {}
                }
            }
        }
        Ok(unprojected)
    }

    fn tells(&self, astray: &FactAstray) -> bool {
        match astray {
            FactAstray::Created(event) | FactAstray::Deleted(event) => self.events.contains(&event.get()),
            FactAstray::Registration { event, user, .. } => self.registrations.contains(&(event.get(), user.get())),
        }
    }
}

async fn facts_astray(db: DatabaseConnection, engine: Engine) -> Result<BTreeSet<FactAstray>, StoreError> {
    let rows = without_deadline(&db, Statement::from_string(engine.backend(), TOLD_SINCE)).await?;
    let Some(row) = rows.first() else { return Ok(BTreeSet::new()) };
    // Before the rows: what is projected meanwhile is in the history then.
    let unprojected = Unprojected::read(&db, engine).await?;
    let since: Option<DateTimeUtc> = row.try_get("", "since").map_err(failed)?;
    let Some(since) = since.or_else(|| DateTimeUtc::from_timestamp(END_OF_TIME, 0)) else { return Ok(BTreeSet::new()) };
    let statement = |sql| Statement::from_sql_and_values(engine.backend(), sql, [since.into()]);
    let mut astray = BTreeSet::new();
    for row in without_deadline(&db, statement(EVENTS_ASTRAY)).await? {
        let id: i64 = row.try_get("", "id").map_err(failed)?;
        // A row whose id is none is named elsewhere.
        let Ok(event) = Row { table: "events", id }.event_id("id", id) else { continue };
        let lacks: String = row.try_get("", "lacks").map_err(failed)?;
        astray.insert(if lacks == "created" { FactAstray::Created(event) } else { FactAstray::Deleted(event) });
    }
    let confirmed = RegistrationStatus::Confirmed.as_str();
    for row in without_deadline(&db, statement(REGISTRATIONS_ASTRAY)).await? {
        let number = |name| row.try_get::<i64>("", name).map_err(failed);
        let (event, user) = (number("event_id")?, number("user_id")?);
        let at = Row { table: "registrations", id: event };
        let (status, told): (String, Option<String>) =
            (row.try_get("", "status").map_err(failed)?, row.try_get("", "type").map_err(failed)?);
        let (Ok(event), Ok(user)) = (at.event_id("event_id", event), at.user_id("user_id", user)) else { continue };
        astray.insert(FactAstray::Registration {
            event,
            user,
            is_confirmed: status == confirmed,
            is_told_confirmed: told.map(|told| told.ends_with(confirmed)),
        });
    }
    astray.retain(|astray| !unprojected.tells(astray));
    Ok(astray)
}

#[derive(FromQueryResult)]
struct Found {
    id: i64,
    total_seats: i64,
    available_seats: i64,
    confirmed: i64,
    deleted: i64,
}

/// Where the programme is a table, and not a view of the events, it may list others than there are.
const LISTED_OTHERWISE: &str = "SELECT COALESCE(expected.event_id, listed.event_id) AS id \
    FROM programme_expected AS expected FULL JOIN programme AS listed ON listed.event_id = expected.event_id \
    WHERE (listed.date, listed.title_folded, listed.has_seats) \
        IS DISTINCT FROM (expected.date, expected.title_folded, expected.has_seats) \
    ORDER BY 1";

const COUNTED_OTHERWISE: &str = "SELECT CAST(scale AS bigint) AS scale, CAST(span AS bigint) AS span, \
        CAST(SUM(standing) AS bigint) AS excess, CAST(SUM(with_seats) AS bigint) AS excess_with_seats \
    FROM (SELECT scale, span, standing, with_seats FROM programme_counts UNION ALL \
        SELECT scale, span, -standing, -with_seats FROM programme_counted) AS counts \
    GROUP BY scale, span HAVING SUM(standing) <> 0 OR SUM(with_seats) <> 0 ORDER BY 1, 2";

/// The tables refuse such values, except for those that were there before them.
const INVALID_VALUES: &str =
    "SELECT table_name, id, column_name, fault FROM invalid_values ORDER BY table_name, id, column_name";

async fn inconsistencies(db: DatabaseConnection, engine: Engine) -> Result<Vec<Inconsistency>, StoreError> {
    let mut found = seats_astray(&db, engine).await?;
    if engine == Engine::Postgres {
        for row in without_deadline(&db, Statement::from_string(engine.backend(), LISTED_OTHERWISE)).await? {
            let id: i64 = row.try_get("", "id").map_err(failed)?;
            found.push(Inconsistency::Listing { event: Row { table: "programme", id }.event_id("event_id", id)? });
        }
    }
    for row in without_deadline(&db, Statement::from_string(engine.backend(), COUNTED_OTHERWISE)).await? {
        let number = |name: &str| row.try_get::<i64>("", name).map_err(failed);
        let scale = number("scale")?;
        found.push(Inconsistency::Count(CountAstray {
            first_day: number("span")? << scale,
            days: 1 << scale,
            excess: number("excess")?,
            excess_with_seats: number("excess_with_seats")?,
        }));
    }
    for row in without_deadline(&db, Statement::from_string(engine.backend(), INVALID_VALUES)).await? {
        let text = |name: &str| row.try_get::<String>("", name).map_err(failed);
        found.push(Inconsistency::Value(InvalidValue {
            table: text("table_name")?,
            row: row.try_get("", "id").map_err(failed)?,
            column: text("column_name")?,
            fault: text("fault")?,
        }));
    }
    Ok(found)
}

async fn seats_astray(db: &DatabaseConnection, engine: Engine) -> Result<Vec<Inconsistency>, StoreError> {
    let sql = "SELECT event.id, CAST(event.total_seats AS bigint) AS total_seats, \
                      CAST(event.available_seats AS bigint) AS available_seats, \
                      COALESCE(held.confirmed, CAST(0 AS bigint)) AS confirmed, \
                      CAST(CASE WHEN event.deleted_at IS NULL THEN 0 ELSE 1 END AS bigint) AS deleted \
               FROM events AS event \
               LEFT JOIN (SELECT event_id, COUNT(*) AS confirmed FROM registrations WHERE status = $1 \
                          GROUP BY event_id) AS held ON held.event_id = event.id \
               WHERE event.available_seats <> event.total_seats - COALESCE(held.confirmed, 0) \
                  OR (event.deleted_at IS NOT NULL AND held.confirmed > 0) \
               ORDER BY event.id";
    let confirmed = RegistrationStatus::Confirmed.as_str();
    let statement = Statement::from_sql_and_values(engine.backend(), sql, [confirmed.into()]);
    let rows = without_deadline(db, statement).await?;
    rows.iter()
        .map(|row| {
            let found = Found::from_query_result(row, "").map_err(failed)?;
            Ok(Inconsistency::Seats(SeatsAstray {
                event: Row { table: "events", id: found.id }.event_id("id", found.id)?,
                total_seats: found.total_seats,
                available_seats: found.available_seats,
                confirmed: found.confirmed,
                deleted: found.deleted != 0,
            }))
        })
        .collect()
}

/// One statement, and so one snapshot. It reads everything, and takes the time it needs.
async fn without_deadline(db: &DatabaseConnection, statement: Statement) -> Result<Vec<QueryResult>, StoreError> {
    let tx = db.begin().await.map_err(failed)?;
    if statement.db_backend == Engine::Postgres.backend() {
        tx.execute_unprepared("SET LOCAL statement_timeout = 0").await.map_err(failed)?;
    }
    let rows = tx.query_all_raw(statement).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    Ok(rows)
}
