//! Whether a transaction was committed whose answer was lost with its connection.

use std::time::{Duration, Instant};

use domain::ports::StoreError;
use sea_orm::{ConnectionTrait, Statement};

use super::progress::{Known, Part, Progress, Transaction};
use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::timeline::COLUMN as TIMELINE;

/// How long the database is asked, which may be starting again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// What the commands of a transaction came to, once that can be learnt: Postgres remembers how its
/// transactions ended (`pg_xact_status`). `None` if it cannot be learnt, or not in time.
///
/// A number names a transaction on its own timeline only. After a promotion the same number is another's, so there
/// the outcome stays unknown; and a standby, which may lag, is not believed.
pub(super) async fn outcome(sql: &Sql, progress: &Progress) -> Option<Result<Vec<Part>, StoreError>> {
    let Known { transaction, parts, happened, .. } = progress.take();
    let (transaction, parts) = (transaction?, parts?);
    if sql.0.pools.engine() != Engine::Postgres {
        return None;
    }
    let asked = Instant::now();
    while asked.elapsed() < PATIENCE {
        let asked_for = transaction.clone();
        match sql.read_once("look_up_commit", move |reading| status(reading, asked_for)).await {
            Ok(Status::Committed) => {
                sql.committed(&happened);
                return Some(Ok(parts));
            }
            Ok(Status::Aborted) => {
                return Some(Err(StoreError::unavailable("the connection was lost before the commit")));
            }
            Ok(Status::Foreign) => return None,
            Ok(Status::Open) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    None
}

/// What a server says of a transaction.
enum Status {
    Committed,
    Aborted,
    /// It is still ending, or not to be asked yet.
    Open,
    /// The server is on another timeline.
    Foreign,
}

/// One statement, so that the number is looked up by the server that is on the timeline.
async fn status(reading: Reading, transaction: Transaction) -> Result<Status, StoreError> {
    let Reading { sql: store, db, engine } = reading;
    let sql = format!(
        "SELECT server.{TIMELINE}, CASE WHEN server.{TIMELINE} = $2 THEN pg_xact_status(CAST($1 AS xid8)) END AS status \
         FROM (SELECT {} AS {TIMELINE}) AS server",
        engine.timeline()
    );
    let values = [transaction.id.into(), i64::from(transaction.timeline.get()).into()];
    let statement = Statement::from_sql_and_values(engine.backend(), sql, values);
    let row = db.query_one_raw(statement).await.map_err(failed)?;
    let row = row.ok_or_else(|| StoreError::fault("no row of a transaction"))?;
    if store.timeline_of(&row)? != transaction.timeline {
        return Ok(Status::Foreign);
    }
    let status: Option<String> = row.try_get("", "status").map_err(failed)?;
    Ok(match status.as_deref() {
        Some("committed") => Status::Committed,
        Some("aborted") => Status::Aborted,
        _ => Status::Open,
    })
}
