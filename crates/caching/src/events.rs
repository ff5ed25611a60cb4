//! The programme, with a cache before it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::ports::{
    CreateEventError, DeleteEvent, DeleteEventError, DeletedEvent, Events, StoreError, UpdateEvent, UpdateEventError,
    VersionQuestion,
};
use domain::{Command, Committed, Event, EventDraft, EventFilter, EventId, EventSort, Page, PageRequest, Version};

use crate::cache::Outcome;
use crate::rounds::Rounds;
use crate::{Cache, Key, Snapshot};

/// [`Events`] whose single events and pages are kept; everything else passes through.
pub struct CachedEvents {
    inner: Arc<dyn Events>,
    cache: Arc<Cache>,
    events: Rounds<Key, (), Result<Option<Arc<Snapshot>>, StoreError>>,
    pages: Rounds<Key, WantedPage, Result<LoadedPage, StoreError>>,
}

impl CachedEvents {
    /// `inner`, with `cache` before it.
    pub fn new(inner: Arc<dyn Events>, cache: Arc<Cache>) -> Self {
        let loader = Loader { inner: Arc::clone(&inner), cache: Arc::clone(&cache) };
        let events = {
            let loader = loader.clone();
            cache.loads(move |key, _| {
                let loader = loader.clone();
                async move { loader.event(&key).await }
            })
        };
        let pages = cache.loads(move |key, wanted| {
            let loader = loader.clone();
            async move { loader.page(&key, wanted).await }
        });
        Self { inner, cache, events, pages }
    }

    /// The page of this key as it is at present.
    async fn page(&self, key: Key) -> Result<Arc<Snapshot>, StoreError> {
        let arrived = Instant::now();
        if let Some(body) = self.cache.trusted(&key, arrived) {
            self.cache.count(&key, Outcome::Hit);
            return Ok(body);
        }
        let kept = self.cache.body(&key).await.and_then(KeptPage::new);
        let events = kept.as_ref().map(KeptPage::ids).unwrap_or_default();
        let question = VersionQuestion { catalogue: true, events, ..VersionQuestion::default() };
        let present = self.cache.confirm(question).await?;
        let catalogue = present.catalogue.ok_or_else(no_catalogue)?;
        let kept = kept.filter(|kept| kept.catalogue == catalogue);
        if let Some(kept) = &kept
            && kept
                .rows()
                .iter()
                .all(|event| present.events.get(&event.id).is_some_and(|at| at.version == event.version))
        {
            self.cache.answered(&key, &kept.body, arrived, Outcome::Hit);
            return Ok(Arc::clone(&kept.body));
        }
        let loaded = self.pages.ask(key.clone(), WantedPage { catalogue: Some(catalogue), moved: kept }).await??;
        self.cache.answered(&key, &loaded.body, arrived, loaded.outcome);
        Ok(loaded.body)
    }
}

#[async_trait]
impl Events for CachedEvents {
    async fn find(&self, id: EventId) -> Result<Option<Arc<Event>>, StoreError> {
        let (key, arrived) = (Key::Event(id), Instant::now());
        if let Some(event) = self.cache.trusted(&key, arrived).and_then(|body| event_of(&body).cloned()) {
            self.cache.count(&key, Outcome::Hit);
            return Ok(Some(event));
        }
        let question = VersionQuestion { events: BTreeSet::from([id]), ..VersionQuestion::default() };
        let present = self.cache.confirm(question).await?;
        let Some(stamp) = present.events.get(&id).filter(|stamp| !stamp.deleted) else {
            self.cache.count(&key, Outcome::Hit);
            return Ok(None);
        };
        if let Some(body) = self.cache.body(&key).await
            && let Some(event) = event_of(&body).filter(|event| event.id == id && event.version == stamp.version)
        {
            self.cache.answered(&key, &body, arrived, Outcome::Hit);
            return Ok(Some(Arc::clone(event)));
        }
        let Some(body) = self.events.ask(key.clone(), ()).await?? else {
            self.cache.count(&key, Outcome::Miss);
            return Ok(None);
        };
        self.cache.answered(&key, &body, arrived, Outcome::Miss);
        Ok(event_of(&body).cloned())
    }

    async fn find_many(&self, ids: &[EventId]) -> Result<Vec<Event>, StoreError> {
        self.inner.find_many(ids).await
    }

    async fn list(&self, filter: &EventFilter, page: PageRequest) -> Result<Arc<Page<Event>>, StoreError> {
        let key = Key::EventPage { filter: filter.clone(), page };
        let body = if filter.order.by == EventSort::AvailableSeats {
            // Every booking may change the order, and no version tells of it: such a page is shared
            // by those who wait for it, and not kept.
            self.cache.count(&key, Outcome::Miss);
            self.pages.ask(key, WantedPage { catalogue: None, moved: None }).await??.body
        } else {
            self.page(key).await?
        };
        match &*body {
            Snapshot::EventPage { page, .. } => Ok(Arc::clone(page)),
            _ => Err(wrong_kind()),
        }
    }

    async fn create(&self, command: Command<EventDraft>) -> Result<Committed<Event>, CreateEventError> {
        self.inner.create(command).await
    }

    async fn update(&self, command: Command<UpdateEvent>) -> Result<Committed<Event>, UpdateEventError> {
        self.inner.update(command).await
    }

    async fn delete(&self, command: Command<DeleteEvent>) -> Result<Committed<DeletedEvent>, DeleteEventError> {
        self.inner.delete(command).await
    }
}

/// A kept body that is a page.
#[derive(Clone)]
struct KeptPage {
    catalogue: Version,
    body: Arc<Snapshot>,
}

impl KeptPage {
    fn new(body: Arc<Snapshot>) -> Option<Self> {
        match *body {
            Snapshot::EventPage { catalogue, .. } => Some(Self { catalogue, body }),
            _ => None,
        }
    }

    fn page(&self) -> Option<&Page<Event>> {
        match &*self.body {
            Snapshot::EventPage { page, .. } => Some(page),
            _ => None,
        }
    }

    fn rows(&self) -> &[Event] {
        self.page().map_or(&[], |page| &page.rows)
    }

    fn ids(&self) -> BTreeSet<EventId> {
        self.rows().iter().map(|event| event.id).collect()
    }
}

/// What a reader needs of a page's load.
struct WantedPage {
    /// The programme's version as it was confirmed to the reader; `None` for a page that is not kept.
    catalogue: Option<Version>,
    /// A page of that version some of whose events have changed since.
    moved: Option<KeptPage>,
}

/// A page as it was loaded.
#[derive(Clone)]
struct LoadedPage {
    body: Arc<Snapshot>,
    outcome: Outcome,
}

/// Makes bodies and keeps them.
#[derive(Clone)]
struct Loader {
    inner: Arc<dyn Events>,
    cache: Arc<Cache>,
}

impl Loader {
    async fn event(&self, key: &Key) -> Result<Option<Arc<Snapshot>>, StoreError> {
        let Key::Event(id) = key else { return Err(wrong_kind()) };
        let Some(event) = self.inner.find(*id).await? else { return Ok(None) };
        let body = Arc::new(Snapshot::Event(event));
        self.cache.keep(key, &body).await;
        Ok(Some(body))
    }

    /// Serves everybody in `wanted`: what was confirmed to them was confirmed before this began, so
    /// the newest of it may be the label.
    async fn page(&self, key: &Key, wanted: Vec<WantedPage>) -> Result<LoadedPage, StoreError> {
        let newest = wanted.into_iter().max_by_key(|wanted| (wanted.catalogue, wanted.moved.is_some()));
        let WantedPage { catalogue, moved } = newest.unwrap_or(WantedPage { catalogue: None, moved: None });
        let Some(mut label) = catalogue else { return self.whole(key, None).await };
        if let Some(moved) = moved {
            let rows = self.present(&moved).await?;
            // Confirmed once more, the programme was the same before and after the rows were read:
            // so they are the page of that instant, and not some of one and some of another.
            let question = VersionQuestion { catalogue: true, ..VersionQuestion::default() };
            label = self.cache.confirm(question).await?.catalogue.ok_or_else(no_catalogue)?;
            if let Some(page) = rows
                && label == moved.catalogue
            {
                let body = Arc::new(Snapshot::EventPage { catalogue: label, page: Arc::new(page) });
                self.cache.keep(key, &body).await;
                return Ok(LoadedPage { body, outcome: Outcome::Refreshed });
            }
        }
        self.whole(key, Some(label)).await
    }

    /// The whole page, kept under `label` if it has one.
    async fn whole(&self, key: &Key, label: Option<Version>) -> Result<LoadedPage, StoreError> {
        let Key::EventPage { filter, page } = key else { return Err(wrong_kind()) };
        let page = self.inner.list(filter, *page).await?;
        // The label of a page that is not kept is never compared.
        let body = Arc::new(Snapshot::EventPage { catalogue: label.unwrap_or(Version::FIRST), page });
        if label.is_some() {
            self.cache.keep(key, &body).await;
        }
        Ok(LoadedPage { body, outcome: Outcome::Miss })
    }

    /// The page with its events as they are now, in the same order; `None` if one of them is gone.
    async fn present(&self, kept: &KeptPage) -> Result<Option<Page<Event>>, StoreError> {
        let Some(page) = kept.page() else { return Ok(None) };
        let ids: Vec<EventId> = page.rows.iter().map(|event| event.id).collect();
        let found = self.inner.find_many(&ids).await?;
        let mut found: HashMap<EventId, Event> = found.into_iter().map(|event| (event.id, event)).collect();
        let rows: Option<Vec<Event>> = ids.iter().map(|id| found.remove(id)).collect();
        Ok(rows.map(|rows| Page { rows, total: page.total }))
    }
}

fn event_of(body: &Snapshot) -> Option<&Arc<Event>> {
    match body {
        Snapshot::Event(event) => Some(event),
        _ => None,
    }
}

fn no_catalogue() -> StoreError {
    StoreError::fault("the programme's version was asked for and not answered")
}

fn wrong_kind() -> StoreError {
    StoreError::fault("a body of another kind than its key's")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use domain::ports::MockEvents;
    use domain::{EventOrder, UserId};

    use super::*;
    use crate::CacheOptions;
    use crate::bodies::sample::Shelf;
    use crate::world::{World, id, page_of};

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
        let first = events.find(id(1)).await.unwrap().unwrap();
        assert_eq!(Some(&first), world.event(1).as_ref());
        for _ in 0..2 {
            assert!(Arc::ptr_eq(&first, &events.find(id(1)).await.unwrap().unwrap()), "readers share what is kept");
        }
        assert_eq!((world.count("find"), world.count("confirm")), (1, 3));
    }

    #[tokio::test]
    async fn a_changed_event_is_loaded_again() {
        let Setting { world, events, .. } = setting(Duration::ZERO);
        events.find(id(1)).await.unwrap();
        world.book(1, 9);
        assert_eq!(events.find(id(1)).await.unwrap(), world.event(1));
        assert_eq!(world.count("find"), 2);
    }

    #[tokio::test]
    async fn an_event_that_is_gone_or_never_was_is_not_loaded() {
        let Setting { world, events, .. } = setting(Duration::ZERO);
        events.find(id(1)).await.unwrap();
        world.delete(1);
        assert_eq!(events.find(id(1)).await.unwrap(), None);
        assert_eq!(events.find(id(404)).await.unwrap(), None);
        assert_eq!(world.count("find"), 1);
    }

    #[tokio::test]
    async fn a_body_of_another_version_or_kind_or_event_is_not_answered() {
        let Setting { world, shelf, events } = setting(Duration::ZERO);
        let key = Key::Event(id(1));
        let mut newer = Arc::unwrap_or_clone(world.event(1).unwrap());
        newer.version = newer.version.next();
        let page = Page { rows: Vec::new(), total: 0 }.into();
        for forged in [
            Snapshot::Event(newer.into()),
            Snapshot::Event(world.event(2).unwrap()),
            Snapshot::EventPage { catalogue: Version::FIRST, page },
        ] {
            shelf.lay(&key, Arc::new(forged));
            assert_eq!(events.find(id(1)).await.unwrap(), world.event(1));
        }
    }

    #[tokio::test]
    async fn a_store_that_does_not_confirm_is_an_error_whatever_is_kept() {
        let Setting { world, events, .. } = setting(Duration::ZERO);
        events.find(id(1)).await.unwrap();
        events.list(&by("date"), page_of(10)).await.unwrap();
        world.cut_off(true);
        assert!(matches!(events.find(id(1)).await, Err(StoreError::Unavailable(_))));
        assert!(matches!(events.list(&by("date"), page_of(10)).await, Err(StoreError::Unavailable(_))));
        world.cut_off(false);
        assert!(events.find(id(1)).await.is_ok());
    }

    #[tokio::test]
    async fn a_load_that_began_before_a_write_is_not_answered_to_a_reader_who_came_after_it() {
        let Setting { world, events, .. } = setting(Duration::ZERO);
        let load = world.hold("find");
        let early = tokio::spawn({
            let events = Arc::clone(&events);
            async move { events.find(id(1)).await }
        });
        // The first load has read its row and is on its way back; now a booking is acknowledged.
        load.reached.await.unwrap();
        world.book(1, 9);
        let late = tokio::spawn({
            let events = Arc::clone(&events);
            async move { events.find(id(1)).await }
        });
        while events.events.waiting(&Key::Event(id(1))) == 0 {
            tokio::task::yield_now().await;
        }
        load.proceed.send(()).unwrap();
        let (early, late) = (early.await.unwrap().unwrap().unwrap(), late.await.unwrap().unwrap());
        assert_eq!(late, world.event(1));
        assert!(early.version < late.unwrap().version);
        // The old body was kept last or first: either way the next reader is not shown it.
        assert_eq!(events.find(id(1)).await.unwrap(), world.event(1));
    }

    #[tokio::test]
    async fn a_confirmation_that_began_before_a_write_admits_no_body_to_a_reader_who_came_after_it() {
        let Setting { world, events, .. } = setting(Duration::ZERO);
        events.find(id(1)).await.unwrap();
        let confirmation = world.hold("confirm");
        let early = tokio::spawn({
            let events = Arc::clone(&events);
            async move { events.find(id(1)).await }
        });
        confirmation.reached.await.unwrap();
        world.book(1, 9);
        let late = events.find(id(1)).await.unwrap();
        assert_eq!(late, world.event(1));
        confirmation.proceed.send(()).unwrap();
        assert!(early.await.unwrap().unwrap().is_some());
        assert_eq!(events.find(id(1)).await.unwrap(), late);
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
    async fn a_page_whose_programme_changes_while_its_events_are_renewed_is_listed_again() {
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
        let before = events.find(id(1)).await.unwrap();
        let page_before = events.list(&by("date"), page_of(3)).await.unwrap();
        world.book(1, 9);
        assert_eq!(events.find(id(1)).await.unwrap(), before);
        assert_eq!(events.list(&by("date"), page_of(3)).await.unwrap(), page_before);
        assert_eq!(world.count("confirm"), 2);
    }

    #[tokio::test]
    async fn an_age_that_has_passed_is_not_allowed() {
        let Setting { world, events, .. } = setting(Duration::from_nanos(1));
        events.find(id(1)).await.unwrap();
        events.list(&by("date"), page_of(3)).await.unwrap();
        world.book(1, 9);
        assert_eq!(events.find(id(1)).await.unwrap(), world.event(1));
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
        assert!(matches!(events.find(id(1)).await, Err(StoreError::Fault(_))));
        assert_eq!(events.find(id(1)).await.unwrap(), None);
        assert_eq!((events.events.open(), events.pages.open()), (0, 0));
    }

    #[tokio::test]
    async fn writes_and_rows_by_id_pass_through() {
        let mut inner = MockEvents::new();
        inner.expect_find_many().times(1).returning(|_| Ok(Vec::new()));
        inner.expect_create().times(1).returning(|_| Err(CreateEventError::AuthorGone));
        inner.expect_update().times(1).returning(|_| Err(UpdateEventError::Stale));
        inner.expect_delete().times(1).returning(|_| Err(DeleteEventError::Stale));
        let (world, shelf) = (Arc::new(World::new(1)), Arc::new(Shelf::default()));
        let cache = Cache::new(world.clone(), shelf.clone(), CacheOptions::default());
        let events = CachedEvents::new(Arc::new(inner), cache);
        let precondition = domain::Precondition::Any;
        let update = UpdateEvent { event: id(1), patch: domain::EventPatch::default(), precondition };
        let delete = DeleteEvent { event: id(1), precondition: domain::Precondition::Any };
        let by = UserId::new(1).unwrap();
        assert!(events.find_many(&[id(1)]).await.unwrap().is_empty());
        assert!(events.update(Command { by, once: None, what: update }).await.is_err());
        assert!(events.delete(Command { by, once: None, what: delete }).await.is_err());
        let starts_at = world.event(1).unwrap().starts_at;
        let draft = EventDraft {
            title: world.event(1).unwrap().title.clone(),
            description: None,
            starts_at: domain::StartsAt::new(starts_at, crate::snapshot::sample::at("2000-01-01T00:00:00Z")).unwrap(),
            venue: world.event(1).unwrap().venue.clone(),
            total_seats: domain::SeatCount::new(5).unwrap(),
        };
        assert!(events.create(Command { by, once: None, what: draft }).await.is_err());
        assert_eq!((world.count("confirm"), shelf.gets(), shelf.len()), (0, 0, 0));
    }
}
