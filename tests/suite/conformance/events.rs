//! The port of events: one event at a time.

use std::sync::Arc;

use domain::event::StartsAt;
use domain::ports::{CreateEventError, DeleteEventError, RegistrationFilter, UpdateEventError};
use domain::sample::{at, event_id, once, page};
use domain::{
    Command, DeleteEvent, DeletionRefused, Description, Event, EventPatch, EventTitle, Precondition,
    RegistrationStatus, RevisionRefused, SeatCount, UpdateEvent, UpdateRefused, Venue, Version,
};

use crate::harness::all_at_once;
use crate::harness::store::{Store, unknown_event, unknown_user};

on_every_store!(
    an_event_is_read_as_it_was_created,
    an_unknown_or_deleted_event_is_not_found,
    many_are_found_at_once_without_those_that_are_gone,
    every_later_read_shows_a_change,
    a_change_of_one_field_leaves_the_others,
    a_patch_that_changes_nothing_leaves_the_version_and_the_time,
    a_start_that_has_passed_is_written_back_but_no_other,
    a_description_can_be_taken_away,
    a_change_meant_for_another_version_is_stale_and_changes_nothing,
    a_deletion_meant_for_another_version_is_stale_and_deletes_nothing,
    a_missing_event_is_neither_changed_nor_deleted,
    an_author_whose_account_is_gone_writes_nothing,
    resizing_moves_the_free_seats_by_the_same_number,
    there_are_never_fewer_seats_than_holders,
    a_deleted_event_leaves_every_list_and_its_registrations_are_cancelled,
    an_event_is_deleted_once_however_often_it_is_asked_for,
    of_changes_meant_for_one_version_one_is_made,
    every_change_raises_the_version,
    a_change_by_hand_is_seen_by_the_next_reader,
);

async fn an_event_is_read_as_it_was_created(store: Arc<Store>) {
    let mut draft = store.draft("  Été \u{1F3B6} \"quoted\" 'n' \\ % _ ", 7);
    draft.description = Some(Description::parse("Line one\r\n\tline two").unwrap());
    draft.starts_at = StartsAt::new(at("2030-05-01T19:30:00.123456Z"), store.now()).unwrap();
    let created = store.add_event(draft.clone()).await;

    assert_eq!((&created.title, &created.description), (&draft.title, &draft.description));
    assert_eq!((created.starts_at, &created.venue), (draft.starts_at.get(), &draft.venue));
    assert_eq!((created.seats.total(), created.seats.available()), (7, 7));
    assert_eq!((created.created_at, created.updated_at, created.deleted_at), (store.now(), store.now(), None));
    assert_eq!(created.version, Version::FIRST);
    assert_eq!(store.found(created.id).await, created);
    assert_eq!(store.listed(&domain::EventFilter::default()).await, [created]);
}

async fn an_unknown_or_deleted_event_is_not_found(store: Arc<Store>) {
    let event = store.event(10).await.id;
    store.found(event).await;
    store.delete(event).await;
    assert_eq!(store.events.find(event).await.unwrap(), None);
    assert_eq!(store.events.find(unknown_event()).await.unwrap(), None);
    assert_eq!(store.events.find(event_id(domain::id::MAX_ID)).await.unwrap(), None);
}

async fn many_are_found_at_once_without_those_that_are_gone(store: Arc<Store>) {
    let events = [store.event(1).await, store.event(2).await, store.event(3).await];
    let [first, deleted, last] = events.clone().map(|event| event.id);
    store.delete(deleted).await;
    let mut found = store.events.find_many(&[last, unknown_event(), deleted, first, last]).await.unwrap();
    found.sort_by_key(|event| event.id);
    found.dedup();
    assert_eq!(found, [events[0].clone(), events[2].clone()]);
    assert_eq!(store.events.find_many(&[]).await.unwrap(), []);
}

async fn every_later_read_shows_a_change(store: Arc<Store>) {
    let event = store.event(10).await;
    store.found(event.id).await;
    store.clock.advance_secs(60);
    let patch = EventPatch {
        title: Some(EventTitle::parse("Opera").unwrap()),
        description: Some(Some(Description::parse("Four acts").unwrap())),
        starts_at: Some(store.now().plus_secs(3600)),
        venue: Some(Venue::parse("Scala").unwrap()),
        total_seats: Some(SeatCount::new(20).unwrap()),
    };
    let changed = store.update(event.id, patch).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.venue.as_str()), ("Opera", "Scala"));
    assert_eq!(changed.description.as_ref().map(Description::as_str), Some("Four acts"));
    assert_eq!(changed.starts_at, store.now().plus_secs(3600));
    assert_eq!((changed.seats.total(), changed.seats.available()), (20, 20));
    assert_eq!((changed.created_at, changed.updated_at), (event.created_at, store.now()));
    assert!(changed.version > event.version);
    assert_eq!(store.found(event.id).await, changed);
    assert_eq!(store.listed(&domain::EventFilter::default()).await, [changed]);
}

async fn a_change_of_one_field_leaves_the_others(store: Arc<Store>) {
    let event = store.event(10).await;
    let venue = Venue::parse("Scala").unwrap();
    let changed = store.update(event.id, EventPatch { venue: Some(venue.clone()), ..EventPatch::default() }).await;
    assert_eq!(changed.unwrap(), Event { venue, version: event.version.next(), ..event });
}

async fn a_patch_that_changes_nothing_leaves_the_version_and_the_time(store: Arc<Store>) {
    let event = store.event(10).await;
    store.clock.advance_secs(60);
    let same = EventPatch {
        title: Some(event.title.clone()),
        description: Some(event.description.clone()),
        starts_at: Some(event.starts_at),
        venue: Some(event.venue.clone()),
        total_seats: Some(SeatCount::new(10).unwrap()),
    };
    let before = store.confirm(&[event.id], &[]).await;
    assert_eq!(store.update(event.id, EventPatch::default()).await.unwrap(), event);
    assert_eq!(store.update(event.id, same).await.unwrap(), event);
    assert_eq!(store.found(event.id).await, event);
    assert_eq!(store.confirm(&[event.id], &[]).await, before);
}

async fn a_start_that_has_passed_is_written_back_but_no_other(store: Arc<Store>) {
    let mut draft = store.draft("Concert", 10);
    let start = store.now().plus_secs(60);
    draft.starts_at = StartsAt::new(start, store.now()).unwrap();
    let event = store.add_event(draft).await;
    store.clock.advance_secs(60);
    let titled = |title: &str, starts_at| EventPatch {
        title: Some(EventTitle::parse(title).unwrap()),
        starts_at: Some(starts_at),
        ..EventPatch::default()
    };
    let changed = store.update(event.id, titled("Opera", start)).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.starts_at), ("Opera", start));
    for past in [event.created_at, at("0001-01-01T00:00:00Z")] {
        let refused = store.update(event.id, titled("Never", past)).await;
        assert!(
            matches!(refused, Err(UpdateEventError::Refused(UpdateRefused::Revision(RevisionRefused::Past)))),
            "{past}: {refused:?}"
        );
    }
    assert_eq!(store.found(event.id).await, changed);
    store.update(event.id, titled("Later", store.now().plus_secs(1))).await.unwrap();
}

async fn a_description_can_be_taken_away(store: Arc<Store>) {
    let mut draft = store.draft("Concert", 10);
    draft.description = Some(Description::parse("").unwrap());
    let event = store.add_event(draft).await;
    assert_eq!(event.description.as_ref().map(Description::as_str), Some(""));
    assert_eq!(store.found(event.id).await, event);
    let patch = EventPatch { description: Some(None), ..EventPatch::default() };
    assert_eq!(store.update(event.id, patch).await.unwrap().description, None);
    assert_eq!(store.found(event.id).await.description, None);
}

async fn a_change_meant_for_another_version_is_stale_and_changes_nothing(store: Arc<Store>) {
    let event = store.event(10).await;
    let update = |precondition| {
        let patch = EventPatch { venue: Some(Venue::parse("Scala").unwrap()), ..EventPatch::default() };
        let what = UpdateEvent { event: event.id, patch, precondition };
        let store = store.clone();
        async move { store.events.update(Command { by: store.admin().await.into(), once: None, what }).await }
    };
    let old = event.version;
    assert!(matches!(update(Precondition::OneOf(vec![])).await, Err(UpdateEventError::Refused(UpdateRefused::Stale))));
    assert!(matches!(
        update(Precondition::OneOf(vec![old.next()])).await,
        Err(UpdateEventError::Refused(UpdateRefused::Stale))
    ));
    assert_eq!(store.found(event.id).await, event);
    let user = store.user().await.id;
    store.book(user, event.id).await.unwrap();
    assert!(matches!(
        update(Precondition::OneOf(vec![old])).await,
        Err(UpdateEventError::Refused(UpdateRefused::Stale))
    ));
    let present = store.found(event.id).await.version;
    let changed = update(Precondition::OneOf(vec![old, present])).await.unwrap().outcome;
    assert_eq!(changed.version, present.next());
}

async fn a_deletion_meant_for_another_version_is_stale_and_deletes_nothing(store: Arc<Store>) {
    let event = store.event(10).await;
    let delete = |precondition| {
        let what = DeleteEvent { event: event.id, precondition };
        let store = store.clone();
        async move { store.events.delete(Command { by: store.admin().await.into(), once: None, what }).await }
    };
    assert!(matches!(
        delete(Precondition::OneOf(vec![event.version.next()])).await,
        Err(DeleteEventError::Refused(DeletionRefused::Stale))
    ));
    assert_eq!(store.found(event.id).await, event);
    delete(Precondition::OneOf(vec![event.version])).await.unwrap();
    let gone = delete(Precondition::OneOf(vec![event.version])).await;
    assert!(matches!(gone, Err(DeleteEventError::EventNotFound)), "{gone:?}");
}

async fn a_missing_event_is_neither_changed_nor_deleted(store: Arc<Store>) {
    let deleted = store.event(10).await.id;
    store.delete(deleted).await;
    let by = store.admin().await;
    for event in [unknown_event(), deleted] {
        let patch = EventPatch { venue: Some(Venue::parse("Scala").unwrap()), ..EventPatch::default() };
        assert!(matches!(store.update(event, patch).await, Err(UpdateEventError::EventNotFound)));
        assert!(matches!(store.update(event, EventPatch::default()).await, Err(UpdateEventError::EventNotFound)));
        let what = DeleteEvent { event, precondition: Precondition::Any };
        let refused = store.events.delete(Command { by: by.into(), once: None, what }).await;
        assert!(matches!(refused, Err(DeleteEventError::EventNotFound)), "{refused:?}");
    }
}

async fn an_author_whose_account_is_gone_writes_nothing(store: Arc<Store>) {
    let event = store.event(10).await;
    let by = unknown_user();
    let created = store.events.create(Command { by, once: once("a", 1), what: store.draft("Opera", 1) }).await;
    assert!(matches!(created, Err(CreateEventError::AuthorGone)), "{created:?}");
    let patch = EventPatch { venue: Some(Venue::parse("Scala").unwrap()), ..EventPatch::default() };
    let what = UpdateEvent { event: event.id, patch, precondition: Precondition::Any };
    let updated = store.events.update(Command { by: by.into(), once: once("b", 1), what }).await;
    assert!(matches!(updated, Err(UpdateEventError::AuthorGone)), "{updated:?}");
    let what = DeleteEvent { event: event.id, precondition: Precondition::Any };
    let deleted = store.events.delete(Command { by: by.into(), once: once("c", 1), what }).await;
    assert!(matches!(deleted, Err(DeleteEventError::AuthorGone)), "{deleted:?}");
    assert_eq!(store.listed(&domain::EventFilter::default()).await, [event]);
}

async fn resizing_moves_the_free_seats_by_the_same_number(store: Arc<Store>) {
    let event = store.event(10).await.id;
    for user in store.users(4).await {
        store.book(user, event).await.unwrap();
    }
    for (total, available) in [(15, 11), (4, 0), (1_000_000, 999_996)] {
        let patch = EventPatch { total_seats: Some(SeatCount::new(total).unwrap()), ..EventPatch::default() };
        let resized = store.update(event, patch).await.unwrap();
        assert_eq!((u64::from(resized.seats.total()), resized.seats.available()), (total, available));
        assert_eq!(store.found(event).await, resized);
    }
    store.assert_consistent().await;
}

async fn there_are_never_fewer_seats_than_holders(store: Arc<Store>) {
    let event = store.event(10).await.id;
    for user in store.users(3).await {
        store.book(user, event).await.unwrap();
    }
    let before = store.found(event).await;
    let patch = EventPatch {
        title: Some(EventTitle::parse("Opera").unwrap()),
        total_seats: Some(SeatCount::new(2).unwrap()),
        ..EventPatch::default()
    };
    let refused = store.update(event, patch).await;
    assert!(
        matches!(&refused, Err(UpdateEventError::Refused(UpdateRefused::Revision(RevisionRefused::Seats(seats)))) if seats.registered == 3),
        "{refused:?}"
    );
    assert_eq!(store.found(event).await, before);
}

async fn a_deleted_event_leaves_every_list_and_its_registrations_are_cancelled(store: Arc<Store>) {
    let (event, other) = (store.event(10).await.id, store.event(10).await);
    let users = store.users(3).await;
    for &user in &users {
        store.book(user, event).await.unwrap();
    }
    store.cancel(users[2], event).await.unwrap();
    store.listed(&domain::EventFilter::default()).await;
    store.registrations.of_user(users[0], RegistrationFilter::default(), page(1, 100)).await.unwrap();

    store.clock.advance_secs(60);
    assert_eq!(store.delete(event).await.cancelled_registrations, 2);
    assert_eq!(store.listed(&domain::EventFilter::default()).await, [other]);
    assert_eq!(store.events.find(event).await.unwrap(), None);
    for user in users {
        let mine = store.registrations.of_user(user, RegistrationFilter::default(), page(1, 100)).await.unwrap();
        assert_eq!(mine.rows[0].registration.status, RegistrationStatus::Cancelled);
        assert_eq!(mine.rows[0].event.deleted_at, Some(store.now()));
        assert_eq!(mine.rows[0].event.seats.available(), 10);
    }
    let attendances =
        store.registrations.of_event(event, RegistrationFilter::default(), page(1, 100)).await.unwrap().unwrap();
    assert_eq!(attendances.total, 3);
    assert!(attendances.rows.iter().all(|row| row.registration.status == RegistrationStatus::Cancelled));
    store.assert_consistent().await;
}

async fn an_event_is_deleted_once_however_often_it_is_asked_for(store: Arc<Store>) {
    let event = store.event(10).await.id;
    let user = store.user().await.id;
    store.book(user, event).await.unwrap();
    let by = store.admin().await;
    let answers = all_at_once((0..10).map(|_| {
        let store = store.clone();
        let what = DeleteEvent { event, precondition: Precondition::Any };
        async move { store.events.delete(Command { by: by.into(), once: None, what }).await }
    }))
    .await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1, "{done:?}");
    assert_eq!(done[0].as_ref().unwrap().outcome.cancelled_registrations, 1);
    assert!(refused.iter().all(|answer| matches!(answer, Err(DeleteEventError::EventNotFound))), "{refused:?}");
}

async fn of_changes_meant_for_one_version_one_is_made(store: Arc<Store>) {
    let event = store.event(10).await;
    let by = store.admin().await;
    let answers = all_at_once((0..10).map(|turn| {
        let (store, event, version) = (store.clone(), event.id, event.version);
        let patch = EventPatch { venue: Some(Venue::parse(&format!("Hall {turn}")).unwrap()), ..EventPatch::default() };
        let what = UpdateEvent { event, patch, precondition: Precondition::OneOf(vec![version]) };
        async move { store.events.update(Command { by: by.into(), once: None, what }).await }
    }))
    .await;
    let (made, stale): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(
        stale.iter().all(|answer| matches!(answer, Err(UpdateEventError::Refused(UpdateRefused::Stale)))),
        "{stale:?}"
    );
    assert_eq!(store.found(event.id).await, made[0].as_ref().unwrap().outcome);
}

async fn every_change_raises_the_version(store: Arc<Store>) {
    let event = store.event(10).await;
    let user = store.user().await.id;
    let mut versions = vec![event.version];
    store.book(user, event.id).await.unwrap();
    versions.push(store.found(event.id).await.version);
    store.cancel(user, event.id).await.unwrap();
    versions.push(store.found(event.id).await.version);
    let patch = EventPatch { total_seats: Some(SeatCount::new(11).unwrap()), ..EventPatch::default() };
    store.update(event.id, patch).await.unwrap();
    versions.push(store.found(event.id).await.version);
    store.delete(event.id).await;
    versions.push(store.confirm(&[event.id], &[]).await.events[&event.id].version);
    assert!(versions.is_sorted_by(|one, next| one < next), "{versions:?}");
}

async fn a_change_by_hand_is_seen_by_the_next_reader(store: Arc<Store>) {
    let event = store.event(10).await;
    store.found(event.id).await;
    store.listed(&domain::EventFilter::default()).await;
    store.run_sql(&format!("UPDATE events SET title = 'Opera' WHERE id = {}", event.id)).await.unwrap();
    let found = store.found(event.id).await;
    assert_eq!(found.title.as_str(), "Opera");
    assert!(found.version > event.version);
    assert_eq!(store.listed(&domain::EventFilter::default()).await, [found]);
}
