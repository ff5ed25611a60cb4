//! Facts on their way from the transactions that wrote them to those who are told.

use async_trait::async_trait;

use super::StoreError;
use crate::Timestamp;

/// Turns what transactions wrote down into history and into deliveries.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Waits until there may be something to project: a while at most, and less once this process committed something.
    async fn wait(&self);

    /// Projects some of what was written down, in one transaction. One process at a time does so; another one is told
    /// that there is nothing.
    async fn project(&self) -> Result<Projected, StoreError>;

    /// Drops the history from before an instant. Answers how many rows there were, as far as they were counted.
    async fn drop_history(&self, before: Timestamp) -> Result<u64, StoreError>;
}

/// What one transaction projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Projected {
    /// How many facts.
    pub facts: usize,
    /// Whether there may be more.
    pub more: bool,
}
