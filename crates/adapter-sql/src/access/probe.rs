//! Whether the database answers.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::ports::{Probe, StoreError};
use sea_orm::ConnectionTrait;
use tokio::time::{sleep, timeout};

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::Reading;

/// How many may be asking the database at a time.
pub(crate) const PINGS: usize = 2;

/// How often a probe that waits for a connection looks whether the database has answered another.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[async_trait]
impl Probe for Sql {
    /// An answer to any operation that comes after the question counts: when all connections are busy, the probe
    /// need not wait for one to learn that the database is well. A database that is known not to be
    /// written to at present, such as a standby, is not.
    async fn ping(&self) -> Result<(), StoreError> {
        if let Some(unfit) = self.0.pools.outlook().hindrance() {
            return Err(StoreError::unavailable(unfit));
        }
        let asked = Instant::now();
        let mut answered = pin!(async {
            let Ok(place) = Arc::clone(&self.0.pings).try_acquire_owned() else {
                // Another operation's answer will do.
                sleep(self.0.deadlines.answer()).await;
                return Err(StoreError::unavailable("no operation was answered in time"));
            };
            let place = Arc::new(place);
            let ping = self.read("ping", move |Reading { db, .. }| async move {
                let _place = place;
                db.execute_unprepared("SELECT 1").await.map(|_| ()).map_err(failed)
            });
            ping.await
        });
        loop {
            if let Ok(answer) = timeout(LOOK_EVERY, &mut answered).await {
                return answer;
            }
            if self.0.pools.present().has_answered_since(asked) {
                return Ok(());
            }
        }
    }
}
