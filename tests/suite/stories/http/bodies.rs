//! The body of a request: its content type and coding, its size and its fields.

use reqwest::Method;
use serde_json::json;

use crate::harness::server::{Answer, Instance, PASSWORD, Site, Stack};

/// The largest body that the server accepts.
pub const MAX_BODY: usize = 64 * 1024;

/// Tries to log in with this body.
pub async fn log_in(api: &Instance, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    api.request(Method::POST, "/api/auth/login").body(content_type, body).send().await
}

/// A valid log-in, padded with an unknown field to so many bytes.
pub fn log_in_of(bytes: usize) -> String {
    let body = |padding: usize| {
        json!({ "email": "nobody@example.com", "password": PASSWORD, "padding": "x".repeat(padding) }).to_string()
    };
    body(bytes - body(0).len())
}

/// A request in chunks, as they are.
pub fn chunked(chunks: &str) -> String {
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
