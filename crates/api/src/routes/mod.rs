//! The routes, one file a noun. Each begins with what it serves.

mod auth;
mod bookings;
mod docs;
mod events;
mod health;
mod live;
mod page;
mod users;

use std::future::{Ready, ready};

#[cfg(fuzzing)]
pub(crate) use self::events::EventListQuery;
use actix_web::dev::Payload;
use actix_web::{App, FromRequest, HttpRequest};
use domain::EventId;
use utoipa::IntoParams;
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::problem::{Code, Problem};

pub(crate) use health::{ReadyState, State, exposition, probe};

pub(crate) fn configure(config: &mut ServiceConfig) {
    auth::configure(config);
    events::configure(config);
    bookings::configure(config);
    live::configure(config);
    users::configure(config);
    health::configure(config);
    docs::configure(config);
    page::configure(config);
}

/// What the routes say of themselves, before [`crate::openapi`] completes it.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    App::new().into_utoipa_app().configure(configure).split_for_parts().1
}

/// The event that an address names.
///
/// Reading it never fails the extraction: who may not ask at all is told that first.
pub(crate) struct EventPath(Option<EventId>);

impl EventPath {
    /// The event. What is no id names nothing.
    pub(crate) fn id(&self) -> Result<EventId, Problem> {
        self.0.ok_or_else(|| Code::NotFound.into())
    }
}

impl FromRequest for EventPath {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(request.match_info().get("id").and_then(EventId::parse))))
    }
}

/// The event of an address, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter that `EventPath` reads")]
struct EventIdParameter {
    /// The event's id.
    #[param(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 12)]
    id: u64,
}

/// The idempotency key, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that `RequestBody` reads")]
struct OnceHeader {
    /// The client's own name for this request, such as a UUID, quoted or bare. Within 7 days the same
    /// request with the same key is answered the same, and done once.
    #[param(rename = "Idempotency-Key", nullable = false, min_length = 1, max_length = 255, pattern = r"^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// The conditions of a read, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that the representation middleware reads")]
struct IfNoneMatchHeader {
    /// Tags of the copies the client has, such as `"42"`: if one is current, the answer is 304.
    #[param(rename = "If-None-Match", nullable = false)]
    if_none_match: Option<String>,
}

/// The conditions of a write, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that `conditional` reads")]
struct IfMatchHeader {
    /// Tags of the versions the change is meant for, such as `"42"`: if none is current, the answer is 412.
    #[param(rename = "If-Match", nullable = false)]
    if_match: Option<String>,
}
