//! The audit finds rows that contradict each other.

use std::sync::Arc;

use domain::ports::{FactAstray, History, HistoryFilter, Inconsistency, Outbox, Position, SeatsAstray};

use crate::harness::store::Store;

on_both_databases!(
    a_store_that_only_the_program_wrote_to_is_consistent,
    every_event_whose_seats_do_not_add_up_is_named,
    a_deleted_event_with_a_holder_is_named,
    what_the_history_tells_otherwise_of_is_named,
    what_is_from_before_the_kept_history_needs_no_fact,
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

async fn what_the_history_tells_otherwise_of_is_named(store: Arc<Store>) {
    let events = [store.event(10).await.id, store.event(10).await.id, store.event(10).await.id];
    let [event, deleted, unheard] = events;
    let users = store.users(4).await;
    for user in &users {
        store.book(*user, event).await.unwrap();
    }
    store.cancel(users[1], event).await.unwrap();
    assert_eq!(store.audit.facts_astray().await.unwrap(), [], "what is in no history yet is told");
    History::page(store.sql(), &HistoryFilter::default(), Position::START, 1).await.unwrap();
    assert_eq!(store.audit.facts_astray().await.unwrap(), []);
    for statement in [
        format!("UPDATE registrations SET status = 'cancelled' WHERE user_id = {}", users[0]),
        format!("UPDATE registrations SET status = 'confirmed' WHERE user_id = {}", users[1]),
        format!("UPDATE events SET deleted_at = created_at WHERE id = {deleted}"),
        format!("DELETE FROM history WHERE event_id = {unheard} OR user_id = {}", users[2]),
    ] {
        store.run_sql(&statement).await.unwrap();
    }
    let astray = |user, is_confirmed, is_told_confirmed| FactAstray::Registration {
        event,
        user,
        is_confirmed,
        is_told_confirmed,
    };
    let expected = [
        FactAstray::Created(unheard),
        FactAstray::Deleted(deleted),
        astray(users[0], false, Some(true)),
        astray(users[1], true, Some(false)),
        astray(users[2], true, None),
    ];
    assert_eq!(store.audit.facts_astray().await.unwrap(), expected);
}

async fn what_is_from_before_the_kept_history_needs_no_fact(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let [early, late] = store.users(2).await[..] else { unreachable!() };
    store.book(early, event).await.unwrap();
    History::page(store.sql(), &HistoryFilter::default(), Position::START, 1).await.unwrap();
    store.clock.advance_secs(86_400);
    store.sql().drop_history(store.now()).await.unwrap();
    store.book(late, event).await.unwrap();
    assert_eq!(store.audit.facts_astray().await.unwrap(), []);
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
