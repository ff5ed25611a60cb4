//! The effect of each change on the versions that confirm cached bodies.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::ports::{VersionAnswer, VersionQuestion};
use domain::sample::{self, at, page};
use domain::{EventId, EventPatch, SeatCount, Timeline, UserId, Venue, Version};

use crate::harness::all_at_once;
use crate::harness::store::{Store, unknown_event, unknown_user};

on_both_databases!(
    only_the_versions_in_the_question_are_answered,
    an_unknown_event_or_user_has_no_version,
    adding_editing_and_deleting_an_event_moves_the_catalogue,
    a_booking_moves_its_event_and_its_holder_but_not_the_catalogue,
    selling_out_and_coming_back_move_the_catalogue,
    deleting_an_event_moves_every_attendee,
    a_deleted_event_is_stamped_as_such,
    the_sum_of_a_users_versions_only_grows,
    no_change_at_once_with_others_is_lost,
    a_row_written_by_hand_needs_only_the_columns_of_the_design,
    a_change_by_sql_moves_the_versions_that_depend_on_it,
    a_row_removed_by_sql_moves_the_versions_that_depend_on_it,
    many_are_confirmed_at_once,
    every_answer_names_the_timeline_of_its_versions,
);

async fn only_the_versions_in_the_question_are_answered(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    let nothing = store.versions.confirm(&VersionQuestion::default()).await.unwrap();
    assert_eq!(nothing, VersionAnswer::default());
    let catalogue = VersionQuestion { catalogue: true, ..VersionQuestion::default() };
    let answer = store.versions.confirm(&catalogue).await.unwrap();
    assert!(answer.catalogue.is_some() && answer.events.is_empty() && answer.attendees.is_empty(), "{answer:?}");
    let rest = VersionQuestion { catalogue: false, events: BTreeSet::from([event]), attendees: BTreeSet::from([user]) };
    let answer = store.versions.confirm(&rest).await.unwrap();
    assert_eq!((answer.catalogue, answer.events.len(), answer.attendees.len()), (None, 1, 1));
    assert_eq!(answer.events[&event].version, store.found(event).await.version);
}

async fn an_unknown_event_or_user_has_no_version(store: Arc<Store>) {
    let user = store.user().await.id;
    let answer = store.confirm(&[unknown_event()], &[unknown_user(), user]).await;
    assert!(answer.events.is_empty() && answer.attendees.is_empty(), "{answer:?}");
}

async fn adding_editing_and_deleting_an_event_moves_the_catalogue(store: Arc<Store>) {
    let mut seen = vec![catalogue(&store).await];
    let event = store.event(10).await.id;
    seen.push(catalogue(&store).await);
    let venue = Some(Venue::parse("Scala").unwrap());
    store.update(event, EventPatch { venue, ..EventPatch::default() }).await.unwrap();
    seen.push(catalogue(&store).await);
    let total_seats = Some(SeatCount::new(11).unwrap());
    store.update(event, EventPatch { total_seats, ..EventPatch::default() }).await.unwrap();
    seen.push(catalogue(&store).await);
    store.delete(event).await;
    seen.push(catalogue(&store).await);
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
}

async fn a_booking_moves_its_event_and_its_holder_but_not_the_catalogue(store: Arc<Store>) {
    let (event, other) = (store.event(10).await.id, store.event(10).await.id);
    let [user, bystander] = store.users(2).await[..] else { unreachable!() };
    store.book(bystander, other).await.unwrap();
    let (events, users) = ([event, other], [user, bystander]);
    let ask = || store.confirm(&events, &users);
    let mut seen = vec![ask().await];
    for turn in 0..4 {
        if turn % 2 == 0 {
            store.book(user, event).await.unwrap();
        } else {
            store.cancel(user, event).await.unwrap();
        }
        seen.push(ask().await);
    }
    for pair in seen.windows(2) {
        let [before, after] = pair else { unreachable!() };
        assert_eq!(before.catalogue, after.catalogue);
        assert!(before.events[&event].version < after.events[&event].version);
        assert_eq!(before.events[&other], after.events[&other]);
        assert!(before.attendees.get(&user) < after.attendees.get(&user));
        assert_eq!(before.attendees[&bystander], after.attendees[&bystander]);
    }
}

async fn selling_out_and_coming_back_move_the_catalogue(store: Arc<Store>) {
    let event = store.event(2).await.id;
    let [first, second] = store.users(2).await[..] else { unreachable!() };
    let start = catalogue(&store).await;
    store.book(first, event).await.unwrap();
    assert_eq!(catalogue(&store).await, start);
    store.book(second, event).await.unwrap();
    let sold_out = catalogue(&store).await;
    assert!(sold_out > start);
    store.cancel(first, event).await.unwrap();
    let back = catalogue(&store).await;
    assert!(back > sold_out);
    store.cancel(second, event).await.unwrap();
    assert_eq!(catalogue(&store).await, back);
}

async fn deleting_an_event_moves_every_attendee(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let users = store.users(3).await;
    for &user in &users {
        store.book(user, event).await.unwrap();
    }
    let before = store.confirm(&[event], &users).await;
    store.delete(event).await;
    let after = store.confirm(&[event], &users).await;
    assert!(before.events[&event].version < after.events[&event].version);
    for user in users {
        assert!(before.attendees[&user] < after.attendees[&user]);
    }
}

async fn a_deleted_event_is_stamped_as_such(store: Arc<Store>) {
    let event = store.event(10).await.id;
    assert!(!store.confirm(&[event], &[]).await.events[&event].deleted);
    store.delete(event).await;
    assert!(store.confirm(&[event], &[]).await.events[&event].deleted);
}

async fn the_sum_of_a_users_versions_only_grows(store: Arc<Store>) {
    let (event, other) = (store.event(10).await.id, store.event(10).await.id);
    let user = store.user().await.id;
    let mut seen = vec![];
    for step in 0..6 {
        match step {
            0 | 3 => drop(store.book(user, event).await.unwrap()),
            1 => drop(store.book(user, other).await.unwrap()),
            2 => drop(store.cancel(user, event).await.unwrap()),
            4 => drop(store.cancel(user, other).await.unwrap()),
            _ => drop(store.delete(event).await),
        }
        seen.push(store.confirm(&[], &[user]).await.attendees[&user]);
    }
    assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
}

async fn no_change_at_once_with_others_is_lost(store: Arc<Store>) {
    let before = catalogue(&store).await;
    let event = store.event(100).await;
    let users = store.users(20).await;
    store.admin().await;
    all_at_once(users.iter().enumerate().map(|(turn, &user)| {
        let (store, event) = (store.clone(), event.id);
        async move {
            store.book(user, event).await.unwrap();
            if turn % 2 == 0 {
                let venue = Some(Venue::parse(&format!("Hall {turn}")).unwrap());
                store.update(event, EventPatch { venue, ..EventPatch::default() }).await.unwrap();
                store.event(1).await;
            }
        }
    }))
    .await;
    let after = store.confirm(&[event.id], &users).await;
    assert_eq!(after.events[&event.id].version.get(), event.version.get() + 20 + 10);
    // Updates that are committed together raise it once.
    assert!(after.catalogue.unwrap().get() > before.get() + 11);
    assert_eq!(after.attendees.len(), 20);
}

async fn a_row_written_by_hand_needs_only_the_columns_of_the_design(store: Arc<Store>) {
    for time in ["2030-05-01 19:30:00+00:00", "2030-05-01T19:30:00Z", "2030-05-01T21:30:00+02:00"] {
        let before = catalogue(&store).await;
        let email = format!("by-hand-{}@example.com", before.get());
        let title = format!("By HAND {}", before.get());
        store
            .run_sql(&format!("INSERT INTO users (name, email, password, role) VALUES ('Ada', '{email}', 'x', 'user')"))
            .await
            .unwrap();
        store
            .run_sql(&format!(
                "INSERT INTO events (title, description, date, venue, total_seats, available_seats)
                VALUES ('{title}', 'Text', '{time}', 'Opera', 10, 9)"
            ))
            .await
            .unwrap();
        store
            .run_sql(&format!(
                "INSERT INTO registrations (user_id, event_id, registration_date, status)
                SELECT users.id, events.id, '{time}', 'confirmed' FROM users, events
                WHERE email = '{email}' AND title = '{title}'"
            ))
            .await
            .unwrap();
        assert!(catalogue(&store).await > before);

        let user = store.users.credentials(&sample::email(&email)).await.unwrap().unwrap().user;
        let filter = domain::EventFilter {
            search: domain::TitleSearch::parse(&title.to_uppercase()).unwrap(),
            ..domain::EventFilter::default()
        };
        let found = store.listed(&filter).await;
        assert_eq!(found.len(), 1, "a title written by hand is found");
        assert_eq!(found[0].starts_at, at("2030-05-01T19:30:00Z"));
        let stored = Some(found[0].starts_at);
        let that_instant = domain::EventFilter { from: stored, to: stored, ..filter };
        assert_eq!(store.listed(&that_instant).await, found, "an instant written by hand compares");
        let everything = domain::ports::RegistrationFilter::default();
        let mine = store.registrations.of_user(user.id, everything, page(1, 10)).await.unwrap();
        assert_eq!(mine.rows[0].event, found[0]);
        assert_eq!(mine.rows[0].registration.registered_at, found[0].starts_at);
    }
    store.assert_consistent().await;
}

async fn a_change_by_sql_moves_the_versions_that_depend_on_it(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    for (change, moves_catalogue) in [
        ("title = 'Opera'", true),
        ("description = 'Text'", true),
        ("description = NULL", true),
        ("date = '2030-06-01T00:00:00+00:00'", true),
        ("venue = 'Scala'", true),
        ("total_seats = 20, available_seats = 19", true),
        ("available_seats = 18", false),
        ("available_seats = 0", true),
        ("available_seats = 19", true),
        ("deleted_at = '2030-01-02T00:00:00+00:00'", true),
        ("deleted_at = NULL", true),
    ] {
        let before = store.confirm(&[event], &[]).await;
        store.run_sql(&format!("UPDATE events SET {change} WHERE id = {event}")).await.unwrap();
        let after = store.confirm(&[event], &[]).await;
        assert!(before.events[&event].version < after.events[&event].version, "{change}");
        assert_eq!(before.catalogue < after.catalogue, moves_catalogue, "{change}");
    }
    for change in ["status = 'cancelled'", "registration_date = '2030-01-01T00:00:00+00:00'"] {
        let before = attendee(&store, user).await;
        store.run_sql(&format!("UPDATE registrations SET {change} WHERE user_id = {user}")).await.unwrap();
        assert!(before < attendee(&store, user).await, "{change}");
    }
}

async fn a_row_removed_by_sql_moves_the_versions_that_depend_on_it(store: Arc<Store>) {
    let (event, kept) = (store.event(10).await.id, store.event(10).await.id);
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    store.book(user, kept).await.unwrap();
    let before = store.confirm(&[event], &[user]).await;
    store.run_sql(&format!("DELETE FROM registrations WHERE event_id = {event}")).await.unwrap();
    assert_ne!(Some(before.attendees[&user]), Some(attendee(&store, user).await));
    store.run_sql(&format!("DELETE FROM events WHERE id = {event}")).await.unwrap();
    let after = store.confirm(&[event], &[user]).await;
    assert!(before.catalogue < after.catalogue);
    assert!(!after.events.contains_key(&event));
}

async fn many_are_confirmed_at_once(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let mut question = VersionQuestion { catalogue: true, ..VersionQuestion::default() };
    question.events.extend((1..=5_000).filter_map(EventId::new));
    question.attendees.extend((1..=5_000).filter_map(UserId::new));
    let answer = store.versions.confirm(&question).await.unwrap();
    assert_eq!(answer.events.keys().copied().collect::<Vec<_>>(), [event]);
}

async fn every_answer_names_the_timeline_of_its_versions(store: Arc<Store>) {
    let event = store.event(10).await;
    let user = store.user().await.id;
    store.book(user, event.id).await.unwrap();
    let answer = store.confirm(&[event.id], &[user]).await;
    assert_eq!(answer.timeline, Timeline::FIRST);
    let versions = [answer.catalogue.unwrap(), answer.events[&event.id].version, answer.attendees[&user]];
    assert_eq!(versions.map(Version::timeline), [Timeline::FIRST; 3]);
    assert_eq!(answer.events[&event.id].version.get(), 2, "there the version is the count");
    let nothing = VersionQuestion { events: BTreeSet::from([unknown_event()]), ..VersionQuestion::default() };
    assert_eq!(store.versions.confirm(&nothing).await.unwrap().timeline, Timeline::FIRST);
}

async fn catalogue(store: &Store) -> Version {
    store.confirm(&[], &[]).await.catalogue.unwrap()
}

async fn attendee(store: &Store, user: UserId) -> Version {
    store.confirm(&[], &[user]).await.attendees[&user]
}
