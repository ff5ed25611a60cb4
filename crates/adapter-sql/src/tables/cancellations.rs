//! The registrations of a deleted event: cancelled together, and written down one by one. There may be a million, so the
//! database does both.

use domain::ports::StoreError;
use domain::{Event, EventId, RegistrationStatus, UserId};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Statement};

use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::transaction::Tx;
use crate::tables::facts::{Cancellations, new_batch};
use crate::tables::rows::{registration, stored};

/// Facts that share a row: a row is read whole.
const FACTS_A_ROW: u32 = 200;

/// Writes down that every confirmed registration of an event is cancelled: before it is.
pub(crate) async fn write_facts(tx: &Tx, engine: Engine, event: &Event, by: Option<UserId>) -> Result<(), StoreError> {
    let now = tx.now();
    let Cancellations { head, fact, tail } = Cancellations::of(event, by)?;
    let object = match engine {
        Engine::Postgres => "json_build_object",
        Engine::Sqlite => "json_object",
    };
    let sql = format!(
        "INSERT INTO facts (batch, first, at, what) \
         SELECT CAST($1 AS text), CAST(chunk * {FACTS_A_ROW} AS integer), CAST($2 AS {at}), \
             CAST($3 AS text) || {gathered} || '{tail}' \
         FROM (SELECT (row_number() OVER (ORDER BY id) - 1) / {FACTS_A_ROW} AS chunk, id, \
                 CAST($4 AS text) || CAST({object}('id', id, 'user_id', user_id, 'status', 'cancelled', \
                     'registration_date', {registered}, 'created_at', {created}) AS text) || '}}' AS fact \
             FROM registrations WHERE event_id = $5 AND status = 'confirmed') AS cancelled \
         GROUP BY chunk ORDER BY chunk",
        at = engine.instant(),
        gathered = engine.joined("fact", "id"),
        registered = engine.json_instant("registration_date"),
        created = engine.json_instant("created_at"),
    );
    let values =
        [new_batch(now).into(), now.as_datetime().into(), head.into(), fact.into(), stored(event.id.get()).into()];
    tx.execute_raw(Statement::from_sql_and_values(engine.backend(), sql, values)).await.map_err(failed)?;
    Ok(())
}

/// Cancels every confirmed registration of an event. Answers how many there were.
pub(crate) async fn cancel(tx: &Tx, event: EventId) -> Result<u64, StoreError> {
    let cancelled = registration::Entity::update_many()
        .col_expr(registration::Column::Status, Expr::value(RegistrationStatus::Cancelled.as_str()))
        .col_expr(registration::Column::Version, Expr::col(registration::Column::Version).add(1))
        .filter(registration::Column::EventId.eq(stored(event.get())))
        .filter(registration::Column::Status.eq(RegistrationStatus::Confirmed.as_str()))
        .exec(&**tx)
        .await
        .map_err(failed)?;
    Ok(cancelled.rows_affected)
}
