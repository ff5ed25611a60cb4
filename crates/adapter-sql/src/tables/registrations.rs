//! Reading who booked what.

use async_trait::async_trait;
use domain::ports::{RegistrationFilter, Registrations, StoreError};
use domain::{
    Attendee, Event, EventId, Page, PageRequest, Registration, RegistrationWithEvent, RegistrationWithUser, Timeline,
    UserId,
};
use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm::{Condition, EntityTrait, FromQueryResult, JoinType, QueryResult, QuerySelect};

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::tables::page::{self, PagedQuery};
use crate::tables::rows::{On, event, registration, stored, user};

const REGISTRATION: &str = "r_";
const EVENT: &str = "e_";
const USER: &str = "u_";

#[async_trait]
impl Registrations for Sql {
    async fn of_event(
        &self,
        event: EventId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Option<Page<RegistrationWithUser>>, StoreError> {
        self.browse("list_attendees", move |reading| of_event(reading, event, filter, page)).await
    }

    async fn of_user(
        &self,
        user: UserId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<RegistrationWithEvent>, StoreError> {
        self.browse("list_bookings", move |reading| of_user(reading, user, filter, page)).await
    }
}

async fn of_event(
    reading: Reading,
    event: EventId,
    filter: RegistrationFilter,
    page: PageRequest,
) -> Result<Option<Page<RegistrationWithUser>>, StoreError> {
    let matching = matching(registration::Column::EventId, stored(event.get()), filter);
    let mut rows = with_registration(&matching);
    rows.join(
        JoinType::InnerJoin,
        user::Entity,
        Expr::col((user::Entity, user::Column::Id)).equals((registration::Entity, registration::Column::UserId)),
    );
    for (column, name) in [(user::Column::Id, "u_id"), (user::Column::Name, "u_name"), (user::Column::Email, "u_email")]
    {
        rows.expr_as(Expr::col((user::Entity, column)), name);
    }
    let attendees = page::read(&reading, newest_first(matching, rows), page, |row, timeline| {
        let user = user::Contact::from_query_result(row, USER).map_err(failed)?;
        Ok(RegistrationWithUser { registration: registration_of(row, timeline)?, user: Attendee::try_from(user)? })
    })
    .await?;
    // A registration tells that there is an event; without one, the event itself has to.
    let known = attendees.total > 0 || is_known(&reading, event).await?;
    Ok(known.then_some(attendees))
}

async fn of_user(
    reading: Reading,
    user: UserId,
    filter: RegistrationFilter,
    page: PageRequest,
) -> Result<Page<RegistrationWithEvent>, StoreError> {
    let matching = matching(registration::Column::UserId, stored(user.get()), filter);
    let mut rows = with_registration(&matching);
    rows.join(
        JoinType::InnerJoin,
        event::Entity,
        Expr::col((event::Entity, event::Column::Id)).equals((registration::Entity, registration::Column::EventId)),
    );
    page::columns::<event::Entity>(&mut rows, EVENT);
    page::read(&reading, newest_first(matching, rows), page, |row, timeline| {
        let event = event::Model::from_query_result(row, EVENT).map_err(failed)?;
        let event = Event::try_from(On { row: event, timeline })?;
        Ok(RegistrationWithEvent { registration: registration_of(row, timeline)?, event })
    })
    .await
}

/// The registrations of one user or event, without columns.
fn matching(of: registration::Column, id: i64, filter: RegistrationFilter) -> SelectStatement {
    let of_status =
        filter.status.map(|status| Expr::col((registration::Entity, registration::Column::Status)).eq(status.as_str()));
    let condition = Condition::all().add(Expr::col((registration::Entity, of)).eq(id)).add_option(of_status);
    Query::select().from(registration::Entity).cond_where(condition).take()
}

fn with_registration(matching: &SelectStatement) -> SelectStatement {
    let mut rows = matching.clone();
    page::columns::<registration::Entity>(&mut rows, REGISTRATION);
    rows
}

fn newest_first(matching: SelectStatement, rows: SelectStatement) -> PagedQuery {
    PagedQuery { matching, rows, order: vec![("r_registration_date", Order::Desc), ("r_id", Order::Desc)] }
}

fn registration_of(row: &QueryResult, timeline: Timeline) -> Result<Registration, StoreError> {
    let row = registration::Model::from_query_result(row, REGISTRATION).map_err(failed)?;
    On { row, timeline }.try_into()
}

/// Whether there ever was such an event.
async fn is_known(reading: &Reading, event: EventId) -> Result<bool, StoreError> {
    let id: Option<i64> = event::Entity::find_by_id(stored(event.get()))
        .select_only()
        .column(event::Column::Id)
        .into_tuple()
        .one(&reading.db)
        .await
        .map_err(failed)?;
    Ok(id.is_some())
}
