//! The rate limit, and pages of other origins (CORS). Neither depends on the store. The limit counts
//! in real time: each story ends before a bucket gains a request.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use crate::harness::server::{Answer, Instance, PASSWORD, Site, Stack};

const ALLOWED: &str = "https://tickets.example.com";

async fn embedded() -> Site {
    Site::new(Stack::Embedded).await
}

/// A site whose clients have so many requests a minute.
async fn limited(per_minute: &str) -> Site {
    embedded().await.with("RATE_LIMIT_PER_MINUTE", per_minute)
}

fn number(answer: &Answer, header: &str) -> u64 {
    answer.header(header).parse().unwrap_or_else(|_| panic!("{header}: {:?}", answer.header(header)))
}

/// The rest of the client's bucket by the answer's header; `None` if the request was not counted.
fn remaining(answer: &Answer) -> Option<u64> {
    answer.headers.contains_key("ratelimit-remaining").then(|| number(answer, "ratelimit-remaining"))
}

/// The rest of the bucket of a client behind a proxy, after one more request.
async fn left_to(api: &Instance, forwarded_for: &[&str]) -> Option<u64> {
    let request =
        forwarded_for.iter().fold(api.get("/api/events"), |request, line| request.header("X-Forwarded-For", line));
    remaining(&request.send().await)
}

fn preflight(api: &Instance, path: &str, origin: &str, method: &str) -> crate::harness::server::Request {
    api.request(Method::OPTIONS, path)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", method)
        .header("Access-Control-Request-Headers", "authorization,content-type,idempotency-key,if-match")
}

fn members(answer: &Answer, header: &str) -> BTreeSet<String> {
    answer.header(header).split(',').map(|one| one.trim().to_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_client_gets_retry_after() {
    let site = limited("3").await;
    let api = site.start().await;
    for left in [2, 1, 0] {
        let answer = api.get("/api/events").send().await.expect(200);
        assert_eq!((number(&answer, "ratelimit-limit"), remaining(&answer)), (3, Some(left)));
        // Each request comes back after 20 s.
        let reset = number(&answer, "ratelimit-reset");
        assert!((1..=20 * (3 - left)).contains(&reset), "{reset}");
    }
    for _ in 0..2 {
        let refused = api.get("/api/events").send().await.expect_problem(429, "rate_limited");
        assert!((1..=20).contains(&number(&refused, "retry-after")), "{}", refused.header("retry-after"));
        assert_eq!((number(&refused, "ratelimit-limit"), remaining(&refused)), (3, Some(0)));
        assert!((41..=60).contains(&number(&refused, "ratelimit-reset")), "{}", refused.header("ratelimit-reset"));
        assert_eq!(refused.header("cache-control"), "no-store");
        assert!(!refused.headers.keys().any(|name| name.as_str().starts_with("x-ratelimit")));
    }
    // The refused requests did nothing.
    let credentials = json!({ "name": "Ada", "email": "ada@example.com", "password": "correct horse" });
    api.post("/api/auth/register", &credentials).send().await.expect_problem(429, "rate_limited");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_to_the_api_counts_and_no_other() {
    let site = limited("100").await;
    let api = site.start().await;
    let mut left = 100;
    for (method, path) in [
        ("GET", "/api"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/events"),
        ("HEAD", "/api/events"),
        ("GET", "/api/events/4000000"),
        ("GET", "/api/events?limit=0"),
        ("GET", "/api/nothing"),
        ("GET", "/api/"),
        ("DELETE", "/api/events"),
        ("PUT", "/api/events/1"),
        ("GET", "/api/users/me"),
        ("POST", "/api/auth/login"),
        ("OPTIONS", "/api/events"),
        // Also with an encoded letter.
        ("GET", "/%61pi/events"),
        ("GET", "/api%2Fevents"),
    ] {
        let answer = api.request(method.parse().unwrap(), path).send().await;
        if path == "/api%2Fevents" {
            // With an encoded slash it is another path, which is not found.
            answer.expect(404);
            continue;
        }
        left -= 1;
        assert_eq!(remaining(&answer), Some(left), "{method} {path}: {}", answer.status);
        assert_eq!(number(&answer, "ratelimit-limit"), 100, "{method} {path}");
    }
    for path in
        ["/health/live", "/health/ready", "/metrics", "/problems/sold_out", "/swagger-ui/swagger-ui.css", "/", "/x"]
    {
        assert_eq!(remaining(&api.get(path).send().await), None, "{path}");
    }
    let asked = preflight(&api, "/api/events", "http://localhost:5173", "POST").send().await.expect(200);
    assert_eq!(remaining(&asked), None);
    let refused = preflight(&api, "/api/events", "https://elsewhere.example", "POST").send().await;
    assert_eq!(remaining(&refused), None);
    assert_eq!(remaining(&api.get("/api/events").send().await), Some(left - 1));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limited_client_still_gets_uncounted_paths() {
    let site = limited("1").await;
    let api = site.start().await;
    api.get("/api/events").send().await.expect(200);
    api.get("/api/events").send().await.expect_problem(429, "rate_limited");
    api.get("/%61pi/events").send().await.expect_problem(429, "rate_limited");
    for path in ["/health/live", "/health/ready", "/metrics", "/problems/rate_limited", "/swagger-ui/swagger-ui.css"] {
        api.get(path).send().await.expect(200);
    }
    preflight(&api, "/api/events", "http://localhost:5173", "POST").send().await.expect(200);
    // CORS headers let a page read the 429.
    let refused = api.get("/api/events").header("Origin", "http://localhost:5173").send().await;
    let refused = refused.expect_problem(429, "rate_limited");
    assert_eq!(refused.header("access-control-allow-origin"), "http://localhost:5173");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_a_minute_are_the_default_and_zero_is_no_limit() {
    let by_default = limited("").await;
    let api = by_default.start().await;
    let answer = api.get("/api/events").send().await.expect(200);
    assert_eq!((number(&answer, "ratelimit-limit"), remaining(&answer)), (100, Some(99)));
    api.stop().await;

    let off = limited("0").await;
    let api = off.start().await;
    for _ in 0..120 {
        let answer = api.get("/api").send().await.expect(200);
        assert!(!answer.headers.keys().any(|name| name.as_str().contains("ratelimit")));
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_counts_for_itself() {
    let site = limited("2").await;
    let (one, other) = (site.start().await, site.start().await);
    assert_eq!(remaining(&one.get("/api/events").send().await), Some(1));
    assert_eq!(remaining(&one.get("/api/events").send().await), Some(0));
    assert_eq!(remaining(&other.get("/api/events").send().await), Some(1));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_are_counted_each() {
    let site = limited("50").await.with("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1/32");
    let api = site.start().await;
    assert_eq!(left_to(&api, &["198.51.100.1"]).await, Some(49));
    assert_eq!(left_to(&api, &["198.51.100.2"]).await, Some(49));
    assert_eq!(left_to(&api, &["198.51.100.1"]).await, Some(48));
    // Addresses before the last untrusted one are that client's own claim, and are ignored.
    assert_eq!(left_to(&api, &["203.0.113.7, 198.51.100.1"]).await, Some(47));
    assert_eq!(left_to(&api, &["203.0.113.8", "198.51.100.1"]).await, Some(46));
    assert_eq!(left_to(&api, &["203.0.113.9, 198.51.100.1, 10.1.2.3"]).await, Some(45));
    assert_eq!(left_to(&api, &["198.51.100.1", "10.1.2.3, 127.0.0.1"]).await, Some(44));
    assert_eq!(left_to(&api, &["::ffff:198.51.100.1"]).await, Some(43));
    assert_eq!(left_to(&api, &["198.51.100.1:4711"]).await, Some(42));
    // Without `X-Forwarded-For` the client is the proxy itself.
    assert_eq!(left_to(&api, &[]).await, Some(49));
    assert_eq!(left_to(&api, &["198.51.100.1, rubbish"]).await, Some(48));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_untrusted_client_cannot_choose_its_address() {
    let site = limited("50").await.with("TRUSTED_PROXIES", "10.0.0.0/8");
    let api = site.start().await;
    assert_eq!(left_to(&api, &["198.51.100.1"]).await, Some(49));
    assert_eq!(left_to(&api, &["198.51.100.2"]).await, Some(48));
    assert_eq!(left_to(&api, &["10.0.0.1"]).await, Some(47));
    assert_eq!(left_to(&api, &[]).await, Some(46));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_client_is_a_whole_network() {
    let site = limited("50").await.with("TRUSTED_PROXIES", "127.0.0.1");
    let api = site.start().await;
    assert_eq!(left_to(&api, &["2001:db8:1:2::1"]).await, Some(49));
    assert_eq!(left_to(&api, &["2001:db8:1:2:ffff:eeee:dddd:cccc"]).await, Some(48));
    assert_eq!(left_to(&api, &["[2001:db8:1:2::3]:443"]).await, Some(47));
    assert_eq!(left_to(&api, &["2001:db8:1:3::1"]).await, Some(49));
    // An IPv4 client is one address, not a network.
    assert_eq!(left_to(&api, &["198.51.100.1"]).await, Some(49));
    assert_eq!(left_to(&api, &["198.51.100.2"]).await, Some(49));
    api.stop().await;
}

/// A site whose clients have many requests a minute and few log-ins, and are named by a proxy.
async fn guarded(attempts: &str) -> Site {
    limited("1000").await.with("LOGIN_ATTEMPTS_PER_MINUTE", attempts).with("TRUSTED_PROXIES", "127.0.0.1")
}

/// Tries to log in from an address.
async fn log_in_from(api: &Instance, address: &str, email: &str, password: &str) -> Answer {
    let credentials = json!({ "email": email, "password": password });
    api.post("/api/auth/login", &credentials).header("X-Forwarded-For", address).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_many_accounts_from_one_address_are_refused() {
    let site = guarded("3").await;
    let api = site.start().await;
    let ada = api.new_user().await;
    for email in [&*ada.email, "nobody@example.com", "no address"] {
        log_in_from(&api, "198.51.100.1", email, "guess").await.expect_problem(401, "invalid_credentials");
    }
    for password in ["guess", PASSWORD] {
        let refused = log_in_from(&api, "198.51.100.1", &ada.email, password).await;
        let refused = refused.expect_problem(429, "too_many_attempts");
        assert!((1..=20).contains(&number(&refused, "retry-after")), "{}", refused.header("retry-after"));
        assert_eq!(refused.header("cache-control"), "no-store");
        // It counted against the rate limit of requests too.
        assert_eq!(number(&refused, "ratelimit-limit"), 1000);
    }
    log_in_from(&api, "198.51.100.2", &ada.email, PASSWORD).await.expect(200);
    // Other requests, and log-ins that fail validation, are not limited by attempts.
    api.get("/api/users/me").by(&ada).header("X-Forwarded-For", "198.51.100.1").send().await.expect(200);
    let malformed = api.request(Method::POST, "/api/auth/login").header("X-Forwarded-For", "198.51.100.1");
    malformed.json(&json!({})).send().await.expect_problem(422, "validation_failed");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_one_account_from_many_addresses_stop_and_its_owner_logs_in() {
    let site = guarded("3").await;
    let api = site.start().await;
    let home = "203.0.113.1";
    let credentials = json!({ "name": "Ada", "email": "ada@example.com", "password": PASSWORD });
    let signed_up = api.post("/api/auth/register", &credentials).header("X-Forwarded-For", home).send().await;
    let ada = signed_up.expect(201).person();
    for email in ["ada@example.com", "nobody@example.com"] {
        for address in 1..=3 {
            let guess = log_in_from(&api, &format!("198.51.100.{address}"), email, "guess").await;
            guess.expect_problem(401, "invalid_credentials");
        }
        // Unknown accounts are limited in the same way.
        let refused = log_in_from(&api, "198.51.100.9", &email.to_uppercase(), PASSWORD).await;
        let refused = refused.expect_problem(429, "too_many_attempts");
        assert!((1..=20).contains(&number(&refused, "retry-after")), "{}", refused.header("retry-after"));
    }
    // The user's session goes on, and the network of an earlier log-in is not limited.
    api.refresh(&ada.refresh_token).await.expect(200);
    log_in_from(&api, home, &ada.email, PASSWORD).await.expect(200);
    log_in_from(&api, home, &ada.email, "a slip of the hand").await.expect_problem(401, "invalid_credentials");
    log_in_from(&api, "198.51.100.9", &ada.email, PASSWORD).await.expect_problem(429, "too_many_attempts");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_an_address_do_not_close_it_to_accounts_known_there() {
    let site = guarded("3").await;
    let api = site.start().await;
    let home = "203.0.113.1";
    let ada = api.new_user().await;
    log_in_from(&api, home, &ada.email, PASSWORD).await.expect(200);
    for email in ["bob@example.com", "eve@example.com", "no address"] {
        log_in_from(&api, home, email, "guess").await.expect_problem(401, "invalid_credentials");
    }
    for email in ["bob@example.com", "dan@example.com"] {
        log_in_from(&api, home, email, "guess").await.expect_problem(429, "too_many_attempts");
    }
    for _ in 0..5 {
        log_in_from(&api, home, &ada.email, "a slip of the hand").await.expect_problem(401, "invalid_credentials");
    }
    log_in_from(&api, home, &ada.email.to_uppercase(), PASSWORD).await.expect(200);
    // From another address, the count of attempts for her account is still empty.
    log_in_from(&api, "203.0.113.2", &ada.email, PASSWORD).await.expect(200);
    log_in_from(&api, home, "bob@example.com", "guess").await.expect_problem(429, "too_many_attempts");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ins_are_not_counted_without_a_limit() {
    for site in [guarded("0").await, guarded("1").await.with("RATE_LIMIT_PER_MINUTE", "0")] {
        let api = site.start().await;
        for _ in 0..20 {
            log_in_from(&api, "198.51.100.1", "ada@example.com", "guess")
                .await
                .expect_problem(401, "invalid_credentials");
        }
        api.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_may_read_every_answer() {
    let site = embedded().await.with("CORS_ALLOWED_ORIGINS", &format!("https://other.example, {ALLOWED}"));
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 1).await;
    let exposed = [
        "etag",
        "link",
        "location",
        "x-total-count",
        "x-request-id",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "retry-after",
        "idempotent-replayed",
    ];
    for (status, request) in [
        (200, api.get("/api/events")),
        (304, api.get("/api/events").header("If-None-Match", "*")),
        (200, api.get("/api/users/me").by(&admin)),
        (201, api.request(Method::POST, &format!("/api/events/{event}/register")).by(&admin)),
        (401, api.get("/api/users/me")),
        (404, api.get("/api/nothing")),
        (405, api.delete("/api/events")),
        (422, api.get("/api/events?page=0")),
    ] {
        let answer = request.header("Origin", ALLOWED).send().await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), ALLOWED, "{status}");
        let named = members(&answer, "access-control-expose-headers");
        for header in exposed {
            assert!(named.contains(header), "{status}: {header} in {named:?}");
        }
        assert!(members(&answer, "vary").contains("origin"), "{status}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_reads_nothing() {
    let site = embedded().await.with("CORS_ALLOWED_ORIGINS", ALLOWED);
    let api = site.start().await;
    for origin in [
        "https://elsewhere.example",
        "http://tickets.example.com",
        "https://tickets.example.com:8443",
        "https://tickets.example.com.evil.example",
        "https://eviltickets.example.com",
        "null",
        "rubbish",
    ] {
        // Programs get the answer; a browser does not give it to the page.
        let answer = api.get("/api/events").header("Origin", origin).send().await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
        let refused = preflight(&api, "/api/events", origin, "POST").send().await;
        let refused = refused.expect_problem(400, "malformed_request");
        for header in ["access-control-allow-origin", "access-control-allow-methods"] {
            assert_eq!(refused.header(header), "", "{origin}");
        }
    }
    // A client without `Origin` gets no CORS headers.
    let answer = api.get("/api/events").send().await.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_allows_every_method_and_header_of_the_api() {
    let site = embedded().await.with("CORS_ALLOWED_ORIGINS", ALLOWED);
    let api = site.start().await;
    for (path, method) in [
        ("/api/events", "GET"),
        ("/api/events", "HEAD"),
        ("/api/auth/login", "POST"),
        ("/api/events/1", "PUT"),
        ("/api/events/1/register", "DELETE"),
    ] {
        let allowed = preflight(&api, path, ALLOWED, method).send().await.expect(200);
        assert_eq!(allowed.header("access-control-allow-origin"), ALLOWED, "{method}");
        assert!(members(&allowed, "access-control-allow-methods").contains(&method.to_lowercase()), "{method}");
        let headers = members(&allowed, "access-control-allow-headers");
        for header in ["authorization", "content-type", "idempotency-key", "if-match"] {
            assert!(headers.contains(header), "{method}: {header} in {headers:?}");
        }
        assert!(number(&allowed, "access-control-max-age") > 0);
        assert!(members(&allowed, "vary").contains("origin"));
    }
    preflight(&api, "/api/events", ALLOWED, "BREW").send().await.expect_problem(400, "malformed_request");
    preflight(&api, "/api/events", ALLOWED, "PATCH").send().await.expect_problem(400, "malformed_request");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_this_machine_may_call_in_development_only() {
    let local = [
        "http://localhost:5173",
        "http://localhost",
        "https://localhost:8443",
        "http://127.0.0.1:3000",
        "http://[::1]:80",
    ];
    let allowed = async |api: &Instance, origin: &str| {
        let answer = api.get("/api/events").header("Origin", origin).send().await.expect(200);
        let preflight = preflight(api, "/api/events", origin, "POST").send().await;
        let yes = answer.header("access-control-allow-origin") == origin;
        assert_eq!(preflight.status == 200, yes, "{origin}: both say the same");
        yes
    };

    let development = embedded().await;
    let api = development.start().await;
    for origin in local {
        assert!(allowed(&api, origin).await, "{origin}");
    }
    for origin in
        ["http://localhost.evil.example", "http://evil.example", "http://localhost@evil.example", "null", "file://"]
    {
        assert!(!allowed(&api, origin).await, "{origin}");
    }
    api.stop().await;

    let production = embedded().await.with("BOXOFFICE_ENV", "production").with("BCRYPT_COST", "10");
    let api = production.start().await;
    for origin in local {
        assert!(!allowed(&api, origin).await, "{origin}");
    }
    api.stop().await;
}
