//! How far those who are told of facts are behind.

use async_trait::async_trait;

use super::StoreError;
use crate::Timestamp;

/// Looks for what is committed and was not told yet.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait FactLag: Send + Sync {
    /// When the oldest untold fact of each channel was made.
    async fn oldest_untold(&self) -> Result<Untold, StoreError>;
}

/// When the oldest untold fact of each channel was made; `None` if all are told. What was tried counts as told: a
/// receiver that fails is no lag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Untold {
    /// For webhooks.
    pub webhook: Option<Timestamp>,
    /// For the broker.
    pub broker: Option<Timestamp>,
    /// For mail.
    pub mail: Option<Timestamp>,
}
