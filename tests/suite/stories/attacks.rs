//! Requests of attackers: the server refuses each with one answer, or it does no harm, and the server
//! answers the next client as before.

use serde_json::json;

use crate::harness::server::{Answer, Instance, Site, Stack};

const LOG_IN: &str = "POST /api/auth/login HTTP/1.1\r\nHost: boxoffice\r\nContent-Type: application/json\r\n";
/// A request hidden in another one. If the server took it, the answer would contain `live`.
const SMUGGLED: &str = "GET /health/live HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\n\r\n";

/// A `GET` with these lines in its head.
async fn get(api: &Instance, path: &str, lines: &str) -> Answer {
    api.raw(format!("GET {path} HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\n{lines}\r\n")).await
}

/// A log-in with this body.
async fn log_in(api: &Instance, body: &str) -> Answer {
    api.raw(format!("{LOG_IN}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_hides_in_another() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    for framing in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        "Content-Length: +2\r\n\r\n{}",
        "Content-Length: -2\r\n\r\n{}",
        "Content-Length: 2, 2\r\n\r\n{}",
        "Content-Length: 0x2\r\n\r\n{}",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\u{b}chunked\r\n\r\n0\r\n\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "X: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    ] {
        let answer = api.raw(format!("{LOG_IN}{framing}{SMUGGLED}")).await;
        assert_eq!(answer.status, 400, "{framing:?}: {}", answer.text());
        // One answer, after which the connection was closed.
        assert!(!answer.text().contains("live"), "{framing:?}: {}", answer.text());
    }
    for head in [
        "GET /api/events HTTP/1.1\r\nConnection: close\r\n\r\n",
        "GET /api/events HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{3}\u{3}\r\n\r\n",
    ] {
        assert_eq!(api.raw(head).await.status, 400, "{head:?}");
    }
    api.get("/api/events").send().await.expect(200);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_have_an_end() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let many = (0..200).map(|number| format!("X-{number}: y\r\n")).collect::<Vec<_>>().concat();
    assert_eq!(get(&api, "/api/events", &many).await.status, 431);
    assert_eq!(get(&api, &format!("/{}", "a".repeat(70_000)), "").await.status, 400);
    for (path, status) in [
        (format!("/api/events?search={}", "a".repeat(9_000)), 422),
        (format!("/api/events?{}", "x=y&".repeat(2_000)), 200),
        (format!("/api/events?{}", "page=1&".repeat(1_000)), 422),
        (format!("/{}", "a/".repeat(4_000)), 404),
        (format!("/api/events/{}", "9".repeat(9_000)), 404),
    ] {
        assert_eq!(get(&api, &path, "").await.status, status, "{}", &path[..30]);
    }
    for line in [
        format!("X: {}\r\n", "y".repeat(10_000)),
        format!("Accept-Encoding: {}\r\n", "gzip;q=0.5, ".repeat(800)),
        format!("If-None-Match: {}\r\n", "\"1\", ".repeat(2_000)),
        format!("X-Forwarded-For: {}\r\n", "10.0.0.1, ".repeat(1_000)),
        format!("Range: bytes={}\r\n", "0-1,".repeat(2_000)),
    ] {
        assert_eq!(get(&api, "/api/events", &line).await.status, 200, "{}", &line[..20]);
    }
    let token = format!("Authorization: Bearer {}\r\n", "a.".repeat(5_000));
    get(&api, "/api/users/me", &token).await.expect_problem(401, "unauthenticated");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn line_breaks_of_a_client_are_nowhere_line_breaks() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let evil = "a%0d%0aX-Evil:%20y%0aX-Evil:%20z%E2%80%A8%85";
    for (path, status) in [
        (format!("/api/events/1{evil}"), 404),
        (format!("/{evil}"), 404),
        (format!("/problems/{evil}"), 404),
        (format!("/api/events?search={evil}"), 422),
        // Repeated in the addresses of other pages.
        (format!("/api/events?x={evil}&{evil}=1"), 200),
    ] {
        let answer = api.get(&path).header("X-Request-Id", "one \\r\\n two").send().await.expect(status);
        assert!(!answer.headers.contains_key("x-evil"), "{path}");
        assert_eq!(answer.header("x-request-id"), "one \\r\\n two");
    }
    let break_in_name = json!({ "title": "a\r\nSet-Cookie: b=c", "venue": "Opera", "total_seats": 1,
                                "date": "2031-05-01T19:30:00Z" });
    let refused = api.post("/api/events", &break_in_name).by(&admin).send().await;
    assert_eq!(refused.expect(422).wrong_fields(), [("title".to_owned(), "control_character".to_owned())]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_bombs_are_read_once_and_dropped() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let deep = format!("{}{}", "[".repeat(30_000), "]".repeat(30_000));
    for (body, status, code) in [
        ("[".repeat(60_000), 400, "malformed_request"),
        ("{\"email\":".repeat(7_000), 400, "malformed_request"),
        (format!("{{\"email\":{deep},\"password\":\"x\"}}"), 422, "validation_failed"),
        (format!("{{\"x\":{deep},\"email\":\"a@b.c\",\"password\":\"x\"}}"), 401, "invalid_credentials"),
        ("{\"email\":1e999,\"password\":-0.0e-999}".to_owned(), 422, "validation_failed"),
        (format!("{{\"email\":{},\"password\":\"x\"}}", "9".repeat(60_000)), 422, "validation_failed"),
        ("{\"email\":\"\\ud800\",\"password\":\"x\"}".to_owned(), 422, "validation_failed"),
        // A field that comes twice is ambiguous.
        ("{\"email\":\"a@b.c\",\"email\":\"b@b.c\",\"password\":\"x\"}".to_owned(), 422, "validation_failed"),
        (format!("{{{}\"password\":\"x\"}}", "\"a\":1,".repeat(9_000)), 422, "validation_failed"),
        ("\u{feff}{\"email\":\"a@b.c\",\"password\":\"x\"}".to_owned(), 400, "malformed_request"),
    ] {
        log_in(&api, &body).await.expect_problem(status, code);
    }
    // Compressed bodies are not expanded, nor read.
    let gzip = format!("{LOG_IN}Connection: close\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\u{1f}abc");
    api.raw(gzip).await.expect_problem(415, "unsupported_media_type");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_of_other_frameworks_have_no_power() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let event = api.event(&api.admin().await, 1).await;
    let path = format!("/api/events/{event}");
    for line in ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE"] {
        let answer = api.raw(format!(
            "POST {path} HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\n{line}\r\nContent-Length: 0\r\n\r\n"
        ));
        answer.await.expect_problem(405, "method_not_allowed");
    }
    for line in [
        "X-Original-URL: /metrics",
        "X-Rewrite-URL: /metrics",
        "X-User-Id: 1",
        "Forwarded: host=evil.example",
        "X-Forwarded-Host: evil.example",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    ] {
        let answer = get(&api, &path, &format!("{line}\r\n")).await.expect(200);
        assert_eq!(answer.json()["id"], event, "{line}");
        assert!(!answer.text().contains("evil"), "{line}");
    }
    let list = api
        .raw("GET http://evil.example/api/events?limit=1 HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    let list = list.await.expect(200);
    assert!(!list.header("link").contains("evil"), "{}", list.header("link"));
    api.stop().await;
}
