//! What watchers are told.

use std::sync::{Arc, OnceLock};

use domain::{SeatChange, Version};

/// The state of an event's seats, shared by all who watch it.
#[derive(Debug)]
pub struct SeatState {
    change: SeatChange,
    rendered: OnceLock<Arc<[u8]>>,
}

impl SeatState {
    pub(super) fn new(change: SeatChange) -> Self {
        Self { change, rendered: OnceLock::new() }
    }

    /// The state.
    pub fn change(&self) -> &SeatChange {
        &self.change
    }

    /// The event's version.
    pub fn version(&self) -> Version {
        self.change.version()
    }

    /// What a protocol makes of it, made once for all who watch.
    pub fn rendered(&self, render: impl FnOnce(&SeatChange) -> Vec<u8>) -> Arc<[u8]> {
        Arc::clone(self.rendered.get_or_init(|| render(&self.change).into()))
    }
}
