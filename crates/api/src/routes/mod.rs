//! The routes, one file a noun. Each begins with what it serves.

mod auth;
mod bookings;
mod docs;
mod events;
mod health;
mod history;
mod live;
mod page;
mod users;
mod webhooks;

use actix_web::App;
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;

#[cfg(fuzzing)]
pub(crate) use self::events::EventListQuery;
pub(crate) use docs::SLASHED as SLASHED_API_PAGE;
pub(crate) use events::SortParameter;
pub(crate) use health::{ReadyState, State, exposition, probe};

pub(crate) fn configure(config: &mut ServiceConfig) {
    auth::configure(config);
    events::configure(config);
    bookings::configure(config);
    live::configure(config);
    users::configure(config);
    history::configure(config);
    webhooks::configure(config);
    health::configure(config);
    docs::configure(config);
    page::configure(config);
}

/// What the routes say of themselves, before [`crate::openapi`] completes it.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    App::new().into_utoipa_app().configure(configure).split_for_parts().1
}
