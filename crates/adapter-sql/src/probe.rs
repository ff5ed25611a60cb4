//! Whether the database answers.

use async_trait::async_trait;
use domain::ports::{Probe, StoreError};
use sea_orm::ConnectionTrait;

use crate::Sql;
use crate::error::failed;
use crate::work::Reading;

#[async_trait]
impl Probe for Sql {
    async fn ping(&self) -> Result<(), StoreError> {
        self.read("ping", |Reading { db, .. }| async move {
            db.execute_unprepared("SELECT 1").await.map(|_| ()).map_err(failed)
        })
        .await
    }
}
