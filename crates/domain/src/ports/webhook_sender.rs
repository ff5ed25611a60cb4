//! Posting facts to receivers.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::webhook::{WebhookSecret, WebhookUrl};
use crate::{FactId, Timestamp};

/// Posts one message to one receiver, as Standard Webhooks has it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait WebhookSender: Send + Sync {
    /// Refuses an address that no message would be sent to: a scheme, host or port that is not allowed, or a literal
    /// address outside the public networks. A name is looked up only when something is sent.
    fn admits(&self, url: &WebhookUrl) -> Result<(), WebhookUrlRefused>;

    /// Sends the message and waits for the answer, 15 s at most. The address that is connected to is checked at every
    /// connection. Redirects are not followed.
    async fn send(&self, message: &WebhookMessage) -> Result<WebhookAccepted, SendFailed>;
}

/// What is posted, where to, and how it is signed.
#[derive(Debug, Clone)]
pub struct WebhookMessage {
    /// The receiver's address.
    pub url: WebhookUrl,
    /// The fact's name, by which the receiver knows a repetition.
    pub id: FactId,
    /// When it is sent, which is signed as well.
    pub at: Timestamp,
    /// The present secret, and a former one that still signs.
    pub secrets: Vec<WebhookSecret>,
    /// The body: the fact.
    pub body: Arc<str>,
}

/// The receiver has the message: it answered 2xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookAccepted {
    /// The status it answered.
    pub status: u16,
}

/// The receiver did not take the message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct SendFailed {
    /// The status it answered, if it did.
    pub status: Option<u16>,
    /// What went wrong, for the log of deliveries: one line of at most 500 characters, without secrets.
    pub reason: String,
    /// How long it asks to be left alone (`Retry-After`), 24 h at most.
    pub retry_after: Option<Duration>,
}

/// Why nothing is ever sent to an address: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct WebhookUrlRefused(pub String);
