//! The server: what it is made of, and the order of what wraps a request.

use std::net::TcpListener;
use std::thread::available_parallelism;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::middleware::{Condition, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpServer, web};
use ipnet::IpNet;
use utoipa_actix_web::AppExt;

use crate::attempts::LogInAttempts;
use crate::deadlines::HttpDeadlines;
use crate::draining::Draining;
use crate::live::Streams;
use crate::middleware::admission::{Admission, admission};
use crate::middleware::client_address::TrustedProxies;
use crate::middleware::cors::{Origins, cors};
use crate::middleware::deadline::deadline;
use crate::middleware::envelope::envelope;
use crate::middleware::rate_limit::{RateLimit, standard_headers};
use crate::middleware::representation::representation;
use crate::openapi::Operations;
use crate::problem::{Code, Problem};
use crate::rendered::Renderings;
use crate::routes;
use crate::services::Services;

/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections, beside as many as there may be live streams.
const BESIDES_STREAMS: usize = 1_000;
/// Bytes of an answer that wait for the connection before more is asked of its body: a few states of
/// a live stream, for they get old here; the head and a usual body at once.
const WRITE_BUFFER: usize = 4 << 10;
/// How long requests in flight may take once the server is stopping, in seconds.
const SHUTDOWN_SECS: u64 = 25;

/// How the server treats its clients.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Requests a client may make to `/api` a minute, and at once; 0 for no limit.
    pub rate_limit_per_minute: u32,
    /// Log-ins that may fail, a minute and at once, from one client and for one account; 0 for no limit.
    /// Without a limit of requests there is none of attempts either.
    pub login_attempts_per_minute: u32,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call the API.
    pub allowed_origins: Vec<String>,
    /// Whether pages of this machine may call the API, whatever their port.
    pub allow_localhost_origins: bool,
    /// How many live streams may be open at once.
    pub live_max_connections: u32,
    /// How long each part of a request may take.
    pub deadlines: HttpDeadlines,
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
    let operations = Data::new(Operations::of(&routes::document()));
    let renderings = Data::new(Renderings::new());
    let HttpOptions {
        rate_limit_per_minute,
        login_attempts_per_minute,
        trusted_proxies,
        allowed_origins,
        allow_localhost_origins,
        live_max_connections,
        deadlines,
    } = options;
    let origins = Data::new(Origins::new(allowed_origins, allow_localhost_origins));
    let streams = Data::new(Streams::new(live_max_connections, draining.clone()));
    let draining = Data::new(draining);
    let kept = Data::new(deadlines);
    let places = Data::new(Admission::new());
    let trusted_proxies = TrustedProxies::new(trusted_proxies);
    let rate_limit = RateLimit::new(rate_limit_per_minute, trusted_proxies.clone());
    tokio::spawn(rate_limit.forget_idle_clients());
    let attempts = LogInAttempts::new(if rate_limit.is_on() { login_attempts_per_minute } else { 0 });
    let (trusted_proxies, attempts) = (Data::new(trusted_proxies), Data::new(attempts));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(services.clone())
            .app_data(draining.clone())
            .app_data(operations.clone())
            .app_data(renderings.clone())
            .app_data(origins.clone())
            .app_data(streams.clone())
            .app_data(trusted_proxies.clone())
            .app_data(attempts.clone())
            .app_data(kept.clone())
            .app_data(places.clone())
            // The governor wants a service whose future can be moved: only the router's is.
            .wrap(Condition::new(rate_limit.is_on(), rate_limit.governor()))
            .wrap(from_fn(deadline))
            .wrap(from_fn(admission))
            .wrap(from_fn(standard_headers))
            .wrap(from_fn(representation))
            .wrap(cors(&origins))
            .wrap(from_fn(envelope))
            .into_utoipa_app()
            .configure(routes::configure)
            .default_service(web::to(unmatched))
            .into_app()
    });
    let workers = available_parallelism().map_or(1, usize::from);
    let streams = usize::try_from(live_max_connections).unwrap_or(usize::MAX);
    Ok(server
        .workers(workers)
        // More wait to be accepted, and take neither memory nor descriptors.
        .max_connections(streams.saturating_add(BESIDES_STREAMS).div_ceil(workers))
        .keep_alive(KEEP_ALIVE)
        .client_request_timeout(deadlines.head)
        .h1_write_buffer_size(WRITE_BUFFER)
        // A client that hangs up while a stream is open is noticed at once.
        .h1_allow_half_closed(false)
        .shutdown_timeout(SHUTDOWN_SECS)
        .disable_signals()
        .listen(listener)?
        .run())
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
