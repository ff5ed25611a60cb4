//! The newest state of each watched event, and when it is handed out to those who watch.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{EventId, SeatChange, Timeline, Version};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::seat_state::SeatState;

/// Between two states of one event that are handed out: at most ten a second.
pub(super) const LEAST_PACE: Duration = Duration::from_millis(110);

/// The same with very many watchers: a state has to reach them half a second after its commit.
pub(super) const GREATEST_PACE: Duration = Duration::from_millis(350);

/// Watchers who can be told at the least pace without keeping a core from selling seats.
const WATCHERS_AT_LEAST_PACE: usize = 1_000;

/// The states of an event that are handed out: the newest of them, as there is no queue.
pub(super) type States = watch::Receiver<Option<Arc<SeatState>>>;

/// The events that are watched.
#[derive(Default)]
pub(super) struct Board {
    watched: Mutex<Watched>,
    /// An event has its first watcher.
    entered: Notify,
    /// A state waits for its turn, where none did.
    due: Notify,
}

#[derive(Default)]
pub(super) struct Watched {
    pub(super) events: HashMap<EventId, WatchedEvent>,
    /// When a state that waits is handed out.
    pub(super) due: BTreeSet<(Instant, EventId)>,
    pub(super) watchers: usize,
    /// The latest timeline that a state came from. What comes from an earlier one was lost, or is about to be.
    timeline: Timeline,
}

pub(super) struct WatchedEvent {
    /// What is known; `None` until it was read.
    newest: Option<Arc<SeatState>>,
    handed_out_at: Option<Instant>,
    due: Option<Instant>,
    hand_out: watch::Sender<Option<Arc<SeatState>>>,
}

impl Board {
    /// One more watches the event from now on.
    pub(super) fn enter(&self, event: EventId) -> States {
        let mut watched = self.watched();
        watched.watchers += 1;
        let event = watched.events.entry(event).or_insert_with(|| WatchedEvent {
            newest: None,
            handed_out_at: None,
            due: None,
            hand_out: watch::Sender::new(None),
        });
        let states = event.hand_out.subscribe();
        drop(watched);
        self.entered.notify_one();
        states
    }

    /// One who watched the event, and still holds its states, is about to go.
    pub(super) fn leave(&self, event: EventId) {
        let mut watched = self.watched();
        watched.watchers -= 1;
        let last = watched.events.get(&event).is_some_and(|event| event.hand_out.receiver_count() <= 1);
        if last
            && let Some(left) = watched.events.remove(&event)
            && let Some(at) = left.due
        {
            watched.due.remove(&(at, event));
        }
    }

    /// Waits for a watcher, if there is none.
    pub(super) async fn wait_for_a_watcher(&self) {
        if self.watched().events.is_empty() {
            self.entered.notified().await;
        }
    }

    /// What is known of each event: its version, or `None` until it was read.
    pub(super) fn known(&self) -> HashMap<EventId, Option<Version>> {
        let watched = self.watched();
        watched.events.iter().map(|(id, event)| (*id, event.newest.as_ref().map(|newest| newest.version()))).collect()
    }

    /// Takes a change in, if it is newer than what is known of a watched event. Answers the newest; `None` if there
    /// is none of the present timeline.
    pub(super) fn offer(&self, change: SeatChange) -> Option<Arc<SeatState>> {
        let mut watched = self.watched();
        let pace = pace(watched.watchers);
        let Watched { events, due, timeline, .. } = &mut *watched;
        let of = change.version().timeline();
        *timeline = of.max(*timeline);
        let event = events.get_mut(&change.event())?;
        if of < *timeline {
            return event.newest.clone().filter(|newest| newest.version().timeline() == *timeline);
        }
        if let Some(newest) = &event.newest
            && newest.version() >= change.version()
        {
            return Some(Arc::clone(newest));
        }
        let state = Arc::new(SeatState::new(change));
        event.newest = Some(Arc::clone(&state));
        let now = Instant::now();
        let earliest = event.handed_out_at.map_or(now, |at| at + pace);
        if earliest <= now {
            event.hand_out(now);
        } else if event.due.is_none() {
            event.due = Some(earliest);
            if due.is_empty() {
                self.due.notify_one();
            }
            due.insert((earliest, change.event()));
        }
        Some(state)
    }

    /// Hands out each state that waits when its time has come, for as long as it is polled.
    pub(super) async fn hand_out(&self) {
        loop {
            let next = self.watched().due.first().map(|(at, _)| *at);
            match next {
                None => self.due.notified().await,
                Some(at) => {
                    sleep_until(at).await;
                    self.watched().hand_out_due(Instant::now());
                }
            }
        }
    }

    pub(super) fn watched(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    fn hand_out_due(&mut self, now: Instant) {
        while let Some((at, event)) = self.due.first().copied()
            && at <= now
        {
            self.due.pop_first();
            if let Some(event) = self.events.get_mut(&event) {
                event.hand_out(now);
            }
        }
    }
}

impl WatchedEvent {
    fn hand_out(&mut self, now: Instant) {
        self.due = None;
        self.handed_out_at = Some(now);
        self.hand_out.send_replace(self.newest.clone());
    }
}

/// The time between two states of an event, with so many watchers of any event.
fn pace(watchers: usize) -> Duration {
    let crowd = u32::try_from(watchers / WATCHERS_AT_LEAST_PACE).unwrap_or(u32::MAX);
    LEAST_PACE.saturating_mul(crowd.max(1)).min(GREATEST_PACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_told_less_often_and_in_time() {
        let millis = |watchers| pace(watchers).as_millis();
        assert_eq!([0, 1, 1_999, 2_000, 3_500, 10_000, usize::MAX].map(millis), [110, 110, 110, 220, 330, 350, 350]);
    }
}
