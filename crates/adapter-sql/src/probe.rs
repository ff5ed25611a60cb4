//! Whether the database answers.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::ports::{Probe, StoreError};
use sea_orm::ConnectionTrait;
use tokio::time::{sleep, timeout};

use crate::Sql;
use crate::error::failed;
use crate::work::Reading;

/// How many may be asking the database at a time.
pub(crate) const PINGS: usize = 2;

/// How often somebody who waits for a connection looks whether the database has answered another.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[async_trait]
impl Probe for Sql {
    /// An answer to anybody, from the moment of the question on, is an answer: when all connections are busy,
    /// nobody has to wait for one to learn that the database is well.
    async fn ping(&self) -> Result<(), StoreError> {
        let asked = Instant::now();
        let mut answered = pin!(async {
            let Ok(place) = Arc::clone(&self.0.pings).try_acquire_owned() else {
                // Somebody else's will do.
                sleep(self.0.deadlines.answer()).await;
                return Err(StoreError::unavailable("nobody was answered in time"));
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
