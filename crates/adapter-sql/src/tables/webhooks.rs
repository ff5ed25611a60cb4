//! Webhooks, and the log of what is sent to them.

use std::fmt::Write;

use async_trait::async_trait;
use domain::ports::{CreateWebhookError, OrderDeliveryError, StoreError, Webhooks};
use domain::webhook::MAX_WEBHOOKS;
use domain::{
    Command, Committed, Delivery, DeliveryId, DeliveryStatus, FactId, FactPattern, FactType, NewWebhook, Page,
    PageRequest, Replay, Timestamp, Webhook, WebhookId, WebhookPatch, WebhookSecret, WebhookUrl,
};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use serde_json::json;

use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::{failed, is_orphan};
use crate::access::operation::{Reading, Writing};
use crate::access::raw::column;
use crate::access::statement::Statements;
use crate::access::transaction::Tx;
use crate::tables::facts::new_batch;
use crate::tables::idempotency;
use crate::tables::rows::{Row, stored};

const COLUMNS: &str = "id, url, types, description, enabled, created_at, updated_at";

#[async_trait]
impl Webhooks for Sql {
    async fn list(&self) -> Result<Vec<Webhook>, StoreError> {
        self.read("list_webhooks", list).await
    }

    async fn find(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError> {
        self.read("find_webhook", move |Reading { db, engine, .. }| async move { find(&db, engine, id).await }).await
    }

    async fn create(&self, command: Command<NewWebhook>) -> Result<Committed<Webhook>, CreateWebhookError> {
        // What was committed by now is none of its business.
        self.catch_up().await?;
        self.write("create_webhook", move |writing| create(writing, command)).await
    }

    async fn update(&self, id: WebhookId, patch: WebhookPatch) -> Result<Option<Webhook>, StoreError> {
        if patch.enabled == Some(true) {
            self.catch_up().await?;
        }
        self.write("update_webhook", move |writing| update(writing, id, patch)).await
    }

    async fn delete(&self, id: WebhookId) -> Result<bool, StoreError> {
        self.write("delete_webhook", move |writing| delete(writing, id)).await
    }

    async fn rotate_secret(
        &self,
        id: WebhookId,
        secret: WebhookSecret,
        former_until: Timestamp,
    ) -> Result<Option<Webhook>, StoreError> {
        self.write("rotate_webhook_secret", move |writing| rotate(writing, id, secret, former_until)).await
    }

    async fn test(&self, id: WebhookId) -> Result<Option<DeliveryId>, OrderDeliveryError> {
        let queued = self.write("test_webhook", move |writing| test(writing, id)).await;
        self.0.queued.notify_one();
        queued
    }

    async fn deliveries(
        &self,
        id: WebhookId,
        status: Option<DeliveryStatus>,
        page: PageRequest,
    ) -> Result<Option<Page<Delivery>>, StoreError> {
        self.browse("list_deliveries", move |reading| deliveries(reading, id, status, page)).await
    }

    async fn retry(&self, id: WebhookId, delivery: DeliveryId) -> Result<Option<()>, OrderDeliveryError> {
        let queued = self.write("retry_delivery", move |writing| retry(writing, id, delivery)).await;
        self.0.queued.notify_one();
        queued
    }

    async fn replay(&self, id: WebhookId, replay: Replay) -> Result<Option<u64>, OrderDeliveryError> {
        // Facts that are committed have to be in the history.
        self.catch_up().await?;
        let queued = self.write("replay_facts", move |writing| queue_again(writing, id, replay)).await;
        self.0.queued.notify_one();
        queued
    }
}

async fn list(Reading { db, engine, .. }: Reading) -> Result<Vec<Webhook>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks ORDER BY id");
    let rows = db.query_all_raw(Statement::from_string(engine.backend(), sql)).await.map_err(failed)?;
    rows.iter().map(webhook).collect()
}

async fn find<C: ConnectionTrait + Send>(
    db: &Statements<C>,
    engine: Engine,
    id: WebhookId,
) -> Result<Option<Webhook>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM webhooks WHERE id = $1");
    let statement = Statement::from_sql_and_values(engine.backend(), sql, [stored(id.get()).into()]);
    db.query_one_raw(statement).await.map_err(failed)?.as_ref().map(webhook).transpose()
}

async fn create(writing: Writing, command: Command<NewWebhook>) -> Result<Committed<Webhook>, CreateWebhookError> {
    let tx = writing.begin().await?;
    let created = create_in(&tx, writing.engine, &command).await;
    tx.finish(created).await
}

async fn create_in(
    tx: &Tx,
    engine: Engine,
    command: &Command<NewWebhook>,
) -> Result<Committed<Webhook>, CreateWebhookError> {
    if let Some(replay) = idempotency::claim(tx, command).await? {
        return Ok(replay);
    }
    if engine == Engine::Postgres {
        // Two who add the fiftieth see each other.
        tx.execute_unprepared("LOCK TABLE webhooks IN SHARE ROW EXCLUSIVE MODE").await.map_err(failed)?;
    }
    let counted = one(tx, engine, "SELECT count(*) AS webhooks FROM webhooks", vec![]).await?;
    let webhooks = counted.as_ref().map_or(Ok(0), |row| column::<i64>(row, "webhooks"))?;
    if webhooks >= stored(MAX_WEBHOOKS) {
        return Err(CreateWebhookError::TooMany);
    }
    let (new, now) = (&command.what, tx.now().as_datetime());
    let sql = format!(
        "INSERT INTO webhooks (url, types, description, enabled, secret, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $6) RETURNING {COLUMNS}"
    );
    let values = vec![
        new.url.as_str().into(),
        list_of(&new.types).into(),
        new.description.clone().into(),
        new.enabled.into(),
        new.secret.expose().into(),
        now.into(),
    ];
    let statement = Statement::from_sql_and_values(engine.backend(), sql, values);
    let row = match tx.query_one_raw(statement).await {
        Err(error) if is_orphan(&error) => return Err(CreateWebhookError::AuthorGone),
        row => row.map_err(failed)?.ok_or_else(|| StoreError::fault("a new webhook has no row"))?,
    };
    let webhook = webhook(&row)?;
    idempotency::keep(tx, command, &webhook).await?;
    Ok(Committed { outcome: webhook, replayed: false })
}

async fn update(writing: Writing, id: WebhookId, patch: WebhookPatch) -> Result<Option<Webhook>, StoreError> {
    let tx = writing.begin().await?;
    let updated = update_in(&tx, writing.engine, id, patch).await;
    tx.finish(updated).await
}

async fn update_in(tx: &Tx, engine: Engine, id: WebhookId, patch: WebhookPatch) -> Result<Option<Webhook>, StoreError> {
    let mut values: Vec<Value> = vec![stored(id.get()).into(), tx.now().as_datetime().into()];
    let mut set = vec!["updated_at = $2".to_owned()];
    let mut column = |name: &str, value: Value| {
        values.push(value);
        set.push(format!("{name} = ${}", values.len()));
    };
    if let Some(url) = patch.url {
        column("url", url.as_str().into());
    }
    if let Some(types) = patch.types {
        column("types", list_of(&types).into());
    }
    if let Some(description) = patch.description {
        column("description", description.into());
    }
    if let Some(enabled) = patch.enabled {
        column("enabled", enabled.into());
        set.push("failing_since = NULL".to_owned());
    }
    if values.len() == 2 {
        return find(&**tx, engine, id).await;
    }
    let sql = format!("UPDATE webhooks SET {} WHERE id = $1 RETURNING {COLUMNS}", set.join(", "));
    one(tx, engine, &sql, values).await?.as_ref().map(webhook).transpose()
}

async fn delete(writing: Writing, id: WebhookId) -> Result<bool, StoreError> {
    let tx = writing.begin().await?;
    writing.take_all_the_time(&tx).await?;
    let sql = "DELETE FROM webhooks WHERE id = $1 RETURNING id";
    let deleted = one(&tx, writing.engine, sql, vec![stored(id.get()).into()]).await;
    tx.finish(deleted.map(|row| row.is_some())).await
}

async fn rotate(
    writing: Writing,
    id: WebhookId,
    secret: WebhookSecret,
    former_until: Timestamp,
) -> Result<Option<Webhook>, StoreError> {
    let tx = writing.begin().await?;
    let sql = format!(
        "UPDATE webhooks SET previous_secret = secret, previous_until = $2, secret = $3, updated_at = $4 WHERE id = $1 \
         RETURNING {COLUMNS}"
    );
    let values = vec![
        stored(id.get()).into(),
        former_until.as_datetime().into(),
        secret.expose().into(),
        tx.now().as_datetime().into(),
    ];
    let rotated = one(&tx, writing.engine, &sql, values).await;
    let rotated = rotated.and_then(|row| row.as_ref().map(webhook).transpose());
    tx.finish(rotated).await
}

async fn test(writing: Writing, id: WebhookId) -> Result<Option<DeliveryId>, OrderDeliveryError> {
    let tx = writing.begin().await?;
    let queued = test_in(&tx, writing.engine, id).await;
    tx.finish(queued).await
}

async fn test_in(tx: &Tx, engine: Engine, id: WebhookId) -> Result<Option<DeliveryId>, OrderDeliveryError> {
    let Some(()) = is_enabled(tx, engine, id).await? else { return Ok(None) };
    let sql = "SELECT database_id FROM catalogue WHERE id = 1";
    let row = one(tx, engine, sql, vec![]).await?.ok_or_else(|| StoreError::fault("the catalogue has no row"))?;
    let (now, fact) = (tx.now(), format!("{}-0", new_batch(tx.now())));
    let body = json!({
        "specversion": "1.0",
        "id": fact,
        "source": format!("boxoffice/{}", column::<String>(&row, "database_id")?),
        "type": "webhook.test",
        "time": now.to_string(),
        "subject": format!("webhooks/{id}"),
        "datacontenttype": "application/json",
        "data": { "by": null },
    });
    let sql = "INSERT INTO deliveries (webhook_id, fact_id, type, body, next_attempt_at, created_at) \
               VALUES ($1, $2, 'webhook.test', $3, $4, $4) RETURNING id";
    let values = vec![stored(id.get()).into(), fact.into(), body.to_string().into(), now.as_datetime().into()];
    let row = one(tx, engine, sql, values).await?.ok_or_else(|| StoreError::fault("a new delivery has no row"))?;
    Ok(Some(delivery_id(&row)?))
}

/// `None` if there is no such webhook. Its row is locked, so that it stays as it is.
async fn is_enabled(tx: &Tx, engine: Engine, id: WebhookId) -> Result<Option<()>, OrderDeliveryError> {
    let lock = if engine == Engine::Postgres { " FOR SHARE" } else { "" };
    let sql = format!("SELECT enabled FROM webhooks WHERE id = $1{lock}");
    match one(tx, engine, &sql, vec![stored(id.get()).into()]).await? {
        None => Ok(None),
        Some(row) if column(&row, "enabled")? => Ok(Some(())),
        Some(_) => Err(OrderDeliveryError::Disabled),
    }
}

async fn retry(writing: Writing, id: WebhookId, delivery: DeliveryId) -> Result<Option<()>, OrderDeliveryError> {
    let tx = writing.begin().await?;
    let queued = retry_in(&tx, writing.engine, id, delivery).await;
    tx.finish(queued).await
}

async fn retry_in(
    tx: &Tx,
    engine: Engine,
    id: WebhookId,
    delivery: DeliveryId,
) -> Result<Option<()>, OrderDeliveryError> {
    let Some(()) = is_enabled(tx, engine, id).await? else { return Ok(None) };
    let sql = "UPDATE deliveries SET status = 'pending', next_attempt_at = $3, delivered_at = NULL \
               WHERE webhook_id = $1 AND id = $2 RETURNING id";
    let values = vec![stored(id.get()).into(), stored(delivery.get()).into(), tx.now().as_datetime().into()];
    Ok(one(tx, engine, sql, values).await?.map(drop))
}

async fn queue_again(writing: Writing, id: WebhookId, replay: Replay) -> Result<Option<u64>, OrderDeliveryError> {
    let tx = writing.begin().await?;
    writing.take_all_the_time(&tx).await?;
    let queued = queue_again_in(&tx, writing.engine, id, replay).await;
    tx.finish(queued).await
}

async fn queue_again_in(
    tx: &Tx,
    engine: Engine,
    id: WebhookId,
    replay: Replay,
) -> Result<Option<u64>, OrderDeliveryError> {
    let Some(()) = is_enabled(tx, engine, id).await? else { return Ok(None) };
    let Some(webhook) = find(&**tx, engine, id).await? else { return Ok(None) };
    let is_wanted = |kind: &FactType| {
        (replay.types.is_empty() || replay.types.contains(kind)) && webhook.types.iter().any(|one| one.matches(*kind))
    };
    let types: Vec<_> = FactType::ALL.iter().copied().filter(is_wanted).collect();
    if types.is_empty() {
        return Ok(Some(0));
    }
    let mut values: Vec<Value> =
        vec![stored(id.get()).into(), tx.now().as_datetime().into(), replay.from.as_datetime().into()];
    let mut conditions = "at >= $3".to_owned();
    if let Some(to) = replay.to {
        values.push(to.as_datetime().into());
        let _ = write!(conditions, " AND at <= ${}", values.len());
    }
    let mut names = Vec::new();
    for kind in types {
        values.push(kind.as_str().into());
        names.push(format!("${}", values.len()));
    }
    let sql = format!(
        "INSERT INTO deliveries (webhook_id, fact_id, type, event_id, position, next_attempt_at, created_at) \
         SELECT CAST($1 AS bigint), fact_id, type, event_id, position, CAST($2 AS {instant}), CAST($2 AS {instant}) \
         FROM history WHERE {conditions} AND type IN ({}) ORDER BY position",
        names.join(", "),
        instant = engine.instant(),
    );
    let statement = Statement::from_sql_and_values(engine.backend(), sql, values);
    Ok(Some(tx.execute_raw(statement).await.map_err(failed)?.rows_affected()))
}

async fn deliveries(
    Reading { db, engine, .. }: Reading,
    id: WebhookId,
    status: Option<DeliveryStatus>,
    page: PageRequest,
) -> Result<Option<Page<Delivery>>, StoreError> {
    if find(&db, engine, id).await?.is_none() {
        return Ok(None);
    }
    let mut values: Vec<Value> = vec![stored(id.get()).into()];
    let mut conditions = "webhook_id = $1".to_owned();
    if let Some(status) = status {
        values.push(status.as_str().into());
        conditions += " AND status = $2";
    }
    let sql = format!("SELECT count(*) AS total FROM deliveries WHERE {conditions}");
    let statement = Statement::from_sql_and_values(engine.backend(), sql, values.clone());
    let counted = db.query_one_raw(statement).await.map_err(failed)?;
    let total = counted.as_ref().map_or(Ok(0), |row| column::<i64>(row, "total"))?;
    let sql = format!(
        "SELECT id, fact_id, type, status, attempts, next_attempt_at, last_status, last_error, delivered_at \
         FROM deliveries WHERE {conditions} ORDER BY id DESC LIMIT {} OFFSET {}",
        page.size,
        page.offset()
    );
    let statement = Statement::from_sql_and_values(engine.backend(), sql, values);
    let rows = db.query_all_raw(statement).await.map_err(failed)?;
    let rows = rows.iter().map(delivery).collect::<Result<_, _>>()?;
    Ok(Some(Page { rows, total: u64::try_from(total).unwrap_or_default() }))
}

async fn one(tx: &Tx, engine: Engine, sql: &str, values: Vec<Value>) -> Result<Option<QueryResult>, StoreError> {
    tx.query_one_raw(Statement::from_sql_and_values(engine.backend(), sql, values)).await.map_err(failed)
}

/// Patterns as a column holds them: none has a space.
fn list_of(types: &[FactPattern]) -> String {
    types.iter().map(FactPattern::as_str).collect::<Vec<_>>().join(" ")
}

/// The patterns of a column.
pub(crate) fn patterns(stored: &str) -> Vec<FactPattern> {
    stored.split_whitespace().map(FactPattern::stored).collect()
}

fn webhook(row: &QueryResult) -> Result<Webhook, StoreError> {
    let id: i64 = column(row, "id")?;
    let at = Row { table: "webhooks", id };
    let instant = |name| Ok::<_, StoreError>(Timestamp::stored(column::<DateTimeUtc>(row, name)?));
    Ok(Webhook {
        id: u64::try_from(id).ok().and_then(WebhookId::new).ok_or_else(|| at.fault("id", "not an id"))?,
        url: WebhookUrl::stored(&column::<String>(row, "url")?),
        types: patterns(&column::<String>(row, "types")?),
        description: column(row, "description")?,
        enabled: column(row, "enabled")?,
        created_at: instant("created_at")?,
        updated_at: instant("updated_at")?,
    })
}

fn delivery_id(row: &QueryResult) -> Result<DeliveryId, StoreError> {
    let id: i64 = column(row, "id")?;
    let known = u64::try_from(id).ok().and_then(DeliveryId::new);
    known.ok_or_else(|| Row { table: "deliveries", id }.fault("id", "not an id"))
}

fn delivery(row: &QueryResult) -> Result<Delivery, StoreError> {
    let id = delivery_id(row)?;
    let at = Row { table: "deliveries", id: stored(id.get()) };
    let status: String = column(row, "status")?;
    let instant = |name| Ok::<_, StoreError>(column::<Option<DateTimeUtc>>(row, name)?.map(Timestamp::stored));
    Ok(Delivery {
        id,
        fact: FactId::new(column(row, "fact_id")?),
        kind: column(row, "type")?,
        status: DeliveryStatus::from_name(&status).ok_or_else(|| at.fault("status", status))?,
        attempts: u32::try_from(column::<i32>(row, "attempts")?).unwrap_or_default(),
        next_attempt_at: instant("next_attempt_at")?,
        last_status: column::<Option<i32>>(row, "last_status")?.and_then(|status| u16::try_from(status).ok()),
        last_error: column(row, "last_error")?,
        delivered_at: instant("delivered_at")?,
    })
}
