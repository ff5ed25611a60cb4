//! The oldest fact that each channel has not told.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use domain::Timestamp;
use domain::ports::{FactLag, StoreError, Untold};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, Statement};

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::Reading;

/// What no channel can have told: it is in no history yet.
const UNPROJECTED: &str = "SELECT at FROM facts ORDER BY id LIMIT 1";

/// A row for each webhook, by the index of what is due.
const WEBHOOK: &str = "SELECT (SELECT created_at FROM deliveries WHERE webhook_id = webhooks.id \
    AND status = 'pending' AND attempts = 0 ORDER BY next_attempt_at, id LIMIT 1) AS at FROM webhooks WHERE enabled";

const BROKER: &str = "SELECT history.at FROM history JOIN channels ON channels.name = 'broker' \
    WHERE history.position > channels.position ORDER BY history.position LIMIT 1";

const MAIL: &str = "SELECT created_at AS at FROM mails WHERE status = 'pending' AND attempts = 0 \
    ORDER BY next_attempt_at, id LIMIT 1";

#[async_trait]
impl FactLag for Sql {
    async fn oldest_untold(&self) -> Result<Untold, StoreError> {
        let mails = self.0.queues_mail.load(Ordering::Relaxed);
        self.read("oldest_untold", move |reading| oldest_untold(reading, mails)).await
    }
}

async fn oldest_untold(reading: Reading, mails: bool) -> Result<Untold, StoreError> {
    let oldest = async |sql: &str| {
        let rows = reading.db.query_all_raw(Statement::from_string(reading.engine.backend(), sql)).await;
        let mut oldest: Option<DateTimeUtc> = None;
        for row in rows.map_err(failed)? {
            let at: Option<DateTimeUtc> = row.try_get("", "at").map_err(failed)?;
            oldest = [oldest, at].into_iter().flatten().min();
        }
        Ok::<_, StoreError>(oldest.map(Timestamp::stored))
    };
    let unprojected = oldest(UNPROJECTED).await?;
    let untold = async |sql: &str| Ok::<_, StoreError>(oldest(sql).await?.or(unprojected));
    let mail = if mails { untold(MAIL).await? } else { None };
    Ok(Untold { webhook: untold(WEBHOOK).await?, broker: untold(BROKER).await?, mail })
}
