//! The queue before one event's row.
//!
//! Who waits for a row's lock inside the database keeps a connection meanwhile, and an event that
//! everybody wants, or whose row somebody holds, would take them all. So only a few writes of one
//! event are let through at a time: one that works and one that is ready to follow.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use domain::EventId;
use domain::ports::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const WIDTH: usize = 2;

/// The lanes of all events that are being written to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lanes(Arc<Mutex<HashMap<EventId, Arc<Semaphore>>>>);

/// Nobody knows for how long.
pub(crate) fn locked_by_somebody_else(event: EventId) -> StoreError {
    StoreError::unavailable(format!("event {event} is locked by somebody else"))
}

/// A place in the lane of one event, given up when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    lanes: Lanes,
    event: EventId,
    lane: Option<Arc<Semaphore>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Lanes {
    /// Waits for a place in the event's lane.
    pub(crate) async fn enter(&self, event: EventId, until: Instant) -> Result<Place, StoreError> {
        let lane = Arc::clone(self.all().entry(event).or_insert_with(|| Arc::new(Semaphore::new(WIDTH))));
        let mut place = Place { lanes: self.clone(), event, lane: Some(Arc::clone(&lane)), permit: None };
        match tokio::time::timeout_at(until.into(), lane.acquire_owned()).await {
            Ok(Ok(permit)) => {
                place.permit = Some(permit);
                Ok(place)
            }
            _ => Err(locked_by_somebody_else(event)),
        }
    }

    fn all(&self) -> MutexGuard<'_, HashMap<EventId, Arc<Semaphore>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.lanes.all();
        self.permit = None;
        self.lane = None;
        // Whoever is in a lane or waits before it holds a share of it; the map holds the last.
        if all.get(&self.event).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            all.remove(&self.event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_full_lane_stops_its_own_event_only() {
        let lanes = Lanes::default();
        let (crowded, quiet) = (EventId::new(1).unwrap(), EventId::new(2).unwrap());
        let soon = || Instant::now() + Duration::from_millis(20);
        let first = lanes.enter(crowded, soon()).await.unwrap();
        let second = lanes.enter(crowded, soon()).await.unwrap();
        assert!(matches!(lanes.enter(crowded, soon()).await, Err(StoreError::Unavailable(_))));
        assert!(lanes.enter(quiet, soon()).await.is_ok());
        drop(first);
        let third = lanes.enter(crowded, soon()).await.unwrap();
        drop((second, third));
        assert!(lanes.all().is_empty(), "lanes nobody is in are forgotten");
    }
}
