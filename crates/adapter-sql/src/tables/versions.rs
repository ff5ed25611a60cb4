//! The present version of rows.

use async_trait::async_trait;
use domain::ports::{EventStamp, StoreError, VersionAnswer, VersionQuestion, Versions};
use sea_orm::{ConnectionTrait, EntityTrait, QueryResult, Statement, TryGetable};

use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::timeline;
use crate::tables::rows::{Row, catalogue, stored};

/// Which part of the statement a row comes from.
const CATALOGUE: i32 = 0;
const EVENT: i32 = 1;
const ATTENDEE: i32 = 2;
const TIMELINE: i32 = 3;

#[async_trait]
impl Versions for Sql {
    async fn confirm(&self, question: &VersionQuestion) -> Result<VersionAnswer, StoreError> {
        if *question == VersionQuestion::default() {
            return Ok(VersionAnswer::default());
        }
        let statement = statement(self.0.pools.engine(), question);
        self.read("confirm_versions", move |reading| confirm(reading, statement)).await
    }
}

/// The database's own name.
pub(crate) async fn database_id(Reading { db, .. }: Reading) -> Result<String, StoreError> {
    let row = catalogue::Entity::find_by_id(1).one(&db).await.map_err(failed)?;
    Ok(row.ok_or_else(|| StoreError::fault("the catalogue has no row"))?.database_id)
}

/// One statement, and so one snapshot of one server. Its text depends only on which of the three kinds are asked
/// for, so that it is prepared once.
fn statement(engine: Engine, question: &VersionQuestion) -> Statement {
    let mut parts = Vec::new();
    let mut values = Vec::new();
    if question.catalogue {
        parts.push(format!(
            "SELECT {CATALOGUE} AS kind, CAST(0 AS bigint) AS id, version, 0 AS deleted FROM catalogue WHERE id = 1"
        ));
    }
    if !question.events.is_empty() {
        values.push(engine.numbers(question.events.iter().map(|id| stored(id.get()))));
        let wanted = engine.is_one_of("id", values.len());
        parts.push(format!(
            "SELECT {EVENT} AS kind, id, version, CASE WHEN deleted_at IS NULL THEN 0 ELSE 1 END AS deleted \
             FROM events WHERE {wanted}"
        ));
    }
    if !question.attendees.is_empty() {
        values.push(engine.numbers(question.attendees.iter().map(|id| stored(id.get()))));
        let wanted = engine.is_one_of("user_id", values.len());
        parts.push(format!(
            "SELECT {ATTENDEE} AS kind, user_id AS id, CAST(SUM(version) AS bigint) AS version, 0 AS deleted \
             FROM registrations WHERE {wanted} GROUP BY user_id"
        ));
    }
    if engine == Engine::Postgres {
        let timeline = engine.timeline();
        parts.push(format!("SELECT {TIMELINE} AS kind, {timeline} AS id, CAST(0 AS bigint) AS version, 0 AS deleted"));
    }
    Statement::from_sql_and_values(engine.backend(), parts.join(" UNION ALL "), values)
}

async fn confirm(Reading { sql, db, .. }: Reading, statement: Statement) -> Result<VersionAnswer, StoreError> {
    let mut answer = VersionAnswer::default();
    let mut rows = Vec::new();
    for row in db.query_all_raw(statement).await.map_err(failed)? {
        match column(&row, 0)? {
            TIMELINE => answer.timeline = timeline::parse(column(&row, 1)?)?,
            kind => rows.push((kind, row)),
        }
    }
    let timeline = sql.admit(answer.timeline)?;
    for (kind, row) in rows {
        let (id, count): (i64, i64) = (column(&row, 1)?, column(&row, 2)?);
        match kind {
            CATALOGUE => answer.catalogue = Some(Row { table: "catalogue", id: 1 }.version(timeline, count)?),
            EVENT => {
                let at = Row { table: "events", id };
                let deleted = column::<i32>(&row, 3)? != 0;
                answer
                    .events
                    .insert(at.event_id("id", id)?, EventStamp { version: at.version(timeline, count)?, deleted });
            }
            _ => {
                let at = Row { table: "users", id };
                answer.attendees.insert(at.user_id("id", id)?, at.version(timeline, count)?);
            }
        }
    }
    Ok(answer)
}

fn column<T: TryGetable>(row: &QueryResult, index: usize) -> Result<T, StoreError> {
    row.try_get_by_index(index).map_err(failed)
}
