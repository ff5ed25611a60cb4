//! Handing facts to a message broker.

use async_trait::async_trait;
use thiserror::Error;

use crate::Fact;

/// Publishes facts for consumers that the broker knows.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Publisher: Send + Sync {
    /// Publishes facts in their order, and returns once the broker has confirmed each. The routing key is the type, the
    /// message's name that of the fact. After a failure any of them may have been published: publishing is tried again.
    async fn publish(&self, facts: &[Fact]) -> Result<(), PublishFailed>;

    /// Whether the broker answers at present.
    async fn is_reachable(&self) -> bool;
}

/// The broker did not confirm: one line of at most 500 characters, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct PublishFailed(pub String);
