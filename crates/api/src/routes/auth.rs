//! Signing up, logging in, staying logged in, logging out.

use actix_web::http::StatusCode;
use actix_web::post;
use actix_web::web::Data;
use domain::Role;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::attempts::LogInAttempts;
use crate::body::RequestBody;
use crate::caller::BearerToken;
use crate::middleware::client_address::ClientNetwork;
use crate::problem::Code;
use crate::reply::{self, Reply};
use crate::services::Services;
use crate::wire;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(sign_up).service(log_in).service(refresh).service(log_out);
}

/// Sign up
///
/// Makes an account and logs it in. An ordinary one needs no token; an admin's takes the access
/// token of an admin.
#[utoipa::path(
    tag = "auth",
    operation_id = "signUp",
    security((), ("access_token" = [])),
    request_body = wire::SignUp,
    responses((status = 201, description = "The account was made.", body = wire::Grant)),
    extensions(("x-problems" = json!(["email_taken", "role_not_allowed", "unauthenticated"]))),
)]
#[post("/api/auth/register")]
async fn sign_up(
    token: BearerToken,
    client: ClientNetwork,
    body: RequestBody,
    services: Data<Services>,
    attempts: Data<LogInAttempts>,
) -> Reply {
    let (person, role) = body.json::<wire::SignUp>(&())?.into_person()?;
    let grant = match role {
        Role::User => services.accounts.sign_up(person).await?,
        Role::Admin => {
            let sponsor = token.admin().await?.ok_or(Code::RoleNotAllowed)?;
            services.accounts.sign_up_admin(sponsor, person).await?
        }
    };
    attempts.recognize(client.0, &grant.user.email);
    Ok(reply::private(StatusCode::CREATED, &wire::Grant::from(&grant)))
}

/// Log in
///
/// An unknown address and a wrong password are answered alike, in the same time. Attempts are counted, by
/// client address and by account, whether there is one or not.
#[utoipa::path(
    tag = "auth",
    operation_id = "logIn",
    request_body = wire::LogIn,
    responses((status = 200, description = "Logged in.", body = wire::Grant)),
    extensions(("x-problems" = json!(["invalid_credentials", "too_many_attempts"]))),
)]
#[post("/api/auth/login")]
async fn log_in(
    client: ClientNetwork,
    body: RequestBody,
    services: Data<Services>,
    attempts: Data<LogInAttempts>,
) -> Reply {
    let (email, password) = body.json::<wire::LogIn>(&())?.into_parts()?;
    let attempt = attempts.admit(client.0, &email)?;
    let grant = attempt.ended(services.accounts.log_in(&email, &password).await)?;
    Ok(reply::private(StatusCode::OK, &wire::Grant::from(&grant)))
}

/// Refresh
///
/// Exchanges a refresh token for a new pair of tokens. A refresh token is good for one exchange:
/// if it comes back, every token of its session is revoked. A session ends 30 days after its
/// log-in, however often it is refreshed.
#[utoipa::path(
    tag = "auth",
    operation_id = "refreshSession",
    request_body = wire::RefreshToken,
    responses((status = 200, description = "A new pair of tokens; the old refresh token is spent.", body = wire::Grant)),
    extensions(("x-problems" = json!(["invalid_refresh_token", "refresh_token_reused"]))),
)]
#[post("/api/auth/refresh")]
async fn refresh(body: RequestBody, services: Data<Services>) -> Reply {
    let secret = body.json::<wire::RefreshToken>(&())?.into_secret()?;
    let grant = services.accounts.refresh(&secret).await?;
    Ok(reply::private(StatusCode::OK, &wire::Grant::from(&grant)))
}

/// Log out
///
/// Ends the session of a refresh token: every refresh token that came from the same log-in is
/// revoked. An unknown token is answered alike.
#[utoipa::path(
    tag = "auth",
    operation_id = "logOut",
    request_body = wire::RefreshToken,
    responses((status = 204, description = "The session has ended.")),
)]
#[post("/api/auth/logout")]
async fn log_out(body: RequestBody, services: Data<Services>) -> Reply {
    let secret = body.json::<wire::RefreshToken>(&())?.into_secret()?;
    services.accounts.log_out(&secret).await?;
    Ok(reply::no_content())
}
