//! Webhooks as their operators see them.

use async_trait::async_trait;
use thiserror::Error;

use super::StoreError;
use crate::webhook::{Delivery, DeliveryStatus, NewWebhook, Replay, Webhook, WebhookPatch, WebhookSecret};
use crate::{Command, Committed, DeliveryId, KeyConflict, Page, PageRequest, Timestamp, WebhookId};

/// Keeps webhooks and the log of their deliveries.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Webhooks: Send + Sync {
    /// All of them, oldest first.
    async fn list(&self) -> Result<Vec<Webhook>, StoreError>;

    /// One of them.
    async fn find(&self, id: WebhookId) -> Result<Option<Webhook>, StoreError>;

    /// Adds one; facts from now on are sent to it.
    async fn create(&self, command: Command<NewWebhook>) -> Result<Committed<Webhook>, CreateWebhookError>;

    /// Changes one. `None` if there is none.
    async fn update(&self, id: WebhookId, patch: WebhookPatch) -> Result<Option<Webhook>, StoreError>;

    /// Removes one with its log. Answers whether there was one.
    async fn delete(&self, id: WebhookId) -> Result<bool, StoreError>;

    /// Gives one another secret; the former one signs as well until then. `None` if there is none.
    async fn rotate_secret(
        &self,
        id: WebhookId,
        secret: WebhookSecret,
        former_until: Timestamp,
    ) -> Result<Option<Webhook>, StoreError>;

    /// Queues a test. `None` if there is no such webhook.
    async fn test(&self, id: WebhookId) -> Result<Option<DeliveryId>, OrderDeliveryError>;

    /// One page of the log, newest first. `None` if there is no such webhook.
    async fn deliveries(
        &self,
        id: WebhookId,
        status: Option<DeliveryStatus>,
        page: PageRequest,
    ) -> Result<Option<Page<Delivery>>, StoreError>;

    /// Has a delivery sent again at once, whatever became of it. `None` if there is none.
    async fn retry(&self, id: WebhookId, delivery: DeliveryId) -> Result<Option<()>, OrderDeliveryError>;

    /// Queues facts of the past. Answers how many; `None` if there is no such webhook.
    async fn replay(&self, id: WebhookId, replay: Replay) -> Result<Option<u64>, OrderDeliveryError>;
}

/// Why no webhook was added.
#[derive(Debug, Clone, Error)]
pub enum CreateWebhookError {
    /// There are as many as there may be.
    #[error("there are as many webhooks as there may be")]
    TooMany,
    /// The author's account is gone.
    #[error("the author's account is gone")]
    AuthorGone,
    /// The idempotency key is in the way.
    #[error(transparent)]
    Key(#[from] KeyConflict),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why nothing was queued.
#[derive(Debug, Clone, Error)]
pub enum OrderDeliveryError {
    /// Nothing is sent to a disabled webhook.
    #[error("the webhook is disabled")]
    Disabled,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
