//! Whether a transaction was committed whose answer was lost with its connection.

use std::time::{Duration, Instant};

use domain::ports::StoreError;
use sea_orm::{ConnectionTrait, Statement};

use super::batch::{Known, Part, Progress};
use super::{Verdict, all_parts};
use crate::Sql;
use crate::error::failed;
use crate::tx::Engine;
use crate::work::Reading;

/// How long the database is asked, which may be starting again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// What the orders of a transaction came to, once that can be learnt: Postgres remembers how its
/// transactions ended (`pg_xact_status`). `None` if it cannot be learnt in time.
pub(super) async fn outcome(sql: &Sql, progress: &Progress) -> Option<Vec<Part>> {
    let Known { transaction, parts, changes, .. } = progress.take();
    let (transaction, parts) = (transaction?, parts?);
    if sql.0.pools.engine() != Engine::Postgres {
        return None;
    }
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        let transaction = transaction.clone();
        match sql.read_once("settle_transaction", move |reading| status(reading, transaction)).await {
            Ok(Some(status)) if status == "committed" => {
                sql.announce(changes);
                return Some(parts);
            }
            Ok(Some(status)) if status == "aborted" => {
                let undone = StoreError::unavailable("the connection was lost before the commit");
                return Some(all_parts(parts.len(), &Verdict::Store(undone)));
            }
            // Still ending, or not to be asked yet.
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    None
}

async fn status(Reading { db, engine }: Reading, transaction: String) -> Result<Option<String>, StoreError> {
    let sql = "SELECT pg_xact_status(CAST($1 AS xid8)) AS status";
    let statement = Statement::from_sql_and_values(engine.backend(), sql, [transaction.into()]);
    let row = db.query_one_raw(statement).await.map_err(failed)?;
    row.map_or(Ok(None), |row| row.try_get("", "status").map_err(failed))
}
