//! Whether seats and registrations agree.

use async_trait::async_trait;
use domain::RegistrationStatus;
use domain::ports::{Audit, Inconsistency, StoreError};
use sea_orm::{ConnectionTrait, DatabaseConnection, FromQueryResult, Statement, TransactionTrait};

use crate::Sql;
use crate::entity::Row;
use crate::error::failed;
use crate::tx::Engine;

#[async_trait]
impl Audit for Sql {
    async fn inconsistencies(&self) -> Result<Vec<Inconsistency>, StoreError> {
        let pools = &self.0.pools;
        self.unhurried(inconsistencies(pools.present().reader.clone(), pools.engine())).await
    }
}

#[derive(FromQueryResult)]
struct Found {
    id: i64,
    total_seats: i64,
    available_seats: i64,
    confirmed: i64,
    deleted: i64,
}

/// One statement, and so one snapshot. It reads everything, and takes the time it needs.
async fn inconsistencies(db: DatabaseConnection, engine: Engine) -> Result<Vec<Inconsistency>, StoreError> {
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
    let tx = db.begin().await.map_err(failed)?;
    if engine == Engine::Postgres {
        tx.execute_unprepared("SET LOCAL statement_timeout = 0").await.map_err(failed)?;
    }
    let rows = tx.query_all_raw(statement).await.map_err(failed)?;
    tx.commit().await.map_err(failed)?;
    rows.iter()
        .map(|row| {
            let found = Found::from_query_result(row, "").map_err(failed)?;
            Ok(Inconsistency {
                event: Row { table: "events", id: found.id }.event_id("id", found.id)?,
                total_seats: found.total_seats,
                available_seats: found.available_seats,
                confirmed: found.confirmed,
                deleted: found.deleted != 0,
            })
        })
        .collect()
}
