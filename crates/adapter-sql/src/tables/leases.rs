//! Which process does what one process at a time may do.

use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{Job, Leases, StoreError};
use sea_orm::{ConnectionTrait, Statement, Value};

use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Writing;

#[async_trait]
impl Leases for Sql {
    async fn hold(&self, job: Job, lasts: Duration) -> Result<bool, StoreError> {
        if self.0.pools.engine() == Engine::Sqlite {
            // A file has one process.
            return Ok(true);
        }
        let (holder, secs) = (self.0.holder.clone(), lasts.as_secs_f64());
        let sql = "INSERT INTO leases (name, holder, until) \
                   VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3)) \
                   ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                   WHERE leases.holder = excluded.holder OR leases.until < clock_timestamp()";
        let values = vec![job.as_str().into(), holder.into(), secs.into()];
        Ok(self.write("hold_lease", move |writing| execute(writing, sql, values)).await? > 0)
    }

    async fn release_all(&self) -> Result<(), StoreError> {
        if self.0.pools.engine() == Engine::Sqlite {
            return Ok(());
        }
        let sql = "DELETE FROM leases WHERE holder = $1";
        let values = vec![self.0.holder.clone().into()];
        self.write("release_leases", move |writing| execute(writing, sql, values)).await.map(drop)
    }
}

/// Answers how many rows were written.
async fn execute(writing: Writing, sql: &'static str, values: Vec<Value>) -> Result<u64, StoreError> {
    let tx = writing.begin().await?;
    let statement = Statement::from_sql_and_values(writing.engine.backend(), sql, values);
    let written = tx.execute_raw(statement).await.map(|done| done.rows_affected()).map_err(failed);
    tx.finish(written).await
}
