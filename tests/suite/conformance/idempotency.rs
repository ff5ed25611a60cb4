//! A command under a key happens once.

use std::sync::Arc;

use domain::event::SeatsBelowRegistrations;
use domain::ports::{
    BookError, CancelError, CreateEventError, DeleteEventError, ProfilePatch, UpdateEventError, UpdateUserError,
};
use domain::sample::once;
use domain::{
    BookingRefused, Command, DeleteEvent, EventFilter, EventPatch, KeyConflict, PersonName, Precondition,
    RegistrationStatus, RevisionRefused, SeatCount, UpdateEvent, UpdateRefused, Venue,
};

use crate::harness::all_at_once;
use crate::harness::store::{Store, unknown_event};

on_every_store!(
    a_booking_repeated_is_the_same_booking_even_after_it_was_cancelled,
    a_repeated_cancellation_gives_no_second_seat_back,
    an_event_created_again_under_its_key_is_the_one_there_is,
    a_change_repeated_is_not_made_again,
    a_repeated_deletion_returns_the_same_number,
    a_profile_changed_again_under_its_key_keeps_later_changes,
    a_key_of_another_request_is_refused_and_does_nothing,
    a_refusal_is_not_kept,
    a_booking_is_replayed_after_its_event_was_deleted,
    a_replay_after_the_event_began_is_still_the_booking,
    a_key_stands_for_its_outcome_for_seven_days,
    a_key_belongs_to_its_user,
    keys_claimed_before_an_instant_are_forgotten_and_no_others,
    of_many_at_once_with_one_key_one_acts_and_all_say_the_same,
    of_two_requests_at_once_with_one_key_one_acts,
    keys_of_many_people_at_one_event_do_not_mix,
);

async fn a_booking_repeated_is_the_same_booking_even_after_it_was_cancelled(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    let first = store.book_once(user, event, once("k", 1)).await.unwrap();
    assert!(!first.replayed);
    store.clock.advance_secs(60);
    let again = store.book_once(user, event, once("k", 1)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
    store.cancel(user, event).await.unwrap();
    let after = store.book_once(user, event, once("k", 1)).await.unwrap();
    assert!(after.replayed);
    assert_eq!(after.outcome, first.outcome);
    assert_eq!(store.found(event).await.seats.available(), 10, "the seat stays given back");
    store.assert_consistent().await;
}

async fn a_repeated_cancellation_gives_no_second_seat_back(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    let first = store.cancel_once(user, event, once("k", 1)).await.unwrap();
    assert_eq!((first.replayed, first.outcome.status), (false, RegistrationStatus::Cancelled));
    store.book(user, event).await.unwrap();
    let again = store.cancel_once(user, event, once("k", 1)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
    assert_eq!(store.found(event).await.seats.available(), 9, "the new seat stays held");
    store.assert_consistent().await;
}

async fn an_event_created_again_under_its_key_is_the_one_there_is(store: Arc<Store>) {
    let by = store.admin().await;
    let mut draft = store.draft("Été \u{1F3B6} \"quoted\"", 10);
    draft.description = Some(domain::Description::parse("a\r\n\tb").unwrap());
    let create = |draft| store.events.create(Command { by, once: once("k", 1), what: draft });
    let first = create(draft.clone()).await.unwrap();
    store
        .update(first.outcome.id, EventPatch { total_seats: SeatCount::new(3).ok(), ..EventPatch::default() })
        .await
        .unwrap();
    store.clock.advance_secs(60);
    let again = create(draft).await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(again.outcome, first.outcome, "as it was created, not as it is by now");
    assert_eq!(store.listed(&EventFilter::default()).await.len(), 1);
}

async fn a_change_repeated_is_not_made_again(store: Arc<Store>) {
    let event = store.event(10).await;
    let by = store.admin().await;
    let update = || {
        let patch = EventPatch { venue: Some(Venue::parse("Scala").unwrap()), ..EventPatch::default() };
        let what = UpdateEvent { event: event.id, patch, precondition: Precondition::OneOf(vec![event.version]) };
        store.events.update(Command { by: by.into(), once: once("k", 1), what })
    };
    let first = update().await.unwrap();
    let venue = Some(Venue::parse("Bowl").unwrap());
    let later = store.update(event.id, EventPatch { venue, ..EventPatch::default() }).await.unwrap();
    let again = update().await.expect("a replay is not stale");
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
    assert_eq!(store.found(event.id).await, later);
}

async fn a_repeated_deletion_returns_the_same_number(store: Arc<Store>) {
    let event = store.event(10).await.id;
    for user in store.users(3).await {
        store.book(user, event).await.unwrap();
    }
    let by = store.admin().await;
    let delete = || {
        let what = DeleteEvent { event, precondition: Precondition::Any };
        store.events.delete(Command { by: by.into(), once: once("k", 1), what })
    };
    assert_eq!(delete().await.unwrap().outcome.cancelled_registrations, 3);
    let again = delete().await.expect("a replay finds what is deleted");
    assert_eq!((again.replayed, again.outcome.cancelled_registrations), (true, 3));
}

async fn a_profile_changed_again_under_its_key_keeps_later_changes(store: Arc<Store>) {
    let user = store.user().await;
    let rename = |name: &str, key| {
        let what = ProfilePatch { name: Some(PersonName::parse(name).unwrap()), email: None, notifications: None };
        store.users.update(Command { by: user.id, once: once(key, 1), what })
    };
    let first = rename("Grace", "k").await.unwrap();
    rename("Edsger", "l").await.unwrap();
    let again = rename("Grace", "k").await.unwrap();
    assert_eq!((first.replayed, again.replayed), (false, true));
    assert_eq!(again.outcome, first.outcome);
    assert_eq!(store.users.find(user.id).await.unwrap().unwrap().name.as_str(), "Edsger");
}

async fn a_key_of_another_request_is_refused_and_does_nothing(store: Arc<Store>) {
    let (event, other) = (store.event(10).await, store.event(10).await);
    let admin = store.admin().await;
    let key = || once("k", 2);
    store.book_once(admin, event.id, once("k", 1)).await.unwrap();
    let before = (store.found(event.id).await, store.found(other.id).await);

    let booked = store.book_once(admin, other.id, key()).await;
    assert!(matches!(booked, Err(BookError::Key(KeyConflict::Reused))), "{booked:?}");
    let cancelled = store.cancel_once(admin, event.id, key()).await;
    assert!(matches!(cancelled, Err(CancelError::Key(KeyConflict::Reused))), "{cancelled:?}");
    let created = store.events.create(Command { by: admin, once: key(), what: store.draft("Opera", 1) }).await;
    assert!(matches!(created, Err(CreateEventError::Key(KeyConflict::Reused))), "{created:?}");
    let patch = EventPatch { venue: Some(Venue::parse("Scala").unwrap()), ..EventPatch::default() };
    let what = UpdateEvent { event: event.id, patch, precondition: Precondition::Any };
    let updated = store.events.update(Command { by: admin.into(), once: key(), what }).await;
    assert!(matches!(updated, Err(UpdateEventError::Key(KeyConflict::Reused))), "{updated:?}");
    let what = DeleteEvent { event: event.id, precondition: Precondition::Any };
    let deleted = store.events.delete(Command { by: admin.into(), once: key(), what }).await;
    assert!(matches!(deleted, Err(DeleteEventError::Key(KeyConflict::Reused))), "{deleted:?}");
    let what = ProfilePatch { name: Some(PersonName::parse("Grace").unwrap()), email: None, notifications: None };
    let renamed = store.users.update(Command { by: admin, once: key(), what }).await;
    assert!(matches!(renamed, Err(UpdateUserError::Key(KeyConflict::Reused))), "{renamed:?}");

    assert_eq!((store.found(event.id).await, store.found(other.id).await), before);
    assert_eq!(store.listed(&EventFilter::default()).await.len(), 2);
    store.assert_consistent().await;
}

async fn a_refusal_is_not_kept(store: Arc<Store>) {
    let event = store.event(1).await.id;
    let [holder, user] = store.users(2).await[..] else { unreachable!() };
    store.book(holder, event).await.unwrap();
    let full = store.book_once(user, event, once("k", 1)).await;
    assert!(matches!(full, Err(BookError::Refused(BookingRefused::SoldOut))), "{full:?}");
    let missing = store.book_once(user, unknown_event(), once("k", 2)).await;
    assert!(matches!(missing, Err(BookError::EventNotFound)), "{missing:?}");
    let nothing_held = store.cancel_once(user, event, once("k", 3)).await;
    assert!(matches!(nothing_held, Err(CancelError::Refused(_))), "{nothing_held:?}");
    let by = store.admin().await;
    let none = EventPatch { total_seats: SeatCount::new(1).ok(), ..EventPatch::default() };
    store.update(event, EventPatch { total_seats: SeatCount::new(2).ok(), ..EventPatch::default() }).await.unwrap();
    store.book(user, event).await.unwrap();
    let shrink = |key| {
        let what = UpdateEvent { event, patch: none.clone(), precondition: Precondition::Any };
        store.events.update(Command { by: by.into(), once: once(key, 1), what })
    };
    let below = shrink("s").await;
    let seats = UpdateRefused::Revision(RevisionRefused::Seats(SeatsBelowRegistrations { registered: 2 }));
    assert!(matches!(below, Err(UpdateEventError::Refused(refused)) if refused == seats), "{below:?}");

    store.cancel(user, event).await.unwrap();
    store.cancel(holder, event).await.unwrap();
    assert!(!shrink("s").await.unwrap().replayed);
    assert!(!store.book_once(user, event, once("k", 1)).await.unwrap().replayed);
    store.assert_consistent().await;
}

async fn a_booking_is_replayed_after_its_event_was_deleted(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    let first = store.book_once(user, event, once("k", 1)).await.unwrap();
    let cancelled = store.cancel_once(user, event, once("l", 1)).await.unwrap();
    store.delete(event).await;
    let again = store.book_once(user, event, once("k", 1)).await.expect("a replay of a deleted event's booking");
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
    let again = store.cancel_once(user, event, once("l", 1)).await.expect("a replay of its cancellation");
    assert!(again.replayed);
    assert_eq!(again.outcome, cancelled.outcome);
    let other = store.book_once(user, event, once("m", 1)).await;
    assert!(matches!(other, Err(BookError::EventNotFound)), "{other:?}");
    let reused = store.book_once(user, event, once("k", 2)).await;
    assert!(matches!(reused, Err(BookError::Key(KeyConflict::Reused))), "{reused:?}");
}

async fn a_replay_after_the_event_began_is_still_the_booking(store: Arc<Store>) {
    let event = store.event(10).await;
    let user = store.user().await.id;
    let first = store.book_once(user, event.id, once("k", 1)).await.unwrap();
    // A key is kept for seven days; the event begins within them.
    let soon = store.now().plus_secs(3600);
    store.update(event.id, EventPatch { starts_at: Some(soon), ..EventPatch::default() }).await.unwrap();
    store.clock.advance_secs(2 * 3600);
    let again = store.book_once(user, event.id, once("k", 1)).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.outcome, first.outcome);
}

async fn a_key_stands_for_its_outcome_for_seven_days(store: Arc<Store>) {
    const DAY: u32 = 24 * 3600;
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book_once(user, event, once("k", 1)).await.unwrap();
    store.cancel(user, event).await.unwrap();
    store.clock.advance_secs(7 * DAY);
    assert!(store.book_once(user, event, once("k", 1)).await.unwrap().replayed);
    store.clock.advance_secs(1);
    let anew = store.book_once(user, event, once("k", 2)).await.unwrap();
    assert!(!anew.replayed, "the key is free again");
    assert_eq!(anew.outcome.registered_at, store.now());
    let replay = store.book_once(user, event, once("k", 2)).await.unwrap();
    assert_eq!((replay.replayed, replay.outcome), (true, anew.outcome));
    assert_eq!(store.found(event).await.seats.available(), 9);
}

async fn a_key_belongs_to_its_user(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let [one, other] = store.users(2).await[..] else { unreachable!() };
    let first = store.book_once(one, event, once("k", 1)).await.unwrap();
    let second = store.book_once(other, event, once("k", 1)).await.unwrap();
    assert!(!second.replayed);
    assert_ne!(first.outcome.id, second.outcome.id);
    assert_eq!(store.found(event).await.seats.available(), 8);
}

async fn keys_claimed_before_an_instant_are_forgotten_and_no_others(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let [early, late] = store.users(2).await[..] else { unreachable!() };
    store.book_once(early, event, once("k", 1)).await.unwrap();
    store.cancel(early, event).await.unwrap();
    store.clock.advance_secs(1);
    store.book_once(late, event, once("k", 1)).await.unwrap();
    let purged = [store.purge_keys(store.now()).await, store.purge_keys(store.now()).await];
    assert_eq!(purged, [1, 0]);
    assert!(store.book_once(late, event, once("k", 1)).await.unwrap().replayed);
    assert!(!store.book_once(early, event, once("k", 2)).await.unwrap().replayed, "the key is free again");
}

async fn of_many_at_once_with_one_key_one_acts_and_all_say_the_same(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    let answers = all_at_once((0..20).map(|_| {
        let store = store.clone();
        async move {
            loop {
                match store.book_once(user, event, once("k", 1)).await {
                    // The client asks again, as `Retry-After` says.
                    Err(BookError::Key(KeyConflict::InProgress)) => tokio::task::yield_now().await,
                    other => return other.unwrap(),
                }
            }
        }
    }))
    .await;
    assert_eq!(answers.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(answers.iter().all(|answer| answer.outcome == answers[0].outcome));
    assert_eq!(store.found(event).await.seats.available(), 9);
    store.assert_consistent().await;
}

async fn of_two_requests_at_once_with_one_key_one_acts(store: Arc<Store>) {
    for _ in 0..5 {
        let events = [store.event(10).await.id, store.event(10).await.id];
        let user = store.user().await.id;
        let answers = all_at_once([(events[0], 1), (events[1], 2)].map(|(event, request)| {
            let store = store.clone();
            async move { store.book_once(user, event, once("k", request)).await }
        }))
        .await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert_eq!(answers.iter().filter(|answer| matches!(answer, Err(BookError::Key(_)))).count(), 1, "{answers:?}");
        let sold = store.found(events[0]).await.seats.registered() + store.found(events[1]).await.seats.registered();
        assert_eq!(sold, 1);
    }
    store.assert_consistent().await;
}

async fn keys_of_many_people_at_one_event_do_not_mix(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let users = store.users(30).await;
    let tries = users.iter().chain(&users).map(|&user| {
        let store = store.clone();
        async move { (user, store.book_once(user, event, once("k", 1)).await) }
    });
    let answers = all_at_once(tries).await;
    let fresh = answers.iter().filter(|(_, answer)| answer.as_ref().is_ok_and(|done| !done.replayed)).count();
    assert_eq!(fresh, 10, "{answers:?}");
    for (user, answer) in answers {
        match answer {
            Ok(done) => assert_eq!(done.outcome.user_id, user),
            Err(BookError::Refused(BookingRefused::SoldOut) | BookError::Key(KeyConflict::InProgress)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(store.found(event).await.seats.available(), 0);
    store.assert_consistent().await;
}
