//! The port for operators, also while requests wait for the database.

use std::sync::Arc;
use std::time::Instant;

use reqwest::Method;
use serde_json::{Value, json};

use super::health::{CHECKED_WITHIN, readiness};
use super::metrics::metric;
use super::{give_database_back, take_database_away};
use crate::harness::server::Site;
use crate::harness::until;

on_both_stacks!(the_admin_port_serves_health_and_metrics_and_no_api);

async fn the_admin_port_serves_health_and_metrics_and_no_api(site: Site) {
    let site = site.with("ADMIN_PORT", "0");
    let api = site.start().await;
    let operators = api.for_operators();
    assert!(metric(&operators, "http_requests_total", &[]).await >= 0.0);
    assert!(api.get("/metrics").send().await.expect(200).text().contains("# TYPE database_connections gauge"));
    let live = operators.get("/health/live").send().await.expect(200);
    assert_eq!((live.json(), live.header("cache-control")), (json!({ "status": "live" }), "no-store"));

    let ready = readiness(&operators).await.expect(200).json();
    assert_eq!((&ready["status"], &ready["stopping"]), (&json!("ready"), &json!(false)), "{ready}");
    assert_eq!(ready["version"], env!("CARGO_PKG_VERSION"), "{ready}");
    assert!(ready["uptime_secs"].is_u64(), "{ready}");
    assert_eq!(ready["pending_migrations"], json!([]), "{ready}");
    let dependencies = &ready["dependencies"];
    assert_eq!(dependencies["database"]["state"], "up", "{ready}");
    assert!(dependencies["database"]["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{ready}");
    let redis = if site.redis.is_some() { "up" } else { "not_configured" };
    assert_eq!(dependencies["redis"]["state"], redis, "{ready}");
    let pools = ready["load"]["pools"].as_array().unwrap();
    let names: Vec<_> = pools.iter().map(|pool| pool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["writer", "reader"]);
    assert!(pools.iter().all(|pool| pool["max"].as_u64() >= Some(1) && pool["waiting"].is_u64()), "{ready}");
    for name in ["bookings_waiting", "readers_waiting", "passwords_running", "passwords_waiting"] {
        assert_eq!(ready["load"][name], 0, "{name} in {ready}");
    }

    for path in ["/", "/api", "/api/events", "/api/openapi.json", "/problems/not_found", "/health"] {
        operators.get(path).send().await.expect(404);
    }
    operators.request(Method::POST, "/metrics").send().await.expect(405);
    operators.request(Method::HEAD, "/health/ready").send().await.expect(200);

    // The port is taken already.
    let address = operators.base().rsplit_once(':').unwrap().1.to_owned();
    let site = site.with("ADMIN_PORT", &address);
    let Err(error) = site.try_start().await else { panic!("two have one port") };
    let said = format!("{error:#}");
    assert!(said.starts_with(&format!("ADMIN_PORT: cannot listen on 127.0.0.1 port {address}")), "{said}");
    api.stop().await;
    assert!(reqwest::get(format!("{}/health/live", operators.base())).await.is_err(), "the port is still open");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_answered_while_requests_wait_for_the_database() {
    let site = Site::migrated().await.with("ADMIN_PORT", "0");
    let api = Arc::new(site.start().await);
    let operators = api.for_operators();
    let admin = api.admin().await;
    let event = api.event(&admin, 1000).await;
    take_database_away(&site).await;
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let (api, admin) = (Arc::clone(&api), admin.clone());
            tokio::spawn(async move { api.book(event, &admin).await.status })
        })
        .collect();
    for _ in 0..5 {
        let asked = Instant::now();
        operators.get("/health/live").send().await.expect(200);
        operators.get("/metrics").send().await.expect(200);
        assert!(asked.elapsed() < CHECKED_WITHIN, "it took {:?}", asked.elapsed());
        let down = readiness(&operators).await.expect(503).json();
        assert_eq!(
            (&down["status"], &down["dependencies"]["database"]["state"]),
            (&json!("unavailable"), &json!("down"))
        );
        assert_eq!((&down["pending_migrations"], &down["stopping"]), (&Value::Null, &json!(false)), "{down}");
    }
    for one in crowd {
        assert_eq!(one.await.unwrap(), 503);
    }
    give_database_back(&site).await;
    until("the instance heals", async || readiness(&operators).await.status == 200).await;
    Arc::into_inner(api).unwrap().stop().await;
}
