//! What operators and their machines ask on a port of their own.
//!
//! It has a thread of its own, so it answers while the workers of the API are busy, and it is not among
//! the addresses that clients reach. No request is counted, traced or limited here.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Server;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{App, HttpResponse, HttpServer};
use async_trait::async_trait;
use domain::ports::{Probe, StoreError};
use serde::Serialize;

use crate::draining::Draining;
use crate::metrics::{Metrics, milliseconds};
use crate::reply;
use crate::routes::{ReadyState, State, exposition, probe};

/// How long the last answer may take once the server is stopping, in seconds.
const SHUTDOWN_SECS: u64 = 1;

/// What the port tells of.
#[derive(Clone)]
pub struct AdminServices {
    /// The database, to be asked whether it answers.
    pub database: Arc<dyn Probe>,
    /// Redis, if there is one, to be asked whether it answers.
    pub redis: Option<Arc<dyn Probe>>,
    /// The broker, if there is one, to be asked whether it answers.
    pub broker: Option<Arc<dyn Probe>>,
    /// The rest of the instance.
    pub inside: Arc<dyn Inside>,
    /// What has been counted.
    pub metrics: Arc<dyn Metrics>,
    /// How long a dependency may take to answer.
    pub probe: Duration,
}

/// What an instance knows of itself.
#[async_trait]
pub trait Inside: Send + Sync {
    /// What it is busy with at present.
    fn load(&self) -> Load;

    /// Changes of the schema that the program needs and the database does not have, by name.
    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError>;
}

/// What an instance is busy with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Load {
    /// The pools of connections to the database.
    pub pools: Vec<PoolLoad>,
    /// Bookings and cancellations that wait to be taken.
    pub bookings_waiting: usize,
    /// Reads whose confirmation has not been asked for yet.
    pub readers_waiting: usize,
    /// Password hashes being computed.
    pub passwords_running: usize,
    /// Password hashes that wait for a core.
    pub passwords_waiting: usize,
}

/// How the connections of a pool are used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PoolLoad {
    /// What they are for.
    pub name: &'static str,
    /// How many there may be.
    pub max: u32,
    /// How many are in use.
    pub busy: u32,
    /// How many are open and not in use.
    pub idle: u32,
    /// How many operations wait for one.
    pub waiting: u32,
}

/// Serves the metrics and the health of an instance, and nothing else, until the returned server is
/// stopped. It handles no signals.
pub fn serve_admin(listener: TcpListener, services: AdminServices, draining: Draining) -> std::io::Result<Server> {
    let (services, draining) = (Data::new(services), Data::new(draining));
    let begun = Data::new(Instant::now());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(services.clone())
            .app_data(draining.clone())
            .app_data(begun.clone())
            .service(web::resource("/metrics").route(web::get().to(metrics)).route(web::head().to(metrics)))
            .service(web::resource("/health/live").route(web::get().to(live)).route(web::head().to(live)))
            .service(web::resource("/health/ready").route(web::get().to(ready)).route(web::head().to(ready)))
    });
    Ok(server.workers(1).shutdown_timeout(SHUTDOWN_SECS).disable_signals().listen(listener)?.run())
}

async fn metrics(services: Data<AdminServices>) -> HttpResponse {
    exposition(&*services.metrics)
}

async fn live() -> HttpResponse {
    reply::operational(&serde_json::json!({ "status": "live" }))
}

/// As `/health/ready` of the API, with everything that may be the reason.
async fn ready(services: Data<AdminServices>, draining: Data<Draining>, begun: Data<Instant>) -> HttpResponse {
    let (database, redis, broker, pending) = futures_util::join!(
        health(Some(&*services.database), services.probe),
        health(services.redis.as_deref(), services.probe),
        health(services.broker.as_deref(), services.probe),
        tokio::time::timeout(services.probe, services.inside.pending_migrations()),
    );
    let stopping = draining.has_begun();
    let (status, name) = match ReadyState::of(stopping, database.state, [redis.state, broker.state]) {
        None => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Some(ReadyState::Degraded) => (StatusCode::OK, "degraded"),
        Some(ReadyState::Ready) => (StatusCode::OK, "ready"),
    };
    let details = Details {
        status: name,
        stopping,
        version: env!("CARGO_PKG_VERSION"),
        uptime_secs: begun.elapsed().as_secs(),
        dependencies: Dependencies { database, redis, broker },
        pending_migrations: pending.ok().and_then(Result::ok),
        load: services.inside.load(),
    };
    let mut response = reply::operational(&details);
    *response.status_mut() = status;
    response
}

async fn health(dependency: Option<&dyn Probe>, within: Duration) -> Health {
    let asked = Instant::now();
    let state = probe(dependency, within).await;
    let latency_ms = (state == State::Up).then(|| milliseconds(asked.elapsed()));
    Health { state, latency_ms }
}

#[derive(Serialize)]
struct Details {
    status: &'static str,
    stopping: bool,
    version: &'static str,
    uptime_secs: u64,
    dependencies: Dependencies,
    /// `null` if the database does not say.
    pending_migrations: Option<Vec<String>>,
    load: Load,
}

#[derive(Serialize)]
struct Dependencies {
    database: Health,
    redis: Health,
    broker: Health,
}

#[derive(Serialize)]
struct Health {
    state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<f64>,
}
