//! A page as the cache holds it.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::{Event, EventId, Page, Version};

use crate::Snapshot;

/// A kept body that is a page.
#[derive(Clone)]
pub(super) struct KeptPage {
    pub(super) catalogue: Version,
    pub(super) body: Arc<Snapshot>,
}

impl KeptPage {
    pub(super) fn new(body: Arc<Snapshot>) -> Option<Self> {
        match *body {
            Snapshot::EventPage { catalogue, .. } => Some(Self { catalogue, body }),
            _ => None,
        }
    }

    pub(super) fn page(&self) -> Option<&Page<Event>> {
        match &*self.body {
            Snapshot::EventPage { page, .. } => Some(page),
            _ => None,
        }
    }

    pub(super) fn rows(&self) -> &[Event] {
        self.page().map_or(&[], |page| &page.rows)
    }

    pub(super) fn ids(&self) -> BTreeSet<EventId> {
        self.rows().iter().map(|event| event.id).collect()
    }
}
