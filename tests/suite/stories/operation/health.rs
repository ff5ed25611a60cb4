//! Liveness and readiness, while an instance runs and stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::server::{Answer, Instance, Site};
use crate::harness::until;

on_both_stacks!(
    liveness_and_readiness_answer_the_state_of_the_dependencies,
    a_stopping_instance_is_not_ready_while_it_still_serves,
    a_connection_is_kept_until_its_instance_stops,
);

/// The longest time of a readiness check, with any fault of the dependencies.
pub const CHECKED_WITHIN: Duration = Duration::from_secs(2);

/// The answer of the readiness check, which has to come in time.
pub async fn readiness(api: &Instance) -> Answer {
    let asked = Instant::now();
    let answer = api.get("/health/ready").send().await;
    assert!(asked.elapsed() < CHECKED_WITHIN, "it took {:?}", asked.elapsed());
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

async fn liveness_and_readiness_answer_the_state_of_the_dependencies(site: Site) {
    let api = site.start().await;
    let live = api.get("/health/live").send().await.expect(200);
    assert_eq!((live.json(), live.header("cache-control")), (json!({ "status": "live" }), "no-store"));
    let redis = if site.redis.is_some() { "up" } else { "not_configured" };
    assert_eq!(
        readiness(&api).await.expect(200).json(),
        json!({ "status": "ready", "dependencies": { "database": "up", "redis": redis, "broker": "not_configured" } })
    );
    api.stop().await;
}

async fn a_stopping_instance_is_not_ready_while_it_still_serves(site: Site) {
    let site = site.with("SHUTDOWN_GRACE", "3s");
    let api = Arc::new(site.start().await);
    let base = api.base().to_owned();
    readiness(&api).await.expect(200);

    // Another client, because stopping takes the instance.
    let client = reqwest::Client::new();
    let status = async |path: &str| client.get(format!("{base}{path}")).send().await.map(|answer| answer.status());
    let stopping = tokio::spawn(Arc::into_inner(api).unwrap().stop());
    until("readiness says no", async || status("/health/ready").await.is_ok_and(|status| status == 503)).await;
    let refusal = client.get(format!("{base}/health/ready")).send().await.unwrap();
    assert!(refusal.headers().contains_key("retry-after"));
    let problem: Value = refusal.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["dependencies"]["stopping"]), (&json!("unavailable"), &json!(true)));
    assert_eq!(status("/health/live").await.unwrap(), 200);
    stopping.await.unwrap();
    assert!(reqwest::get(format!("{base}/health/live")).await.is_err(), "the port is still open");
}

async fn a_connection_is_kept_until_its_instance_stops(site: Site) {
    let site = site.with("SHUTDOWN_GRACE", "3s");
    let api = Arc::new(site.start().await);
    let base = api.base().to_owned();
    let client = reqwest::Client::new();
    let get = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap();
    assert!(!get("/health/ready").await.headers().contains_key("connection"));

    let stopping = tokio::spawn(Arc::into_inner(api).unwrap().stop());
    until("readiness says no", async || get("/health/ready").await.status() == 503).await;
    // A write could be on its way on a connection that closes.
    for path in ["/api/events", "/api/events/4000000", "/nowhere", "/health/live"] {
        assert_eq!(get(path).await.headers()["connection"], "close", "{path}");
    }
    stopping.await.unwrap();
}
