//! The history as the process that publishes it to a broker goes through it.

use async_trait::async_trait;

use super::{HistoryPage, Position, StoreError};

/// Facts that the broker has not confirmed.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Unpublished: Send + Sync {
    /// The oldest of them, so many at most, and the position after them. The first call ever begins at the newest fact:
    /// what happened before there was a broker is not told to it.
    async fn next(&self, limit: u32) -> Result<HistoryPage, StoreError>;

    /// Everything up to there is published.
    async fn published(&self, to: Position) -> Result<(), StoreError>;

    /// Waits until there may be more: a while at most.
    async fn wait(&self);
}
