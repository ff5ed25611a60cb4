//! Sending mail.

use async_trait::async_trait;
use thiserror::Error;

use crate::Mail;

/// Puts a mail into words and hands it to a mail server, or into a folder.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends a mail; it is sent once the server has taken it.
    async fn send(&self, mail: &Mail) -> Result<(), MailFailed>;
}

/// The mail was not taken. The reason is one line of at most 500 characters, without addresses and secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MailFailed {
    /// The server will not take it later either, as for a recipient that it does not know.
    #[error("refused for good: {0}")]
    Refused(String),
    /// It may be taken later.
    #[error("{0}")]
    Later(String),
}
