//! WebSocket: the states of any number of events.

use futures_util::SinkExt;
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use super::{house, seats};
use crate::harness::server::{Site, Stack};
use crate::harness::until;
use crate::stories::operation::{give_database_back, take_database_away};

on_both_stacks!(
    a_socket_subscribes_to_any_number_of_events,
    an_invalid_message_gets_an_error_and_the_socket_stays_open,
    a_socket_that_breaks_the_protocol_is_closed,
    a_request_to_the_socket_without_an_upgrade_is_refused,
    a_page_of_another_origin_does_not_get_a_socket,
);

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
async fn a_socket_reports_a_lost_database_and_stays_open() {
    let site = Site::migrated().await;
    let (api, _, event, people) = house(&site, 60, 1).await;
    let mut talk = api.talk().await;
    talk.subscribe(&[event]).await;
    talk.seats().await;
    let mut stream = api.watch(event).await;
    stream.seats().await;
    take_database_away(&site).await;
    api.try_watch(event, &[]).await.err().unwrap().expect_problem(503, "unavailable");
    talk.subscribe(&[event]).await;
    assert_eq!(talk.error().await, "unavailable");
    give_database_back(&site).await;
    until("a seat can be booked", async || api.book(event, &people[0]).await.status == 201).await;
    assert_eq!(talk.seats().await, seats(event, 60, 59, 2), "the subscription is still there");
    assert_eq!(stream.seats().await, seats(event, 60, 59, 2));
    api.stop().await;
}
