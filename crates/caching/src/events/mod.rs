//! The programme, with a cache before it.
//!
//! What readers are answered is here, what is read for them in `loader`, and what a kept page is in `kept_page`.

mod kept_page;
mod loader;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::ports::{CreateEventError, DeleteEventError, Events, StoreError, UpdateEventError, VersionQuestion};
use domain::{
    Author, Command, Committed, DeleteEvent, DeletedEvent, Event, EventDraft, EventFilter, EventId, EventSort, Page,
    PageRequest, UpdateEvent,
};

use crate::cache::Outcome;
use crate::shared_reads::SharedReads;
use crate::{Cache, Key, Snapshot};

use kept_page::KeptPage;
use loader::{LoadedPage, Loader, WantedPage, no_catalogue, wrong_kind};

/// [`Events`] whose single events and pages are kept; everything else passes through.
pub struct CachedEvents {
    inner: Arc<dyn Events>,
    cache: Arc<Cache>,
    events: SharedReads<Key, (), Result<Option<Arc<Snapshot>>, StoreError>>,
    pages: SharedReads<Key, WantedPage, Result<LoadedPage, StoreError>>,
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

    async fn update(&self, command: Command<UpdateEvent, Author>) -> Result<Committed<Event>, UpdateEventError> {
        self.inner.update(command).await
    }

    async fn delete(&self, command: Command<DeleteEvent, Author>) -> Result<Committed<DeletedEvent>, DeleteEventError> {
        self.inner.delete(command).await
    }
}

fn event_of(body: &Snapshot) -> Option<&Arc<Event>> {
    match body {
        Snapshot::Event(event) => Some(event),
        _ => None,
    }
}
