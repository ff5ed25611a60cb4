//! The programme.

use std::sync::Arc;

use async_trait::async_trait;
use domain::happening::Change;
use domain::ports::{CreateEventError, DeleteEventError, Events, StoreError, UpdateEventError};
use domain::{
    Author, Command, Committed, DeleteEvent, DeletedEvent, Event, EventDraft, EventFilter, EventId, Happening, Page,
    PageRequest, UpdateEvent, Version,
};
use sea_orm::ActiveValue::Set;

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, Statement, Value};

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::{Reading, Writing};
use crate::access::timeline::COLUMN as TIMELINE;
use crate::access::transaction::Tx;
use crate::tables::idempotency;
use crate::tables::programme;
use crate::tables::rows::{On, columns, event, stored};

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

    async fn update(&self, command: Command<UpdateEvent, Author>) -> Result<Committed<Event>, UpdateEventError> {
        self.submit(command).await
    }

    async fn delete(&self, command: Command<DeleteEvent, Author>) -> Result<Committed<DeletedEvent>, DeleteEventError> {
        self.submit(command).await
    }
}

async fn find(reading: Reading, id: EventId) -> Result<Option<Event>, StoreError> {
    let standing = standing(&reading, "events.id = $1", stored(id.get()).into()).await?;
    Ok(standing.into_iter().next())
}

async fn find_many(reading: Reading, ids: Vec<EventId>) -> Result<Vec<Event>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = reading.engine.numbers(ids.iter().map(|id| stored(id.get())));
    standing(&reading, &reading.engine.is_one_of("events.id", 1), wanted).await
}

/// The events that stand of those wanted. Where there is none, there still is a row that says who answered.
async fn standing(reading: &Reading, is_wanted: &str, wanted: Value) -> Result<Vec<Event>, StoreError> {
    let sql = format!(
        "SELECT {}, server.{TIMELINE} FROM (SELECT {} AS {TIMELINE}) AS server \
         LEFT JOIN events ON {is_wanted} AND events.deleted_at IS NULL",
        columns::<event::Entity>("events"),
        reading.engine.timeline(),
    );
    let statement = Statement::from_sql_and_values(reading.engine.backend(), sql, [wanted]);
    let mut events = Vec::new();
    for row in reading.db.query_all_raw(statement).await.map_err(failed)? {
        let timeline = reading.sql.timeline_of(&row)?;
        if row.try_get::<Option<i64>>("", "id").map_err(failed)?.is_some() {
            let row = event::Model::from_query_result(&row, "").map_err(failed)?;
            events.push(On { row, timeline }.try_into()?);
        }
    }
    Ok(events)
}

async fn create(writing: Writing, command: Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
    let tx = writing.begin().await?;
    let created = create_in(&tx, &command).await;
    tx.finish(created).await
}

async fn create_in(tx: &Tx, command: &Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
    if let Some(replay) = idempotency::claim(tx, command).await? {
        return Ok(replay);
    }
    let (draft, now) = (&command.what, tx.now());
    if !draft.starts_at.is_after(now) {
        return Err(CreateEventError::Past);
    }
    let now = now.as_datetime();
    let seats = event::seats(draft.total_seats.get());
    let row = event::ActiveModel {
        title: Set(draft.title.as_str().into()),
        description: Set(draft.description.as_ref().map(|text| text.as_str().into())),
        date: Set(draft.starts_at.get().as_datetime()),
        venue: Set(draft.venue.as_str().into()),
        total_seats: Set(seats),
        available_seats: Set(seats),
        created_at: Set(now),
        updated_at: Set(now),
        deleted_at: Set(None),
        version: Set(stored(Version::FIRST.count())),
        title_folded: Set(draft.title.folded().into()),
        ..Default::default()
    };
    let row = event::Entity::insert(row).exec_with_returning(&**tx).await.map_err(failed)?;
    let event = Event::try_from(On { row, timeline: tx.timeline().await? })?;
    idempotency::keep(tx, command, &event).await?;
    tx.happened(vec![Happening { by: command.by.into(), what: Change::Created(event.clone()) }]);
    Ok(Committed { outcome: event, replayed: false })
}

/// Writes columns of an event that is locked.
pub(crate) async fn write(tx: &Tx, id: EventId, columns: event::ActiveModel) -> Result<(), StoreError> {
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
