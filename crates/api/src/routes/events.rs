//! The programme: all clients browse it, admins run it.

use actix_web::http::StatusCode;
use actix_web::http::uri::PathAndQuery;
use actix_web::web::Data;
use actix_web::{HttpRequest, delete, get, post, put};
use application::Admin;
use domain::{
    DeleteEvent, Event, EventFilter, EventId, EventOrder, Page, PageNumber, PageRequest, PageSize, TitleSearch,
    UpdateEvent,
};
use garde::Validate;
use utoipa::{IntoParams, ToSchema};
use utoipa_actix_web::service_config::ServiceConfig;

use crate::addresses::{EventIdParameter, EventPath};
use crate::body::RequestBody;
use crate::caller::{Caller, Visitor};
use crate::conditional::precondition;
use crate::field::{self, Given, sound};
use crate::headers::{IfMatchHeader, IfNoneMatchHeader, OnceHeader};
use crate::period::{PeriodFrom, PeriodTo, day_or_instant, not_before};
use crate::problem::{Code, Problem};
use crate::query::Query;
use crate::rendered::Renderings;
use crate::reply::{self, Reply};
use crate::services::Services;
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
    operation_id = "getEvent",
    security((), ("access_token" = [])),
    params(EventIdParameter, IfNoneMatchHeader),
    responses(
        (status = 200, description = "The event.", body = wire::EventDetail, headers(
            ("ETag" = String, description = "Changes with every visible change of the event, its free seats included. Another one for each content coding."),
        )),
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
        ("ETag" = String, description = "The tag of the new event, for `If-Match`."),
    ))),
)]
#[post("/api/events")]
async fn create_event(admin: Caller<Admin>, body: RequestBody, services: Data<Services>) -> Reply {
    let (draft, once, now) = body.timely_command::<wire::CreateEvent>(services.clock.now())?;
    let created = services.catalogue.create(admin.0, once, draft.into_draft(now)?).await?;
    let location = format!("/api/events/{}", created.outcome.id);
    let response = reply::created(&created, &location, |event| wire::Event::from(event));
    Ok(reply::tagged(response, created.outcome.version))
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
    responses((status = 200, description = "The event as it is now.", body = wire::Event, headers(
        ("ETag" = String, description = "The tag of the event as it is now, for `If-Match`. An answer that is replayed has the tag of the state it shows."),
    ))),
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
    let (patch, once) = match body.command::<wire::UpdateEvent>(&None) {
        Ok(command) => command,
        Err(problem) => return Err(with_the_date(problem, event, &body, &services).await),
    };
    let update = UpdateEvent { event, patch: patch.into(), precondition: precondition(&request) };
    let updated = services.catalogue.update(admin.0, once, update).await?;
    let response = reply::committed(StatusCode::OK, &updated, |event| wire::Event::from(event));
    Ok(reply::tagged(response, updated.outcome.version))
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

/// What is wrong with a change, and with its date too: which dates an event can be given depends on the one it has.
async fn with_the_date(problem: Problem, event: EventId, body: &RequestBody, services: &Services) -> Problem {
    if problem.code != Code::ValidationFailed {
        return problem;
    }
    let Ok(Some(event)) = services.catalogue.find(event).await else { return problem };
    let present = wire::Present { starts_at: event.starts_at, now: services.clock.now() };
    body.command::<wire::UpdateEvent>(&Some(present)).err().unwrap_or(problem)
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
    #[garde(custom(sound), custom(not_before(&self.date_from, "date_from")))]
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
    /// Events from this day (UTC, as 2030-05-01) or RFC 3339 instant on.
    #[param(schema_with = day_or_instant, required = false)]
    date_from: Option<String>,
    /// Events up to this day (UTC, as 2030-05-31) or RFC 3339 instant, included.
    #[param(schema_with = day_or_instant, required = false)]
    date_to: Option<String>,
    /// Only events with free seats.
    #[param(nullable = false)]
    available_only: Option<bool>,
    /// The order, `date` unless told; `-` reverses it. Equal events follow each other by id.
    #[param(nullable = false, example = "date")]
    sort: Option<SortParameter>,
}

/// What events are sorted by.
#[derive(ToSchema)]
#[schema(as = EventSort)]
#[expect(dead_code, reason = "describes a parameter that `EventOrder` reads")]
pub(crate) enum SortParameter {
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
