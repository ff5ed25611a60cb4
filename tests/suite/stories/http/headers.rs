//! The headers that every request may have, and that every answer has.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::json;

use super::bodies::{MAX_BODY, chunked, log_in, log_in_of};
use crate::harness::server::{Answer, Instance, PASSWORD, Site, Stack};

/// The headers that Helmet sends: every answer has them, and each value contains this text.
const SECURITY_HEADERS: [(&str, &str); 11] = [
    ("content-security-policy", "default-src 'self'"),
    ("strict-transport-security", "max-age=31536000"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "SAMEORIGIN"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("origin-agent-cluster", "?1"),
    ("x-dns-prefetch-control", "off"),
    ("x-permitted-cross-domain-policies", "none"),
    ("x-xss-protection", "0"),
];

/// The members of a header that is a list, in lower case.
pub fn members(answer: &Answer, name: &str) -> BTreeSet<String> {
    let lines = answer.headers.get_all(name).iter();
    lines.flat_map(|line| line.to_str().unwrap().split(',')).map(|one| one.trim().to_lowercase()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_an_id_its_own_or_a_new_one() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let longest = "x".repeat(128);
    for id in ["checkout-42", "a b", "\"quoted\\\"", "~!{}", &longest] {
        let answer = api.get("/api/nothing").header("X-Request-Id", id).send().await;
        // The problem repeats the id, with any characters in it.
        assert_eq!(answer.expect_problem(404, "not_found").header("x-request-id"), id);
        assert_eq!(api.get("/api/events").header("X-Request-Id", id).send().await.header("x-request-id"), id);
    }

    let mut seen = BTreeSet::new();
    let too_long = "x".repeat(129);
    for id in [&b""[..], too_long.as_bytes(), b"caf\xC3\xA9", b"tab\there", b"\xFF"] {
        let mut request =
            b"GET /api/nothing HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\nX-Request-Id: ".to_vec();
        request.extend_from_slice(id);
        request.extend_from_slice(b"\r\n\r\n");
        let answer = api.raw(request).await.expect_problem(404, "not_found");
        let new = answer.header("x-request-id").to_owned();
        assert!(!new.is_empty() && new.len() <= 128 && new.bytes().all(|byte| byte.is_ascii_graphic()), "{new:?}");
        assert_ne!(new.as_bytes(), id);
        assert!(seen.insert(new), "every new id is another one");
    }
    let new = api.get("/api/nothing").send().await.header("x-request-id").to_owned();
    assert!(seen.insert(new));
    api.stop().await;
}

/// One answer of every kind there is.
async fn answers_of_every_kind(api: &Instance) -> Vec<(&'static str, Answer)> {
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.create(&admin, json!({ "description": "x".repeat(2000) })).await["id"].as_u64().unwrap();
    let detail = format!("/api/events/{event}");
    let tag = api.get(&detail).send().await.header("etag").to_owned();
    let preflight = |origin: &str| {
        api.request(Method::OPTIONS, "/api/events")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
    };
    let login = |body: &str| api.request(Method::POST, "/api/auth/login").body("application/json", body).send();
    vec![
        ("200 list", api.get("/api/events").send().await.expect(200)),
        ("200 detail", api.get(&detail).send().await.expect(200)),
        ("200 compressed", api.get(&detail).header("Accept-Encoding", "gzip").send().await.expect(200)),
        ("304", api.get(&detail).header("If-None-Match", &tag).send().await.expect(304)),
        ("200 HEAD", api.request(Method::HEAD, &detail).send().await.expect(200)),
        ("200 mine", api.get("/api/users/me").by(&ada).send().await.expect(200)),
        ("201", api.book(event, &ada).await.expect(201)),
        ("200 done", api.cancel(event, &ada).await.expect(200)),
        ("204", api.post("/api/auth/logout", &json!({ "refresh_token": ada.refresh_token })).send().await.expect(204)),
        ("400", login("{").await.expect_problem(400, "malformed_request")),
        ("401", api.get("/api/users/me").send().await.expect_problem(401, "unauthenticated")),
        ("403", api.post("/api/events", &json!({})).by(&ada).send().await.expect_problem(403, "forbidden")),
        ("404 path", api.get("/nothing").send().await.expect_problem(404, "not_found")),
        ("404 event", api.get("/api/events/4000000").send().await.expect_problem(404, "not_found")),
        ("405", api.delete("/api").send().await.expect_problem(405, "method_not_allowed")),
        ("409", api.cancel(event, &ada).await.expect_problem(404, "registration_not_found")),
        (
            "412",
            api.delete(&detail)
                .by(&admin)
                .header("If-Match", "\"0\"")
                .send()
                .await
                .expect_problem(412, "precondition_failed"),
        ),
        ("413", login(&log_in_of(MAX_BODY + 1)).await.expect_problem(413, "payload_too_large")),
        ("415", log_in(api, "text/plain", "{}").await.expect_problem(415, "unsupported_media_type")),
        ("422 body", login("{}").await.expect_problem(422, "validation_failed")),
        ("422 query", api.get("/api/events?page=0").send().await.expect_problem(422, "validation_failed")),
        ("400 framing", api.raw(chunked("zz\r\n")).await.expect_problem(400, "malformed_request")),
        ("preflight", preflight("http://localhost:5173").send().await.expect(200)),
        ("preflight refused", preflight("https://evil.example").send().await.expect_problem(400, "malformed_request")),
        ("page", api.get("/api").send().await.expect(200)),
        ("file", api.get("/swagger-ui/swagger-ui.css").send().await.expect(200)),
        ("document", api.get("/api/openapi.json").send().await.expect(200)),
        ("problem page", api.get("/problems/sold_out").send().await.expect(200)),
        ("live", api.get("/health/live").send().await.expect(200)),
        ("ready", api.get("/health/ready").send().await.expect(200)),
        ("metrics", api.get("/metrics").send().await.expect(200)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_an_id_and_the_security_headers_and_names_no_server() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    for (kind, answer) in answers_of_every_kind(&api).await {
        assert!(!answer.header("x-request-id").is_empty(), "{kind}");
        for (name, part) in SECURITY_HEADERS {
            assert_eq!(answer.headers.get_all(name).iter().count(), 1, "{kind}: {name}");
            assert!(answer.header(name).contains(part), "{kind}: {name}: {}", answer.header(name));
        }
        // On plain HTTP it would make browsers load the files over HTTPS, which the server does not speak.
        assert!(!answer.header("content-security-policy").contains("upgrade-insecure-requests"), "{kind}");
        for name in ["server", "x-powered-by"] {
            assert!(!answer.headers.contains_key(name), "{kind}: {name}");
        }
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn private_answers_and_errors_have_no_store() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    for (kind, answer) in answers_of_every_kind(&api).await {
        let expected = match kind {
            "200 list" | "200 detail" | "200 compressed" | "304" | "200 HEAD" | "page" | "file" | "document"
            | "problem page" => "no-cache",
            "200 mine" | "201" | "200 done" | "204" => "private, no-store",
            _ => "no-store",
        };
        assert_eq!(answer.header("cache-control"), expected, "{kind}");
    }
    // An answer with tokens is private too.
    let credentials = json!({ "email": "admin@example.com", "password": PASSWORD });
    let session = api.post("/api/auth/login", &credentials).send().await.expect(200);
    assert_eq!(session.header("cache-control"), "private, no-store");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vary_is_one_list_of_all_that_the_answer_depends_on() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.create(&admin, json!({ "description": "x".repeat(2000) })).await["id"].as_u64().unwrap();
    let detail = format!("/api/events/{event}");
    for headers in [
        vec![],
        vec![("Accept-Encoding", "gzip")],
        vec![("Origin", "http://localhost:5173")],
        vec![("Origin", "https://elsewhere.example"), ("Accept-Encoding", "gzip")],
    ] {
        let request = headers.iter().fold(api.get(&detail), |request, (name, value)| request.header(name, value));
        let answer = request.send().await.expect(200);
        assert_eq!(answer.headers.get_all("vary").iter().count(), 1, "{headers:?}");
        let vary = members(&answer, "vary");
        assert!(vary.contains("accept-encoding"), "{headers:?}: {vary:?}");
        assert!(vary.contains("origin"), "{headers:?}: {vary:?}");
        let tag = answer.header("etag").to_owned();
        let request = headers.iter().fold(api.get(&detail), |request, (name, value)| request.header(name, value));
        let unchanged = request.header("If-None-Match", &tag).send().await.expect(304);
        assert_eq!(members(&unchanged, "vary"), vary, "{headers:?}");
    }
    let mine = api.get("/api/users/me").by(&admin).header("Origin", "http://localhost:1").send().await.expect(200);
    assert!(members(&mine, "vary").contains("authorization"), "{:?}", members(&mine, "vary"));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_token_is_refused_even_where_none_is_needed() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 1).await;
    for path in ["/api/events", &format!("/api/events/{event}"), "/api/users/me", "/api/users/me/registrations"] {
        for rubbish in ["Bearer rubbish", "Bearer ", "Bearer", "Basic YTpi", "", "Bearer a.b.c", "rubbish"] {
            let answer = api.get(path).header("Authorization", rubbish).send().await;
            assert_eq!(answer.status, 401, "{path} {rubbish:?}: {}", answer.text());
            let answer = answer.expect_problem(401, "unauthenticated");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    // A log-in ignores the token of an earlier session.
    let credentials = json!({ "email": admin.email, "password": PASSWORD });
    api.post("/api/auth/login", &credentials).token("rubbish").send().await.expect(200);
    api.stop().await;
}
