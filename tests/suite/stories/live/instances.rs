//! Seats that another instance sold, with Redis and without.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{TOLD_WITHIN, house, seats};
use crate::harness::live::{EventStream, assert_seats};
use crate::harness::server::{Instance, Person, Site};

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
