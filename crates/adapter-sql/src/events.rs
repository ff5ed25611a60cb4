//! The programme.

use std::sync::Arc;

use async_trait::async_trait;
use domain::ports::{
    CreateEventError, DeleteEvent, DeleteEventError, DeletedEvent, Events, StoreError, UpdateEvent, UpdateEventError,
};
use domain::{Command, Committed, Event, EventDraft, EventFilter, EventId, Page, PageRequest, Version};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde::{Deserialize, Serialize};

use crate::entity::{event, registration, stored};
use crate::error::failed;
use crate::tx::{Tx, for_update};
use crate::work::{Reading, Writing};
use crate::{Sql, idempotency, programme};

#[async_trait]
impl Events for Sql {
    async fn find(&self, id: EventId) -> Result<Option<Arc<Event>>, StoreError> {
        self.read("find_event", move |reading| find(reading, id)).await.map(|event| event.map(Arc::new))
    }

    async fn find_many(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        let ids = ids.to_vec();
        self.read("find_events", move |reading| find_many(reading, ids)).await
    }

    async fn list(&self, filter: &EventFilter, page: PageRequest) -> Result<Arc<Page<Event>>, StoreError> {
        let (filter, totals) = (filter.clone(), self.0.totals.clone());
        self.browse("list_events", move |reading| programme::list(reading, totals, filter, page)).await.map(Arc::new)
    }

    async fn create(&self, command: Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
        self.write("create_event", move |writing| create(writing, command)).await
    }

    async fn update(&self, command: Command<UpdateEvent>) -> Result<Committed<Event>, UpdateEventError> {
        self.write("update_event", move |writing| update(writing, command)).await
    }

    async fn delete(&self, command: Command<DeleteEvent>) -> Result<Committed<DeletedEvent>, DeleteEventError> {
        self.write("delete_event", move |writing| delete(writing, command)).await
    }
}

/// The outcome of a deletion, as it is kept with its key.
#[derive(Serialize, Deserialize)]
struct Deleted {
    cancelled_registrations: u64,
}

impl TryFrom<Deleted> for DeletedEvent {
    type Error = StoreError;

    fn try_from(kept: Deleted) -> Result<Self, StoreError> {
        Ok(Self { cancelled_registrations: kept.cancelled_registrations })
    }
}

/// The event's row, deleted or not, which nobody else changes until the transaction ends.
pub(crate) async fn locked(tx: &Tx, id: EventId) -> Result<Option<event::Model>, StoreError> {
    for_update(event::Entity::find_by_id(stored(id.get()))).one(&**tx).await.map_err(failed)
}

/// Writes how many seats are free. The time of change is the organiser's, and stays.
pub(crate) async fn write_seats(tx: &Tx, event: &Event) -> Result<(), StoreError> {
    let changed = event::ActiveModel {
        available_seats: Set(event::seats(event.seats.available())),
        version: Set(stored(event.version.get())),
        ..Default::default()
    };
    tx.will_announce(event);
    write(tx, event.id, changed).await
}

async fn find(Reading { db, .. }: Reading, id: EventId) -> Result<Option<Event>, StoreError> {
    let row = event::Entity::find_by_id(stored(id.get()))
        .filter(event::Column::DeletedAt.is_null())
        .one(&db)
        .await
        .map_err(failed)?;
    row.map(Event::try_from).transpose()
}

async fn find_many(Reading { db, engine }: Reading, ids: Vec<EventId>) -> Result<Vec<Event>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = engine.numbers(ids.iter().map(|id| stored(id.get())));
    let rows = event::Entity::find()
        .filter(event::Column::DeletedAt.is_null())
        .filter(Expr::cust_with_values(engine.is_one_of("id", 1), [wanted]))
        .all(&db)
        .await
        .map_err(failed)?;
    rows.into_iter().map(Event::try_from).collect()
}

async fn create(writing: Writing, command: Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
    let tx = writing.begin().await?;
    let created = create_in(&tx, &command).await;
    tx.finish(created).await
}

async fn create_in(tx: &Tx, command: &Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
    if let Some(replay) = idempotency::claim::<_, event::Model, _>(tx, command).await? {
        return Ok(replay);
    }
    let (draft, now) = (&command.what, tx.now());
    if !draft.starts_at.is_after(now) {
        return Err(CreateEventError::Past);
    }
    let now = now.as_datetime();
    let seats = event::seats(draft.total_seats.get());
    let row = event::ActiveModel {
        title: Set(draft.title.as_str().to_owned()),
        description: Set(draft.description.as_ref().map(|text| text.as_str().to_owned())),
        date: Set(draft.starts_at.get().as_datetime()),
        venue: Set(draft.venue.as_str().to_owned()),
        total_seats: Set(seats),
        available_seats: Set(seats),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
        version: Set(stored(Version::FIRST.get())),
        title_folded: Set(draft.title.folded()),
        ..Default::default()
    };
    let row = event::Entity::insert(row).exec_with_returning(&**tx).await.map_err(failed)?;
    idempotency::keep(tx, command, &row).await?;
    Ok(Committed { outcome: row.try_into()?, replayed: false })
}

async fn update(writing: Writing, command: Command<UpdateEvent>) -> Result<Committed<Event>, UpdateEventError> {
    let _place = writing.enter_lane(command.what.event).await?;
    let tx = writing.begin().await?;
    let updated = update_in(&tx, &command).await;
    tx.finish(updated).await
}

async fn update_in(tx: &Tx, command: &Command<UpdateEvent>) -> Result<Committed<Event>, UpdateEventError> {
    let row = locked(tx, command.what.event).await?;
    if let Some(replay) = idempotency::claim::<_, event::Model, _>(tx, command).await? {
        return Ok(replay);
    }
    let row = row.filter(|row| row.deleted_at.is_none()).ok_or(UpdateEventError::NotFound)?;
    let mut event = Event::try_from(row)?;
    if !command.what.precondition.admits(event.version) {
        return Err(UpdateEventError::Stale);
    }
    let (patch, now) = (command.what.patch.clone(), tx.now());
    if patch.starts_at.is_some_and(|start| !start.is_after(now)) {
        return Err(UpdateEventError::Past);
    }
    let different = event.revise(patch, now)?;
    let row = event::Model::from(&event);
    idempotency::keep(tx, command, &row).await?;
    if different {
        write(tx, event.id, row.into_columns()).await?;
        tx.will_announce(&event);
    }
    Ok(Committed { outcome: event, replayed: false })
}

async fn delete(writing: Writing, command: Command<DeleteEvent>) -> Result<Committed<DeletedEvent>, DeleteEventError> {
    let _place = writing.enter_lane(command.what.event).await?;
    let tx = writing.begin().await?;
    let deleted = delete_in(&writing, &tx, &command).await;
    tx.finish(deleted).await
}

async fn delete_in(
    writing: &Writing,
    tx: &Tx,
    command: &Command<DeleteEvent>,
) -> Result<Committed<DeletedEvent>, DeleteEventError> {
    let row = locked(tx, command.what.event).await?;
    if let Some(replay) = idempotency::claim::<_, Deleted, _>(tx, command).await? {
        return Ok(replay);
    }
    let row = row.filter(|row| row.deleted_at.is_none()).ok_or(DeleteEventError::NotFound)?;
    let mut event = Event::try_from(row)?;
    if !command.what.precondition.admits(event.version) {
        return Err(DeleteEventError::Stale);
    }
    event.delete(tx.now());
    // Of a great event it takes seconds, in which nobody waits but those who want its seats: what
    // concerns all, the catalogue's row, is written last.
    writing.take_all_the_time(tx).await?;
    let cancelled = registration::Entity::update_many()
        .col_expr(registration::Column::Status, Expr::value(domain::RegistrationStatus::Cancelled.as_str()))
        .col_expr(registration::Column::Version, Expr::col(registration::Column::Version).add(1))
        .filter(registration::Column::EventId.eq(stored(event.id.get())))
        .filter(registration::Column::Status.eq(domain::RegistrationStatus::Confirmed.as_str()))
        .exec(&**tx)
        .await
        .map_err(failed)?
        .rows_affected;
    write(tx, event.id, event::Model::from(&event).into_columns()).await?;
    tx.will_announce(&event);
    let deleted = Deleted { cancelled_registrations: cancelled };
    idempotency::keep(tx, command, &deleted).await?;
    Ok(Committed { outcome: deleted.try_into()?, replayed: false })
}

async fn write(tx: &Tx, id: EventId, columns: event::ActiveModel) -> Result<(), StoreError> {
    let written = event::Entity::update_many()
        .set(columns)
        .filter(event::Column::Id.eq(stored(id.get())))
        .exec(&**tx)
        .await
        .map_err(failed)?;
    if written.rows_affected == 1 {
        Ok(())
    } else {
        Err(StoreError::fault(format!("event {id} vanished under its lock")))
    }
}
