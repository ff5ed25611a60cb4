//! Receivers of facts over HTTP.

use std::fmt;

use crate::{DeliveryId, FactId, FactPattern, FactType, Invalid, Timestamp, WebhookId};

/// How many webhooks there may be.
pub const MAX_WEBHOOKS: u64 = 50;

/// A receiver's address: an absolute `http` or `https` URL without user, password or fragment, of 2,048 bytes at most.
/// Whether anything is sent there is [another question](crate::ports::WebhookSender::admits).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    /// The greatest number of bytes.
    pub const MAX_BYTES: usize = 2_048;

    /// Takes an address that looks like one. What a URL is in every detail, the sender decides.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let malformed = Invalid::Malformed { expected: "an absolute https URL without user, password or fragment" };
        let rest = raw.strip_prefix("https://").or_else(|| raw.strip_prefix("http://")).ok_or(malformed)?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let plain = raw.bytes().all(|byte| byte.is_ascii_graphic()) && !raw.contains(['#', '\\']);
        if authority.is_empty() || authority.contains('@') || !plain || raw.len() > Self::MAX_BYTES {
            return Err(malformed);
        }
        Ok(Self(raw.to_owned()))
    }

    /// An address as it was stored.
    pub fn stored(url: &str) -> Self {
        Self(url.to_owned())
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What messages to a receiver are signed with: `whsec_` and 24 to 64 bytes in Base64.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// A secret that was made, with its prefix.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself, to be signed with or shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// A receiver of facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its number.
    pub id: WebhookId,
    /// Where facts are posted to.
    pub url: WebhookUrl,
    /// Which facts.
    pub types: Vec<FactPattern>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether facts are sent.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// A receiver as its operator first writes it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Where facts are posted to.
    pub url: WebhookUrl,
    /// Which facts.
    pub types: Vec<FactPattern>,
    /// What it is for.
    pub description: Option<String>,
    /// Whether facts are sent.
    pub enabled: bool,
    /// What they are signed with.
    pub secret: WebhookSecret,
}

/// Changes to a webhook; what is `None` stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WebhookPatch {
    /// Where facts are posted to.
    pub url: Option<WebhookUrl>,
    /// Which facts.
    pub types: Option<Vec<FactPattern>>,
    /// What it is for, or `Some(None)` for no text any more.
    pub description: Option<Option<String>>,
    /// Whether facts are sent.
    pub enabled: Option<bool>,
}

/// Which facts of the past are sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replay {
    /// Made at this instant or later.
    pub from: Timestamp,
    /// Made at this instant or earlier.
    pub to: Option<Timestamp>,
    /// Of these types, among those of the webhook; of all of them if there is none.
    pub types: Vec<FactType>,
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// It is to be sent, or sent again.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It is not sent any more.
    Failed,
}

impl DeliveryStatus {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Failed => "failed",
        }
    }

    /// The status of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Pending, Self::Delivered, Self::Failed].into_iter().find(|status| status.as_str() == name)
    }
}

/// One fact on its way to one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// The fact.
    pub fact: FactId,
    /// The type of the fact, or `webhook.test`.
    pub kind: String,
    /// What became of it.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub next_attempt_at: Option<Timestamp>,
    /// The status that the receiver answered last.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the receiver took it.
    pub delivered_at: Option<Timestamp>,
}
