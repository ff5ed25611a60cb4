//! The server: what it is made of, and the order of what wraps a request.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpServer, web};
use application::{Access, Accounts, Catalogue, Profile, SeatBookings};
use domain::ports::{Clock, Probe};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use utoipa_actix_web::AppExt;

use crate::middleware::cors::cors;
use crate::middleware::envelope::envelope;
use crate::middleware::rate_limit::{RateLimit, standard_headers};
use crate::middleware::representation::representation;
use crate::openapi::Operations;
use crate::problem::{Code, Problem};
use crate::rendered::Renderings;
use crate::routes;

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a client may take to send a request's head.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// How long requests in flight may take once the server is stopping, in seconds.
const SHUTDOWN_SECS: u64 = 25;

/// What the routes call.
#[derive(Clone)]
pub struct Services {
    /// Who is asking.
    pub access: Arc<Access>,
    /// Signing up and logging in.
    pub accounts: Arc<Accounts>,
    /// The programme of events.
    pub catalogue: Arc<Catalogue>,
    /// Booking and cancelling.
    pub bookings: Arc<SeatBookings>,
    /// A user's own account.
    pub profile: Arc<Profile>,
    /// The database, to be asked whether it answers.
    pub database: Arc<dyn Probe>,
    /// Redis, if there is one, to be asked whether it answers.
    pub redis: Option<Arc<dyn Probe>>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What has been counted.
    pub metrics: PrometheusHandle,
}

/// How the server treats its clients.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    /// Requests a client may make to `/api` a minute, and at once; 0 for no limit.
    pub rate_limit_per_minute: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call the API.
    pub allowed_origins: Vec<String>,
    /// Whether pages of this machine may call the API, whatever their port.
    pub allow_localhost_origins: bool,
}

/// Tells the readiness check that the program is about to stop.
#[derive(Debug, Clone, Default)]
pub struct Draining(Arc<AtomicBool>);

impl Draining {
    /// From now on the program is not ready for new work.
    pub fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Serves the API on `listener` until the returned server is stopped. It handles no signals.
///
/// Has to be called on a Tokio runtime, which is where idle clients of the rate limit are forgotten.
pub fn serve(
    listener: TcpListener,
    services: Services,
    options: HttpOptions,
    draining: Draining,
) -> std::io::Result<Server> {
    let services = Data::new(services);
    let draining = Data::new(draining);
    let operations = Data::new(Operations::of(&routes::document()));
    let renderings = Data::new(Renderings::new());
    let HttpOptions { rate_limit_per_minute, trusted_proxies, allowed_origins, allow_localhost_origins } = options;
    let rate_limit = RateLimit::new(rate_limit_per_minute, trusted_proxies);
    tokio::spawn(rate_limit.forget_idle_clients());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(services.clone())
            .app_data(draining.clone())
            .app_data(operations.clone())
            .app_data(renderings.clone())
            // The governor wants a service whose future can be moved: only the router's is.
            .wrap(Condition::new(rate_limit.is_on(), rate_limit.governor()))
            .wrap(from_fn(standard_headers))
            .wrap(from_fn(representation))
            .wrap(cors(&allowed_origins, allow_localhost_origins))
            .wrap(from_fn(envelope))
            .into_utoipa_app()
            .configure(routes::configure)
            .default_service(web::to(unmatched))
            .into_app()
    });
    Ok(server
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(HEAD_DEADLINE)
        .shutdown_timeout(SHUTDOWN_SECS)
        .disable_signals()
        .listen(listener)?
        .run())
}

/// The services of the server that a request came to.
pub(crate) fn services(request: &HttpRequest) -> Result<&Data<Services>, Problem> {
    request.app_data().ok_or_else(|| Code::InternalError.into())
}

/// No route has this method at this address: the address may be unknown, or have other methods.
async fn unmatched(request: HttpRequest, operations: Data<Operations>) -> actix_web::HttpResponse {
    match operations.methods(request.match_info().as_str()) {
        None => Problem::new(Code::NotFound).to_response(),
        Some(allow) => {
            let mut response = Problem::new(Code::MethodNotAllowed).to_response();
            response.headers_mut().insert(actix_web::http::header::ALLOW, allow.clone());
            response
        }
    }
}
