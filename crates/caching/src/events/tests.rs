//! Events and pages from the cache, over a store that counts what it is asked.

use std::time::Duration;

use domain::ports::MockEvents;
use domain::sample::{draft, event_id, now, user_id};
use domain::{EventOrder, Version};

use super::*;
use crate::CacheOptions;
use crate::bodies::sample::Shelf;
use crate::world::{World, page_of};

struct Setting {
    world: Arc<World>,
    shelf: Arc<Shelf>,
    events: Arc<CachedEvents>,
}

fn setting(max_staleness: Duration) -> Setting {
    let (world, shelf) = (Arc::new(World::new(5)), Arc::new(Shelf::default()));
    let cache = Cache::new(world.clone(), shelf.clone(), CacheOptions { max_staleness, ..CacheOptions::default() });
    let events = Arc::new(CachedEvents::new(world.clone(), cache));
    Setting { world, shelf, events }
}

fn by(order: &str) -> EventFilter {
    EventFilter { order: EventOrder::parse(order).unwrap(), ..EventFilter::default() }
}

#[tokio::test]
async fn an_event_is_loaded_once_and_confirmed_every_time() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    let first = events.find(event_id(1)).await.unwrap().unwrap();
    assert_eq!(Some(&first), world.event(1).as_ref());
    for _ in 0..2 {
        assert!(Arc::ptr_eq(&first, &events.find(event_id(1)).await.unwrap().unwrap()), "readers share what is kept");
    }
    assert_eq!((world.count("find"), world.count("confirm")), (1, 3));
}

#[tokio::test]
async fn a_changed_event_is_loaded_again() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    events.find(event_id(1)).await.unwrap();
    world.book(1, 9);
    assert_eq!(events.find(event_id(1)).await.unwrap(), world.event(1));
    assert_eq!(world.count("find"), 2);
}

#[tokio::test]
async fn an_event_that_is_gone_or_never_was_is_not_loaded() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    events.find(event_id(1)).await.unwrap();
    world.delete(1);
    assert_eq!(events.find(event_id(1)).await.unwrap(), None);
    assert_eq!(events.find(event_id(404)).await.unwrap(), None);
    assert_eq!(world.count("find"), 1);
}

#[tokio::test]
async fn a_body_of_another_version_or_kind_or_event_is_not_answered() {
    let Setting { world, shelf, events } = setting(Duration::ZERO);
    let key = Key::Event(event_id(1));
    let mut newer = Arc::unwrap_or_clone(world.event(1).unwrap());
    newer.version = newer.version.next();
    let page = Page { rows: Vec::new(), total: 0 }.into();
    for forged in [
        Snapshot::Event(newer.into()),
        Snapshot::Event(world.event(2).unwrap()),
        Snapshot::EventPage { catalogue: Version::FIRST, page },
    ] {
        shelf.lay(&key, Arc::new(forged));
        assert_eq!(events.find(event_id(1)).await.unwrap(), world.event(1));
    }
}

#[tokio::test]
async fn a_store_that_does_not_confirm_is_an_error_whatever_is_kept() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    events.find(event_id(1)).await.unwrap();
    events.list(&by("date"), page_of(10)).await.unwrap();
    world.cut_off(true);
    assert!(matches!(events.find(event_id(1)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(events.list(&by("date"), page_of(10)).await, Err(StoreError::Unavailable(_))));
    world.cut_off(false);
    assert!(events.find(event_id(1)).await.is_ok());
}

#[tokio::test]
async fn a_load_from_before_a_write_is_not_answered_to_a_later_reader() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    let load = world.hold("find");
    let early = tokio::spawn({
        let events = Arc::clone(&events);
        async move { events.find(event_id(1)).await }
    });
    // The first load has read its row and is on its way back; now a booking is acknowledged.
    load.reached.await.unwrap();
    world.book(1, 9);
    let late = tokio::spawn({
        let events = Arc::clone(&events);
        async move { events.find(event_id(1)).await }
    });
    while events.events.waiting(&Key::Event(event_id(1))) == 0 {
        tokio::task::yield_now().await;
    }
    load.proceed.send(()).unwrap();
    let (early, late) = (early.await.unwrap().unwrap().unwrap(), late.await.unwrap().unwrap());
    assert_eq!(late, world.event(1));
    assert!(early.version < late.unwrap().version);
    // The old body was kept last or first: either way the next reader is not shown it.
    assert_eq!(events.find(event_id(1)).await.unwrap(), world.event(1));
}

#[tokio::test]
async fn a_confirmation_from_before_a_write_admits_no_body_after_it() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    events.find(event_id(1)).await.unwrap();
    let confirmation = world.hold("confirm");
    let early = tokio::spawn({
        let events = Arc::clone(&events);
        async move { events.find(event_id(1)).await }
    });
    confirmation.reached.await.unwrap();
    world.book(1, 9);
    let late = events.find(event_id(1)).await.unwrap();
    assert_eq!(late, world.event(1));
    confirmation.proceed.send(()).unwrap();
    assert!(early.await.unwrap().unwrap().is_some());
    assert_eq!(events.find(event_id(1)).await.unwrap(), late);
}

#[tokio::test]
async fn a_page_is_listed_once_while_nothing_moves() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    let first = events.list(&by("date"), page_of(3)).await.unwrap();
    assert_eq!(first, world.page(3));
    for _ in 0..2 {
        assert!(Arc::ptr_eq(&first, &events.list(&by("date"), page_of(3)).await.unwrap()));
    }
    assert_eq!((world.count("list"), world.count("find_many"), world.count("confirm")), (1, 0, 3));
}

#[tokio::test]
async fn a_booking_renews_the_events_of_a_page_and_not_the_page() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    events.list(&by("date"), page_of(3)).await.unwrap();
    world.book(2, 9);
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
    assert_eq!((world.count("list"), world.count("find_many")), (1, 1));
}

#[tokio::test]
async fn a_change_of_the_programme_has_the_page_listed_again() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    events.list(&by("date"), page_of(3)).await.unwrap();
    world.add();
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
    world.delete(2);
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
    assert_eq!((world.count("list"), world.count("find_many")), (3, 0));
}

#[tokio::test]
async fn a_page_is_listed_again_if_the_programme_changes_meanwhile() {
    for write in [World::add as fn(&World), |world| world.delete(2)] {
        let Setting { world, events, .. } = setting(Duration::ZERO);
        events.list(&by("date"), page_of(3)).await.unwrap();
        world.book(2, 9);
        let load = world.hold("find_many");
        let reader = tokio::spawn({
            let events = Arc::clone(&events);
            async move { events.list(&by("date"), page_of(3)).await }
        });
        load.reached.await.unwrap();
        write(&world);
        load.proceed.send(()).unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), world.page(3));
        // The label of what was kept is good: nothing has to be listed again.
        assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
        assert_eq!(world.count("list"), 2);
    }
}

#[tokio::test]
async fn a_page_listed_while_the_programme_changed_is_not_taken_for_a_new_one() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    let load = world.hold("list");
    let early = tokio::spawn({
        let events = Arc::clone(&events);
        async move { events.list(&by("date"), page_of(10)).await }
    });
    load.reached.await.unwrap();
    world.add();
    load.proceed.send(()).unwrap();
    assert_eq!(early.await.unwrap().unwrap().total, 5);
    assert_eq!(events.list(&by("date"), page_of(10)).await.unwrap(), world.page(10));
}

#[tokio::test]
async fn a_page_by_free_seats_is_never_kept_but_shared() {
    let Setting { world, shelf, events } = setting(Duration::from_mins(1));
    let load = world.hold("list");
    let first = tokio::spawn({
        let events = Arc::clone(&events);
        async move { events.list(&by("-available_seats"), page_of(10)).await }
    });
    load.reached.await.unwrap();
    let key = Key::EventPage { filter: by("-available_seats"), page: page_of(10) };
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let events = Arc::clone(&events);
            tokio::spawn(async move { events.list(&by("-available_seats"), page_of(10)).await })
        })
        .collect();
    while events.pages.waiting(&key) < 50 {
        tokio::task::yield_now().await;
    }
    load.proceed.send(()).unwrap();
    assert!(first.await.unwrap().is_ok());
    for reader in crowd {
        assert!(reader.await.unwrap().is_ok());
    }
    assert_eq!((world.count("list"), world.count("confirm"), shelf.len()), (2, 0, 0));
}

#[tokio::test]
async fn an_operator_may_allow_readers_some_age() {
    let Setting { world, events, .. } = setting(Duration::from_hours(1));
    let before = events.find(event_id(1)).await.unwrap();
    let page_before = events.list(&by("date"), page_of(3)).await.unwrap();
    world.book(1, 9);
    assert_eq!(events.find(event_id(1)).await.unwrap(), before);
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), page_before);
    assert_eq!(world.count("confirm"), 2);
}

#[tokio::test]
async fn a_body_of_a_lost_timeline_is_not_answered_for_an_equal_count() {
    let Setting { world, events, .. } = setting(Duration::ZERO);
    let standby = world.copied();
    world.rename(1, "lost");
    let lost = events.find(event_id(1)).await.unwrap().unwrap();
    let lost_page = events.list(&by("date"), page_of(3)).await.unwrap();
    world.promote(standby);
    world.rename(1, "kept");
    let kept = events.find(event_id(1)).await.unwrap().unwrap();
    assert_eq!((kept.version.count(), kept.title.as_str()), (lost.version.count(), "kept"));
    assert!(kept.version > lost.version);
    let kept_page = events.list(&by("date"), page_of(3)).await.unwrap();
    assert_eq!(kept_page, world.page(3));
    assert_ne!(kept_page, lost_page);
}

#[tokio::test]
async fn an_allowed_age_ends_with_the_timeline() {
    let Setting { world, events, .. } = setting(Duration::from_hours(1));
    let standby = world.copied();
    world.rename(1, "lost");
    events.find(event_id(1)).await.unwrap();
    events.list(&by("date"), page_of(3)).await.unwrap();
    world.promote(standby);
    // Any confirmation brings the news.
    events.find(event_id(2)).await.unwrap();
    assert_eq!(events.find(event_id(1)).await.unwrap(), world.event(1));
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
}

#[tokio::test]
async fn an_age_that_has_passed_is_not_allowed() {
    let Setting { world, events, .. } = setting(Duration::from_nanos(1));
    events.find(event_id(1)).await.unwrap();
    events.list(&by("date"), page_of(3)).await.unwrap();
    world.book(1, 9);
    assert_eq!(events.find(event_id(1)).await.unwrap(), world.event(1));
    assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), world.page(3));
}

#[tokio::test]
async fn a_load_that_panics_is_a_fault_and_the_next_one_is_well() {
    let mut inner = MockEvents::new();
    inner.expect_find().times(1).returning(|_| panic!("a defect"));
    inner.expect_find().times(1).returning(|_| Ok(None));
    let world = Arc::new(World::new(1));
    let cache = Cache::new(world, Arc::new(Shelf::default()), CacheOptions::default());
    let events = CachedEvents::new(Arc::new(inner), cache);
    assert!(matches!(events.find(event_id(1)).await, Err(StoreError::Fault(_))));
    assert_eq!(events.find(event_id(1)).await.unwrap(), None);
    assert_eq!((events.events.open(), events.pages.open()), (0, 0));
}

#[tokio::test]
async fn writes_and_rows_by_id_pass_through() {
    let mut inner = MockEvents::new();
    inner.expect_find_many().times(1).returning(|_| Ok(Vec::new()));
    inner.expect_create().times(1).returning(|_| Err(CreateEventError::AuthorGone));
    inner.expect_update().times(1).returning(|_| Err(UpdateEventError::EventNotFound));
    inner.expect_delete().times(1).returning(|_| Err(DeleteEventError::EventNotFound));
    let (world, shelf) = (Arc::new(World::new(1)), Arc::new(Shelf::default()));
    let cache = Cache::new(world.clone(), shelf.clone(), CacheOptions::default());
    let events = CachedEvents::new(Arc::new(inner), cache);
    let precondition = domain::Precondition::Any;
    let update = UpdateEvent { event: event_id(1), patch: domain::EventPatch::default(), precondition };
    let delete = DeleteEvent { event: event_id(1), precondition: domain::Precondition::Any };
    let by = user_id(1);
    assert!(events.find_many(&[event_id(1)]).await.unwrap().is_empty());
    assert!(events.update(Command { by: by.into(), once: None, what: update }).await.is_err());
    assert!(events.delete(Command { by: by.into(), once: None, what: delete }).await.is_err());
    let draft = draft("Concert", 5, now());
    assert!(events.create(Command { by, once: None, what: draft }).await.is_err());
    assert_eq!((world.count("confirm"), shelf.gets(), shelf.len()), (0, 0, 0));
}
