//! Seats, watched by many at once.
//!
//! Changes come in from [`SeatChanges`], quick but unreliable; the store is looked at every now and
//! then, slow but sure. Both are offered to the watched event, which keeps the newest state and
//! nothing else, and hands it to its watchers no faster than the pace:
//!
//! ```text
//!  SeatChanges ──► hear ──┐                             ┌──► Watch
//!                         ├──► offer: newer? ──► pace ──┼──► Watch
//!  Versions, Events ► look┘    (one state an event)     └──► Watch
//! ```
//!
//! So a watcher who is slow misses states in between and never the last one, and costs no memory for
//! what they miss. An event without watchers costs nothing at all.
//!
//! Hearing and looking are here; `board` is what is offered to, `watch` one who is told, and `seat_state` what.

mod board;
mod seat_state;
mod watch;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use domain::ports::{Events, Heard, SeatChanges, SeatListener, StoreError, VersionQuestion, Versions};
use domain::{EventId, SeatChange, Version};
use tokio::sync::Notify;
use tokio::time::sleep;

pub use seat_state::SeatState;
pub use watch::Watch;

use board::Board;

/// How often watched events are looked at in the store, however quiet it is.
const LOOK_EVERY: Duration = Duration::from_millis(1_500);

/// The seats of events, for those who watch them.
pub struct LiveSeats {
    changes: Arc<dyn SeatChanges>,
    events: Arc<dyn Events>,
    versions: Arc<dyn Versions>,
    board: Arc<Board>,
    /// Changes may have been missed.
    missed: Notify,
}

impl LiveSeats {
    /// Watches the programme in `events`, whose changes are announced to `changes`. Nothing is handed
    /// out but first states until [`LiveSeats::run`] runs.
    pub fn new(changes: Arc<dyn SeatChanges>, events: Arc<dyn Events>, versions: Arc<dyn Versions>) -> Self {
        Self { changes, events, versions, board: Arc::default(), missed: Notify::new() }
    }

    /// Watches an event from now on; `None` if there is none. The first state is one that was read
    /// after the call.
    pub async fn watch(&self, event: EventId) -> Result<Option<Watch>, StoreError> {
        let mut watch = Watch::enter(&self.board, event);
        let Some(found) = self.events.find(event).await? else { return Ok(None) };
        let Some(first) = self.board.offer(SeatChange::from(&*found)) else {
            return Err(StoreError::unavailable("the event was read on a timeline that is over"));
        };
        if matches!(first.change(), SeatChange::Deleted { .. }) {
            return Ok(None);
        }
        watch.begin(first);
        Ok(Some(watch))
    }

    /// Keeps the states of watched events up to date, for as long as it is polled.
    pub async fn run(&self) {
        let listener = self.changes.listen();
        tokio::join!(self.hear(listener), self.look(), self.board.hand_out());
    }

    async fn hear(&self, mut listener: Box<dyn SeatListener>) {
        loop {
            match listener.next().await {
                Heard::Change(change) => {
                    self.board.offer(change);
                }
                Heard::Gap => self.missed.notify_one(),
            }
        }
    }

    async fn look(&self) {
        loop {
            self.board.wait_for_a_watcher().await;
            tokio::select! {
                () = self.missed.notified() => {}
                () = sleep(LOOK_EVERY) => {}
            }
            if let Err(error) = self.look_once().await {
                tracing::warn!(%error, "watched seats could not be looked at; they are at the next turn");
            }
        }
    }

    /// Offers every watched event what the store has newer: a small query for all of them, and another
    /// for those that have changed.
    async fn look_once(&self) -> Result<(), StoreError> {
        let known = self.board.known();
        if known.is_empty() {
            return Ok(());
        }
        let question = VersionQuestion { events: known.keys().copied().collect(), ..VersionQuestion::default() };
        let mut moved = Vec::new();
        let present = self.versions.confirm(&question).await?;
        for (event, known) in &known {
            // It was created on a timeline that is over, and was lost with it.
            let is_over = known.is_some_and(|known| known.timeline() < present.timeline);
            if is_over
                && !present.events.contains_key(event)
                && let Some(version) = Version::on(present.timeline, 0)
            {
                self.board.offer(SeatChange::Deleted { event: *event, version });
            }
        }
        for (event, stamp) in present.events {
            if known.get(&event).is_none_or(|known| *known >= Some(stamp.version)) {
                continue;
            }
            if stamp.deleted {
                self.board.offer(SeatChange::Deleted { event, version: stamp.version });
            } else {
                moved.push(event);
            }
        }
        if !moved.is_empty() {
            for event in self.events.find_many(&moved).await? {
                self.board.offer(SeatChange::from(&event));
            }
        }
        Ok(())
    }
}
