//! Live seats (Server-Sent Events and WebSocket): on one instance and on several, with and without faults.

use std::collections::HashSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::harness::live::{EventStream, assert_seats};
use crate::harness::server::{Instance, Person, Site, Stack};
use crate::harness::until;

/// Within this time of a commit, all watchers get the new state. It is longer than the promise, for a
/// machine that runs other tests at the same time.
const TOLD_WITHIN: Duration = Duration::from_millis(2_500);

fn seats(event: u64, total: u64, available: u64, version: u64) -> Value {
    json!({
        "event_id": event,
        "available_seats": available,
        "total_seats": total,
        "registration_count": total - available,
        "version": version,
    })
}

/// How many live connections there are, of a kind, in all instances of this process.
async fn open(api: &Instance, kind: &str) -> f64 {
    let text = api.get("/metrics").send().await.text();
    let series = format!("live_connections{{kind=\"{kind}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
}

/// An instance with an event of so many seats, its admin, and people.
async fn house(site: &Site, total: u32, people: usize) -> (Instance, Person, u64, Vec<Person>) {
    let api = site.start().await;
    let admin = api.admin().await;
    let event = api.event(&admin, total).await;
    let people = api.people(people).await;
    (api, admin, event, people)
}

on_both_stacks!(
    a_stream_begins_with_the_present_state_and_tells_every_newer_one,
    a_stream_goes_on_where_its_reader_left,
    a_refused_watcher_gets_a_problem_and_no_stream,
    a_flood_of_bookings_is_sent_ten_times_a_second_and_its_end_always,
    a_socket_subscribes_to_any_number_of_events,
    an_invalid_message_gets_an_error_and_the_socket_stays_open,
    a_socket_that_breaks_the_protocol_is_closed,
    a_request_to_the_socket_without_an_upgrade_is_refused,
    a_client_of_http_1_0_gets_a_stream_that_ends_with_its_connection,
    a_page_of_another_origin_does_not_get_a_socket,
    streams_and_sockets_share_one_limit_and_closing_frees_a_place,
    a_stream_counts_once_against_the_rate_limit,
    stopping_ends_streams_at_once_and_cleanly,
    a_watcher_that_hangs_up_is_no_longer_counted,
    a_reader_who_stops_reading_gets_the_newest_states_and_makes_no_queue,
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

async fn a_flood_of_bookings_is_sent_ten_times_a_second_and_its_end_always(site: Site) {
    let (api, _, event, people) = house(&site, 400, 200).await;
    let mut streams = join_all((0..5).map(|_| api.watch(event))).await;
    let mut talk = api.talk().await;
    talk.subscribe(&[event]).await;
    let reading = async {
        let mut told = Vec::new();
        for stream in &mut streams {
            let begun = Instant::now();
            let mut states = 0;
            loop {
                states += 1;
                let state = stream.seats().await;
                if state["available_seats"] == 200 {
                    break;
                }
            }
            told.push((states, begun.elapsed()));
        }
        told
    };
    let booking = async {
        let begun = Instant::now();
        let booked = join_all(people.iter().map(|person| api.book(event, person))).await;
        assert!(booked.iter().all(|answer| answer.status == 201));
        begun.elapsed()
    };
    let (told, took) = tokio::join!(reading, booking);
    let most = took.as_secs_f64() * 10.0 + 12.0;
    assert!(told.iter().all(|(states, _)| f64::from(*states) <= most), "{told:?} while {took:?}");
    let mut version = 0;
    loop {
        let state = talk.seats().await;
        assert!(state["version"].as_u64() > Some(version), "{state}");
        version = state["version"].as_u64().unwrap();
        if state["available_seats"] == 200 {
            break;
        }
    }
    assert_eq!(version, 201);
    api.stop().await;
}

async fn a_socket_subscribes_to_any_number_of_events(site: Site) {
    let (api, admin, first, people) = house(&site, 3, 1).await;
    let second = api.event(&admin, 5).await;
    let mut talk = api.talk().await;
    talk.subscribe(&[second, first, second]).await;
    let mut told = [talk.seats().await, talk.seats().await];
    told.sort_by_key(|state| state["event_id"].as_u64());
    assert_eq!(told, [seats(first, 3, 3, 1), seats(second, 5, 5, 1)]);

    api.book(second, &people[0]).await.expect(201);
    assert_eq!(talk.seats().await, seats(second, 5, 4, 2));
    talk.unsubscribe(&[first, first, 4_000_000]).await;
    // The answer to this comes after the message before took effect.
    talk.subscribe(&[second]).await;
    assert_eq!(talk.seats().await, seats(second, 5, 4, 2), "a second subscription sends the state again");
    api.book(first, &people[0]).await.expect(201);
    api.cancel(second, &people[0]).await.expect(200);
    assert_eq!(talk.seats().await, seats(second, 5, 5, 3));
    talk.subscribe(&[first]).await;
    assert_eq!(talk.seats().await, seats(first, 3, 2, 2));

    api.delete(&format!("/api/events/{first}")).by(&admin).send().await.expect(200);
    assert_eq!(talk.told().await, json!({ "deleted": first }));
    talk.subscribe(&[first]).await;
    assert_eq!(talk.error().await, "not_found");
    api.book(second, &people[0]).await.expect(201);
    assert_eq!(talk.seats().await, seats(second, 5, 4, 4), "the conversation goes on");
    talk.socket.close(None).await.unwrap();
    api.stop().await;
}

async fn an_invalid_message_gets_an_error_and_the_socket_stays_open(site: Site) {
    let (api, admin, event, _) = house(&site, 3, 0).await;
    let mut talk = api.talk().await;
    for (message, code) in [
        ("", "malformed_request"),
        ("subscribe", "malformed_request"),
        (r#"{"subscribe":[1]"#, "malformed_request"),
        ("[]", "validation_failed"),
        ("{}", "validation_failed"),
        (r#"{"subscribe":"1"}"#, "validation_failed"),
        (r#"{"subscribe":[0]}"#, "validation_failed"),
        (r#"{"subscribe":["1"]}"#, "validation_failed"),
        (r#"{"subscribe":[9007199254740992]}"#, "validation_failed"),
        (r#"{"unsubscribe":[1.5]}"#, "validation_failed"),
        (r#"{"subscribe":[1],"unsubscribe":[1]}"#, "validation_failed"),
        (r#"{"subscribe":[4000000]}"#, "not_found"),
    ] {
        talk.send(Message::text(message)).await;
        assert_eq!(talk.error().await, code, "{message}");
    }
    talk.send(Message::binary(json!({ "subscribe": [event] }).to_string())).await;
    assert_eq!(talk.error().await, "malformed_request");
    // In fragments, with a ping in between.
    for (piece, kind, last) in [("{\"subs", Data::Text, false), ("cribe\":", Data::Continue, false)] {
        talk.send(Message::Frame(Frame::message(piece.to_owned(), OpCode::Data(kind), last))).await;
    }
    talk.send(Message::Ping("still there?".into())).await;
    assert_eq!(talk.frame().await, Message::Pong("still there?".into()));
    let rest = Frame::message(format!("[{event}]}}"), OpCode::Data(Data::Continue), true);
    talk.send(Message::Frame(rest)).await;
    assert_eq!(talk.seats().await, seats(event, 3, 3, 1));

    // A hundred events and no more.
    let mut events = vec![event];
    while events.len() < 101 {
        events.push(api.event(&admin, 1).await);
    }
    talk.subscribe(&events).await;
    assert_eq!(talk.error().await, "too_many_subscriptions");
    talk.subscribe(&events[..100]).await;
    for _ in 0..100 {
        talk.seats().await;
    }
    talk.subscribe(&[events[100]]).await;
    assert_eq!(talk.error().await, "too_many_subscriptions");
    talk.unsubscribe(&[events[50]]).await;
    talk.subscribe(&[events[100]]).await;
    assert_eq!(talk.seats().await["event_id"], events[100]);
    api.stop().await;
}

async fn a_socket_that_breaks_the_protocol_is_closed(site: Site) {
    let (api, _, _, _) = house(&site, 3, 0).await;
    let large = Message::text("x".repeat((64 << 10) + 1));
    let half = || "x".repeat((32 << 10) + 1);
    let halves = [(Data::Text, false), (Data::Continue, true)]
        .map(|(kind, last)| Message::Frame(Frame::message(half(), OpCode::Data(kind), last)));
    let broken = Message::Frame(Frame::message("x", OpCode::Data(Data::Continue), true));
    let not_text = Message::Frame(Frame::message(vec![0xff], OpCode::Data(Data::Text), true));
    for (messages, code) in [
        (vec![large], CloseCode::Size),
        (halves.to_vec(), CloseCode::Size),
        (vec![broken], CloseCode::Protocol),
        (vec![not_text], CloseCode::Invalid),
    ] {
        let mut talk = api.talk().await;
        for message in messages {
            talk.socket.feed(message).await.unwrap();
        }
        talk.socket.flush().await.unwrap();
        assert_eq!(talk.error().await, "malformed_request");
        assert_eq!(talk.closed().await, code);
    }
    api.stop().await;
}

async fn a_request_to_the_socket_without_an_upgrade_is_refused(site: Site) {
    let (api, _, _, _) = house(&site, 3, 0).await;
    let refused = api.get("/api/live").send().await.expect_problem(426, "upgrade_required");
    assert_eq!((refused.header("upgrade"), refused.header("sec-websocket-version")), ("websocket", "13"));
    assert!(refused.header("connection").to_lowercase().contains("upgrade"));
    api.request(Method::HEAD, "/api/live").send().await.expect(426);
    api.get("/api/live").token("forged").send().await.expect_problem(401, "unauthenticated");
    let other_version = api.try_talk(&[("Sec-WebSocket-Version", "8")]).await.err().unwrap();
    assert_eq!(other_version.status(), 426);
    let no_key = api.try_talk(&[("Sec-WebSocket-Key", "")]).await.err().unwrap();
    assert_eq!(no_key.status(), 400);
    let forged = api.try_talk(&[("Authorization", "Bearer forged")]).await.err().unwrap();
    assert_eq!(forged.status(), 401);
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

async fn a_page_of_another_origin_does_not_get_a_socket(site: Site) {
    let site = site.with("CORS_ALLOWED_ORIGINS", "https://tickets.example.com");
    let (api, _, event, _) = house(&site, 3, 0).await;
    for origin in ["https://tickets.example.com", "http://localhost:5173", api.base()] {
        let mut talk = api.try_talk(&[("Origin", origin)]).await.unwrap();
        talk.subscribe(&[event]).await;
        talk.seats().await;
    }
    for origin in ["https://evil.example.com", "null", "http://tickets.example.com"] {
        let refused = api.try_talk(&[("Origin", origin)]).await.err().unwrap();
        assert_eq!(refused.status(), 403, "{origin}");
        let problem: Value = serde_json::from_slice(refused.body().as_deref().unwrap_or_default()).unwrap();
        assert_eq!(problem["code"], "forbidden");
    }
    // A stream is an ordinary read: the browser keeps it from pages of other origins.
    let stream = api.try_watch(event, &[("Origin", "https://evil.example.com")]).await.unwrap();
    assert_eq!(stream.header("access-control-allow-origin"), "");
    let stream = api.try_watch(event, &[("Origin", "https://tickets.example.com")]).await.unwrap();
    assert_eq!(stream.header("access-control-allow-origin"), "https://tickets.example.com");
    api.stop().await;
}

async fn streams_and_sockets_share_one_limit_and_closing_frees_a_place(site: Site) {
    let site = site.with("LIVE_MAX_CONNECTIONS", "2");
    let (api, _, event, _) = house(&site, 3, 0).await;
    let (stream, mut talk) = (api.watch(event).await, api.talk().await);
    let refused = api.try_watch(event, &[]).await.err().unwrap().expect_problem(503, "unavailable");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(api.try_talk(&[]).await.err().unwrap().status(), 503);
    api.detail(event).await;

    drop(stream);
    until("a stream's place is free", async || api.try_watch(event, &[]).await.is_ok()).await;
    talk.socket.close(None).await.unwrap();
    until("a conversation's place is free", async || api.try_talk(&[]).await.is_ok()).await;
    // A refused attempt takes no permit.
    for _ in 0..5 {
        api.get("/api/events/4000000/seats/stream").send().await.expect(404);
        api.get("/api/live").send().await.expect(426);
    }
    until("both places are free", async || {
        let first = api.try_watch(event, &[]).await;
        first.is_ok() && api.try_watch(event, &[]).await.is_ok()
    })
    .await;
    api.stop().await;
}

async fn a_stream_counts_once_against_the_rate_limit(site: Site) {
    let site = site.with("RATE_LIMIT_PER_MINUTE", "50");
    let (api, _, event, people) = house(&site, 30, 5).await;
    let mut stream = api.watch(event).await;
    let mut left: u64 = stream.header("ratelimit-remaining").parse().unwrap();
    stream.seats().await;
    let mut talk = api.talk().await;
    for _ in 0..60 {
        talk.subscribe(&[event]).await;
        talk.seats().await;
    }
    let answer = api.book(event, &people[0]).await.expect(201);
    left -= answer.header("ratelimit-remaining").parse::<u64>().unwrap();
    assert!(left <= 2, "two requests cost {left}");
    stream.seats().await;
    api.stop().await;
}

async fn stopping_ends_streams_at_once_and_cleanly(site: Site) {
    let (api, _, event, _) = house(&site, 3, 0).await;
    let (mut stream, mut idle, mut talk) = (api.watch(event).await, api.talk().await, api.talk().await);
    stream.seats().await;
    talk.subscribe(&[event]).await;
    talk.seats().await;
    let begun = Instant::now();
    let stopping = tokio::spawn(api.stop());
    assert_eq!(stream.next().await, None, "it comes to its end");
    assert_eq!(idle.closed().await, CloseCode::Away);
    assert_eq!(talk.closed().await, CloseCode::Away);
    stopping.await.unwrap();
    // A stream that is not ended keeps the server for 27 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

async fn a_watcher_that_hangs_up_is_no_longer_counted(site: Site) {
    let (api, _, event, people) = house(&site, 300, 2).await;
    let others = (open(&api, "sse").await, open(&api, "websocket").await);
    let streams = join_all((0..20).map(|_| api.watch(event))).await;
    let talks = join_all((0..20).map(|_| api.talk())).await;
    // Other tests of this process may have watchers too.
    until("they are counted", async || open(&api, "sse").await >= 20.0 && open(&api, "websocket").await >= 20.0).await;
    drop((streams, talks));
    until("they are forgotten", async || {
        open(&api, "sse").await <= others.0.max(19.0) && open(&api, "websocket").await <= others.1.max(19.0)
    })
    .await;
    api.book(event, &people[0]).await.expect(201);
    assert_eq!(api.watch(event).await.seats().await, seats(event, 300, 299, 2));
    let text = api.get("/metrics").send().await.text();
    assert!(text.contains("live_messages_sent_total{kind=\"sse\"}"), "{text}");
    api.stop().await;
}

async fn a_reader_who_stops_reading_gets_the_newest_states_and_makes_no_queue(site: Site) {
    const EVENTS: usize = 100;
    const ROUNDS: u64 = 20;
    let (api, admin, _, people) = house(&site, 1, usize::try_from(ROUNDS).unwrap()).await;
    let mut events = Vec::new();
    while events.len() < EVENTS {
        events.push(api.event(&admin, 100).await);
    }
    // With the smallest buffers between server and client.
    let mut slow = api.talk_with_little_room().await;
    slow.subscribe(&events).await;
    let mut quick = api.talk().await;
    quick.subscribe(&events).await;
    for round in 0..=ROUNDS {
        // Wait until the quick reader has every state of this round.
        let mut told = HashSet::new();
        while told.len() < EVENTS {
            let state = quick.seats().await;
            if state["registration_count"] == round {
                told.insert(state["event_id"].as_u64());
            }
        }
        if let Some(person) = people.get(usize::try_from(round).unwrap()) {
            join_all(events.iter().map(|event| api.book(*event, person))).await;
        }
    }
    let (mut states, mut newest) = (0, HashSet::new());
    while newest.len() < EVENTS {
        let state = slow.seats().await;
        states += 1;
        if state["registration_count"] == ROUNDS {
            newest.insert(state["event_id"].as_u64());
        }
    }
    assert!(states < 700, "{states} of 2,100 states were queued for the slow reader");
    api.stop().await;
}

async fn the_programs_in_the_documentation_run(site: Site) {
    let (api, _, event, people) = house(&site, 3, 1).await;
    let guide = include_str!("../../../docs/live.md");
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

/// Books on one instance and waits until a stream of another has the state; returns how long that took.
async fn told_elsewhere(here: &Instance, event: u64, person: &Person, there: &mut EventStream) -> Duration {
    let booked = here.book(event, person).await.expect(201).json();
    assert!(booked["id"].is_u64());
    let committed = Instant::now();
    let version = here.get(&format!("/api/events/{event}")).send().await.header("etag").replace(['"', '-'], "");
    assert!(!version.is_empty());
    let available = here.detail(event).await["available_seats"].as_u64().unwrap();
    there.until_available(available).await;
    committed.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_http_1_0_gets_no_socket() {
    let site = Site::new(Stack::Embedded).await;
    let api = site.start().await;
    let socket = api.raw(
        "GET /api/live HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    socket.await.expect_problem(426, "upgrade_required");
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_instance_sends_the_seats_sold_by_another() {
    let site = Site::migrated().await;
    let (here, _, event, people) = house(&site, 50, 6).await;
    let there = site.start().await;
    let mut stream = there.watch(event).await;
    let mut talk = there.talk().await;
    assert_eq!(stream.seats().await, seats(event, 50, 50, 1));
    talk.subscribe(&[event]).await;
    assert_eq!(talk.seats().await, seats(event, 50, 50, 1));
    let mut quickest = Duration::MAX;
    for person in &people {
        quickest = quickest.min(told_elsewhere(&here, event, person, &mut stream).await);
    }
    // Without messages through Redis, only the poll of the database would find it, which takes longer.
    assert!(quickest < Duration::from_millis(700), "{quickest:?}");
    while talk.seats().await["available_seats"] != 44 {}
    there.stop().await;
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_instances_poll_the_database() {
    let site = Site::migrated().await.without("REDIS_URL");
    let (here, admin, event, people) = house(&site, 50, 3).await;
    let there = site.start().await;
    let mut stream = there.watch(event).await;
    assert_eq!(stream.seats().await, seats(event, 50, 50, 1));
    for person in &people {
        let took = told_elsewhere(&here, event, person, &mut stream).await;
        assert!(took < TOLD_WITHIN, "{took:?}");
    }
    // The poll finds changes by SQL as well.
    site.run_sql(&format!(
        "UPDATE events SET total_seats = 60, available_seats = 57, version = version + 1 WHERE id = {event}"
    ))
    .await;
    assert_eq!(stream.until_available(57).await["total_seats"], 60);
    here.delete(&format!("/api/events/{event}")).by(&admin).send().await.expect(200);
    assert_eq!(stream.next().await.unwrap().name, "deleted");
    there.stop().await;
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn seats_are_sent_without_redis_and_at_once_when_it_is_back() {
    let mut site = Site::migrated().await;
    let (here, _, event, people) = house(&site, 60, 30).await;
    let there = site.start().await;
    let (mut near, mut far) = (here.watch(event).await, there.watch(event).await);
    assert_eq!(near.seats().await, far.seats().await);
    let mut people = people.iter();
    told_elsewhere(&here, event, people.next().unwrap(), &mut far).await;

    site.redis.as_mut().unwrap().kill();
    for person in people.by_ref().take(3) {
        let took = told_elsewhere(&here, event, person, &mut far).await;
        assert!(took < TOLD_WITHIN, "{took:?}");
    }
    site.redis.as_mut().unwrap().restart().await;
    let back = Instant::now();
    // Until the messages of Redis arrive again, not only the poll finds the change.
    loop {
        let person = people.next().expect("Redis is used again before all have booked");
        if told_elsewhere(&here, event, person, &mut far).await < Duration::from_millis(400) {
            break;
        }
    }
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());

    // A Redis that hangs has the same effect.
    site.redis.as_ref().unwrap().pause();
    for person in people.by_ref().take(2) {
        let took = told_elsewhere(&here, event, person, &mut far).await;
        assert!(took < TOLD_WITHIN, "{took:?}");
    }
    site.redis.as_ref().unwrap().resume();
    told_elsewhere(&here, event, people.next().unwrap(), &mut far).await;
    let newest = here.detail(event).await["available_seats"].as_u64().unwrap();
    near.until_available(newest).await;
    there.stop().await;
    here.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_in_redis_without_our_seal_is_not_sent() {
    let site = Site::migrated().await;
    let (api, _, event, people) = house(&site, 60, 1).await;
    let mut stream = api.watch(event).await;
    stream.seats().await;
    let mut stranger = site.redis.as_ref().unwrap().connect().await;
    let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").arg("*").query_async(&mut stranger).await.unwrap();
    assert_eq!(channels.len(), 1, "{channels:?}");
    for rubbish in [json!({ "event_id": event, "available_seats": 1, "version": 9 }).to_string(), "x".repeat(100_000)] {
        let () = redis::AsyncCommands::publish(&mut stranger, &channels[0], rubbish).await.unwrap();
    }
    api.book(event, &people[0]).await.expect(201);
    let told = stream.seats().await;
    assert_seats(&told);
    assert_eq!(told, seats(event, 60, 59, 2));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_reports_a_lost_database_and_stays_open() {
    let site = Site::migrated().await;
    let (api, _, event, people) = house(&site, 60, 1).await;
    let mut talk = api.talk().await;
    talk.subscribe(&[event]).await;
    talk.seats().await;
    let mut stream = api.watch(event).await;
    stream.seats().await;
    super::operation::take_database_away(&site).await;
    api.try_watch(event, &[]).await.err().unwrap().expect_problem(503, "unavailable");
    talk.subscribe(&[event]).await;
    assert_eq!(talk.error().await, "unavailable");
    super::operation::give_database_back(&site).await;
    until("a seat can be booked", async || api.book(event, &people[0]).await.status == 201).await;
    assert_eq!(talk.seats().await, seats(event, 60, 59, 2), "the subscription is still there");
    assert_eq!(stream.seats().await, seats(event, 60, 59, 2));
    api.stop().await;
}
