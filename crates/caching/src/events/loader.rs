//! What is read of the store for readers who wait together, and kept.

use std::collections::HashMap;
use std::sync::Arc;

use domain::ports::{Events, StoreError, VersionQuestion};
use domain::{Event, EventId, Page, Version};

use super::kept_page::KeptPage;
use crate::cache::Outcome;
use crate::{Cache, Key, Snapshot};

/// What a reader needs of a page's load.
pub(super) struct WantedPage {
    /// The programme's version as it was confirmed to the reader; `None` for a page that is not kept.
    pub(super) catalogue: Option<Version>,
    /// A page of that version some of whose events have changed since.
    pub(super) moved: Option<KeptPage>,
}

/// A page as it was loaded.
#[derive(Clone)]
pub(super) struct LoadedPage {
    pub(super) body: Arc<Snapshot>,
    pub(super) outcome: Outcome,
}

/// Makes bodies and keeps them.
#[derive(Clone)]
pub(super) struct Loader {
    pub(super) inner: Arc<dyn Events>,
    pub(super) cache: Arc<Cache>,
}

impl Loader {
    pub(super) async fn event(&self, key: &Key) -> Result<Option<Arc<Snapshot>>, StoreError> {
        let Key::Event(id) = key else { return Err(wrong_kind()) };
        let Some(event) = self.inner.find(*id).await? else { return Ok(None) };
        let body = Arc::new(Snapshot::Event(event));
        self.cache.keep(key, &body).await;
        Ok(Some(body))
    }

    /// Answers every question in `wanted`: what was confirmed to them was confirmed before this began, so
    /// the newest of it may be the label.
    pub(super) async fn page(&self, key: &Key, wanted: Vec<WantedPage>) -> Result<LoadedPage, StoreError> {
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

pub(super) fn no_catalogue() -> StoreError {
    StoreError::fault("the programme's version was asked for and not answered")
}

pub(super) fn wrong_kind() -> StoreError {
    StoreError::fault("a body of another kind than its key's")
}
