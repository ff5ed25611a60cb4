//! The rules for all requests and answers: bodies, errors, headers, `HEAD`, and conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::json;

use crate::harness::server::{Answer, Instance, PASSWORD, Person, Site, Stack};

/// The largest body that the server accepts.
const MAX_BODY: usize = 64 * 1024;

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

/// Tries to log in with this body.
async fn log_in(api: &Instance, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    api.request(Method::POST, "/api/auth/login").body(content_type, body).send().await
}

/// The members of a header that is a list, in lower case.
fn members(answer: &Answer, name: &str) -> BTreeSet<String> {
    let lines = answer.headers.get_all(name).iter();
    lines.flat_map(|line| line.to_str().unwrap().split(',')).map(|one| one.trim().to_lowercase()).collect()
}

fn gunzip(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(body).read_to_end(&mut plain).unwrap();
    plain
}

/// A valid log-in, padded with an unknown field to so many bytes.
fn log_in_of(bytes: usize) -> String {
    let body = |padding: usize| {
        json!({ "email": "nobody@example.com", "password": PASSWORD, "padding": "x".repeat(padding) }).to_string()
    };
    body(bytes - body(0).len())
}

/// A request in chunks, as they are.
fn chunked(chunks: &str) -> String {
    format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{chunks}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_not_json_is_malformed() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let deep = "[".repeat(20_000);
    for body in [
        &b""[..],
        b" ",
        b"{",
        b"{]",
        b"not json",
        b"{'email':'a@b.c'}",
        b"{\"email\":}",
        b"{\"email\":\"a@b.c\"} and more",
        b"{\"email\":\"a@b.c\",}",
        b"{\"email\":\"a\nb\"}",
        b"{\"email\":\"\\x\"}",
        b"\xEF\xBB\xBF{}",
        b"{\"email\":\"\xFF\xFE\"}",
        b"{\"e\xFFmail\":1}",
        b"{\"unknown\":\"\xC3\x28\"}",
        b"\0",
        b"NaN",
        deep.as_bytes(),
        "{\"a\":".repeat(10_000).as_bytes(),
    ] {
        let answer = log_in(&api, "application/json", body).await;
        assert_eq!(answer.status, 400, "{}: {}", String::from_utf8_lossy(&body[..body.len().min(60)]), answer.text());
        answer.expect_problem(400, "malformed_request");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_no_object_fails_validation() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    // The last: a sequence must not be taken for the fields in order.
    for body in ["[]", "null", "true", "12", "\"text\"", " [ {} ] ", &deep, r#"["ada@example.com","correct horse"]"#] {
        let answer = log_in(&api, "application/json", body).await.expect_problem(422, "validation_failed");
        assert_eq!(answer.wrong_fields().len(), 1, "{body}");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_at_once() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let wrong = |body: &str| {
        let request = api.request(Method::POST, "/api/events").by(&admin).body("application/json", body);
        async move {
            let answer = request.send().await.expect_problem(422, "validation_failed");
            assert!(answer.json()["errors"].as_array().unwrap().iter().all(|error| error["message"].is_string()));
            answer.wrong_fields().into_iter().map(|(field, _)| field).collect::<Vec<_>>()
        }
    };
    assert_eq!(wrong("{}").await, ["date", "title", "total_seats", "venue"]);
    assert_eq!(
        wrong(r#"{"title":null,"venue":null,"date":null,"total_seats":null,"description":null}"#).await,
        ["date", "title", "total_seats", "venue"]
    );
    assert_eq!(
        wrong(r#"{"title":[],"venue":{},"date":5,"total_seats":"10","description":true}"#).await,
        ["date", "description", "title", "total_seats", "venue"]
    );
    assert_eq!(
        wrong(r#"{"title":"\ud800","venue":"a\u0000b","date":"2030-01-15T12:00:00Z","total_seats":1e6,"description":"\udc00\ud800"}"#).await,
        ["date", "description", "title", "venue"]
    );
    let deep = format!(r#"{{"title":{}{}}}"#, "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(wrong(&deep).await, ["date", "title", "total_seats", "venue"]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_ignored_whatever_they_hold() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    for unknown in ["1e999", "{\"email\":7}", "\"\\ud800\"", deep.as_str()] {
        let body = format!(r#"{{"unknown":{unknown},"email":"nobody@example.com","password":"{PASSWORD}"}}"#);
        log_in(&api, "application/json", body).await.expect_problem(401, "invalid_credentials");
    }
    let twice =
        format!(r#"{{"unknown":1,"email":"nobody@example.com","password":"{PASSWORD}","unknown":{{"a":1,"a":2}}}}"#);
    log_in(&api, "application/json", twice).await.expect_problem(401, "invalid_credentials");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_comes_twice_is_named_with_all_other_wrong_ones() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    for (method, path, body, wrong) in [
        (
            Method::POST,
            "/api/auth/login",
            r#"{"email":"a@b.c","email":"a@b.c","password":"x"}"#,
            vec![("email", "repeated")],
        ),
        (
            Method::POST,
            "/api/auth/login",
            r#"{"\u0065mail":"a@b.c","email":"b@b.c","x":1,"x":2}"#,
            vec![("email", "repeated"), ("password", "required")],
        ),
        (
            Method::POST,
            "/api/events",
            r#"{"title":" ","venue":"a","venue":null,"venue":"b","total_seats":0,"date":"2031-05-01T19:30:00Z","date":""}"#,
            vec![("date", "repeated"), ("title", "blank"), ("total_seats", "out_of_range"), ("venue", "repeated")],
        ),
        (Method::PUT, &format!("/api/events/{event}"), r#"{"title":"a","title":"b"}"#, vec![("title", "repeated")]),
        (Method::PUT, "/api/users/me", r#"{"name":"a","name":"a"}"#, vec![("name", "repeated")]),
        (
            Method::POST,
            "/api/auth/refresh",
            r#"{"refresh_token":"a","refresh_token":"a"}"#,
            vec![("refresh_token", "repeated")],
        ),
    ] {
        let answer = api.request(method, path).by(&admin).body("application/json", body).send().await;
        let wrong: Vec<_> = wrong.into_iter().map(|(field, code)| (field.to_owned(), code.to_owned())).collect();
        assert_eq!(answer.expect_problem(422, "validation_failed").wrong_fields(), wrong, "{path} {body}");
    }
    let broken = log_in(&api, "application/json", r#"{"email":"a@b.c","email":"a@b.c""#).await;
    broken.expect_problem(400, "malformed_request");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_any_content_coding_is_refused_everywhere() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 5).await;
    let of_event = format!("/api/events/{event}");
    let booking = format!("{of_event}/register");
    for (method, path) in [
        (Method::POST, "/api/auth/register"),
        (Method::POST, "/api/auth/login"),
        (Method::POST, "/api/auth/refresh"),
        (Method::POST, "/api/auth/logout"),
        (Method::POST, "/api/events"),
        (Method::PUT, &of_event),
        (Method::DELETE, &of_event),
        (Method::POST, &booking),
        (Method::DELETE, &booking),
        (Method::PUT, "/api/users/me"),
    ] {
        for coding in ["gzip", "br", "deflate", "identity", "aes128gcm"] {
            let request = api.request(method.clone(), path).by(&admin).header("Content-Encoding", coding);
            let answer = request.body("application/json", "{}").send().await;
            answer.expect_problem(415, "unsupported_media_type");
        }
    }
    // A caller without a token gets 401 first, and a read has no body to be coded.
    let stranger = api.put(&of_event, &json!({})).header("Content-Encoding", "gzip").send().await;
    stranger.expect_problem(401, "unauthenticated");
    api.get(&of_event).header("Content-Encoding", "gzip").send().await.expect(200);
    api.book(event, &admin).await.expect(201);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_page_is_there_with_a_slash_and_nothing_else_is() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let (page, slashed) = (api.get("/api").send().await, api.get("/api/").send().await);
    assert_eq!((slashed.status, &slashed.body), (200, &page.body));
    for name in ["content-type", "etag", "cache-control", "content-security-policy"] {
        assert_eq!(slashed.header(name), page.header(name), "{name}");
    }
    let head = api.request(Method::HEAD, "/api/").send().await.expect(200);
    assert_eq!(head.header("etag"), page.header("etag"));
    let wrong = api.post("/api/", &json!({})).send().await.expect_problem(405, "method_not_allowed");
    assert_eq!(wrong.header("allow"), "GET, HEAD");
    for path in ["/api//", "//api", "//", "/api/events/", "/api/users/me/", "/api/openapi.json/", "/health/live/"] {
        api.get(path).send().await.expect_problem(404, "not_found");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_says_that_it_is_json_in_utf8() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let body = log_in_of(200);
    for json in [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "application/json; charset=\"utf-8\"",
        "APPLICATION/JSON",
        "application/vnd.boxoffice+json",
    ] {
        let answer = log_in(&api, json, body.clone()).await;
        assert_eq!(answer.status, 401, "{json}: {}", answer.text());
    }
    for other in [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=iso-8859-1",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=latin1",
        "application/jsonp",
        "application/xml",
        "json",
        "",
    ] {
        let answer = log_in(&api, other, body.clone()).await;
        assert_eq!(answer.status, 415, "{other}: {}", answer.text());
        answer.expect_problem(415, "unsupported_media_type");
    }
    let untyped = format!(
        "POST /api/auth/login HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    api.raw(untyped).await.expect_problem(415, "unsupported_media_type");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_at_most_64_kib_however_it_comes() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let in_chunks = |body: &str| {
        let chunk = |part: &[u8]| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part));
        chunked(&(body.as_bytes().chunks(4000).map(chunk).collect::<String>() + "0\r\n\r\n"))
    };
    let largest = log_in_of(MAX_BODY);
    assert_eq!(largest.len(), MAX_BODY);
    log_in(&api, "application/json", largest.clone()).await.expect_problem(401, "invalid_credentials");
    api.raw(in_chunks(&largest)).await.expect_problem(401, "invalid_credentials");

    let too_large = log_in_of(MAX_BODY + 1);
    log_in(&api, "application/json", too_large.clone()).await.expect_problem(413, "payload_too_large");
    api.raw(in_chunks(&too_large)).await.expect_problem(413, "payload_too_large");
    // The announced length alone is refused, before the body comes.
    let announced = "POST /api/auth/login HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\n\
                     Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{";
    api.raw(announced).await.expect_problem(413, "payload_too_large");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_come_in_chunks_but_not_in_broken_ones() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let body = log_in_of(200);
    let whole = chunked(&format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()));
    api.raw(whole).await.expect_problem(401, "invalid_credentials");
    for broken in
        ["zz\r\n{}\r\n0\r\n\r\n", "-1\r\n{}\r\n0\r\n\r\n", "2\r\n{}xx\r\n0\r\n\r\n", "fffffffffffffffff\r\n{}"]
    {
        api.raw(chunked(broken)).await.expect_problem(400, "malformed_request");
    }
    // Two lengths at once: the end of the request is ambiguous.
    let smuggled = "POST /api/auth/login HTTP/1.1\r\nHost: boxoffice\r\nConnection: close\r\nContent-Length: 4\r\n\
                    Content-Length: 5\r\nContent-Type: application/json\r\n\r\n{}  ";
    assert_eq!(api.raw(smuggled).await.status, 400);
    // And the server answers the next client as before.
    api.get("/api/events").send().await.expect(200);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_names_nothing_is_not_found() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    for path in [
        "/nothing",
        "/api/nothing",
        "/api/events/",
        "/api//",
        "/api//events",
        "/api/events/1/2/3",
        "/api/events/1",
        "/api/events/0",
        "/api/events/-1",
        "/api/events/01x",
        "/api/events/1.0",
        "/api/events/%00",
        "/api/events/%ff",
        "/api/events/%F0%9F%8E%B7",
        "/api/events/9007199254740992",
        "/api/events/99999999999999999999999999",
        "/api/users/1",
        "/problems/nothing",
        "/problems/%ff",
        "/swagger-ui/nothing.js",
        "/swagger-ui/..%2f..%2fCargo.toml",
        "/swagger-ui/%ff",
        "/.env",
    ] {
        let answer = api.get(path).send().await;
        assert_eq!(answer.status, 404, "{path}: {}", answer.text());
        answer.expect_problem(404, "not_found");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        api.request(method, "/api/nothing").send().await.expect_problem(404, "not_found");
    }
    for id in ["4000000", "0", "x"] {
        let path = format!("/api/events/{id}");
        api.put(&path, &json!({})).by(&admin).send().await.expect_problem(404, "not_found");
        api.delete(&path).by(&admin).send().await.expect_problem(404, "not_found");
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_is_refused_with_the_allowed_ones() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    for (path, allowed) in [
        ("/api/auth/register", "POST"),
        ("/api/auth/login", "POST"),
        ("/api/auth/refresh", "POST"),
        ("/api/auth/logout", "POST"),
        ("/api/events", "GET HEAD POST"),
        ("/api/events/1", "GET HEAD PUT DELETE"),
        ("/api/events/x", "GET HEAD PUT DELETE"),
        ("/api/events/1/register", "POST DELETE"),
        ("/api/events/1/registrations", "GET HEAD"),
        ("/api/users/me", "GET HEAD PUT"),
        ("/api/users/me/registrations", "GET HEAD"),
        ("/api", "GET HEAD"),
        ("/api/openapi.json", "GET HEAD"),
        ("/health/live", "GET HEAD"),
        ("/health/ready", "GET HEAD"),
        ("/metrics", "GET HEAD"),
    ] {
        let allowed: BTreeSet<_> = allowed.split(' ').collect();
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW"] {
            if allowed.contains(method) {
                continue;
            }
            let answer = api.request(method.parse().unwrap(), path).send().await;
            assert_eq!(answer.status, 405, "{method} {path}: {}", answer.text());
            let names: BTreeSet<_> = answer.header("allow").split(", ").collect();
            assert_eq!(names, allowed, "{method} {path}");
            if method != "HEAD" {
                answer.expect_problem(405, "method_not_allowed");
            }
        }
    }
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_answers_as_get_does_without_the_body() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.create(&admin, json!({ "description": "x".repeat(2000) })).await["id"].as_u64().unwrap();
    api.book(event, &admin).await.expect(201);
    let detail = format!("/api/events/{event}");
    let tag = api.get(&detail).send().await.header("etag").to_owned();

    let varying = ["x-request-id", "date"];
    for (path, headers) in [
        (detail.as_str(), vec![]),
        (&detail, vec![("If-None-Match", tag.as_str())]),
        (&detail, vec![("Accept-Encoding", "gzip")]),
        (&detail, vec![("Origin", "http://localhost:5173")]),
        (&detail, vec![("Authorization", "Bearer rubbish")]),
        ("/api/events?limit=1", vec![]),
        ("/api/events?limit=0", vec![]),
        ("/api/events/4000000", vec![]),
        ("/api/nothing", vec![]),
        (&format!("{detail}/registrations"), vec![]),
        ("/api/users/me", vec![]),
        ("/api/users/me/registrations", vec![]),
        ("/api", vec![]),
        ("/api/openapi.json", vec![("Accept-Encoding", "gzip")]),
        ("/swagger-ui/swagger-ui.css", vec![]),
        ("/problems/sold_out", vec![]),
        ("/health/live", vec![]),
        ("/health/ready", vec![]),
    ] {
        let ask = async |method: Method| {
            let request = api.request(method, path);
            let own = headers.iter().any(|(name, _)| *name == "Authorization");
            let request = if own { request } else { request.by(&admin) };
            headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await
        };
        let (get, head) = (ask(Method::GET).await, ask(Method::HEAD).await);
        assert_eq!(head.status, get.status, "{path} {headers:?}");
        assert_eq!(head.body, b"", "{path} {headers:?}");
        // Lists of names come in any order.
        let comparable = |answer: &Answer| -> BTreeMap<String, BTreeSet<String>> {
            let names = answer.headers.keys().map(HeaderName::as_str).filter(|name| !varying.contains(name));
            names.map(|name| (name.to_owned(), members(answer, name))).collect()
        };
        // A problem names its request, whose id has always the same length.
        assert_eq!(comparable(&head), comparable(&get), "{path} {headers:?}");
        if get.status != 304 {
            assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path} {headers:?}");
        }
    }
    let metrics = api.request(Method::HEAD, "/metrics").send().await.expect(200);
    assert!(metrics.header("content-length").parse::<usize>().unwrap() > 0 && metrics.body.is_empty());
    api.stop().await;
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

/// The event's address, and an event of so many bytes there.
async fn event_of(api: &Instance, admin: &Person, bytes: usize) -> String {
    let made = api.create(admin, json!({ "description": "" })).await["id"].as_u64().unwrap();
    let path = format!("/api/events/{made}");
    let empty = api.get(&path).send().await.expect(200).body.len();
    let description = "x".repeat(bytes - empty);
    api.put(&path, &json!({ "description": description })).by(admin).send().await.expect(200);
    path
}

on_both_stacks!(
    a_current_copy_gets_304_without_a_body,
    a_tag_changes_with_every_visible_change,
    a_tag_never_comes_back_with_the_seats,
    each_coding_has_a_tag_of_its_own,
    a_change_meant_for_another_version_is_not_made,
);

async fn a_current_copy_gets_304_without_a_body(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, 2).await;
    api.book(event, &admin).await.expect(201);

    let detail = format!("/api/events/{event}");
    let attendees = format!("{detail}/registrations");
    for (path, signed_in) in [
        (detail.as_str(), false),
        ("/api/events", false),
        (&attendees, true),
        ("/api/users/me/registrations", true),
        ("/api", false),
        ("/api/openapi.json", false),
    ] {
        let ask = |copies: &str| {
            let request = api.get(path).header("If-None-Match", copies);
            if signed_in { request.by(&admin) } else { request }
        };
        let whole = ask("\"another\"").send().await.expect(200);
        let tag = whole.header("etag").to_owned();
        assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "{path}: {tag} is not strong");
        for copies in [&tag, &format!("W/{tag}"), &format!("\"x\", W/\"y\" ,{tag}"), "*"] {
            let unchanged = ask(copies).send().await;
            assert_eq!(unchanged.status, 304, "{path} {copies}");
            assert_eq!(unchanged.body, b"", "{path}");
            for name in ["etag", "cache-control", "vary"] {
                assert_eq!(unchanged.header(name), whole.header(name), "{path}: {name}");
            }
            assert!(!unchanged.headers.contains_key("content-type"), "{path}");
        }
        for others in ["\"x\"", "\"x\", \"y\"", tag.trim_matches('"'), "rubbish", ""] {
            assert_eq!(ask(others).send().await.expect(200).body, whole.body, "{path} {others}");
        }
    }
    api.stop().await;
}

async fn a_tag_changes_with_every_visible_change(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");

    let mut tags = BTreeSet::new();
    let mut bodies = BTreeSet::new();
    let mut look = async |change: &str| {
        for path in [path.as_str(), "/api/events", "/api/users/me/registrations"] {
            let request = api.get(path);
            let signed_in = path.ends_with("registrations");
            let answer = if signed_in { request.by(&ada) } else { request }.send().await.expect(200);
            let tag = (path.to_owned(), answer.header("etag").to_owned());
            if bodies.insert((path.to_owned(), answer.body)) {
                assert!(tags.insert(tag), "{change}: {path} has a tag that it had before");
            } else if path.starts_with("/api/events") {
                assert!(!change.ends_with('!'), "{change} {path} shows nothing of it");
            }
        }
        tags.len()
    };
    look("a new event!").await;
    api.book(event, &ada).await.expect(201);
    look("a booking!").await;
    site.clock.advance_secs(1);
    for (change, body) in [
        ("a title!", json!({ "title": "Another" })),
        ("a venue!", json!({ "venue": "Elsewhere" })),
        ("a date!", json!({ "date": "2032-01-01T00:00:00Z" })),
        ("a description!", json!({ "description": "More" })),
        ("seats!", json!({ "total_seats": 7 })),
    ] {
        api.put(&path, &body).by(&admin).send().await.expect(200);
        look(change).await;
    }
    let before = look("nothing").await;
    let unchanged = api.get(&path).send().await.expect(200);
    site.clock.advance_secs(1);
    api.put(&path, &json!({})).by(&admin).send().await.expect(200);
    assert_eq!(look("an empty change").await, before, "an empty change shows nowhere");
    let still = api.get(&path).send().await.expect(200);
    assert_eq!((still.header("etag"), &still.body), (unchanged.header("etag"), &unchanged.body));
    api.cancel(event, &ada).await.expect(200);
    look("a cancellation!").await;
    api.stop().await;
}

async fn a_tag_never_comes_back_with_the_seats(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let event = api.event(&admin, 5).await;
    let path = format!("/api/events/{event}");
    let tag = async || api.get(&path).send().await.expect(200).header("etag").to_owned();

    let mut seen = BTreeSet::from([tag().await]);
    for _ in 0..3 {
        api.book(event, &ada).await.expect(201);
        assert!(seen.insert(tag().await), "a booking");
        api.cancel(event, &ada).await.expect(200);
        assert!(seen.insert(tag().await), "a cancellation");
    }
    api.stop().await;
}

async fn each_coding_has_a_tag_of_its_own(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let path = event_of(&api, &admin, 1024).await;
    let ask = |path: &str, accepted: &str| api.get(path).header("Accept-Encoding", accepted);

    let plain = ask(&path, "identity").send().await.expect(200);
    assert_eq!((plain.body.len(), plain.header("content-encoding")), (1024, ""));
    let compressed = ask(&path, "gzip").send().await.expect(200);
    assert_eq!(compressed.header("content-encoding"), "gzip");
    assert_eq!(compressed.header("content-type"), "application/json");
    assert!(compressed.body.len() < plain.body.len());
    assert_eq!(gunzip(&compressed.body), plain.body);
    let (plain_tag, compressed_tag) = (plain.header("etag"), compressed.header("etag"));
    assert_ne!(plain_tag, compressed_tag);

    // The tag of one coding does not match the other coding.
    ask(&path, "gzip").header("If-None-Match", compressed_tag).send().await.expect(304);
    ask(&path, "gzip").header("If-None-Match", plain_tag).send().await.expect(200);
    ask(&path, "identity").header("If-None-Match", plain_tag).send().await.expect(304);
    ask(&path, "identity").header("If-None-Match", compressed_tag).send().await.expect(200);
    let unchanged = ask(&path, "gzip").header("If-None-Match", compressed_tag).send().await;
    assert_eq!(unchanged.header("etag"), compressed_tag);

    for accepted in ["gzip, br", "br;q=1, gzip;q=0.8", "GZIP", "deflate, gzip"] {
        assert_eq!(ask(&path, accepted).send().await.header("content-encoding"), "gzip", "{accepted}");
    }
    for refused in ["", "br", "gzip;q=0", "identity", "gzip;q=0.1, identity", "rubbish;;", "*;q=0, identity"] {
        let answer = ask(&path, refused).send().await.expect(200);
        assert_eq!(answer.header("content-encoding"), "", "{refused}");
        assert_eq!(answer.body, plain.body, "{refused}");
    }

    // An answer with one byte less is not compressed.
    let small = event_of(&api, &admin, 1023).await;
    let answer = ask(&small, "gzip").send().await.expect(200);
    assert_eq!((answer.body.len(), answer.header("content-encoding")), (1023, ""));
    let list = ask("/api/events", "gzip").send().await.expect(200);
    assert_eq!(list.header("content-encoding"), "gzip");
    let plain = ask("/api/events", "identity").send().await.expect(200);
    assert_eq!(gunzip(&list.body), plain.body);
    assert_ne!(list.header("etag"), plain.header("etag"));
    api.stop().await;
}

async fn a_change_meant_for_another_version_is_not_made(site: Site) {
    let api = site.start().await;
    let admin = api.admin().await;
    let ada = api.new_user().await;
    let path = event_of(&api, &admin, 2000).await;
    let event = path.rsplit('/').next().unwrap().parse().unwrap();
    let tag = async |accepted: &str| {
        let answer = api.get(&path).header("Accept-Encoding", accepted).send().await.expect(200);
        answer.header("etag").to_owned()
    };
    let rename =
        |title: &str, tags: &str| api.put(&path, &json!({ "title": title })).by(&admin).header("If-Match", tags).send();

    let (plain, compressed) = (tag("identity").await, tag("gzip").await);
    rename("First", &plain).await.expect(200);
    for stale in [plain.as_str(), &compressed, "\"x\"", "rubbish", "", &format!("W/{}", tag("identity").await)] {
        rename("Never", stale).await.expect_problem(412, "precondition_failed");
        let delete = api.delete(&path).by(&admin).header("If-Match", stale).send().await;
        delete.expect_problem(412, "precondition_failed");
    }
    assert_eq!(api.detail(event).await["title"], "First");

    rename("Second", &tag("gzip").await).await.expect(200);
    rename("Third", &format!("\"x\", {}", tag("identity").await)).await.expect(200);
    rename("Fourth", "*").await.expect(200);
    // A booking is a visible change too.
    let before = tag("identity").await;
    api.book(event, &ada).await.expect(201);
    rename("Never", &before).await.expect_problem(412, "precondition_failed");
    assert_eq!(api.detail(event).await["title"], "Fourth");

    // An unknown event has no version, and a caller without permission gets 403 first.
    let nowhere = "/api/events/4000000";
    let missing = api.put(nowhere, &json!({})).by(&admin).header("If-Match", "\"1\"").send().await;
    assert!(matches!(missing.status, 404 | 412), "{}", missing.text());
    let stranger = api.delete(&path).by(&ada).header("If-Match", "\"1\"").send().await;
    stranger.expect_problem(403, "forbidden");

    api.delete(&path).by(&admin).header("If-Match", &tag("gzip").await).send().await.expect(200);
    api.get(&path).send().await.expect_problem(404, "not_found");
    api.stop().await;
}
