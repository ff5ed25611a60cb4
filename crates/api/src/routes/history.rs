//! What happened: all of it, of an event, and what concerns oneself.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, get};
use application::{Admin, SignedIn};
use domain::ports::{HistoryFilter, Position};
use domain::{EventId, PageSize, UserId};
use garde::Validate;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::addresses::{EventIdParameter, EventPath};
use crate::caller::Caller;
use crate::cursor::Cursor;
use crate::field::{self, Given, WantedTypes, sound};
use crate::period::{PeriodFrom, PeriodTo, day_or_instant, not_before};
use crate::problem::Problem;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::services::Services;
use crate::wire;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(list_history).service(list_event_history).service(list_my_history);
}

/// Read the history
///
/// Every committed change, oldest first. A fact is there as soon as its change is acknowledged. Following `next` shows
/// each fact once, also those that are committed meanwhile, and skips none. Facts are kept for `HISTORY_KEPT` (400 days);
/// a cursor from before that is refused.
#[utoipa::path(
    tag = "history",
    operation_id = "listHistory",
    security(("access_token" = ["admin"])),
    params(HistoryParameters),
    responses((status = 200, description = "One page of facts.", body = wire::HistoryList)),
    extensions(("x-problems" = json!(["cursor_expired"]))),
)]
#[get("/api/history")]
async fn list_history(admin: Caller<Admin>, request: HttpRequest, services: Data<Services>) -> Reply {
    let (filter, after, limit) = HistoryQuery::of(&request)?.into_parts();
    let page = services.history.all(admin.0, filter, after, limit).await?;
    Ok(reply::private(StatusCode::OK, &wire::HistoryList::new(&page)))
}

/// Read an event's history
///
/// The same for one event, which may have been deleted.
#[utoipa::path(
    tag = "history",
    operation_id = "listEventHistory",
    security(("access_token" = ["admin"])),
    params(EventIdParameter, EventHistoryParameters),
    responses((status = 200, description = "One page of facts.", body = wire::HistoryList)),
    extensions(("x-problems" = json!(["cursor_expired"]))),
)]
#[get("/api/events/{id}/history")]
async fn list_event_history(
    admin: Caller<Admin>,
    event: EventPath,
    request: HttpRequest,
    services: Data<Services>,
) -> Reply {
    let event = event.id()?;
    let (filter, after, limit) = HistoryQuery::of(&request)?.into_parts();
    let page = services.history.of_event(admin.0, event, filter, after, limit).await?;
    Ok(reply::private(StatusCode::OK, &wire::HistoryList::new(&page)))
}

/// Read your history
///
/// What is about you, and what you did.
#[utoipa::path(
    tag = "history",
    operation_id = "listMyHistory",
    security(("access_token" = [])),
    params(MyHistoryParameters),
    responses((status = 200, description = "One page of facts.", body = wire::HistoryList)),
    extensions(("x-problems" = json!(["cursor_expired"]))),
)]
#[get("/api/users/me/history")]
async fn list_my_history(user: Caller<SignedIn>, request: HttpRequest, services: Data<Services>) -> Reply {
    let (filter, after, limit) = HistoryQuery::of(&request)?.into_parts();
    let page = services.history.mine(user.0, filter, after, limit).await?;
    Ok(reply::private(StatusCode::OK, &wire::HistoryList::new(&page)))
}

/// The query of a page of the history, as it came.
#[derive(Validate)]
#[garde(context(()))]
struct HistoryQuery {
    #[garde(custom(sound))]
    after: Given<Cursor>,
    #[garde(custom(sound))]
    limit: Given<PageSize<1000>>,
    #[garde(custom(sound))]
    types: Given<WantedTypes>,
    #[garde(custom(sound))]
    event_id: Given<EventId>,
    #[garde(custom(sound))]
    user_id: Given<UserId>,
    #[garde(custom(sound))]
    by: Given<UserId>,
    #[garde(custom(sound))]
    from: Given<PeriodFrom>,
    #[garde(custom(sound), custom(not_before(&self.from, "from")))]
    to: Given<PeriodTo>,
}

impl HistoryQuery {
    const DEFAULT_SIZE: u32 = 100;

    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let query = Query::of(request);
        let parsed = Self {
            after: query.field("after"),
            limit: query.field("limit"),
            types: query.field("types"),
            event_id: query.field("event_id"),
            user_id: query.field("user_id"),
            by: query.field("by"),
            from: query.field("from"),
            to: query.field("to"),
        };
        parsed.validate().map_err(|report| field::report(&report))?;
        Ok(parsed)
    }

    fn into_parts(self) -> (HistoryFilter, Position, u32) {
        let filter = HistoryFilter {
            types: self.types.optional().map(|types| types.0).unwrap_or_default(),
            event: self.event_id.optional(),
            user: self.user_id.optional(),
            by: self.by.optional(),
            concerns: None,
            from: self.from.optional().map(|from| from.0),
            to: self.to.optional().map(|to| to.0),
        };
        let after = self.after.optional().map_or(Position::START, |cursor| cursor.0);
        (filter, after, self.limit.optional().map_or(Self::DEFAULT_SIZE, PageSize::get))
    }
}

/// The same query, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `HistoryQuery` reads")]
struct HistoryParameters {
    /// Where to go on: `next` of the page before. Without it, the history begins with the oldest fact that is kept.
    #[param(nullable = false, pattern = "^h[0-9a-f]{1,16}$")]
    after: Option<String>,
    /// How many facts a page has at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Only facts of these types: names such as `event.deleted`, prefixes such as `registration.*`, or `*`, with commas
    /// between them.
    #[param(nullable = false, max_length = 1000, example = "registration.*,event.deleted")]
    types: Option<String>,
    /// Only facts about this event.
    #[param(nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    event_id: Option<u64>,
    /// Only facts about this user.
    #[param(nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    user_id: Option<u64>,
    /// Only what this user did.
    #[param(nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    by: Option<u64>,
    /// Facts from this day (UTC, as 2030-05-01) or RFC 3339 instant on.
    #[param(schema_with = day_or_instant, required = false)]
    from: Option<String>,
    /// Facts up to this day (UTC, as 2030-05-31) or RFC 3339 instant, included.
    #[param(schema_with = day_or_instant, required = false)]
    to: Option<String>,
}

/// The same, of an event.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `HistoryQuery` reads")]
struct EventHistoryParameters {
    /// Where to go on: `next` of the page before.
    #[param(nullable = false, pattern = "^h[0-9a-f]{1,16}$")]
    after: Option<String>,
    /// How many facts a page has at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Only facts of these types, with commas between them.
    #[param(nullable = false, max_length = 1000, example = "registration.*")]
    types: Option<String>,
    /// Only facts about this user.
    #[param(nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    user_id: Option<u64>,
    /// Only what this user did.
    #[param(nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    by: Option<u64>,
    /// Facts from this day (UTC) or RFC 3339 instant on.
    #[param(schema_with = day_or_instant, required = false)]
    from: Option<String>,
    /// Facts up to this day (UTC) or RFC 3339 instant, included.
    #[param(schema_with = day_or_instant, required = false)]
    to: Option<String>,
}

/// The same, of oneself.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `HistoryQuery` reads")]
struct MyHistoryParameters {
    /// Where to go on: `next` of the page before.
    #[param(nullable = false, pattern = "^h[0-9a-f]{1,16}$")]
    after: Option<String>,
    /// How many facts a page has at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Only facts of these types, with commas between them.
    #[param(nullable = false, max_length = 1000, example = "registration.*")]
    types: Option<String>,
    /// Only facts about this event.
    #[param(nullable = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    event_id: Option<u64>,
    /// Facts from this day (UTC) or RFC 3339 instant on.
    #[param(schema_with = day_or_instant, required = false)]
    from: Option<String>,
    /// Facts up to this day (UTC) or RFC 3339 instant, included.
    #[param(schema_with = day_or_instant, required = false)]
    to: Option<String>,
}
