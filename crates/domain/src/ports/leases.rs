//! Which process does a job that one process at a time may do.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// A job of one process at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Job {
    /// Sends deliveries to webhooks.
    Webhooks,
    /// Publishes facts to the broker.
    Broker,
    /// Sends mail, and has people reminded.
    Mail,
}

impl Job {
    /// Its name, as stores keep it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webhooks => "webhooks",
            Self::Broker => "broker",
            Self::Mail => "mail",
        }
    }
}

/// Gives each job to one process, for a while.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes or renews a job, for this long from now by the clock of the store. Answers whether it is this process's.
    async fn hold(&self, job: Job, lasts: Duration) -> Result<bool, StoreError>;

    /// Lets other processes take every job of this one.
    async fn release_all(&self) -> Result<(), StoreError>;
}
