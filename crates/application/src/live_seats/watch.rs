//! One who watches an event.

use std::sync::Arc;

use domain::{EventId, Version};

use super::board::{Board, States};
use super::seat_state::SeatState;

/// A watcher of an event, until this is dropped.
pub struct Watch {
    board: Arc<Board>,
    event: EventId,
    /// What was read when they came, until they are told.
    first: Option<Arc<SeatState>>,
    states: States,
    /// The version of what they were told last.
    told: Option<Version>,
}

impl Watch {
    /// Watches what is handed out of the event from now on.
    pub(super) fn enter(board: &Arc<Board>, event: EventId) -> Self {
        Self { board: Arc::clone(board), event, first: None, states: board.enter(event), told: None }
    }

    /// Begins with this state.
    pub(super) fn begin(&mut self, first: Arc<SeatState>) {
        self.first = Some(first);
    }

    /// Which event is watched.
    pub fn event(&self) -> EventId {
        self.event
    }

    /// Goes on from a version that was seen before: if it is the present one, it is not told again.
    pub fn resume(&mut self, seen: Version) {
        if self.first.as_ref().is_some_and(|first| first.version() == seen) {
            self.told = Some(seen);
        }
    }

    /// Waits for a state that is newer than the one told last. A caller that stops waiting misses nothing.
    pub async fn next(&mut self) -> Arc<SeatState> {
        loop {
            let newest = self.states.borrow_and_update().clone();
            let first = self.first.take();
            let news = newest.into_iter().chain(first).max_by_key(|state| state.version());
            if let Some(state) = news
                && self.told < Some(state.version())
            {
                self.told = Some(state.version());
                return state;
            }
            if self.states.changed().await.is_err() {
                // The event stays on the board for as long as it is watched.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.board.leave(self.event);
    }
}
