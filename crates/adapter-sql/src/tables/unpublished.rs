//! How far the broker was told the history.
//!
//! Positions are committed in their order, so going on from one misses nothing.

use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{HistoryError, HistoryFilter, HistoryPage, Position, StoreError, Unpublished};
use sea_orm::{ConnectionTrait, Statement};
use tokio::time::timeout;

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::Writing;
use crate::tables::rows::stored;

/// How long a process sleeps that is not woken: another instance may have projected.
const POLL: Duration = Duration::from_millis(250);

#[async_trait]
impl Unpublished for Sql {
    async fn next(&self, limit: u32) -> Result<HistoryPage, StoreError> {
        self.give_way().await;
        let after = match self.published_to().await? {
            Some(position) => position,
            None => self.write("begin_to_publish", begin).await?,
        };
        match self.projected(HistoryFilter::default(), after, limit).await {
            Ok(page) => Ok(page),
            // What was dropped cannot be told any more. The rest can.
            Err(HistoryError::CursorExpired) => {
                tracing::warn!("facts are not kept any more that the broker was not told of: see HISTORY_KEPT");
                self.projected(HistoryFilter::default(), Position::START, limit).await.map_err(|error| match error {
                    HistoryError::CursorExpired => StoreError::fault("the history has no beginning"),
                    HistoryError::Store(error) => error,
                })
            }
            Err(HistoryError::Store(error)) => Err(error),
        }
    }

    async fn published(&self, to: Position) -> Result<(), StoreError> {
        self.write("published", move |writing| published(writing, to)).await
    }

    async fn wait(&self) {
        let _ = timeout(POLL, self.0.projected.notified()).await;
    }
}

impl Sql {
    async fn published_to(&self) -> Result<Option<Position>, StoreError> {
        self.read("published_to", |reading| async move {
            let sql = "SELECT position FROM channels WHERE name = 'broker'";
            let row = reading.db.query_one_raw(Statement::from_string(reading.engine.backend(), sql)).await;
            let position =
                row.map_err(failed)?.map(|row| row.try_get::<i64>("", "position").map_err(failed)).transpose()?;
            Ok(position.map(|position| Position::new(u64::try_from(position).unwrap_or_default())))
        })
        .await
    }
}

async fn begin(writing: Writing) -> Result<Position, StoreError> {
    let tx = writing.begin().await?;
    let now = tx.now().as_datetime();
    let sql = "INSERT INTO channels (name, position, at) SELECT 'broker', position, $1 FROM history_state WHERE id = 1 \
               ON CONFLICT (name) DO UPDATE SET at = excluded.at RETURNING position";
    let statement = Statement::from_sql_and_values(writing.engine.backend(), sql, [now.into()]);
    let begun = tx.query_one_raw(statement).await.map_err(failed).and_then(|row| {
        let row = row.ok_or_else(|| StoreError::fault("history_state has no row"))?;
        let position: i64 = row.try_get("", "position").map_err(failed)?;
        Ok(Position::new(u64::try_from(position).unwrap_or_default()))
    });
    tx.finish(begun).await
}

async fn published(writing: Writing, to: Position) -> Result<(), StoreError> {
    let tx = writing.begin().await?;
    let sql = "UPDATE channels SET position = $1, at = $2 WHERE name = 'broker' AND position < $1";
    let values = [stored(to.get()).into(), tx.now().as_datetime().into()];
    let statement = Statement::from_sql_and_values(writing.engine.backend(), sql, values);
    let moved = tx.execute_raw(statement).await.map(drop).map_err(failed);
    tx.finish(moved).await
}
