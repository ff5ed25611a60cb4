//! Server-Sent Events: the states of one event.

use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use super::{TOLD_WITHIN, house, seats};
use crate::harness::server::Site;

on_both_stacks!(
    a_stream_begins_with_the_present_state_and_tells_every_newer_one,
    a_stream_goes_on_where_its_reader_left,
    a_refused_watcher_gets_a_problem_and_no_stream,
    a_client_of_http_1_0_gets_a_stream_that_ends_with_its_connection,
    the_programs_in_the_documentation_run,
);

async fn a_stream_begins_with_the_present_state_and_tells_every_newer_one(site: Site) {
    let (api, admin, event, people) = house(&site, 3, 1).await;
    let mut stream = api.watch(event).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    assert!(stream.header("cache-control").contains("no-store"));
    assert_eq!(stream.header("x-accel-buffering"), "no");
    assert_eq!(stream.header("content-encoding"), "");
    assert!(!stream.header("x-request-id").is_empty() && !stream.header("content-security-policy").is_empty());
    assert_eq!(stream.seats().await, seats(event, 3, 3, 1));

    api.book(event, &people[0]).await.expect(201);
    assert_eq!(stream.seats().await, seats(event, 3, 2, 2));
    api.cancel(event, &people[0]).await.expect(200);
    assert_eq!(stream.seats().await, seats(event, 3, 3, 3));
    api.put(&format!("/api/events/{event}"), &json!({ "total_seats": 9 })).by(&admin).send().await.expect(200);
    assert_eq!(stream.seats().await, seats(event, 9, 9, 4));
    // A refusal and an empty update change nothing, so nothing is sent.
    api.cancel(event, &people[0]).await.expect(404);
    api.put(&format!("/api/events/{event}"), &json!({})).by(&admin).send().await.expect(200);
    assert!(stream.is_quiet_for(Duration::from_millis(300)).await);

    let mut compressed = api.try_watch(event, &[("Accept-Encoding", "gzip, br")]).await.unwrap();
    assert_eq!(compressed.header("content-encoding"), "");
    assert_eq!(compressed.seats().await, seats(event, 9, 9, 4));
    api.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200);
    for stream in [&mut stream, &mut compressed] {
        let last = stream.next().await.unwrap();
        assert_eq!((last.name.as_str(), last.data), ("deleted", json!({ "event_id": event, "version": 5 })));
        assert_eq!(stream.next().await, None, "the stream ends after `deleted`");
    }
    assert!(api.try_watch(event, &[]).await.err().unwrap().expect_problem(404, "not_found").header("etag").is_empty());
    api.stop().await;
}

async fn a_stream_goes_on_where_its_reader_left(site: Site) {
    let (api, _, event, people) = house(&site, 5, 2).await;
    assert_eq!(api.watch(event).await.seats().await["version"], 1);
    api.book(event, &people[0]).await.expect(201);

    let mut current = api.try_watch(event, &[("Last-Event-ID", "2")]).await.unwrap();
    assert!(current.is_quiet_for(Duration::from_millis(300)).await, "it is the present version");
    for behind in ["1", "0", "3", "900", "x", ""] {
        let mut stream = api.try_watch(event, &[("Last-Event-ID", behind)]).await.unwrap();
        assert_eq!(stream.seats().await, seats(event, 5, 4, 2), "{behind}");
    }
    api.book(event, &people[1]).await.expect(201);
    assert_eq!(current.seats().await, seats(event, 5, 3, 3));
    api.stop().await;
}

async fn a_refused_watcher_gets_a_problem_and_no_stream(site: Site) {
    let (api, _, event, _) = house(&site, 5, 0).await;
    for path in ["4000000", "0", "x", "9007199254740992"] {
        api.get(&format!("/api/events/{path}/seats/stream")).send().await.expect_problem(404, "not_found");
    }
    let forged = [("Authorization", "Bearer forged")];
    api.try_watch(event, &forged).await.err().unwrap().expect_problem(401, "unauthenticated");
    let post = api.request(Method::POST, &format!("/api/events/{event}/seats/stream")).send().await;
    assert_eq!(post.expect_problem(405, "method_not_allowed").header("allow"), "GET, HEAD");
    // The answer to `HEAD` ends, and the connection can be used again.
    for _ in 0..3 {
        let head = api.request(Method::HEAD, &format!("/api/events/{event}/seats/stream")).send().await.expect(200);
        assert_eq!((head.header("content-type"), head.body.len()), ("text/event-stream", 0));
    }
    api.request(Method::HEAD, "/api/events/4000000/seats/stream").send().await.expect(404);
    api.stop().await;
}

async fn a_client_of_http_1_0_gets_a_stream_that_ends_with_its_connection(site: Site) {
    let (api, admin, _, _) = house(&site, 3, 0).await;
    let address = api.base().strip_prefix("http://").unwrap().to_owned();
    for line in ["", "Connection: keep-alive\r\n"] {
        let event = api.event(&admin, 3).await;
        let path = format!("/api/events/{event}");
        let mut connection = TcpStream::connect(&address).await.unwrap();
        let head = format!("GET {path}/seats/stream HTTP/1.0\r\nHost: boxoffice\r\n{line}\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains("\"version\"") {
            assert_ne!(connection.read_buf(&mut said).await.unwrap(), 0, "{}", String::from_utf8_lossy(&said));
        }
        api.delete(&path).by(&admin).send().await.expect(200);
        timeout(TOLD_WITHIN, connection.read_to_end(&mut said)).await.expect("it ends").unwrap();
        let said = String::from_utf8(said).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let head = head.to_lowercase();
        assert!(
            head.contains(" 200 ") && !head.contains("transfer-encoding") && !head.contains("keep-alive"),
            "{head}"
        );
        assert!(body.starts_with("event: seats\nid: ") && body.ends_with("}\n\n"), "{body}");
        assert!(body.contains("\n\nevent: deleted\n"), "{body}");
    }
    let event = api.event(&admin, 3).await;
    let of_head = |version| {
        format!("HEAD /api/events/{event}/seats/stream HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n")
    };
    let answer = api.raw(of_head("1.0")).await.expect(200);
    assert!(!answer.headers.contains_key("transfer-encoding") && answer.body.is_empty());
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert!(api.raw(of_head("1.1")).await.expect(200).body.is_empty());
    api.stop().await;
}

async fn the_programs_in_the_documentation_run(site: Site) {
    let (api, _, event, people) = house(&site, 3, 1).await;
    let guide = include_str!("../../../../docs/live.md");
    let (_, rest) = guide.split_once("```python\n").expect("a program in Python");
    let program = rest.split_once("```").unwrap().0;
    let mut python = Command::new("python3")
        .args(["-u", "-c", program, api.base(), &event.to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("python3 is needed to try the program in docs/live.md: install it (apt-get install python3)");
    let mut lines = BufReader::new(python.stdout.take().unwrap()).lines();
    let mut line = async || timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap().unwrap();
    assert_eq!(line().await, format!("event {event}: 3 of 3 seats are free"));
    api.book(event, &people[0]).await.expect(201);
    assert_eq!(line().await, format!("event {event}: 2 of 3 seats are free"));
    api.stop().await;
}
