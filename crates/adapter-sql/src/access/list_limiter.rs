//! A bound on how many lists are read at once.
//!
//! A list may take long: a search that finds much, a page far behind. However many are asked for, some
//! connections stay free for what is short and what every request waits for: who asks, and whether an event is
//! still as it was.

use std::sync::Arc;
use std::time::Duration;

use domain::ports::StoreError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::Sql;
use crate::access::operation::Reading;

/// Connections that lists leave to others, where there are more than these.
const LEFT_TO_OTHERS: u32 = 2;

/// Lists that may wait in all. One more is refused at once.
const WAITING: usize = 256;

/// Permits to read lists, and permits to wait for one.
#[derive(Debug)]
pub(crate) struct ListLimiter {
    waiting: Arc<Semaphore>,
    reading: Arc<Semaphore>,
}

/// A permit to read and one to wait; both are given back when it is dropped.
#[derive(Debug)]
pub(crate) struct ListPermit {
    _waiting: OwnedSemaphorePermit,
    _reading: OwnedSemaphorePermit,
}

impl ListLimiter {
    /// The limiter of lists that share so many connections with other reads.
    pub(crate) fn beside_others(readers: u32) -> Self {
        let lists = usize::try_from(readers.saturating_sub(LEFT_TO_OTHERS).max(1)).unwrap_or(1);
        Self { waiting: Arc::new(Semaphore::new(lists + WAITING)), reading: Arc::new(Semaphore::new(lists)) }
    }

    /// Waits for a permit. A caller that stops waiting gives its place up.
    pub(crate) async fn acquire(&self, patience: Duration) -> Result<Arc<ListPermit>, StoreError> {
        let full = || StoreError::unavailable("too many lists are being looked for").retry_after(patience);
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| full())?;
        let reading = timeout(patience, Arc::clone(&self.reading).acquire_owned()).await;
        let reading = reading.ok().and_then(Result::ok).ok_or_else(full)?;
        Ok(Arc::new(ListPermit { _waiting: waiting, _reading: reading }))
    }
}

impl Sql {
    /// Reads a list, once there is a permit. It is kept until the read ends, whatever becomes of the caller.
    pub(crate) async fn browse<T, F, W>(&self, name: &'static str, work: W) -> Result<T, StoreError>
    where
        W: FnOnce(Reading) -> F + Clone + Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
        T: Send + 'static,
    {
        let permit = self.0.lists.acquire(self.0.deadlines.queue).await?;
        let read = self.read(name, move |reading| async move {
            let _permit = permit;
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
    async fn lists_leave_connections_to_others_and_a_refused_one_its_place() {
        let limiter = ListLimiter::beside_others(5);
        let mut permits = Vec::new();
        for _ in 0..3 {
            permits.push(limiter.acquire(SOON).await.unwrap());
        }
        for _ in 0..2 * WAITING / 100 {
            assert!(limiter.acquire(SOON).await.is_err());
        }
        assert_eq!(limiter.waiting.available_permits(), WAITING);
        permits.pop();
        assert!(limiter.acquire(SOON).await.is_ok());
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_at_once() {
        let limiter = ListLimiter::beside_others(1);
        let _reading = limiter.acquire(SOON).await.unwrap();
        let _waiting = Arc::clone(&limiter.waiting).acquire_many_owned(u32::try_from(WAITING).unwrap()).await.unwrap();
        let refused = timeout(SOON, limiter.acquire(Duration::from_mins(1))).await;
        assert!(matches!(refused, Ok(Err(StoreError::Unavailable(_)))));
    }
}
