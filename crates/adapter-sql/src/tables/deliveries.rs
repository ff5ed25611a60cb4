//! What is due for webhooks, for the one process that sends it.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::ports::{AfterAttempt, Attempt, Deliveries, DueDelivery, StoreError};
use domain::{DeliveryId, FactId, Timestamp, WebhookId, WebhookSecret, WebhookUrl};
use metrics::counter;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use tokio::time::timeout;

use crate::Sql;
use crate::access::bulk_rows::BulkRows;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Writing;
use crate::access::raw::{column, execute, query};
use crate::access::transaction::Tx;
use crate::tables::rows::{Row, stored};

/// When a delivery that was taken and never settled is due again.
const LEASE_SECS: u32 = 60;

/// How long a process sleeps that is not woken: retries become due, and other instances queue deliveries.
const POLL: Duration = Duration::from_millis(500);

#[async_trait]
impl Deliveries for Sql {
    async fn wait(&self) {
        let _ = timeout(POLL, self.0.queued.notified()).await;
    }

    async fn claim(&self, each: u32, busy: &[WebhookId]) -> Result<Vec<DueDelivery>, StoreError> {
        let now = self.0.clock.now();
        let busy: Vec<_> = busy.iter().map(|id| stored(id.get())).collect();
        let idle = self.read("due_webhooks", move |reading| async move {
            let sql = "SELECT id FROM webhooks WHERE enabled AND EXISTS (SELECT 1 FROM deliveries \
                       WHERE webhook_id = webhooks.id AND status = 'pending' AND next_attempt_at <= $1)";
            let values = [now.as_datetime().into()];
            let statement = Statement::from_sql_and_values(reading.engine.backend(), sql, values);
            let rows = reading.db.query_all_raw(statement).await.map_err(failed)?;
            rows.iter().map(|row| column::<i64>(row, "id")).collect::<Result<Vec<_>, _>>()
        });
        let idle: Vec<_> = idle.await?.into_iter().filter(|id| !busy.contains(id)).collect();
        if idle.is_empty() {
            return Ok(Vec::new());
        }
        self.give_way().await;
        self.write("claim_deliveries", move |writing| claim(writing, idle, each, now)).await
    }

    async fn settle(&self, attempts: Vec<Attempt>) -> Result<(), StoreError> {
        let outcomes: Vec<_> = attempts.iter().map(|attempt| outcome(attempt.next)).collect();
        self.write("settle_deliveries", move |writing| settle(writing, attempts)).await?;
        for outcome in outcomes {
            counter!("deliveries_total", "channel" => "webhook", "outcome" => outcome).increment(1);
        }
        Ok(())
    }
}

/// What an attempt came to, for the metric.
fn outcome(next: AfterAttempt) -> &'static str {
    match next {
        AfterAttempt::Delivered => "delivered",
        AfterAttempt::Retry(_) => "retried",
        AfterAttempt::Failed | AfterAttempt::Disable => "failed",
    }
}

async fn claim(
    writing: Writing,
    webhooks: Vec<i64>,
    each: u32,
    now: Timestamp,
) -> Result<Vec<DueDelivery>, StoreError> {
    let tx = writing.begin().await?;
    let claimed = claim_in(&tx, writing.engine, &webhooks, each, now).await;
    tx.finish(claimed).await
}

async fn claim_in(
    tx: &Tx,
    engine: Engine,
    webhooks: &[i64],
    each: u32,
    now: Timestamp,
) -> Result<Vec<DueDelivery>, StoreError> {
    let sql = format!(
        "SELECT id, url, secret, previous_secret, previous_until, failing_since FROM webhooks WHERE enabled AND {}",
        engine.is_one_of("id", 1)
    );
    let rows = query(tx, engine, &sql, vec![engine.numbers(webhooks.iter().copied())]).await?;
    let mut due = Vec::new();
    for row in &rows {
        due.extend(claim_of(tx, engine, row, each, now).await?);
    }
    Ok(due)
}

async fn claim_of(
    tx: &Tx,
    engine: Engine,
    webhook: &QueryResult,
    each: u32,
    now: Timestamp,
) -> Result<Vec<DueDelivery>, StoreError> {
    let id: i64 = column(webhook, "id")?;
    let url = WebhookUrl::stored(&column::<String>(webhook, "url")?);
    let mut secrets = vec![WebhookSecret::new(column(webhook, "secret")?)];
    let former: Option<String> = column(webhook, "previous_secret")?;
    let until: Option<DateTimeUtc> = column(webhook, "previous_until")?;
    secrets.extend(former.filter(|_| until.is_some_and(|until| until > now.as_datetime())).map(WebhookSecret::new));
    let failing_since = column::<Option<DateTimeUtc>>(webhook, "failing_since")?.map(Timestamp::stored);
    let sql = format!(
        "UPDATE deliveries SET next_attempt_at = $1 WHERE id IN (SELECT id FROM deliveries \
         WHERE webhook_id = $2 AND status = 'pending' AND next_attempt_at <= $3 \
         ORDER BY next_attempt_at, id LIMIT {each}) \
         RETURNING id, fact_id, event_id, attempts, position, body"
    );
    let lease = now.plus_secs(LEASE_SECS).as_datetime();
    let rows = query(tx, engine, &sql, vec![lease.into(), id.into(), now.as_datetime().into()]).await?;
    let bodies = bodies(tx, engine, &rows).await?;
    let at = Row { table: "webhooks", id };
    let webhook = u64::try_from(id).ok().and_then(WebhookId::new).ok_or_else(|| at.fault("id", "not an id"))?;
    let mut due = Vec::new();
    for row in &rows {
        let id: i64 = column(row, "id")?;
        let at = Row { table: "deliveries", id };
        let own: Option<String> = column(row, "body")?;
        let position: Option<i64> = column(row, "position")?;
        let body = own.or_else(|| position.and_then(|position| bodies.get(&position).cloned()));
        due.push(DueDelivery {
            id: u64::try_from(id).ok().and_then(DeliveryId::new).ok_or_else(|| at.fault("id", "not an id"))?,
            webhook,
            url: url.clone(),
            secrets: secrets.clone(),
            fact: FactId::new(column(row, "fact_id")?),
            event: column::<Option<i64>>(row, "event_id")?.map(|event| at.event_id("event_id", event)).transpose()?,
            attempts: u32::try_from(column::<i32>(row, "attempts")?).unwrap_or_default(),
            failing_since,
            body: body.unwrap_or_default().into(),
        });
    }
    due.sort_by_key(|delivery| delivery.id);
    Ok(due)
}

/// The bodies of facts, by position.
async fn bodies(tx: &Tx, engine: Engine, rows: &[QueryResult]) -> Result<HashMap<i64, String>, StoreError> {
    let mut positions = Vec::new();
    for row in rows {
        positions.extend(column::<Option<i64>>(row, "position")?);
    }
    if positions.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!("SELECT position, body FROM history WHERE {}", engine.is_one_of("position", 1));
    let rows = query(tx, engine, &sql, vec![engine.numbers(positions.into_iter())]).await?;
    rows.iter().map(|row| Ok((column(row, "position")?, column(row, "body")?))).collect()
}

async fn settle(writing: Writing, attempts: Vec<Attempt>) -> Result<(), StoreError> {
    let tx = writing.begin().await?;
    let settled = settle_in(&tx, writing.engine, &attempts).await;
    tx.finish(settled).await
}

async fn settle_in(tx: &Tx, engine: Engine, attempts: &[Attempt]) -> Result<(), StoreError> {
    let status = |attempt: &Attempt| match attempt.next {
        AfterAttempt::Delivered => "delivered",
        AfterAttempt::Retry(_) => "pending",
        AfterAttempt::Failed | AfterAttempt::Disable => "failed",
    };
    let next = |attempt: &Attempt| match attempt.next {
        AfterAttempt::Retry(at) => at,
        AfterAttempt::Delivered | AfterAttempt::Failed | AfterAttempt::Disable => attempt.at,
    };
    let given = BulkRows::new(engine)
        .numbers("id", attempts.iter().map(|attempt| stored(attempt.delivery.get())))
        .texts("status", attempts.iter().map(status))
        .instants("next", attempts.iter().map(|attempt| next(attempt).as_datetime()))
        .instants("at", attempts.iter().map(|attempt| attempt.at.as_datetime()))
        // No status is 0, and no error is empty: an array of the driver holds no NULL.
        .numbers("answered", attempts.iter().map(|attempt| attempt.status.unwrap_or(0).into()))
        .texts("error", attempts.iter().map(|attempt| attempt.error.clone().unwrap_or_default()));
    let sql = format!(
        "UPDATE deliveries SET attempts = attempts + 1, status = given.status, \
         next_attempt_at = CASE WHEN given.status = 'pending' THEN given.next END, \
         delivered_at = CASE WHEN given.status = 'delivered' THEN given.at END, \
         last_status = CAST(nullif(given.answered, 0) AS integer), last_error = nullif(given.error, '') \
         FROM {} WHERE deliveries.id = given.id",
        given.table()
    );
    execute(tx, engine, &sql, given.values()).await?;
    for (webhook, attempts) in by_webhook(attempts) {
        settle_webhook(tx, engine, webhook, &attempts).await?;
    }
    Ok(())
}

fn by_webhook(attempts: &[Attempt]) -> HashMap<WebhookId, Vec<&Attempt>> {
    let mut by_webhook: HashMap<_, Vec<_>> = HashMap::new();
    for attempt in attempts {
        by_webhook.entry(attempt.webhook).or_default().push(attempt);
    }
    by_webhook
}

/// Remembers since when a webhook fails; one that wants nothing any more is disabled.
async fn settle_webhook(tx: &Tx, engine: Engine, webhook: WebhookId, attempts: &[&Attempt]) -> Result<(), StoreError> {
    let id: Value = stored(webhook.get()).into();
    if attempts.iter().any(|attempt| attempt.next == AfterAttempt::Delivered) {
        let sql = "UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL";
        execute(tx, engine, sql, vec![id.clone()]).await?;
    } else if let Some(first) = attempts.first() {
        let sql = "UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL";
        execute(tx, engine, sql, vec![id.clone(), first.at.as_datetime().into()]).await?;
    }
    if let Some(last) = attempts.iter().find(|attempt| attempt.next == AfterAttempt::Disable) {
        let sql =
            "UPDATE webhooks SET enabled = FALSE, failing_since = NULL, updated_at = $2 WHERE id = $1 AND enabled";
        execute(tx, engine, sql, vec![id, last.at.as_datetime().into()]).await?;
    }
    Ok(())
}
