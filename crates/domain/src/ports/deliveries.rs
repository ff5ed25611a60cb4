//! Deliveries to webhooks, as the one process that sends them sees them.

use std::sync::Arc;

use async_trait::async_trait;

use super::StoreError;
use crate::webhook::{WebhookSecret, WebhookUrl};
use crate::{DeliveryId, EventId, FactId, Timestamp, WebhookId};

/// What is to be sent, and what became of it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Waits until there may be something to send: a while at most.
    async fn wait(&self);

    /// Takes up to so many due deliveries for each enabled webhook that is not busy, oldest first. What was taken is due
    /// again after a minute, should it never be settled.
    async fn claim(&self, each: u32, busy: &[WebhookId]) -> Result<Vec<DueDelivery>, StoreError>;

    /// Remembers what became of attempts, all at once.
    async fn settle(&self, attempts: Vec<Attempt>) -> Result<(), StoreError>;
}

/// A delivery that is to be sent now.
#[derive(Debug, Clone)]
pub struct DueDelivery {
    /// Its number.
    pub id: DeliveryId,
    /// Whose.
    pub webhook: WebhookId,
    /// Where to.
    pub url: WebhookUrl,
    /// What it is signed with: the present secret, and a former one that still counts.
    pub secrets: Vec<WebhookSecret>,
    /// The fact.
    pub fact: FactId,
    /// Which event the fact is about: facts of one are sent one after the other.
    pub event: Option<EventId>,
    /// How often it was tried.
    pub attempts: u32,
    /// Since when every attempt for the webhook has failed.
    pub failing_since: Option<Timestamp>,
    /// The body.
    pub body: Arc<str>,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Whose.
    pub webhook: WebhookId,
    /// When it ended.
    pub at: Timestamp,
    /// The status that was answered.
    pub status: Option<u16>,
    /// What went wrong.
    pub error: Option<String>,
    /// What follows.
    pub next: AfterAttempt,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterAttempt {
    /// The receiver has it.
    Delivered,
    /// It is tried again then.
    Retry(Timestamp),
    /// It is not tried again.
    Failed,
    /// The receiver wants nothing any more: its webhook is disabled.
    Disable,
}
