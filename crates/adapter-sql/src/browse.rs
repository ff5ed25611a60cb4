//! Room for those who look through lists.
//!
//! A list may take long: a search that finds much, a page far behind. However many are asked for, some
//! connections stay free for what is short and what everybody waits for: who asks, and whether an event is
//! still as it was.

use std::sync::Arc;
use std::time::Duration;

use domain::ports::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Sql;
use crate::work::Reading;

/// Connections that lists leave to others, where there are more than these.
const LEFT_TO_OTHERS: u32 = 2;

/// Lists that may wait in all. Whoever comes after is refused at once.
const WAITING: usize = 256;

/// So many lists at a time, and so many who wait.
#[derive(Debug)]
pub(crate) struct Room {
    line: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// A place, and one in the line; both are given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    _line: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Room {
    /// Room beside others who read over so many connections.
    pub(crate) fn beside_others(readers: u32) -> Self {
        let places = usize::try_from(readers.saturating_sub(LEFT_TO_OTHERS).max(1)).unwrap_or(1);
        Self { line: Arc::new(Semaphore::new(places + WAITING)), places: Arc::new(Semaphore::new(places)) }
    }

    /// Waits for a place; whoever stops waiting leaves the line.
    pub(crate) async fn enter(&self, patience: Duration) -> Result<Arc<Entered>, StoreError> {
        let full = || StoreError::unavailable("too many lists are being looked for").expected_in(patience);
        let line = Arc::clone(&self.line).try_acquire_owned().map_err(|_| full())?;
        let place = timeout(patience, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.ok().and_then(Result::ok).ok_or_else(full)?;
        Ok(Arc::new(Entered { _line: line, _place: place }))
    }
}

impl Sql {
    /// Reads a list, once there is room for it. The place is kept until the reading ends, whatever becomes of
    /// the caller.
    pub(crate) async fn browse<T, F, W>(&self, name: &'static str, work: W) -> Result<T, StoreError>
    where
        W: FnOnce(Reading) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let place = self.0.lists.enter(self.0.deadlines.queue).await?;
        let read = self.read(name, move |reading| async move {
            let _place = place;
            work(reading).await
        });
        read.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn lists_leave_connections_to_others_and_whoever_is_refused_leaves_the_line() {
        let room = Room::beside_others(5);
        let mut entered = Vec::new();
        for _ in 0..3 {
            entered.push(room.enter(SOON).await.unwrap());
        }
        for _ in 0..2 * WAITING / 100 {
            assert!(room.enter(SOON).await.is_err());
        }
        assert_eq!(room.line.available_permits(), WAITING);
        entered.pop();
        assert!(room.enter(SOON).await.is_ok());
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_at_once() {
        let room = Room::beside_others(1);
        let _inside = room.enter(SOON).await.unwrap();
        let _waiting = Arc::clone(&room.line).acquire_many_owned(u32::try_from(WAITING).unwrap()).await.unwrap();
        let refused = timeout(SOON, room.enter(Duration::from_mins(1))).await;
        assert!(matches!(refused, Ok(Err(StoreError::Unavailable(_)))));
    }
}
