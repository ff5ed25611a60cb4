//! Lists of registrations, of a user and of an event.

use std::sync::Arc;

use domain::ports::{ProfilePatch, RegistrationFilter};
use domain::sample::{email, page};
use domain::{Command, EventId, EventPatch, PersonName, RegistrationStatus, UserId, Venue};

use crate::harness::store::{Store, unknown_event, unknown_user};

on_every_store!(
    a_users_registrations_are_listed_newest_first,
    registrations_of_one_instant_are_listed_by_id_greatest_first,
    an_events_registrations_are_listed_newest_first_with_their_people,
    registrations_are_filtered_by_status,
    pages_together_are_the_list_and_one_past_the_end_is_empty,
    a_registration_shows_the_present_state_of_its_event,
    an_attendee_is_shown_with_their_present_profile,
    an_event_that_never_was_has_no_list_and_a_deleted_one_has,
    a_user_without_bookings_has_an_empty_list,
    a_status_changed_by_hand_is_seen_by_the_next_reader,
);

const ALL: RegistrationFilter = RegistrationFilter { status: None };

async fn a_users_registrations_are_listed_newest_first(store: Arc<Store>) {
    let events = [store.event(10).await.id, store.event(10).await.id, store.event(10).await.id];
    let user = store.user().await.id;
    for event in events {
        store.book(user, event).await.unwrap();
        store.clock.advance_secs(1);
    }
    let [first, second, third] = events;
    assert_eq!(booked(&store, user).await, [third, second, first]);
    store.cancel(user, first).await.unwrap();
    assert_eq!(booked(&store, user).await, [third, second, first], "a cancellation is no new booking");
    store.book(user, first).await.unwrap();
    assert_eq!(booked(&store, user).await, [first, third, second]);
}

async fn registrations_of_one_instant_are_listed_by_id_greatest_first(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let mut expected = Vec::new();
    for user in store.users(4).await {
        expected.insert(0, store.book(user, event).await.unwrap().id);
    }
    let listed = store.registrations.of_event(event, ALL, page(1, 100)).await.unwrap().unwrap();
    let ids: Vec<_> = listed.rows.iter().map(|row| row.registration.id).collect();
    assert_eq!(ids, expected);
}

async fn an_events_registrations_are_listed_newest_first_with_their_people(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let mut expected = Vec::new();
    for _ in 0..3 {
        let user = store.user().await;
        let registration = store.book(user.id, event).await.unwrap();
        expected.insert(0, (registration, user));
        store.clock.advance_secs(1);
    }
    let other = store.event(10).await.id;
    store.book(expected[0].1.id, other).await.unwrap();

    let listed = store.registrations.of_event(event, ALL, page(1, 100)).await.unwrap().unwrap();
    assert_eq!(listed.total, 3);
    for (row, (registration, user)) in listed.rows.iter().zip(&expected) {
        assert_eq!(&row.registration, registration);
        assert_eq!((row.user.id, &row.user.name, &row.user.email), (user.id, &user.name, &user.email));
    }
}

async fn registrations_are_filtered_by_status(store: Arc<Store>) {
    let events = [store.event(10).await.id, store.event(10).await.id];
    let user = store.user().await.id;
    for event in events {
        store.book(user, event).await.unwrap();
    }
    store.cancel(user, events[0]).await.unwrap();
    for (status, event) in [(RegistrationStatus::Cancelled, events[0]), (RegistrationStatus::Confirmed, events[1])] {
        let filter = RegistrationFilter { status: Some(status) };
        let mine = store.registrations.of_user(user, filter, page(1, 100)).await.unwrap();
        assert_eq!((mine.total, mine.rows.len()), (1, 1));
        assert_eq!((mine.rows[0].event.id, mine.rows[0].registration.status), (event, status));
        for (asked, count) in [(event, 1), (if event == events[0] { events[1] } else { events[0] }, 0)] {
            let theirs = store.registrations.of_event(asked, filter, page(1, 100)).await.unwrap().unwrap();
            assert_eq!((theirs.total, theirs.rows.len() as u64), (count, count));
        }
    }
}

async fn pages_together_are_the_list_and_one_past_the_end_is_empty(store: Arc<Store>) {
    let user = store.user().await.id;
    let mut expected = Vec::new();
    for _ in 0..5 {
        let event = store.event(10).await.id;
        store.book(user, event).await.unwrap();
        expected.insert(0, event);
    }
    let mut paged = Vec::new();
    for number in 1..=4 {
        let part = store.registrations.of_user(user, ALL, page(number, 2)).await.unwrap();
        assert_eq!(part.total, 5);
        paged.extend(part.rows.into_iter().map(|row| row.event.id));
    }
    assert_eq!(paged, expected);
    let past = store.registrations.of_user(user, ALL, page(1_000_000, 1000)).await.unwrap();
    assert_eq!((past.rows.len(), past.total), (0, 5));
    let past = store.registrations.of_event(expected[0], ALL, page(1_000_000, 1000)).await.unwrap().unwrap();
    assert_eq!((past.rows.len(), past.total), (0, 1));
}

async fn a_registration_shows_the_present_state_of_its_event(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let [user, other] = store.users(2).await[..] else { unreachable!() };
    store.book(user, event).await.unwrap();
    let of_user = || async { store.registrations.of_user(user, ALL, page(1, 100)).await.unwrap().rows.remove(0).event };
    assert_eq!(of_user().await, store.found(event).await);
    store.book(other, event).await.unwrap();
    assert_eq!(of_user().await.seats.available(), 8, "a booking of another user");
    let venue = Some(Venue::parse("Scala").unwrap());
    store.update(event, EventPatch { venue, ..EventPatch::default() }).await.unwrap();
    assert_eq!(of_user().await, store.found(event).await);
    store.delete(event).await;
    let deleted = of_user().await;
    assert_eq!((deleted.id, deleted.deleted_at), (event, Some(store.now())));
}

async fn an_attendee_is_shown_with_their_present_profile(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    let attendee =
        || async { store.registrations.of_event(event, ALL, page(1, 100)).await.unwrap().unwrap().rows.remove(0).user };
    attendee().await;
    let what = ProfilePatch {
        name: Some(PersonName::parse("Grace").unwrap()),
        email: Some(email("grace@example.com")),
        notifications: None,
    };
    store.users.update(Command { by: user, once: None, what }).await.unwrap();
    let shown = attendee().await;
    assert_eq!((shown.name.as_str(), shown.email.as_str()), ("Grace", "grace@example.com"));
}

async fn an_event_that_never_was_has_no_list_and_a_deleted_one_has(store: Arc<Store>) {
    assert_eq!(store.registrations.of_event(unknown_event(), ALL, page(1, 100)).await.unwrap(), None);
    let event = store.event(10).await.id;
    let empty = store.registrations.of_event(event, ALL, page(1, 100)).await.unwrap().unwrap();
    assert_eq!((empty.rows.len(), empty.total), (0, 0));
    store.delete(event).await;
    let empty = store.registrations.of_event(event, ALL, page(1, 100)).await.unwrap().unwrap();
    assert_eq!((empty.rows.len(), empty.total), (0, 0));
}

async fn a_user_without_bookings_has_an_empty_list(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    for attendee in [user, unknown_user()] {
        let none = store.registrations.of_user(attendee, ALL, page(1, 100)).await.unwrap();
        assert_eq!((none.rows.len(), none.total), (0, 0));
    }
    store.book(user, event).await.unwrap();
    assert_eq!(booked(&store, user).await, [event], "the first booking shows in a list that was empty");
}

async fn a_status_changed_by_hand_is_seen_by_the_next_reader(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    let registration = store.book(user, event).await.unwrap();
    booked(&store, user).await;
    store
        .run_sql(&format!("UPDATE registrations SET status = 'cancelled' WHERE id = {}", registration.id))
        .await
        .unwrap();
    let mine = store.registrations.of_user(user, ALL, page(1, 100)).await.unwrap();
    assert_eq!(mine.rows[0].registration.status, RegistrationStatus::Cancelled);
}

/// The events of a user's registrations, in the list's order.
async fn booked(store: &Store, user: UserId) -> Vec<EventId> {
    let all = store.registrations.of_user(user, ALL, page(1, 100)).await.unwrap();
    assert_eq!(all.total, all.rows.len() as u64);
    all.rows.into_iter().map(|booking| booking.event.id).collect()
}
