//! The log of the process: access lines, warnings, and no secret.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once};

use boxoffice::settings::{Purpose, Settings};
use boxoffice::telemetry;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::util::SubscriberInitExt;

use crate::harness::server::{PASSWORD, Site};

on_both_stacks!(
    an_access_line_has_the_user_the_route_and_the_status,
    failed_log_ins_and_refused_admin_calls_are_logged,
    no_secret_is_ever_logged_or_answered,
);

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
pub fn keep_log() {
    static KEPT: Once = Once::new();
    KEPT.call_once(|| {
        let filter = "debug,api=trace,application=trace,adapter_sql=trace,adapter_redis=trace,adapter_crypto=trace,\
                      caching=trace,boxoffice=trace,hyper=off,hyper_util=off,reqwest=off";
        let variables = [("LOG_FORMAT", "json"), ("RUST_LOG", filter)].map(|(name, value)| (name.into(), value.into()));
        let settings = Settings::load(Purpose::Operate, variables, TempDir::new().unwrap().path()).unwrap();
        telemetry::log(&settings, || LogWriter, false).try_init().unwrap();
    });
}

pub fn logged() -> String {
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
