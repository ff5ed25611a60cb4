//! What operators and their machines ask.

use std::time::Duration;

use actix_web::web::Data;
use actix_web::{HttpResponse, get};
use domain::ports::Probe;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::deadlines::HttpDeadlines;
use crate::draining::Draining;
use crate::metrics::Metrics;
use crate::problem::Problem;
use crate::reply::{self, Reply};
use crate::services::Services;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config.service(live).service(ready).service(metrics);
}

/// Alive
///
/// The program runs and answers, whatever its dependencies do.
#[utoipa::path(
    tag = "operations",
    operation_id = "checkLiveness",
    responses((status = 200, description = "Alive.", body = Liveness)),
)]
#[get("/health/live")]
async fn live() -> HttpResponse {
    reply::operational(&Liveness { status: Alive::Live })
}

/// Ready
///
/// Whether the instance can be given work: the database answers, and the instance is not about to
/// stop. A lost Redis costs speed only, and of a lost broker facts wait: `degraded`, but ready. Answered within 2 seconds.
#[utoipa::path(
    tag = "operations",
    operation_id = "checkReadiness",
    responses((status = 200, description = "Ready, perhaps degraded.", body = Readiness)),
    extensions(("x-problems" = json!(["unavailable"]))),
)]
#[get("/health/ready")]
async fn ready(services: Data<Services>, draining: Data<Draining>, deadlines: Data<HttpDeadlines>) -> Reply {
    let within = deadlines.probe;
    let (database, redis, broker) = futures_util::join!(
        probe(Some(&*services.database), within),
        probe(services.redis.as_deref(), within),
        probe(services.broker.as_deref(), within),
    );
    let stopping = draining.has_begun();
    let dependencies = Dependencies { database, redis, broker };
    let Some(status) = ReadyState::of(stopping, database, [redis, broker]) else {
        let mut states = serde_json::json!(dependencies);
        states["stopping"] = stopping.into();
        return Err(Problem::not_ready(states));
    };
    Ok(reply::operational(&Readiness { status, dependencies }))
}

/// Metrics
///
/// What has been counted and timed, in the text format of Prometheus.
#[utoipa::path(
    tag = "operations",
    operation_id = "getMetrics",
    responses((status = 200, description = "The metrics.", body = String, content_type = "text/plain")),
)]
#[get("/metrics")]
async fn metrics(services: Data<Services>) -> HttpResponse {
    exposition(&*services.metrics)
}

/// All metrics, as Prometheus reads them.
pub(crate) fn exposition(counted: &dyn Metrics) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("Cache-Control", "no-store"))
        .content_type("text/plain; version=0.0.4; charset=utf-8")
        .body(counted.render())
}

/// The state of a dependency, if there is one; what does not answer in this time is down.
pub(crate) async fn probe(dependency: Option<&dyn Probe>, within: Duration) -> State {
    let Some(dependency) = dependency else { return State::NotConfigured };
    match tokio::time::timeout(within, dependency.ping()).await {
        Ok(Ok(())) => State::Up,
        Ok(Err(_)) | Err(_) => State::Down,
    }
}

/// That the program runs.
#[derive(Serialize, ToSchema)]
struct Liveness {
    status: Alive,
}

/// That the program is alive.
#[derive(Serialize, ToSchema)]
#[schema(as = LivenessStatus)]
#[serde(rename_all = "lowercase")]
enum Alive {
    Live,
}

/// Whether the instance can be given work.
#[derive(Serialize, ToSchema)]
struct Readiness {
    status: ReadyState,
    dependencies: Dependencies,
}

/// Whether everything is there, or what is missing costs no answer.
#[derive(Serialize, ToSchema)]
#[schema(as = ReadinessStatus)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReadyState {
    Ready,
    Degraded,
}

impl ReadyState {
    /// Of an instance that may be stopping, with this database and others that it can do without; `None` if it is not
    /// ready.
    pub(crate) fn of(stopping: bool, database: State, others: [State; 2]) -> Option<Self> {
        if stopping || database == State::Down {
            None
        } else if others.contains(&State::Down) {
            Some(Self::Degraded)
        } else {
            Some(Self::Ready)
        }
    }
}

/// The state of each dependency.
#[derive(Serialize, ToSchema)]
struct Dependencies {
    database: State,
    redis: State,
    broker: State,
}

/// The state of one dependency.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DependencyState)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Up,
    Down,
    NotConfigured,
}
