//! Selling seats and taking them back.

use std::sync::Arc;

use domain::ports::{BookError, CancelError, RegistrationFilter, UpdateEventError};
use domain::sample::page;
use domain::{
    BookingRefused, CancellationRefused, EventId, EventPatch, Registration, RegistrationStatus, RevisionRefused,
    SeatCount, UpdateRefused, UserId,
};

use crate::harness::all_at_once;
use crate::harness::store::{Store, unknown_event, unknown_user};

on_every_store!(
    a_booking_takes_one_seat_and_returns_its_user_and_event,
    each_refusal_to_book_has_its_own_error_and_changes_nothing,
    each_refusal_to_cancel_has_its_own_error_and_changes_nothing,
    already_registered_comes_before_sold_out_and_after_started,
    a_cancelled_seat_can_be_booked_again_under_the_same_id,
    the_last_seat_is_sold_once,
    a_hundred_people_get_the_ten_seats_there_are,
    one_person_gets_one_seat_however_often_they_ask_at_once,
    one_cancellation_gives_back_one_seat_however_often_it_is_asked_for,
    seats_and_registrations_agree_after_a_storm,
    bookings_across_many_events_never_lock_each_other_out,
    an_event_that_shrinks_never_has_fewer_seats_than_registrations,
    an_event_deleted_while_it_is_booked_keeps_no_holder,
);

async fn a_booking_takes_one_seat_and_returns_its_user_and_event(store: Arc<Store>) {
    let event = store.event(10).await;
    let user = store.user().await.id;
    let booked = store.book(user, event.id).await.unwrap();
    assert_eq!((booked.user_id, booked.event_id), (user, event.id));
    assert_eq!(booked.status, RegistrationStatus::Confirmed);
    assert_eq!((booked.registered_at, booked.created_at), (store.now(), store.now()));

    let after = store.found(event.id).await;
    assert_eq!((after.seats.total(), after.seats.available(), after.seats.registered()), (10, 9, 1));
    assert!(after.version > event.version);
    assert_eq!(after.updated_at, event.updated_at, "a booking is not its organiser's change");
    assert_eq!(mine(&store, user).await, [booked]);
    store.assert_consistent().await;
}

async fn each_refusal_to_book_has_its_own_error_and_changes_nothing(store: Arc<Store>) {
    let [holder, user] = store.users(2).await[..] else { unreachable!() };
    let full = store.event(1).await;
    store.book(holder, full.id).await.unwrap();
    let deleted = store.event(1).await;
    store.delete(deleted.id).await;
    let event = store.event(1).await;

    assert!(matches!(store.book(user, unknown_event()).await, Err(BookError::EventNotFound)));
    assert!(matches!(store.book(user, deleted.id).await, Err(BookError::EventNotFound)));
    assert!(matches!(store.book(user, full.id).await, Err(BookError::Refused(BookingRefused::SoldOut))));
    assert!(matches!(store.book(holder, full.id).await, Err(BookError::Refused(BookingRefused::AlreadyRegistered))));
    assert!(matches!(store.book(unknown_user(), event.id).await, Err(BookError::AuthorGone)));
    store.clock.set(event.starts_at);
    assert!(matches!(store.book(user, event.id).await, Err(BookError::Refused(BookingRefused::Started))));

    assert_eq!(store.found(event.id).await, event);
    assert_eq!(store.found(full.id).await.seats.available(), 0);
    assert_eq!(mine(&store, user).await, []);
    store.assert_consistent().await;
}

async fn each_refusal_to_cancel_has_its_own_error_and_changes_nothing(store: Arc<Store>) {
    let [holder, user] = store.users(2).await[..] else { unreachable!() };
    let event = store.event(5).await;
    let deleted = store.event(5).await;
    let booked = store.book(holder, event.id).await.unwrap();
    store.book(holder, deleted.id).await.unwrap();
    store.delete(deleted.id).await;
    let before = store.found(event.id).await;

    assert!(matches!(store.cancel(user, unknown_event()).await, Err(CancelError::EventNotFound)));
    assert!(matches!(store.cancel(holder, deleted.id).await, Err(CancelError::EventNotFound)));
    let not_registered = |answer| matches!(answer, Err(CancelError::Refused(CancellationRefused::NotRegistered)));
    assert!(not_registered(store.cancel(user, event.id).await));
    store.clock.set(event.starts_at);
    assert!(not_registered(store.cancel(user, event.id).await));
    let started = store.cancel(holder, event.id).await;
    assert!(matches!(started, Err(CancelError::Refused(CancellationRefused::Started))), "{started:?}");

    assert_eq!(store.found(event.id).await, before);
    assert!(mine(&store, holder).await.contains(&booked));
    store.assert_consistent().await;
}

async fn already_registered_comes_before_sold_out_and_after_started(store: Arc<Store>) {
    let event = store.event(1).await;
    let user = store.user().await.id;
    store.book(user, event.id).await.unwrap();
    let held = store.book(user, event.id).await;
    assert!(matches!(held, Err(BookError::Refused(BookingRefused::AlreadyRegistered))), "{held:?}");
    store.clock.set(event.starts_at);
    let started = store.book(user, event.id).await;
    assert!(matches!(started, Err(BookError::Refused(BookingRefused::Started))), "{started:?}");
}

async fn a_cancelled_seat_can_be_booked_again_under_the_same_id(store: Arc<Store>) {
    let event = store.event(1).await;
    let user = store.user().await.id;
    let first = store.book(user, event.id).await.unwrap();

    store.clock.advance_secs(60);
    let cancelled = store.cancel(user, event.id).await.unwrap();
    assert_eq!((cancelled.id, cancelled.status), (first.id, RegistrationStatus::Cancelled));
    assert_eq!((cancelled.registered_at, cancelled.created_at), (first.registered_at, first.created_at));
    assert!(cancelled.version > first.version);
    assert_eq!(store.found(event.id).await.seats.available(), 1);

    store.clock.advance_secs(60);
    let again = store.book(user, event.id).await.unwrap();
    assert_eq!((again.id, again.status), (first.id, RegistrationStatus::Confirmed));
    assert_eq!((again.registered_at, again.created_at), (store.now(), first.created_at));
    assert!(again.version > cancelled.version);
    assert_eq!(mine(&store, user).await, [again]);
    assert_eq!(store.found(event.id).await.seats.available(), 0);
    store.assert_consistent().await;
}

async fn the_last_seat_is_sold_once(store: Arc<Store>) {
    for _ in 0..5 {
        let event = store.event(1).await.id;
        let users = store.users(2).await;
        let answers = all_at_once(users.into_iter().map(|user| booking(&store, user, event))).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert_eq!(sold_out(&answers), 1, "{answers:?}");
        assert_eq!(store.found(event).await.seats.available(), 0);
    }
    store.assert_consistent().await;
}

async fn a_hundred_people_get_the_ten_seats_there_are(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let users = store.users(100).await;
    let answers = all_at_once(users.into_iter().map(|user| booking(&store, user, event))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10, "{answers:?}");
    assert_eq!(sold_out(&answers), 90, "{answers:?}");
    let after = store.found(event).await;
    assert_eq!((after.seats.total(), after.seats.available()), (10, 0));
    assert_eq!(holders(&store, event).await, 10);
    store.assert_consistent().await;
}

async fn one_person_gets_one_seat_however_often_they_ask_at_once(store: Arc<Store>) {
    let event = store.event(100).await.id;
    let user = store.user().await.id;
    let answers = all_at_once((0..50).map(|_| booking(&store, user, event))).await;
    let held = |answer: &&Result<_, _>| matches!(answer, Err(BookError::Refused(BookingRefused::AlreadyRegistered)));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(held).count(), 49, "{answers:?}");
    assert_eq!(store.found(event).await.seats.available(), 99);
    assert_eq!(mine(&store, user).await.len(), 1);
    store.assert_consistent().await;
}

async fn one_cancellation_gives_back_one_seat_however_often_it_is_asked_for(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let users = store.users(3).await;
    for &user in &users {
        store.book(user, event).await.unwrap();
    }
    let answers = all_at_once((0..30).map(|turn| {
        let (store, user) = (store.clone(), users[turn % 2]);
        async move { store.cancel(user, event).await }
    }))
    .await;
    let refused =
        |answer: &&Result<_, _>| matches!(answer, Err(CancelError::Refused(CancellationRefused::NotRegistered)));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2, "{answers:?}");
    assert_eq!(answers.iter().filter(refused).count(), 28, "{answers:?}");
    assert_eq!(store.found(event).await.seats.available(), 9);
    store.assert_consistent().await;
}

async fn seats_and_registrations_agree_after_a_storm(store: Arc<Store>) {
    let event = store.event(4).await.id;
    let users = store.users(12).await;
    let clients = users.into_iter().map(|user| {
        let store = store.clone();
        async move {
            for _ in 0..10 {
                match store.book(user, event).await {
                    Ok(_) => {
                        store.cancel(user, event).await.unwrap();
                    }
                    Err(BookError::Refused(BookingRefused::SoldOut)) => {}
                    Err(other) => panic!("{other:?}"),
                }
                let seen = store.found(event).await;
                assert!(seen.seats.registered() <= 4);
            }
        }
    });
    all_at_once(clients).await;
    let after = store.found(event).await;
    assert_eq!((after.seats.total(), after.seats.available()), (4, 4));
    assert_eq!(holders(&store, event).await, 0);
    store.assert_consistent().await;
}

async fn bookings_across_many_events_never_lock_each_other_out(store: Arc<Store>) {
    let mut events = Vec::new();
    for _ in 0..6 {
        events.push(store.event(5).await.id);
    }
    let users = store.users(20).await;
    let clients = users.into_iter().enumerate().map(|(turn, user)| {
        let (store, mut events) = (store.clone(), events.clone());
        async move {
            events.rotate_left(turn % 6);
            if turn % 2 == 0 {
                events.reverse();
            }
            let mut sold = 0;
            for event in events {
                match store.book(user, event).await {
                    Ok(_) => sold += 1,
                    Err(BookError::Refused(BookingRefused::SoldOut)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            sold
        }
    });
    let sold: usize = all_at_once(clients).await.into_iter().sum();
    assert_eq!(sold, 6 * 5, "every seat is sold");
    store.assert_consistent().await;
}

async fn an_event_that_shrinks_never_has_fewer_seats_than_registrations(store: Arc<Store>) {
    let event = store.event(40).await.id;
    let users = store.users(40).await;
    store.admin().await;
    let shrinking = {
        let store = store.clone();
        tokio::spawn(async move {
            let mut seats = 40;
            while seats > 1 {
                let patch =
                    EventPatch { total_seats: Some(SeatCount::new(seats - 1).unwrap()), ..EventPatch::default() };
                match store.update(event, patch).await {
                    Ok(shrunk) => assert_eq!(u64::from(shrunk.seats.total()), seats - 1),
                    Err(UpdateEventError::Refused(UpdateRefused::Revision(RevisionRefused::Seats(refused)))) => {
                        assert!(u64::from(refused.registered) >= seats);
                        break;
                    }
                    Err(other) => panic!("{other:?}"),
                }
                seats -= 1;
            }
        })
    };
    let answers = all_at_once(users.into_iter().map(|user| booking(&store, user, event))).await;
    shrinking.await.unwrap();
    let sold = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(sold + sold_out(&answers), 40, "{answers:?}");
    let after = store.found(event).await;
    assert_eq!(after.seats.registered() as usize, sold);
    store.assert_consistent().await;
}

async fn an_event_deleted_while_it_is_booked_keeps_no_holder(store: Arc<Store>) {
    let event = store.event(50).await.id;
    let users = store.users(30).await;
    store.book(users[0], event).await.unwrap();
    let deleting = {
        let store = store.clone();
        tokio::spawn(async move { store.delete(event).await })
    };
    let answers = all_at_once(users[1..].iter().map(|&user| booking(&store, user, event))).await;
    let deleted = deleting.await.unwrap();
    let sold = answers.iter().filter(|answer| answer.is_ok()).count();
    let too_late = answers.iter().filter(|answer| matches!(answer, Err(BookError::EventNotFound))).count();
    assert_eq!(sold + too_late, 29, "{answers:?}");
    assert_eq!(deleted.cancelled_registrations, sold as u64 + 1);
    assert_eq!(holders(&store, event).await, 0);
    store.assert_consistent().await;
}

/// A booking to be started with others.
fn booking(
    store: &Arc<Store>,
    user: UserId,
    event: EventId,
) -> impl Future<Output = Result<Registration, BookError>> + Send + 'static {
    let store = store.clone();
    async move { store.book(user, event).await }
}

fn sold_out(answers: &[Result<Registration, BookError>]) -> usize {
    answers.iter().filter(|answer| matches!(answer, Err(BookError::Refused(BookingRefused::SoldOut)))).count()
}

/// How many hold a seat at the event, by its list.
async fn holders(store: &Store, event: EventId) -> u64 {
    let confirmed = RegistrationFilter { status: Some(RegistrationStatus::Confirmed) };
    store.registrations.of_event(event, confirmed, page(1, 1000)).await.unwrap().expect("the event").total
}

/// The user's registrations, by their list.
async fn mine(store: &Store, user: UserId) -> Vec<Registration> {
    let all = store.registrations.of_user(user, RegistrationFilter::default(), page(1, 1000)).await.unwrap();
    assert_eq!(all.total, all.rows.len() as u64);
    all.rows.into_iter().map(|booking| booking.registration).collect()
}
