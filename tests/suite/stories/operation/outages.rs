//! A lost Redis degrades an instance, and a lost database makes it refuse.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;

use super::health::readiness;
use super::logs::{keep_log, logged};
use super::{give_database_back, take_database_away};
use crate::harness::server::{PASSWORD, Site, Stack};
use crate::harness::until;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_redis_makes_an_instance_degraded_but_no_request_fails() {
    let mut site = Site::migrated().await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let degraded = json!({ "status": "degraded", "dependencies": { "database": "up", "redis": "down", "broker": "not_configured" } });
    let ready = async || api.get("/health/ready").send().await.json()["status"] == "ready";

    site.redis.as_mut().unwrap().kill();
    assert_eq!(readiness(&api).await.expect(200).json(), degraded);
    api.detail(event).await;
    api.book(event, &admin).await.expect(201);
    assert_eq!(api.detail(event).await["available_seats"], 4);
    site.redis.as_mut().unwrap().restart().await;
    until("Redis is used again", ready).await;

    // A Redis that hangs has the same effect.
    site.redis.as_ref().unwrap().pause();
    assert_eq!(readiness(&api).await.expect(200).json(), degraded);
    assert_eq!(api.detail(event).await["available_seats"], 4);
    site.redis.as_ref().unwrap().resume();
    until("Redis is used again", ready).await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_an_instance_lives_refuses_and_heals() {
    keep_log();
    let site = Site::migrated().await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let detail = format!("/api/events/{event}");
    readiness(&api).await.expect(200);

    take_database_away(&site).await;
    let refused = readiness(&api).await.expect_problem(503, "unavailable");
    assert_eq!(refused.json()["dependencies"]["database"], "down");
    assert_eq!(refused.json()["dependencies"]["redis"], "up");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    api.get("/health/live").send().await.expect(200);
    let credentials = json!({ "email": admin.email, "password": PASSWORD });
    for request in [
        api.get(&detail),
        api.get("/api/events"),
        api.get("/api/users/me").by(&admin),
        api.request(Method::POST, &format!("{detail}/register")).by(&admin),
        api.put(&detail, &json!({ "title": "Another" })).by(&admin),
        api.post("/api/auth/login", &credentials),
    ] {
        let asked = Instant::now();
        let answer = request.send().await.expect_problem(503, "unavailable");
        assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
        assert!(answer.header("retry-after").parse::<u64>().unwrap() >= 1);
        // The answer says nothing of the database.
        let (told, url) = (answer.text().to_lowercase(), site.database_url());
        for inside in ["postgres", "sql", "connection", url.rsplit_once('/').unwrap().1] {
            assert!(!told.contains(inside), "{told}");
        }
    }

    give_database_back(&site).await;
    until("the instance heals", async || readiness(&api).await.status == 200).await;
    assert_eq!(api.detail(event).await["title"], "Concert", "nothing of what was refused was done");
    api.book(event, &admin).await.expect(201);
    api.stop().await;

    let logged = logged();
    let url = site.database_url();
    let password = url.split_once('@').unwrap().0.rsplit_once(':').unwrap().1;
    assert!(!logged.contains(password), "the log holds the database's password");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_database_is_named_at_the_start_without_its_password() {
    let site = Site::new(Stack::Embedded).await;
    let site = site.with("DATABASE_URL", "postgres://boxoffice:unheard-of@127.0.0.1:1/boxoffice");
    let Err(error) = site.try_start().await else { panic!("it starts without a database") };
    let said = format!("{error:#}");
    assert!(said.contains("DATABASE_URL") && said.contains("127.0.0.1:1"), "{said}");
    assert!(!said.contains("unheard-of"), "{said}");
}
