//! Metrics: what is counted, timed and measured.

use crate::harness::server::{Instance, PASSWORD, Site};
use crate::harness::until;

on_both_stacks!(
    every_request_is_counted_and_timed_by_its_route,
    bookings_caches_and_connections_are_counted,
    queues_and_pools_are_measured_and_each_metric_has_a_help_line,
);

/// The sum of a metric's samples that have these labels. All tests share one process: other tests
/// may raise the same counter.
pub async fn metric(api: &Instance, name: &str, labels: &[(&str, &str)]) -> f64 {
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
