//! Addresses and methods, those that are there and all others.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use reqwest::header::HeaderName;
use serde_json::json;

use super::headers::members;
use crate::harness::server::{Answer, Site, Stack};

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
