//! The audit finds rows that contradict each other.

use std::sync::Arc;

use domain::ports::{Inconsistency, SeatsAstray};

use crate::harness::store::Store;

on_both_databases!(
    a_store_that_only_the_program_wrote_to_is_consistent,
    every_event_whose_seats_do_not_add_up_is_named,
    a_deleted_event_with_a_holder_is_named,
    the_database_itself_refuses_impossible_seats_and_second_registrations,
);

async fn a_store_that_only_the_program_wrote_to_is_consistent(store: Arc<Store>) {
    store.assert_consistent().await;
    let (event, deleted) = (store.event(3).await.id, store.event(3).await.id);
    for user in store.users(3).await {
        store.book(user, event).await.unwrap();
        store.book(user, deleted).await.unwrap();
    }
    store.delete(deleted).await;
    store.assert_consistent().await;
}

async fn every_event_whose_seats_do_not_add_up_is_named(store: Arc<Store>) {
    let events = [store.event(10).await.id, store.event(10).await.id, store.event(10).await.id];
    let user = store.user().await.id;
    for event in events {
        store.book(user, event).await.unwrap();
    }
    let [too_few, _, too_many] = events;
    store.run_sql(&format!("UPDATE events SET available_seats = 8 WHERE id = {too_few}")).await.unwrap();
    store.run_sql(&format!("UPDATE events SET available_seats = 10 WHERE id = {too_many}")).await.unwrap();
    let wrong = |event, available_seats| {
        Inconsistency::Seats(SeatsAstray { event, total_seats: 10, available_seats, confirmed: 1, deleted: false })
    };
    assert_eq!(store.audit.inconsistencies().await.unwrap(), [wrong(too_few, 8), wrong(too_many, 10)]);
}

async fn a_deleted_event_with_a_holder_is_named(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    store.delete(event).await;
    store.run_sql(&format!("UPDATE registrations SET status = 'confirmed' WHERE event_id = {event}")).await.unwrap();
    store.run_sql(&format!("UPDATE events SET available_seats = 9 WHERE id = {event}")).await.unwrap();
    let expected = SeatsAstray { event, total_seats: 10, available_seats: 9, confirmed: 1, deleted: true };
    assert_eq!(store.audit.inconsistencies().await.unwrap(), [Inconsistency::Seats(expected)]);
}

async fn the_database_itself_refuses_impossible_seats_and_second_registrations(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await;
    store.book(user.id, event).await.unwrap();
    for impossible in [
        format!("UPDATE events SET available_seats = -1 WHERE id = {event}"),
        format!("UPDATE events SET available_seats = 11 WHERE id = {event}"),
        format!("INSERT INTO registrations (user_id, event_id, status) VALUES ({}, {event}, 'confirmed')", user.id),
        format!("INSERT INTO registrations (user_id, event_id, status) VALUES (4000000, {event}, 'confirmed')"),
        format!("UPDATE registrations SET status = 'maybe' WHERE event_id = {event}"),
        format!("INSERT INTO users (name, email, password, role) VALUES ('B', '{}', 'x', 'user')", user.email),
        "UPDATE users SET role = 'root'".to_owned(),
    ] {
        assert!(store.run_sql(&impossible).await.is_err(), "{impossible}");
    }
    store.assert_consistent().await;
}
