//! Mail as the one process that sends it sees it.

use async_trait::async_trait;

use super::StoreError;
use crate::{Mail, MailId, Timestamp, UserId};

/// What is to be mailed, and what became of it.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Mails: Send + Sync {
    /// Takes up to so many due mails, oldest first. What was taken is due again after a minute, should it never be settled.
    /// Mail to whoever wants none or is gone, and about an event that is not known any more, is dropped.
    async fn claim(&self, limit: u32) -> Result<Vec<DueMail>, StoreError>;

    /// Remembers what became of attempts, all at once.
    async fn settle(&self, attempts: Vec<MailAttempt>) -> Result<(), StoreError>;

    /// Queues a reminder for whoever has a seat at an event that begins within this many seconds from now, and was not
    /// reminded of it before. Answers how many.
    async fn remind(&self, ahead_secs: u32) -> Result<u64, StoreError>;

    /// Waits until there may be something to send: a while at most.
    async fn wait(&self);
}

/// A mail that is to be sent now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueMail {
    /// Its number.
    pub id: MailId,
    /// To whom.
    pub user: UserId,
    /// How often it was tried.
    pub attempts: u32,
    /// What to send.
    pub mail: Mail,
}

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailAttempt {
    /// Of which mail.
    pub mail: MailId,
    /// What follows.
    pub next: AfterMail,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AfterMail {
    /// The server has it.
    Sent,
    /// It is tried again then; this is what went wrong.
    Retry(Timestamp, String),
    /// It is not tried again; this is what went wrong.
    Failed(String),
}
