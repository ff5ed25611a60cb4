//! A user's own account.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{get, put};
use application::SignedIn;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::body::RequestBody;
use crate::caller::Caller;
use crate::headers::OnceHeader;
use crate::reply::{self, Reply};
use crate::services::Services;
use crate::wire;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(show_me).service(update_me);
}

/// Show yourself
///
/// Your account, as it is now.
#[utoipa::path(
    tag = "users",
    operation_id = "getCurrentUser",
    security(("access_token" = [])),
    responses((status = 200, description = "Your account.", body = wire::User)),
)]
#[get("/api/users/me")]
async fn show_me(user: Caller<SignedIn>, services: Data<Services>) -> Reply {
    let user = services.profile.show(user.0).await?;
    Ok(reply::private(StatusCode::OK, &wire::User::from(&user)))
}

/// Change yourself
///
/// Your name, your address, or both. Tokens you hold stay valid.
#[utoipa::path(
    tag = "users",
    operation_id = "updateCurrentUser",
    security(("access_token" = [])),
    params(OnceHeader),
    request_body = wire::UpdateUser,
    responses((status = 200, description = "Your account as it is now.", body = wire::User)),
    extensions(("x-problems" = json!(["email_taken"]))),
)]
#[put("/api/users/me")]
async fn update_me(user: Caller<SignedIn>, body: RequestBody, services: Data<Services>) -> Reply {
    let (patch, once) = body.command::<wire::UpdateUser>(&())?;
    let updated = services.profile.update(user.0, once, patch.into()).await?;
    Ok(reply::committed(StatusCode::OK, &updated, |user| wire::User::from(user)))
}
