//! Many watchers: limits, floods, stops, and watchers that hang up or stop reading.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{house, seats};
use crate::harness::server::{Instance, Site};
use crate::harness::until;

on_both_stacks!(
    a_flood_of_bookings_is_sent_ten_times_a_second_and_its_end_always,
    streams_and_sockets_share_one_limit_and_closing_frees_a_place,
    a_stream_counts_once_against_the_rate_limit,
    stopping_ends_streams_at_once_and_cleanly,
    a_watcher_that_hangs_up_is_no_longer_counted,
    a_reader_who_stops_reading_gets_the_newest_states_and_makes_no_queue,
);

/// How many live connections there are, of a kind, in all instances of this process.
async fn open(api: &Instance, kind: &str) -> f64 {
    let text = api.get("/metrics").send().await.text();
    let series = format!("live_connections{{kind=\"{kind}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0.0, |value| value.parse().unwrap())
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
