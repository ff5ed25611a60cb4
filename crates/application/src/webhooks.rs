//! Webhooks, for admins.

use std::sync::Arc;

use domain::ports::{
    Cause, Clock, CreateWebhookError, OrderDeliveryError, StoreError, WebhookSender, WebhookUrlRefused, Webhooks,
};
use domain::{
    Command, Committed, Delivery, DeliveryId, DeliveryStatus, FactPattern, NewWebhook, Once, Page, PageRequest, Replay,
    Webhook, WebhookId, WebhookPatch, WebhookSecret, WebhookUrl,
};
use thiserror::Error;

use crate::Admin;

/// How long a secret goes on signing after another one took its place, in seconds.
const FORMER_SECRET_SECS: u32 = 24 * 60 * 60;

/// Makes secrets that no one can guess.
pub type NewSecret = Arc<dyn Fn() -> Result<WebhookSecret, Cause> + Send + Sync>;

/// Receivers of facts.
pub struct WebhookRegistry {
    webhooks: Arc<dyn Webhooks>,
    sender: Arc<dyn WebhookSender>,
    new_secret: NewSecret,
    clock: Arc<dyn Clock>,
}

/// What is wanted of a new webhook.
#[derive(Debug, Clone)]
pub struct WebhookDraft {
    /// Where facts are posted to.
    pub url: WebhookUrl,
    /// Which facts.
    pub types: Vec<FactPattern>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether facts are sent.
    pub enabled: bool,
}

/// A webhook with its secret, which is shown once; a repeated request shows none.
#[derive(Debug, Clone)]
pub struct WebhookWithSecret {
    /// The webhook.
    pub webhook: Webhook,
    /// What facts are signed with.
    pub secret: Option<WebhookSecret>,
}

impl WebhookRegistry {
    /// Webhooks kept in `webhooks`, to which `sender` would send.
    pub fn new(
        webhooks: Arc<dyn Webhooks>,
        sender: Arc<dyn WebhookSender>,
        new_secret: NewSecret,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { webhooks, sender, new_secret, clock }
    }

    /// Refuses an address that nothing would ever be sent to.
    pub fn admits(&self, url: &WebhookUrl) -> Result<(), WebhookUrlRefused> {
        self.sender.admits(url)
    }

    /// All of them.
    pub async fn list(&self, _admin: Admin) -> Result<Vec<Webhook>, StoreError> {
        self.webhooks.list().await
    }

    /// One of them.
    pub async fn find(&self, _admin: Admin, id: WebhookId) -> Result<Webhook, WebhookError> {
        self.webhooks.find(id).await?.ok_or(WebhookError::NotFound)
    }

    /// Adds one.
    pub async fn create(
        &self,
        admin: Admin,
        once: Option<Once>,
        draft: WebhookDraft,
    ) -> Result<Committed<WebhookWithSecret>, WebhookError> {
        self.sender.admits(&draft.url)?;
        let WebhookDraft { url, types, description, enabled } = draft;
        let secret = (self.new_secret)().map_err(WebhookError::Secret)?;
        let new = NewWebhook { url, types, description, enabled, secret: secret.clone() };
        let Committed { outcome, replayed } =
            self.webhooks.create(Command { by: admin.user(), once, what: new }).await?;
        let secret = (!replayed).then_some(secret);
        Ok(Committed { outcome: WebhookWithSecret { webhook: outcome, secret }, replayed })
    }

    /// Changes one.
    pub async fn update(&self, _admin: Admin, id: WebhookId, patch: WebhookPatch) -> Result<Webhook, WebhookError> {
        if let Some(url) = &patch.url {
            self.sender.admits(url)?;
        }
        self.webhooks.update(id, patch).await?.ok_or(WebhookError::NotFound)
    }

    /// Removes one, with the log of its deliveries.
    pub async fn delete(&self, _admin: Admin, id: WebhookId) -> Result<(), WebhookError> {
        if self.webhooks.delete(id).await? { Ok(()) } else { Err(WebhookError::NotFound) }
    }

    /// Gives one another secret. The former one signs as well for a day.
    pub async fn rotate_secret(&self, _admin: Admin, id: WebhookId) -> Result<WebhookWithSecret, WebhookError> {
        let secret = (self.new_secret)().map_err(WebhookError::Secret)?;
        let until = self.clock.now().plus_secs(FORMER_SECRET_SECS);
        let webhook = self.webhooks.rotate_secret(id, secret.clone(), until).await?.ok_or(WebhookError::NotFound)?;
        Ok(WebhookWithSecret { webhook, secret: Some(secret) })
    }

    /// Sends one a test.
    pub async fn test(&self, _admin: Admin, id: WebhookId) -> Result<DeliveryId, WebhookError> {
        self.webhooks.test(id).await?.ok_or(WebhookError::NotFound)
    }

    /// The log of one's deliveries.
    pub async fn deliveries(
        &self,
        _admin: Admin,
        id: WebhookId,
        status: Option<DeliveryStatus>,
        page: PageRequest,
    ) -> Result<Page<Delivery>, WebhookError> {
        self.webhooks.deliveries(id, status, page).await?.ok_or(WebhookError::NotFound)
    }

    /// Has a delivery sent again.
    pub async fn retry(&self, _admin: Admin, id: WebhookId, delivery: DeliveryId) -> Result<(), WebhookError> {
        self.webhooks.retry(id, delivery).await?.ok_or(WebhookError::NotFound)
    }

    /// Sends facts of the past. Answers how many.
    pub async fn replay(&self, _admin: Admin, id: WebhookId, replay: Replay) -> Result<u64, WebhookError> {
        self.webhooks.replay(id, replay).await?.ok_or(WebhookError::NotFound)
    }
}

/// Why nothing was done with a webhook.
#[derive(Debug, Clone, Error)]
pub enum WebhookError {
    /// There is none, or no such delivery of it.
    #[error("no such webhook")]
    NotFound,
    /// Nothing is ever sent to its address.
    #[error(transparent)]
    Url(#[from] WebhookUrlRefused),
    /// No secret could be made.
    #[error("no secret could be made: {0}")]
    Secret(Cause),
    /// It could not be added.
    #[error(transparent)]
    Create(#[from] CreateWebhookError),
    /// Nothing was queued.
    #[error(transparent)]
    Order(#[from] OrderDeliveryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
