//! Selling seats and taking them back.

use std::time::Instant;

use async_trait::async_trait;
use domain::ports::{BookError, BookSeat, Bookings, CancelError, CancelSeat, StoreError};
use domain::{Command, Committed, Event, EventId, Registration, RegistrationStatus, Timestamp, UserId, Version};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::entity::{registration, stored};
use crate::error::{failed, is_orphan};
use crate::group_commit::{Ask, Verb, Verdict};
use crate::lane::Place;
use crate::tx::Tx;
use crate::work::Writing;
use crate::{Sql, events, idempotency, users};

#[async_trait]
impl Bookings for Sql {
    async fn book(&self, command: Command<BookSeat>) -> Result<Committed<Registration>, BookError> {
        self.order(Ask { verb: Verb::Book, by: command.by, event: command.what.event, once: command.once }).await.into()
    }

    async fn cancel(&self, command: Command<CancelSeat>) -> Result<Committed<Registration>, CancelError> {
        self.order(Ask { verb: Verb::Cancel, by: command.by, event: command.what.event, once: command.once })
            .await
            .into()
    }
}

/// Carries one order out in a transaction of its own, for somebody who waits no longer than this.
pub(crate) async fn alone(sql: &Sql, ask: &Ask, until: Instant) -> Verdict {
    let (by, once, event) = (ask.by, ask.once.clone(), ask.event);
    match ask.verb {
        Verb::Book => {
            let command = Command { by, once, what: BookSeat { event } };
            sql.write_until(until, "book", move |writing| book(writing, command)).await.into()
        }
        Verb::Cancel => {
            let command = Command { by, once, what: CancelSeat { event } };
            sql.write_until(until, "cancel", move |writing| cancel(writing, command)).await.into()
        }
    }
}

impl Writing {
    /// Waits for a turn at the event's row.
    pub(crate) async fn enter_lane(&self, event: EventId) -> Result<Place, StoreError> {
        let lock = self.sql.0.deadlines.lock;
        self.sql.0.lanes.enter(event, self.patience_ends()).await.map_err(|held| held.expected_in(lock))
    }
}

async fn book(writing: Writing, command: Command<BookSeat>) -> Result<Committed<Registration>, BookError> {
    let _place = writing.enter_lane(command.what.event).await?;
    let tx = writing.begin().await?;
    let booked = book_in(&tx, &command).await;
    tx.finish(booked).await
}

async fn book_in(tx: &Tx, command: &Command<BookSeat>) -> Result<Committed<Registration>, BookError> {
    let row = events::locked(tx, command.what.event).await?;
    if let Some(replay) = idempotency::claim::<_, registration::Model, _>(tx, command).await? {
        return Ok(replay);
    }
    if !users::stands(&**tx, command.by).await? {
        return Err(BookError::AuthorGone);
    }
    let row = row.filter(|row| row.deleted_at.is_none()).ok_or(BookError::EventNotFound)?;
    let mut event = Event::try_from(row)?;
    let now = tx.now();
    let held = held_by(tx, command.by, event.id).await?;
    event.book(status_of(held.as_ref())?, now)?;
    let registration = match held {
        Some(held) => revive(tx, held, now).await?,
        None => add(tx, command, now).await?,
    };
    events::write_seats(tx, &event).await?;
    idempotency::keep(tx, command, &registration).await?;
    Ok(Committed { outcome: registration.try_into()?, replayed: false })
}

/// Confirms a cancelled registration again, as one that is made now.
async fn revive(tx: &Tx, held: registration::Model, now: Timestamp) -> Result<registration::Model, StoreError> {
    let revived = registration::Model {
        status: RegistrationStatus::Confirmed.as_str().to_owned(),
        registration_date: now.as_datetime(),
        version: held.version + 1,
        ..held
    };
    write(tx, &revived).await?;
    Ok(revived)
}

async fn add(tx: &Tx, command: &Command<BookSeat>, now: Timestamp) -> Result<registration::Model, BookError> {
    let new = registration::ActiveModel {
        user_id: Set(stored(command.by.get())),
        event_id: Set(stored(command.what.event.get())),
        status: Set(RegistrationStatus::Confirmed.as_str().to_owned()),
        registration_date: Set(now.as_datetime()),
        created_at: Set(now.as_datetime()),
        version: Set(stored(Version::FIRST.get())),
        ..Default::default()
    };
    registration::Entity::insert(new).exec_with_returning(&**tx).await.map_err(|error| {
        // The event is there, and locked.
        if is_orphan(&error) { BookError::AuthorGone } else { failed(error).into() }
    })
}

async fn cancel(writing: Writing, command: Command<CancelSeat>) -> Result<Committed<Registration>, CancelError> {
    let _place = writing.enter_lane(command.what.event).await?;
    let tx = writing.begin().await?;
    let cancelled = cancel_in(&tx, &command).await;
    tx.finish(cancelled).await
}

async fn cancel_in(tx: &Tx, command: &Command<CancelSeat>) -> Result<Committed<Registration>, CancelError> {
    let row = events::locked(tx, command.what.event).await?;
    if let Some(replay) = idempotency::claim::<_, registration::Model, _>(tx, command).await? {
        return Ok(replay);
    }
    if !users::stands(&**tx, command.by).await? {
        return Err(CancelError::AuthorGone);
    }
    let row = row.filter(|row| row.deleted_at.is_none()).ok_or(CancelError::EventNotFound)?;
    let mut event = Event::try_from(row)?;
    let held = held_by(tx, command.by, event.id).await?;
    event.cancel(status_of(held.as_ref())?, tx.now())?;
    let held = held.ok_or(domain::event::CancellationRefused::NotRegistered)?;
    let cancelled = registration::Model {
        status: RegistrationStatus::Cancelled.as_str().to_owned(),
        version: held.version + 1,
        ..held
    };
    write(tx, &cancelled).await?;
    events::write_seats(tx, &event).await?;
    idempotency::keep(tx, command, &cancelled).await?;
    Ok(Committed { outcome: cancelled.try_into()?, replayed: false })
}

async fn held_by(tx: &Tx, user: UserId, event: EventId) -> Result<Option<registration::Model>, StoreError> {
    registration::Entity::find()
        .filter(registration::Column::UserId.eq(stored(user.get())))
        .filter(registration::Column::EventId.eq(stored(event.get())))
        .one(&**tx)
        .await
        .map_err(failed)
}

fn status_of(held: Option<&registration::Model>) -> Result<Option<RegistrationStatus>, StoreError> {
    held.map(registration::Model::status).transpose()
}

async fn write(tx: &Tx, row: &registration::Model) -> Result<(), StoreError> {
    let changed = registration::ActiveModel {
        status: Set(row.status.clone()),
        registration_date: Set(row.registration_date),
        version: Set(row.version),
        ..Default::default()
    };
    let condition = registration::Column::Id.eq(row.id);
    registration::Entity::update_many().set(changed).filter(condition).exec(&**tx).await.map_err(failed)?;
    Ok(())
}
