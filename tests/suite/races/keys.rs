//! Requests with one idempotency key act once.

use std::collections::BTreeSet;

use serde_json::json;

use super::service::{Service, at_once, counts, outcome, tally};
use crate::harness::server::{Answer, Site};
use crate::stories::on_both_stacks;

on_both_stacks!(
    a_booking_sent_many_times_with_one_key_is_one_booking,
    an_event_created_many_times_with_one_key_is_one_event,
    one_key_at_once_for_two_events_books_one_of_them,
    each_user_has_their_own_idempotency_keys,
);

async fn a_booking_sent_many_times_with_one_key_is_one_booking(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(5).await;
    let ada = service.a().new_user().await;
    let booking = |turn| service.booking(turn, event, &ada).header("Idempotency-Key", "one");
    let first = assert_one_effect(&at_once((0..30).map(booking)).await, 201);
    assert_eq!(service.confirmed(event).await, 1);

    let cancellation = |turn| service.cancellation(turn, event, &ada).header("Idempotency-Key", "two");
    assert_one_effect(&at_once((0..30).map(cancellation)).await, 200);
    assert_eq!(service.confirmed(event).await, 0);
    // The first key still stands for the first answer, and books nothing.
    let again = at_once((0..10).map(booking)).await;
    for answer in again {
        assert_eq!(answer.header("idempotent-replayed"), "true");
        assert_eq!(answer.expect(201).body, first);
    }
    assert_eq!(service.confirmed(event).await, 0);
    service.stop().await;
}

async fn an_event_created_many_times_with_one_key_is_one_event(site: Site) {
    let service = Service::start(&site).await;
    let draft = json!({ "title": "Gala", "date": "2031-05-01T19:30:00Z", "venue": "Opera", "total_seats": 10 });
    let creation = |turn| {
        let request = service.instance(turn).post("/api/events", &draft).by(&service.admin);
        request.header("Idempotency-Key", "\"gala\"")
    };
    assert_one_effect(&at_once((0..30).map(creation)).await, 201);
    for instance in &service.instances {
        assert_eq!(instance.get("/api/events").send().await.expect(200).json()["total"], 1);
    }
    service.stop().await;
}

async fn one_key_at_once_for_two_events_books_one_of_them(site: Site) {
    let service = Service::start(&site).await;
    let events = [service.event(5).await, service.event(5).await];
    let ada = service.a().new_user().await;
    let bookings =
        (0..20).map(|turn| service.booking(turn / 2, events[turn % 2], &ada).header("Idempotency-Key", "either"));
    let answers = at_once(bookings).await;
    let counted = tally(&answers);
    for told in counted.keys() {
        let fair = ["201", "409 idempotency_in_progress", "422 idempotency_key_reused"];
        assert!(fair.contains(&told.as_str()), "{counted:?}");
    }
    let booked: BTreeSet<_> =
        answers.iter().filter(|answer| answer.status == 201).map(|answer| answer.body.clone()).collect();
    assert_eq!(booked.len(), 1, "{counted:?}");
    assert_eq!(service.confirmed(events[0]).await + service.confirmed(events[1]).await, 1);
    service.stop().await;
}

async fn each_user_has_their_own_idempotency_keys(site: Site) {
    let service = Service::start(&site).await;
    let event = service.event(20).await;
    let people = service.people(12).await;
    let bookings = people
        .iter()
        .enumerate()
        .map(|(turn, person)| service.booking(turn, event, person).header("Idempotency-Key", "mine"));
    let answers = at_once(bookings).await;
    assert_eq!(tally(&answers), counts(&[("201", 12)]));
    assert!(answers.iter().all(|answer| answer.header("idempotent-replayed").is_empty()));
    assert_eq!(service.confirmed(event).await, 12);
    service.stop().await;
}

/// Fails unless one request acted, and the others replayed it or got a 409 to wait. Returns the body of all.
fn assert_one_effect(answers: &[Answer], status: u16) -> Vec<u8> {
    let (done, waiting): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == status);
    for answer in waiting {
        assert_eq!(outcome(answer), "409 idempotency_in_progress");
        assert!(!answer.header("retry-after").is_empty());
    }
    let bodies: BTreeSet<_> = done.iter().map(|answer| answer.body.clone()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let first = done.iter().filter(|answer| answer.header("idempotent-replayed") != "true").count();
    assert_eq!(first, 1, "{first} of {} acted", done.len());
    bodies.into_iter().next().unwrap()
}
