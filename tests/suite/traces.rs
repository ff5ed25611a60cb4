//! The spans that the program sends to a collector of traces, and that they delay no request.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::collector::{Collector, Span, within};
use crate::harness::server::{Instance, PASSWORD, Site, Stack};
use crate::harness::until;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// From the signal to the end, without open requests: two seconds for the last traces, and some time for a
/// busy machine.
const STOPS_WITHIN: Duration = Duration::from_secs(15);

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

#[track_caller]
fn the_only<'a>(spans: &'a [Span], what: &str, is: impl Fn(&Span) -> bool) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| is(span)).collect();
    assert_eq!(found.len(), 1, "{what}: {found:#?} of {spans:#?}");
    found[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_followed_from_its_caller_to_the_statements() {
    let collector = Collector::start().await;
    let site = Site::migrated().await;
    let site = site.with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).with("RUST_LOG", "info");
    let mut program = site.start_process().await;
    let api = program.instance();
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let created = api.create(&admin, json!({ "title": "Unheard-of title", "total_seats": 1 })).await;
    let event = created["id"].as_u64().unwrap();
    let path = format!("/api/events/{event}/register?access_token=unheard-of-query");

    let booked = api.post(&path, &json!({ "note": "unheard-of-body" })).by(&ada);
    booked.header("traceparent", &traceparent("01")).header("X-Request-Id", "traced-1").send().await.expect(201);
    let refused = api.post(&path, &json!({})).by(&ada).header("traceparent", &traceparent("01"));
    let refused = refused.header("X-Request-Id", "traced-2").send().await.expect_problem(409, "already_registered");
    assert_eq!(refused.json()["trace_id"], TRACE);
    let rubbish = api.post(&path, &json!({})).by(&ada).header("traceparent", "00-rubbish");
    let own = rubbish.send().await.expect_problem(409, "already_registered").json()["trace_id"].clone();
    assert!(own.as_str().is_some_and(|own| own.len() == 32 && own != TRACE), "{own}");
    let unwanted = api.get("/health/live").header("traceparent", &traceparent("00")).send().await;
    unwanted.expect(200);
    api.detail(event).await;
    until("the log says so", async || program.log().contains("traced-2")).await;
    let line =
        program.log().lines().find(|line| line.contains("traced-1") && line.contains("access")).map(str::to_owned);
    assert!(line.is_some_and(|line| line.contains(TRACE)), "{}", program.log());
    assert!(!program.log().contains("otel"), "spans for traces are not logged: {}", program.log());

    // The last spans are sent before the end.
    program.terminate();
    assert!(program.ended(STOPS_WITHIN).await.is_some_and(|status| status.success()));
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.service == "boxoffice"));

    let name = "POST /api/events/{id}/register";
    let request =
        the_only(&spans, "the request", |span| span.attributes.get("request.id").is_some_and(|id| id == "traced-1"));
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, CALLER), "{request:?}");
    assert_eq!((request.name.as_str(), request.kind, request.status), (name, 2, 0), "{request:?}");
    for (attribute, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/api/events/{id}/register"),
        ("http.response.status_code", "201"),
        ("url.path", &format!("/api/events/{event}/register")),
    ] {
        assert_eq!(request.attributes.get(attribute).map(String::as_str), Some(value), "{attribute}");
    }

    // The batch that committed the booking is linked to the request.
    let own: Vec<_> = within(&spans, request).iter().map(|span| (span.trace.clone(), span.id.clone())).collect();
    let serves = |span: &Span| span.links.iter().any(|link| own.contains(link));
    let batch = the_only(&spans, "its batch", |span| span.name == "booking batch" && serves(span));
    assert_eq!((batch.parent.as_str(), batch.attributes["booking.batch.size"].as_str()), ("", "1"), "{batch:?}");
    let statements = within(&spans, batch);
    for statement in ["BEGIN", "SELECT events", "INSERT registrations", "UPDATE events", "COMMIT"] {
        let found = statements.iter().find(|span| span.name == statement);
        let found = found.unwrap_or_else(|| panic!("no {statement} in {statements:#?}"));
        assert_eq!((found.kind, found.attributes["db.system.name"].as_str()), (3, "postgresql"), "{found:?}");
        assert_eq!(found.attributes["db.operation.name"], statement.split(' ').next().unwrap());
    }
    assert!(statements.iter().any(|span| span.attributes.get("db.query.text").is_some_and(|sql| sql.contains("$1"))));
    for command in ["GETRANGE", "PUBLISH"] {
        let span = spans.iter().find(|span| span.name == command).unwrap_or_else(|| panic!("no {command}"));
        assert_eq!((span.kind, span.attributes["db.system.name"].as_str()), (3, "redis"), "{span:?}");
    }

    // A request whose `traceparent` is not sampled has no span, and no span holds a user's values.
    assert!(!spans.iter().any(|span| span.trace == TRACE && span.name.contains("/health/live")));
    let told = format!("{spans:?}");
    for secret in [
        "unheard-of",
        "Unheard-of",
        PASSWORD,
        &ada.token,
        &ada.refresh_token,
        &ada.email,
        &admin.email,
        "$2b$",
        "Bearer",
    ] {
        assert!(!told.contains(secret), "{secret} was told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_traced() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let refused = api.get("/api/nothing").header("traceparent", &traceparent("01")).send().await;
    assert_eq!(refused.expect_problem(404, "not_found").json().get("trace_id"), None);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sampled_requests_are_traced_with_the_batches_that_serve_them() {
    let collector = Collector::start().await;
    let site = Site::new(Stack::Embedded).await;
    let site = site
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .with("OTEL_SERVICE_NAME", "tickets")
        .with("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        .with("OTEL_TRACES_SAMPLER_ARG", "0");
    let mut program = site.start_process().await;
    let api = program.instance();
    let admin = api.admin().await;
    let [ada, bob] = [api.new_user().await, api.new_user().await];
    let event = api.event(&admin, 3).await;
    api.book(event, &ada).await.expect(201);
    let path = format!("/api/events/{event}/register");
    api.post(&path, &json!({})).by(&bob).header("traceparent", &traceparent("01")).send().await.expect(201);
    program.terminate();
    assert!(program.ended(STOPS_WITHIN).await.is_some_and(|status| status.success()));

    let spans = collector.spans();
    let request = the_only(&spans, "the only request", |span| span.kind == 2);
    assert_eq!((request.trace.as_str(), request.service.as_str()), (TRACE, "tickets"));
    let batch = the_only(&spans, "the only batch", |span| span.name == "booking batch");
    assert!(within(&spans, batch).iter().any(|span| span.name == "COMMIT"), "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace == TRACE || !span.links.is_empty() || !span.parent.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_hangs_costs_no_request_anything() {
    // It listens, but never accepts a connection.
    let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
    let hanging = hanging.local_addr().map(|address| (address, hanging)).unwrap();
    for url in [format!("http://{}", hanging.0), "http://127.0.0.1:1".to_owned()] {
        let site = Site::new(Stack::Embedded).await;
        let site = site
            .with("OTEL_EXPORTER_OTLP_ENDPOINT", &url)
            // With these the exporter sends all the time, and its queue is full.
            .with("OTEL_BSP_SCHEDULE_DELAY", "10")
            .with("OTEL_BSP_MAX_QUEUE_SIZE", "8");
        let mut program = site.start_process().await;
        let api = program.instance();
        let admin = api.admin().await;
        let event = api.event(&admin, 3).await;
        for person in [&admin, &api.new_user().await] {
            book_at_once(&api, event, person).await;
        }
        for _ in 0..200 {
            assert_eq!(api.detail(event).await["registration_count"], 2);
        }
        if url.ends_with(":1") {
            until("the log says so", async || program.log().contains("traces cannot be sent")).await;
        }
        let asked = Instant::now();
        program.terminate();
        let status = program.ended(STOPS_WITHIN).await;
        assert!(status.is_some_and(|status| status.success()), "{status:?} after {:?}", asked.elapsed());
        assert!(program.log().matches("traces cannot be sent").count() <= 1, "{}", program.log());
    }
}

/// Books, and fails if the booking waited for the exporter's timeout of ten seconds.
async fn book_at_once(api: &Instance, event: u64, person: &crate::harness::server::Person) {
    let asked = Instant::now();
    api.book(event, person).await.expect(201);
    assert!(asked.elapsed() < Duration::from_secs(5), "it took {:?}", asked.elapsed());
}
