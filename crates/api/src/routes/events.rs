//! The programme: browsed by anyone, run by admins.

use actix_web::http::StatusCode;
use actix_web::http::uri::PathAndQuery;
use actix_web::web::Data;
use actix_web::{HttpRequest, delete, get, post, put};
use application::Admin;
use domain::ports::{DeleteEvent, UpdateEvent};
use domain::{Event, EventFilter, EventOrder, Page, PageNumber, PageRequest, PageSize, TitleSearch};
use garde::Validate;
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use super::{EventIdParameter, EventPath, IfMatchHeader, IfNoneMatchHeader, OnceHeader};
use crate::body::RequestBody;
use crate::caller::{Caller, Visitor};
use crate::conditional::precondition;
use crate::field::{self, Given, PeriodFrom, PeriodTo, Violation, sound};
use crate::problem::{Code, Problem};
use crate::query::Query;
use crate::rendered::Renderings;
use crate::reply::{self, Reply};
use crate::server::Services;
use crate::wire;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(list_events).service(find_event).service(create_event).service(update_event).service(delete_event);
}

/// Browse events
///
/// One page of the events that match every filter given, past ones included. A page past the end
/// has no rows and the true total.
#[utoipa::path(
    tag = "events",
    operation_id = "listEvents",
    security((), ("access_token" = [])),
    params(EventListParameters, IfNoneMatchHeader),
    responses(
        (status = 200, description = "One page of events.", body = wire::EventList, headers(
            ("ETag" = String, description = "Changes with every visible change of the page."),
            ("Link" = String, description = "The first, previous, next and last page (RFC 8288), with every filter kept."),
        )),
        (status = 304, description = "The client's copy is current."),
    ),
)]
#[get("/api/events")]
async fn list_events(
    _visitor: Caller<Visitor>,
    request: HttpRequest,
    services: Data<Services>,
    renderings: Data<Renderings>,
) -> Reply {
    let (filter, page) = EventListQuery::of(&request)?.into_parts();
    let events = services.catalogue.list(&filter, page).await?;
    let list = |events: &Page<Event>| wire::EventList::new(events, page);
    let address = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
    Ok(reply::public(renderings.page(address, &events, list, || reply::page_links(&request, page, events.total))))
}

/// Look at an event
///
/// The event with the number of its confirmed registrations, never older than the last change that
/// was acknowledged.
#[utoipa::path(
    tag = "events",
    operation_id = "findEvent",
    security((), ("access_token" = [])),
    params(EventIdParameter, IfNoneMatchHeader),
    responses(
        (status = 200, description = "The event.", body = wire::EventDetail, headers(
            ("ETag" = String, description = "Changes with every visible change of the event, its free seats included. Another one for each content coding."),
        )),
        (status = 304, description = "The client's copy is current."),
    ),
)]
#[get("/api/events/{id}")]
async fn find_event(
    _visitor: Caller<Visitor>,
    event: EventPath,
    services: Data<Services>,
    renderings: Data<Renderings>,
) -> Reply {
    let event = services.catalogue.find(event.id()?).await?.ok_or(Code::NotFound)?;
    Ok(reply::public(renderings.event(&event)))
}

/// Create an event
///
/// All its seats are free.
#[utoipa::path(
    tag = "events",
    operation_id = "createEvent",
    security(("access_token" = ["admin"])),
    params(OnceHeader),
    request_body = wire::CreateEvent,
    responses((status = 201, description = "The event was created.", body = wire::Event, headers(
        ("Location" = String, description = "The event's address."),
    ))),
)]
#[post("/api/events")]
async fn create_event(admin: Caller<Admin>, body: RequestBody, services: Data<Services>) -> Reply {
    let (draft, once, now) = body.timely_command::<wire::CreateEvent>(services.clock.now())?;
    let created = services.catalogue.create(admin.0, once, draft.into_draft(now)?).await?;
    let location = format!("/api/events/{}", created.outcome.id);
    Ok(reply::created(&created, &location, |event| wire::Event::from(event)))
}

/// Change an event
///
/// Any subset of its fields; `{}` changes nothing. Changing `total_seats` moves `available_seats`
/// by the same number.
#[utoipa::path(
    tag = "events",
    operation_id = "updateEvent",
    security(("access_token" = ["admin"])),
    params(EventIdParameter, IfMatchHeader, OnceHeader),
    request_body = wire::UpdateEvent,
    responses((status = 200, description = "The event as it is now.", body = wire::Event)),
    extensions(("x-problems" = json!(["seats_below_registrations", "precondition_failed"]))),
)]
#[put("/api/events/{id}")]
async fn update_event(
    admin: Caller<Admin>,
    event: EventPath,
    request: HttpRequest,
    body: RequestBody,
    services: Data<Services>,
) -> Reply {
    let event = event.id()?;
    let (patch, once, now) = body.timely_command::<wire::UpdateEvent>(services.clock.now())?;
    let update = UpdateEvent { event, patch: patch.into_patch(now)?, precondition: precondition(&request) };
    let updated = services.catalogue.update(admin.0, once, update).await?;
    Ok(reply::committed(StatusCode::OK, &updated, |event| wire::Event::from(event)))
}

/// Delete an event
///
/// It leaves every public list, and its registrations are cancelled. Nothing is erased: users still
/// see their registration with the event, admins the event's registrations.
#[utoipa::path(
    tag = "events",
    operation_id = "deleteEvent",
    security(("access_token" = ["admin"])),
    params(EventIdParameter, IfMatchHeader, OnceHeader),
    responses((status = 200, description = "The event was deleted.", body = wire::DeletedEvent)),
    extensions(("x-problems" = json!(["precondition_failed"]))),
)]
#[delete("/api/events/{id}")]
async fn delete_event(
    admin: Caller<Admin>,
    event: EventPath,
    request: HttpRequest,
    body: RequestBody,
    services: Data<Services>,
) -> Reply {
    let deletion = DeleteEvent { event: event.id()?, precondition: precondition(&request) };
    let deleted = services.catalogue.delete(admin.0, body.once()?, deletion).await?;
    Ok(reply::committed(StatusCode::OK, &deleted, |deleted| wire::DeletedEvent::from(deleted)))
}

/// The query of a list of events, as it came.
#[derive(Validate)]
#[garde(context(()))]
pub(crate) struct EventListQuery {
    #[garde(custom(sound))]
    page: Given<PageNumber>,
    #[garde(custom(sound))]
    limit: Given<PageSize<100>>,
    #[garde(custom(sound))]
    search: Given<Option<TitleSearch>>,
    #[garde(custom(sound))]
    date_from: Given<PeriodFrom>,
    #[garde(custom(sound), custom(not_before(&self.date_from)))]
    date_to: Given<PeriodTo>,
    #[garde(custom(sound))]
    available_only: Given<bool>,
    #[garde(custom(sound))]
    sort: Given<EventOrder>,
}

impl EventListQuery {
    const DEFAULT_SIZE: u32 = 10;

    pub(crate) fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let query = Query::of(request);
        let parsed = Self {
            page: query.field("page"),
            limit: query.field("limit"),
            search: query.field("search"),
            date_from: query.field("date_from"),
            date_to: query.field("date_to"),
            available_only: query.field("available_only"),
            sort: query.field("sort"),
        };
        parsed.validate().map_err(|report| field::report(&report))?;
        Ok(parsed)
    }

    pub(crate) fn into_parts(self) -> (EventFilter, PageRequest) {
        let filter = EventFilter {
            search: self.search.optional().flatten(),
            from: self.date_from.optional().map(|from| from.0),
            to: self.date_to.optional().map(|to| to.0),
            available_only: self.available_only.optional().unwrap_or_default(),
            order: self.sort.optional().unwrap_or_default(),
        };
        (filter, field::page_request(self.page, self.limit, Self::DEFAULT_SIZE))
    }
}

/// The same query, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `EventListQuery` reads")]
struct EventListParameters {
    /// Which page, from 1.
    #[param(nullable = false, minimum = 1, maximum = 1_000_000, default = 1, example = 1)]
    page: Option<u32>,
    /// How many events a page has at most.
    #[param(nullable = false, minimum = 1, maximum = 100, default = 10, example = 10)]
    limit: Option<u32>,
    /// A part of the title, whatever its case, in any script.
    #[param(nullable = false, max_length = 100, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    search: Option<String>,
    #[param(schema_with = period_start, required = false)]
    date_from: Option<String>,
    #[param(schema_with = period_end, required = false)]
    date_to: Option<String>,
    /// Only events with free seats.
    #[param(nullable = false)]
    available_only: Option<bool>,
    /// The order, `date` unless told; `-` reverses it. Equal events follow each other by id.
    #[param(nullable = false, inline, example = "date")]
    sort: Option<SortParameter>,
}

/// What events are sorted by.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a parameter that `EventOrder` reads")]
enum SortParameter {
    #[schema(rename = "date")]
    Date,
    #[schema(rename = "-date")]
    DateDescending,
    #[schema(rename = "title")]
    Title,
    #[schema(rename = "-title")]
    TitleDescending,
    #[schema(rename = "available_seats")]
    AvailableSeats,
    #[schema(rename = "-available_seats")]
    AvailableSeatsDescending,
}

fn period_start() -> Schema {
    day_or_instant("Events from this day (UTC, as 2030-05-01) or RFC 3339 instant on.")
}

fn period_end() -> Schema {
    day_or_instant("Events up to this day (UTC, as 2030-05-31) or RFC 3339 instant, included.")
}

fn day_or_instant(description: &str) -> Schema {
    let text = |format: KnownFormat, longest: usize| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
            .max_length(Some(longest))
    };
    AnyOfBuilder::new()
        .description(Some(description))
        .item(text(KnownFormat::Date, 10))
        .item(text(KnownFormat::DateTime, 64))
        .into()
}

/// garde rule: a period ends where it begins, or later.
fn not_before(from: &Given<PeriodFrom>) -> impl FnOnce(&Given<PeriodTo>, &()) -> garde::Result + '_ {
    move |to, ()| match (from, to) {
        (Given::Value(from), Given::Value(to)) if from.0 > to.0 => {
            Err(Violation::new("out_of_range", "must not be before date_from").into())
        }
        _ => Ok(()),
    }
}
