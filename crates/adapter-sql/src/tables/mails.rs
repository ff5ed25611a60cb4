//! Mail that is to be sent: taken by one process at a time, deleted once it was sent.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DurationRound;
use domain::ports::{AfterMail, DueMail, Events, MailAttempt, Mails, StoreError};
use domain::{EmailAddress, Event, EventId, Mail, MailId, MailKind, PersonName, RegistrationStatus, Timestamp};
use metrics::counter;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{ConnectionTrait, QueryResult, Statement};
use tokio::time::timeout;

use crate::Sql;
use crate::access::bulk_rows::BulkRows;
use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Writing;
use crate::access::raw::{column, execute, query};
use crate::access::transaction::Tx;
use crate::tables::facts::event_told;
use crate::tables::rows::{Row, stored};

/// When a mail that was taken and never settled is due again.
const LEASE_SECS: u32 = 60;

/// How long a process sleeps that is not woken.
const POLL: Duration = Duration::from_millis(500);

/// How much of what went wrong is kept.
const ERROR_CHARS: usize = 500;

#[async_trait]
impl Mails for Sql {
    async fn claim(&self, limit: u32) -> Result<Vec<DueMail>, StoreError> {
        let now = self.0.clock.now();
        let due = self.read("due_mails", move |reading| async move {
            let sql = "SELECT 1 AS due FROM mails WHERE status = 'pending' AND next_attempt_at <= $1 LIMIT 1";
            let statement = Statement::from_sql_and_values(reading.engine.backend(), sql, [now.as_datetime().into()]);
            reading.db.query_one_raw(statement).await.map_err(failed)
        });
        if due.await?.is_none() {
            return Ok(Vec::new());
        }
        self.give_way().await;
        let claimed = self.write("claim_mails", move |writing| claim(writing, limit, now)).await?;
        self.addressed(claimed).await
    }

    async fn settle(&self, attempts: Vec<MailAttempt>) -> Result<(), StoreError> {
        let outcomes: Vec<_> = attempts.iter().map(|attempt| outcome(&attempt.next)).collect();
        self.write("settle_mails", move |writing| settle(writing, attempts)).await?;
        for outcome in outcomes {
            counter!("deliveries_total", "channel" => "mail", "outcome" => outcome).increment(1);
        }
        Ok(())
    }

    async fn remind(&self, ahead_secs: u32) -> Result<u64, StoreError> {
        let queued = self.write("remind", move |writing| remind(writing, ahead_secs)).await?;
        if queued > 0 {
            self.0.mailed.notify_one();
        }
        Ok(queued)
    }

    async fn wait(&self) {
        let _ = timeout(POLL, self.0.mailed.notified()).await;
    }
}

/// What an attempt came to, for the metric.
fn outcome(next: &AfterMail) -> &'static str {
    match next {
        AfterMail::Sent => "delivered",
        AfterMail::Retry(..) => "retried",
        AfterMail::Failed(_) => "failed",
    }
}

/// A mail as its row has it.
struct Claimed {
    id: i64,
    kind: String,
    user: i64,
    event: Option<i64>,
    attempts: u32,
    since: Timestamp,
    /// The fact that it tells of, unless that is not kept any more.
    fact: Option<Told>,
}

/// A fact as it was told.
#[derive(Clone)]
struct Told {
    id: String,
    body: String,
}

/// To whom, and whether they want it.
struct Recipient {
    name: PersonName,
    email: EmailAddress,
    notifications: bool,
}

impl Sql {
    /// Puts an address and an event on each; what cannot have them is dropped.
    async fn addressed(&self, claimed: Vec<Claimed>) -> Result<Vec<DueMail>, StoreError> {
        let recipients = self.recipients(claimed.iter().map(|mail| mail.user).collect()).await?;
        let (mut due, mut dropped) = (Vec::new(), Vec::new());
        for mail in claimed {
            let id = mail.id;
            match self.letter(mail, &recipients).await? {
                Some(mail) => due.push(mail),
                None => dropped.push(id),
            }
        }
        if !dropped.is_empty() {
            self.write("drop_mails", move |writing| drop_mails(writing, dropped)).await?;
        }
        Ok(due)
    }

    async fn letter(
        &self,
        claimed: Claimed,
        recipients: &HashMap<i64, Recipient>,
    ) -> Result<Option<DueMail>, StoreError> {
        let at = Row { table: "mails", id: claimed.id };
        let (Some(kind), Some(recipient)) = (MailKind::from_name(&claimed.kind), recipients.get(&claimed.user)) else {
            return Ok(None);
        };
        let (name, event) = match &claimed.fact {
            Some(fact) => (format!("{}-{}", fact.id, claimed.user), event_told(&fact.body)),
            None if kind == MailKind::Reminder => {
                let event = self.present(claimed.event).await?;
                let starts_at = event.as_ref().map_or(0, |event| event.starts_at.unix_secs());
                (format!("reminder-{}-{starts_at}-{}", claimed.event.unwrap_or_default(), claimed.user), event)
            }
            None => return Ok(None),
        };
        let (Some(event), true) = (event, recipient.notifications) else { return Ok(None) };
        Ok(Some(DueMail {
            id: u64::try_from(claimed.id).ok().and_then(MailId::new).ok_or_else(|| at.fault("id", "not an id"))?,
            user: at.user_id("user_id", claimed.user)?,
            attempts: claimed.attempts,
            mail: Mail {
                id: name,
                at: claimed.since,
                to: recipient.email.clone(),
                name: recipient.name.clone(),
                kind,
                event,
            },
        }))
    }

    /// The event as it is now.
    async fn present(&self, event: Option<i64>) -> Result<Option<Event>, StoreError> {
        let Some(id) = event.and_then(|id| u64::try_from(id).ok()).and_then(EventId::new) else { return Ok(None) };
        Ok(Events::find(self, id).await?.map(|event| (*event).clone()))
    }

    async fn recipients(&self, users: Vec<i64>) -> Result<HashMap<i64, Recipient>, StoreError> {
        self.read("recipients", move |reading| async move {
            let those = reading.engine.is_one_of("id", 1);
            let sql = format!("SELECT id, name, email, notifications FROM users WHERE {those}");
            let values = [reading.engine.numbers(users.into_iter())];
            let statement = Statement::from_sql_and_values(reading.engine.backend(), sql, values);
            let rows = reading.db.query_all_raw(statement).await.map_err(failed)?;
            let recipient = |row: &QueryResult| {
                let recipient = Recipient {
                    name: PersonName::stored(&column::<String>(row, "name")?),
                    email: EmailAddress::stored(&column::<String>(row, "email")?),
                    notifications: column(row, "notifications")?,
                };
                Ok((column(row, "id")?, recipient))
            };
            rows.iter().map(recipient).collect()
        })
        .await
    }
}

async fn claim(writing: Writing, limit: u32, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    let tx = writing.begin().await?;
    let claimed = claim_in(&tx, writing.engine, limit, now).await;
    tx.finish(claimed).await
}

async fn claim_in(tx: &Tx, engine: Engine, limit: u32, now: Timestamp) -> Result<Vec<Claimed>, StoreError> {
    let sql = format!(
        "UPDATE mails SET next_attempt_at = $1 WHERE id IN (SELECT id FROM mails \
         WHERE status = 'pending' AND next_attempt_at <= $2 ORDER BY next_attempt_at, id LIMIT {limit}) \
         RETURNING id, kind, user_id, event_id, position, attempts, created_at"
    );
    let lease = now.plus_secs(LEASE_SECS).as_datetime();
    let rows = query(tx, engine, &sql, vec![lease.into(), now.as_datetime().into()]).await?;
    let mut positions = Vec::new();
    for row in &rows {
        positions.extend(column::<Option<i64>>(row, "position")?);
    }
    let facts = told(tx, engine, positions).await?;
    let claimed = |row: &QueryResult| {
        let position: Option<i64> = column(row, "position")?;
        Ok(Claimed {
            id: column(row, "id")?,
            kind: column(row, "kind")?,
            user: column(row, "user_id")?,
            event: column(row, "event_id")?,
            attempts: u32::try_from(column::<i32>(row, "attempts")?).unwrap_or_default(),
            since: Timestamp::stored(column::<DateTimeUtc>(row, "created_at")?),
            fact: position.and_then(|position| facts.get(&position).cloned()),
        })
    };
    let mut claimed = rows.iter().map(claimed).collect::<Result<Vec<_>, _>>()?;
    claimed.sort_by_key(|mail| mail.id);
    Ok(claimed)
}

/// Facts by position.
async fn told(tx: &Tx, engine: Engine, positions: Vec<i64>) -> Result<HashMap<i64, Told>, StoreError> {
    if positions.is_empty() {
        return Ok(HashMap::new());
    }
    let sql = format!("SELECT position, fact_id, body FROM history WHERE {}", engine.is_one_of("position", 1));
    let rows = query(tx, engine, &sql, vec![engine.numbers(positions.into_iter())]).await?;
    rows.iter()
        .map(|row| Ok((column(row, "position")?, Told { id: column(row, "fact_id")?, body: column(row, "body")? })))
        .collect()
}

async fn drop_mails(writing: Writing, mails: Vec<i64>) -> Result<(), StoreError> {
    let tx = writing.begin().await?;
    let dropped = delete(&tx, writing.engine, mails.into_iter()).await;
    tx.finish(dropped).await
}

async fn delete(tx: &Tx, engine: Engine, mails: impl Iterator<Item = i64>) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM mails WHERE {}", engine.is_one_of("id", 1));
    execute(tx, engine, &sql, vec![engine.numbers(mails)]).await.map(drop)
}

async fn settle(writing: Writing, attempts: Vec<MailAttempt>) -> Result<(), StoreError> {
    let tx = writing.begin().await?;
    let settled = settle_in(&tx, writing.engine, &attempts).await;
    tx.finish(settled).await
}

async fn settle_in(tx: &Tx, engine: Engine, attempts: &[MailAttempt]) -> Result<(), StoreError> {
    let (sent, others): (Vec<_>, Vec<_>) = attempts.iter().partition(|attempt| attempt.next == AfterMail::Sent);
    if !sent.is_empty() {
        delete(tx, engine, sent.iter().map(|attempt| stored(attempt.mail.get()))).await?;
    }
    if others.is_empty() {
        return Ok(());
    }
    let now = tx.now();
    let kept = |attempt: &&MailAttempt| match &attempt.next {
        AfterMail::Retry(at, error) => ("pending", *at, error.chars().take(ERROR_CHARS).collect()),
        AfterMail::Failed(error) => ("failed", now, error.chars().take(ERROR_CHARS).collect()),
        AfterMail::Sent => ("pending", now, String::new()),
    };
    let given = BulkRows::new(engine)
        .numbers("id", others.iter().map(|attempt| stored(attempt.mail.get())))
        .texts("status", others.iter().map(|attempt| kept(attempt).0))
        .instants("next", others.iter().map(|attempt| kept(attempt).1.as_datetime()))
        .texts("error", others.iter().map(|attempt| kept(attempt).2));
    let sql = format!(
        "UPDATE mails SET attempts = attempts + 1, status = given.status, next_attempt_at = given.next, \
         last_error = given.error FROM {} WHERE mails.id = given.id",
        given.table()
    );
    execute(tx, engine, &sql, given.values()).await.map(drop)
}

async fn remind(writing: Writing, ahead_secs: u32) -> Result<u64, StoreError> {
    let tx = writing.begin().await?;
    let reminded = remind_in(&tx, writing.engine, ahead_secs).await;
    tx.finish(reminded).await
}

/// Who has a seat at an event that begins between where the last reminders ended and now, so much ahead. What the first
/// call finds was announced long enough ago.
async fn remind_in(tx: &Tx, engine: Engine, ahead_secs: u32) -> Result<u64, StoreError> {
    let now = tx.now().as_datetime();
    let minute = now.duration_trunc(chrono::TimeDelta::minutes(1)).map_err(StoreError::fault)?;
    let to = Timestamp::stored(minute).plus_secs(ahead_secs).as_datetime();
    let sql = "INSERT INTO channels (name, at) VALUES ('reminders', $1) ON CONFLICT (name) DO NOTHING";
    execute(tx, engine, sql, vec![to.into()]).await?;
    let lock = if engine == Engine::Postgres { " FOR UPDATE" } else { "" };
    let rows = query(tx, engine, &format!("SELECT at FROM channels WHERE name = 'reminders'{lock}"), vec![]).await?;
    let from: DateTimeUtc = rows.first().map_or(Ok(to), |row| column(row, "at"))?;
    if from >= to {
        return Ok(0);
    }
    let sql = "INSERT INTO mails (kind, user_id, event_id, next_attempt_at, created_at) \
               SELECT $1, registrations.user_id, registrations.event_id, $2, $2 FROM registrations \
               JOIN events ON events.id = registrations.event_id \
               WHERE events.date > $3 AND events.date <= $4 AND events.deleted_at IS NULL AND registrations.status = $5 \
               ORDER BY registrations.id";
    let (kind, confirmed) = (MailKind::Reminder.as_str(), RegistrationStatus::Confirmed.as_str());
    let values = vec![kind.into(), now.into(), from.into(), to.into(), confirmed.into()];
    let queued = execute(tx, engine, sql, values).await?;
    execute(tx, engine, "UPDATE channels SET at = $1 WHERE name = 'reminders'", vec![to.into()]).await?;
    Ok(queued)
}
