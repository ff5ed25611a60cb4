//! Seats: booked, given back and listed.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, delete, get, post};
use application::{Admin, Bearer, SignedIn};
use domain::ports::RegistrationFilter;
use domain::{PageNumber, PageRequest, PageSize, RegistrationStatus};
use garde::Validate;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::addresses::{EventIdParameter, EventPath};
use crate::body::RequestBody;
use crate::caller::Caller;
use crate::field::{self, Given, sound};
use crate::headers::OnceHeader;
use crate::metrics;
use crate::problem::Problem;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::services::Services;
use crate::wire;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(book).service(cancel).service(list_attendees).service(list_my_registrations);
}

/// Book a seat
///
/// Sells you one seat of the event. There is one registration per user and event for ever: if you
/// cancelled yours, it is confirmed again, with a new `registration_date`.
#[utoipa::path(
    tag = "registrations",
    operation_id = "registerForEvent",
    security(("access_token" = [])),
    params(EventIdParameter, OnceHeader),
    responses((status = 201, description = "The seat is yours.", body = wire::Registration)),
    extensions(("x-problems" = json!(["event_started", "already_registered", "sold_out"]))),
)]
#[post("/api/events/{id}/register")]
async fn book(user: Caller<Bearer>, event: EventPath, body: RequestBody, services: Data<Services>) -> Reply {
    let (event, once) = told_to(user.0, event.id().and_then(|event| Ok((event, body.once()?))), &services).await?;
    let booked = services.bookings.book(user.0, once, event).await;
    let booked = metrics::booking("book", booked.map_err(Problem::from))?;
    Ok(reply::committed(StatusCode::CREATED, &booked, |registration| wire::Registration::from(registration)))
}

/// Cancel a booking
///
/// Gives your seat back. However often it is tried, one registration gives back one seat.
#[utoipa::path(
    tag = "registrations",
    operation_id = "cancelSeat",
    security(("access_token" = [])),
    params(EventIdParameter, OnceHeader),
    responses((status = 200, description = "The seat was given back.", body = wire::Message)),
    extensions(("x-problems" = json!(["registration_not_found", "event_started"]))),
)]
#[delete("/api/events/{id}/register")]
async fn cancel(user: Caller<Bearer>, event: EventPath, body: RequestBody, services: Data<Services>) -> Reply {
    let (event, once) = told_to(user.0, event.id().and_then(|event| Ok((event, body.once()?))), &services).await?;
    let cancelled = services.bookings.cancel(user.0, once, event).await;
    let cancelled = metrics::booking("cancel", cancelled.map_err(Problem::from))?;
    Ok(reply::committed(StatusCode::OK, &cancelled, |_| wire::Message::new("The registration was cancelled.")))
}

/// A user whose account is gone does not learn what is wrong with a request. If nothing is wrong, the
/// transaction looks for the account.
async fn told_to<T>(user: Bearer, checked: Result<T, Problem>, services: &Services) -> Result<T, Problem> {
    if checked.is_err() {
        services.access.stands(user).await?;
    }
    checked
}

/// List an event's registrations
///
/// Newest first, each with its user. Those of a deleted event can still be read.
#[utoipa::path(
    tag = "registrations",
    operation_id = "listEventRegistrations",
    security(("access_token" = ["admin"])),
    params(EventIdParameter, RegistrationListParameters),
    responses((status = 200, description = "One page of registrations.", body = wire::RegistrationsWithUsers, headers(
        ("X-Total-Count" = u64, description = "How many registrations match, on all pages together."),
        ("Link" = String, description = "The first, previous, next and last page (RFC 8288), with every filter kept."),
        ("ETag" = String, description = "Changes with every visible change of the page."),
    ))),
)]
#[get("/api/events/{id}/registrations")]
async fn list_attendees(
    admin: Caller<Admin>,
    event: EventPath,
    request: HttpRequest,
    services: Data<Services>,
) -> Reply {
    let event = event.id()?;
    let (filter, page) = RegistrationListQuery::of(&request)?.into_parts();
    let attendees = services.bookings.attendees(admin.0, event, filter, page).await?;
    let rows: Vec<_> = attendees.rows.iter().map(wire::RegistrationWithUser::from).collect();
    Ok(reply::private_list(&rows, attendees.total, &reply::page_links(&request, page, attendees.total)))
}

/// List your registrations
///
/// Newest first, each with its event. The event of a registration may have been deleted: then
/// `deleted_at` says when.
#[utoipa::path(
    tag = "registrations",
    operation_id = "listMyRegistrations",
    security(("access_token" = [])),
    params(RegistrationListParameters),
    responses((status = 200, description = "One page of registrations.", body = wire::RegistrationsWithEvents, headers(
        ("X-Total-Count" = u64, description = "How many registrations match, on all pages together."),
        ("Link" = String, description = "The first, previous, next and last page (RFC 8288), with every filter kept."),
        ("ETag" = String, description = "Changes with every visible change of the page."),
    ))),
)]
#[get("/api/users/me/registrations")]
async fn list_my_registrations(user: Caller<SignedIn>, request: HttpRequest, services: Data<Services>) -> Reply {
    let (filter, page) = RegistrationListQuery::of(&request)?.into_parts();
    let bookings = services.bookings.mine(user.0, filter, page).await?;
    let rows: Vec<_> = bookings.rows.iter().map(wire::RegistrationWithEvent::from).collect();
    Ok(reply::private_list(&rows, bookings.total, &reply::page_links(&request, page, bookings.total)))
}

/// The query of a list of registrations, as it came.
#[derive(Validate)]
struct RegistrationListQuery {
    #[garde(custom(sound))]
    page: Given<PageNumber>,
    #[garde(custom(sound))]
    limit: Given<PageSize<1000>>,
    #[garde(custom(sound))]
    status: Given<RegistrationStatus>,
}

impl RegistrationListQuery {
    const DEFAULT_SIZE: u32 = 100;

    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let query = Query::of(request);
        let parsed = Self { page: query.field("page"), limit: query.field("limit"), status: query.field("status") };
        parsed.validate().map_err(|report| field::report(&report))?;
        Ok(parsed)
    }

    fn into_parts(self) -> (RegistrationFilter, PageRequest) {
        let filter = RegistrationFilter { status: self.status.optional() };
        (filter, field::page_request(self.page, self.limit, Self::DEFAULT_SIZE))
    }
}

/// The same query, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `RegistrationListQuery` reads")]
struct RegistrationListParameters {
    /// Which page, from 1.
    #[param(nullable = false, minimum = 1, maximum = 1_000_000, default = 1, example = 1)]
    page: Option<u32>,
    /// How many registrations a page has at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Only registrations of this status.
    #[param(nullable = false)]
    status: Option<wire::Status>,
}
