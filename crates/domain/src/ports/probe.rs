//! Whether a dependency answers.

use async_trait::async_trait;

use super::StoreError;

/// A dependency that can be asked whether it is there.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Probe: Send + Sync {
    /// One round trip to the dependency. The caller sets its own deadline.
    async fn ping(&self) -> Result<(), StoreError>;
}
