//! Health, metrics and logs for operators, with and without faults.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

use boxoffice::settings::{Purpose, Settings};
use boxoffice::telemetry;
use reqwest::Method;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::util::SubscriberInitExt;

use crate::harness::server::{Answer, Instance, PASSWORD, Site, Stack};
use crate::harness::store::connect_past;
use crate::harness::until;

/// The longest time of a readiness check, with any fault of the dependencies.
const CHECKED_WITHIN: Duration = Duration::from_secs(2);

/// The answer of the readiness check, which has to come in time.
async fn readiness(api: &Instance) -> Answer {
    let asked = Instant::now();
    let answer = api.get("/health/ready").send().await;
    assert!(asked.elapsed() < CHECKED_WITHIN, "it took {:?}", asked.elapsed());
    assert_eq!(answer.header("cache-control"), "no-store");
    answer
}

/// Takes the site's Postgres database away: its connections end, and there are no new ones.
pub(super) async fn take_database_away(site: &Site) {
    administer(site, |name| {
        vec![
            format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        ]
    })
    .await;
}

/// Gives the database back.
pub(super) async fn give_database_back(site: &Site) {
    administer(site, |name| vec![format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")]).await;
}

async fn administer(site: &Site, statements: impl Fn(&str) -> Vec<String>) {
    let url = site.database_url();
    let (server, name) = url.rsplit_once('/').unwrap();
    let server = connect_past(&format!("{server}/postgres")).await;
    for statement in statements(name) {
        server.execute_unprepared(&statement).await.unwrap();
    }
    server.close().await.unwrap();
}

/// The sum of a metric's samples that have these labels. All tests share one process: other tests
/// may raise the same counter.
async fn metric(api: &Instance, name: &str, labels: &[(&str, &str)]) -> f64 {
    let metrics = api.get("/metrics").send().await.expect(200);
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = metrics.text();
    let samples = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        let named = rest.is_empty() || rest.starts_with('{');
        let labelled = labels.iter().all(|(label, value)| rest.contains(&format!("{label}=\"{value}\"")));
        (named && labelled).then(|| value.parse::<f64>().unwrap())
    });
    samples.sum()
}

/// The log of the whole process.
static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Adds to [`LOG`].
struct LogWriter;

impl io::Write for LogWriter {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap().write(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Keeps the log of the process from now on, as lines of JSON: at a lower level than in production,
/// and without the tests' own client.
fn keep_log() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| {
        let filter = "debug,api=trace,application=trace,adapter_sql=trace,adapter_redis=trace,adapter_crypto=trace,\
                      caching=trace,boxoffice=trace,hyper=off,hyper_util=off,reqwest=off";
        let variables = [("LOG_FORMAT", "json"), ("RUST_LOG", filter)].map(|(name, value)| (name.into(), value.into()));
        let settings = Settings::load(Purpose::Operate, variables, TempDir::new().unwrap().path()).unwrap();
        telemetry::log(&settings, || LogWriter, false).try_init().unwrap();
    });
}

fn logged() -> String {
    String::from_utf8(LOG.lock().unwrap().clone()).unwrap()
}

/// A name that the log of the process does not contain yet. An address with a port would not do: a later story may
/// get the same port.
fn unheard_of(what: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("{what}-{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// The access lines of the request of this id.
fn access_lines(request_id: &str) -> Vec<Value> {
    lines_of(request_id, "access")
}

/// The lines of a target that were written for the request of this id.
fn lines_of(request_id: &str, target: &str) -> Vec<Value> {
    let text = logged();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")));
    let is_of = |line: &Value| line["request_id"] == request_id || line["span"]["request_id"] == request_id;
    lines.filter(|line: &Value| line["target"] == target && is_of(line)).collect()
}

on_both_stacks!(
    liveness_and_readiness_answer_the_state_of_the_dependencies,
    a_stopping_instance_is_not_ready_while_it_still_serves,
    a_connection_is_kept_until_its_instance_stops,
    every_request_is_counted_and_timed_by_its_route,
    bookings_caches_and_connections_are_counted,
    queues_and_pools_are_measured_and_each_metric_has_a_help_line,
    the_admin_port_serves_health_and_metrics_and_no_api,
    an_access_line_has_the_user_the_route_and_the_status,
    failed_log_ins_and_refused_admin_calls_are_logged,
    no_secret_is_ever_logged_or_answered,
);

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

async fn every_request_is_counted_and_timed_by_its_route(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 3).await;
    let route = [("method", "GET"), ("route", "/api/events/{id}")];
    let of = |status| [route[0], route[1], ("status", status)];

    let found = metric(&api, "http_requests_total", &of("200")).await;
    let missing = metric(&api, "http_requests_total", &of("404")).await;
    let timed = metric(&api, "http_request_duration_seconds_count", &route).await;
    for _ in 0..3 {
        api.detail(event).await;
    }
    api.get("/api/events/4000000").send().await.expect(404);
    assert!(metric(&api, "http_requests_total", &of("200")).await >= found + 3.0);
    assert!(metric(&api, "http_requests_total", &of("404")).await > missing);
    assert!(metric(&api, "http_request_duration_seconds_count", &route).await >= timed + 4.0);
    let within = [route[0], route[1], ("le", "+Inf")];
    assert!(metric(&api, "http_request_duration_seconds_bucket", &within).await >= timed + 4.0);
    assert!(metric(&api, "http_request_duration_seconds_sum", &route).await > 0.0);

    // A path that a client made up does not become a label.
    api.get("/made/up/by/a/client").send().await.expect(404);
    api.request("INVENTED".parse().unwrap(), "/api/events").send().await.expect(405);
    assert!(metric(&api, "http_requests_total", &[("route", "unmatched"), ("status", "404")]).await >= 1.0);
    assert!(metric(&api, "http_requests_total", &[("method", "other"), ("route", "/api/events")]).await >= 1.0);
    let text = api.get("/metrics").send().await.text();
    for name in ["made/up", "INVENTED", "/4000000"] {
        assert!(!text.contains(name), "{name}");
    }
    for (name, kind) in [
        ("http_requests_total", "counter"),
        ("http_request_duration_seconds", "histogram"),
        ("bookings_total", "counter"),
        ("cache_requests_total", "counter"),
        ("database_connections", "gauge"),
    ] {
        let declared = format!("# TYPE {name} {kind}");
        assert!(name == "bookings_total" || text.lines().any(|line| line == declared), "{declared}");
    }
    api.stop().await;
}

async fn bookings_caches_and_connections_are_counted(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let [ada, bob] = [api.new_user().await, api.new_user().await];
    let event = api.event(&admin, 1).await;
    let outcomes = [
        ("book", "ok"),
        ("book", "already_registered"),
        ("book", "sold_out"),
        ("book", "not_found"),
        ("cancel", "ok"),
        ("cancel", "registration_not_found"),
    ];
    let counted = async || {
        let mut counts = Vec::new();
        for (verb, outcome) in outcomes {
            counts.push(metric(&api, "bookings_total", &[("verb", verb), ("outcome", outcome)]).await);
        }
        counts
    };
    let before = counted().await;
    let cached = metric(&api, "cache_requests_total", &[]).await;
    let missed = metric(&api, "cache_requests_total", &[("kind", "event"), ("outcome", "miss")]).await;
    api.book(event, &ada).await.expect(201);
    api.book(event, &ada).await.expect(409);
    api.book(event, &bob).await.expect(409);
    api.book(4_000_000, &bob).await.expect(404);
    api.cancel(event, &ada).await.expect(200);
    api.cancel(event, &ada).await.expect(404);
    for ((outcome, before), after) in outcomes.iter().zip(before).zip(counted().await) {
        assert!(after >= before + 1.0, "{outcome:?}: {before} {after}");
    }
    api.detail(event).await;
    api.detail(event).await;
    assert!(metric(&api, "cache_requests_total", &[]).await >= cached + 2.0);
    assert!(metric(&api, "cache_requests_total", &[("kind", "event"), ("outcome", "miss")]).await > missed);
    assert!(metric(&api, "cache_requests_total", &[("kind", "event"), ("outcome", "hit")]).await >= 1.0);
    let connections = async |state| metric(&api, "database_connections", &[("state", state)]).await;
    until("the pool is looked at", async || connections("idle").await + connections("busy").await >= 1.0).await;
    api.stop().await;
}

async fn queues_and_pools_are_measured_and_each_metric_has_a_help_line(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 1).await;
    let measured = [
        "booking_queue_wait_duration_seconds_count",
        "booking_batch_duration_seconds_count",
        "booking_batch_size_count",
        "database_commit_duration_seconds_count",
        "password_hash_wait_duration_seconds_count",
        "cache_round_size_count",
    ];
    let mut before = Vec::new();
    for name in measured {
        before.push(metric(&api, name, &[]).await);
    }
    api.book(event, &ada).await.expect(201);
    api.log_in(&ada.email, PASSWORD).await.expect(200);
    api.detail(event).await;
    for (name, before) in measured.iter().zip(before) {
        until(name, async || metric(&api, name, &[]).await > before).await;
    }
    for pool in ["writer", "reader"] {
        let of = [("pool", pool)];
        assert!(metric(&api, "database_connections_max", &of).await >= 1.0, "{pool}");
        assert!(metric(&api, "database_connection_wait_duration_seconds_count", &of).await >= 1.0, "{pool}");
    }
    for name in ["http_requests_in_flight", "tokio_workers", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(metric(&api, name, &[]).await >= 1.0, "{name}");
    }
    if site.redis.is_some() {
        assert!(metric(&api, "redis_command_duration_seconds_count", &[("command", "GETRANGE")]).await >= 1.0);
        assert!(metric(&api, "redis_up", &[]).await >= 1.0);
    }
    let text = api.get("/metrics").send().await.text();
    for line in text.lines() {
        if let Some((name, _)) = line.strip_prefix("# TYPE ").and_then(|declared| declared.split_once(' ')) {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no HELP line");
        }
    }
    for name in
        ["booking_queue_length", "database_connections_waiting", "password_hashes_waiting", "cache_readers_waiting"]
    {
        assert!(text.contains(&format!("# TYPE {name} gauge")), "{name}");
    }
    api.stop().await;
}

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

async fn an_access_line_has_the_user_the_route_and_the_status(site: Site) {
    keep_log();
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 1).await;
    let access = unheard_of("access");
    let id = |number: u32| format!("{access}-{number}");
    let of = async |number: u32, method: Method, path: &str| {
        api.request(method, path).header("X-Request-Id", &id(number)).by(&ada).send().await
    };

    let booking = format!("/api/events/{event}/register");
    of(1, Method::POST, &booking).await.expect(201);
    of(2, Method::POST, &booking).await.expect(409);
    of(3, Method::HEAD, "/api/events?search=secret%20in%20the%20query").await.expect(200);
    of(4, Method::GET, "/nothing").await.expect(404);
    api.get("/api/events").header("X-Request-Id", &id(5)).send().await.expect(200);
    for (number, method, route, status, user) in [
        (1, "POST", "/api/events/{id}/register", 201, Some(ada.id)),
        (2, "POST", "/api/events/{id}/register", 409, Some(ada.id)),
        (3, "HEAD", "/api/events", 200, Some(ada.id)),
        (4, "GET", "unmatched", 404, None),
        (5, "GET", "/api/events", 200, None),
    ] {
        let lines = access_lines(&id(number));
        assert_eq!(lines.len(), 1, "{lines:?}");
        let line = &lines[0];
        assert_eq!((&line["method"], &line["route"]), (&json!(method), &json!(route)), "{line}");
        assert_eq!((&line["status"], &line["level"]), (&json!(status), &json!("INFO")), "{line}");
        assert_eq!(line.get("user_id"), user.map(|user| json!(user)).as_ref(), "{line}");
        assert!(line["latency_ms"].as_f64().is_some_and(|latency| latency > 0.0), "{line}");
        assert!(line["timestamp"].is_string(), "{line}");
        assert!(!line.to_string().contains("secret"), "{line}");
    }
    api.stop().await;
}

async fn failed_log_ins_and_refused_admin_calls_are_logged(site: Site) {
    keep_log();
    let api = site.start().await;
    let ada = api.new_user().await;
    let (guess, reach) = (unheard_of("guess"), unheard_of("reach"));
    let credentials = json!({ "email": ada.email, "password": "wrong" });
    let guessed = api.post("/api/auth/login", &credentials).header("X-Request-Id", &guess).send().await;
    guessed.expect(401);
    api.delete("/api/events/1").by(&ada).header("X-Request-Id", &reach).send().await.expect(403);
    for (id, network) in [(guess, Some(json!("127.0.0.1/32"))), (reach, None)] {
        let lines = lines_of(&id, "security");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!((&lines[0]["level"], lines[0].get("network")), (&json!("WARN"), network.as_ref()));
        assert!(!lines[0].to_string().contains(&ada.email), "{}", lines[0]);
    }
    api.stop().await;
}

async fn no_secret_is_ever_logged_or_answered(site: Site) {
    keep_log();
    let api = site.start().await;
    let admin = api.admin().await;
    // No other test has this password: the log holds it only if the program logged it.
    let password = unheard_of("a password");
    let next_password = format!("wrong {password}");
    let email = "secretive@example.com";
    let credentials = |password: &str| json!({ "name": "Ada", "email": email, "password": password });
    let mut told = Vec::new();

    let session = api.post("/api/auth/register", &credentials(&password)).send().await.expect(201);
    let person = session.person();
    told.push(session.json()["user"].clone());
    let log_in = async |password: &str| api.post("/api/auth/login", &credentials(password)).send().await;
    told.push(log_in(&next_password).await.expect(401).json());
    told.push(log_in(&password).await.expect(200).json()["user"].clone());
    told.push(api.post("/api/auth/register", &credentials(&password)).send().await.expect(409).json());
    let refresh = json!({ "refresh_token": person.refresh_token });
    let refreshed = api.post("/api/auth/refresh", &refresh).send().await.expect(200).person();
    told.push(api.post("/api/auth/refresh", &refresh).send().await.expect(401).json());
    told.push(api.post("/api/auth/register", &json!({ "email": password })).send().await.expect(422).json());
    for broken in [format!("{{\"password\":\"{password}\""), format!("\"{password}\""), format!("[\"{password}\"]")] {
        let answer = api.request(Method::POST, "/api/auth/login").body("application/json", broken).send().await;
        told.push(answer.json());
    }
    for path in ["/api/users/me", "/api/users/me/registrations", "/api/events", "/api/nothing"] {
        told.push(api.get(&format!("{path}?access_token={}", person.token)).by(&person).send().await.json());
    }
    let event = api.event(&admin, 1).await;
    told.push(api.book(event, &person).await.expect(201).json());
    told.push(api.get(&format!("/api/events/{event}/registrations")).by(&admin).send().await.expect(200).json());
    told.push(api.get("/api/users/me/registrations").by(&person).send().await.expect(200).json());

    let told = json!(told).to_string();
    let kept = match &site.redis {
        None => String::new(),
        Some(redis) => {
            let keys = redis.keys().await;
            assert!(!keys.is_empty(), "nothing is kept in Redis");
            let mut connection = redis.connect().await;
            let mut kept = Vec::new();
            for key in &keys {
                kept.extend(key.bytes());
                let body: Vec<u8> = redis::AsyncCommands::get(&mut connection, key).await.unwrap();
                kept.extend(body);
            }
            String::from_utf8_lossy(&kept).into_owned()
        }
    };
    let logged = logged();
    assert!(logged.contains("/api/auth/login"), "the log is empty");
    let signature = person.token.rsplit('.').next().unwrap();
    let url = site.database_url();
    let database_password = url.split_once("://").unwrap().1.split_once('@').map(|(user, _)| user);
    let mut secrets = vec![
        &password,
        &person.token,
        signature,
        &person.refresh_token,
        &refreshed.token,
        &refreshed.refresh_token,
        PASSWORD,
        "a secret of the tests",
        "$2a$",
        "$2b$",
        "$2y$",
        // As every token of ours begins.
        "eyJ",
    ];
    secrets.extend(database_password.and_then(|user| user.split_once(':')).map(|(_, password)| password));
    for (place, text) in [("an answer", &told), ("the cache", &kept), ("the log", &logged)] {
        for secret in &secrets {
            assert!(!text.contains(secret), "{place} holds {secret}");
        }
    }
    api.stop().await;
}

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
