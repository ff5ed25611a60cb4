//! Webhooks, as admins see them.

use application::{WebhookDraft, WebhookRegistry, WebhookWithSecret};
use domain::{Description, FactPattern, Invalid, Timestamp, WebhookPatch, WebhookUrl};
use garde::Validate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Time;
use crate::field::{Door, Given, present, sound, sound_or_null};
use crate::period::{PeriodFrom, PeriodTo};
use crate::violation::Violation;

/// A receiver of facts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Webhook {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 3)]
    id: u64,
    /// Where facts are posted to.
    #[schema(max_length = 2048, example = "https://example.com/hooks/boxoffice")]
    url: String,
    /// Which facts: names of types, prefixes with `.*`, or `*`.
    #[schema(max_items = 50, example = json!(["registration.*"]))]
    types: Vec<String>,
    /// What it is for.
    #[schema(required = true, max_length = 10_000, example = "Sends tickets.")]
    description: Option<String>,
    /// Whether facts are sent. A receiver that answers 410, or nothing but failures for five days, is disabled.
    #[schema(example = true)]
    enabled: bool,
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-01-15T09:30:00Z")]
    created_at: Time,
    #[schema(value_type = String, format = DateTime, max_length = 27, example = "2030-01-16T10:00:00Z")]
    updated_at: Time,
}

/// The same with its secret, which is shown only here.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookSecret {
    #[serde(flatten)]
    webhook: Webhook,
    /// What messages are signed with: `whsec_` and Base64. Null in an answer that is replayed under an idempotency key.
    #[schema(required = true, max_length = 100, example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: Option<String>,
}

impl From<&domain::Webhook> for Webhook {
    fn from(webhook: &domain::Webhook) -> Self {
        Self {
            id: webhook.id.get(),
            url: webhook.url.as_str().to_owned(),
            types: webhook.types.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
            description: webhook.description.clone(),
            enabled: webhook.enabled,
            created_at: webhook.created_at.into(),
            updated_at: webhook.updated_at.into(),
        }
    }
}

impl From<&WebhookWithSecret> for WebhookSecret {
    fn from(with_secret: &WebhookWithSecret) -> Self {
        let secret = with_secret.secret.as_ref().map(|secret| secret.expose().to_owned());
        Self { webhook: (&with_secret.webhook).into(), secret }
    }
}

/// Patterns of types, each of which some type matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patterns(Vec<FactPattern>);

impl Door for Patterns {
    type Raw = Vec<String>;
    const EXPECTED: &'static str = "a list of texts";

    fn open(raw: Vec<String>) -> Result<Self, Invalid> {
        const MAX: u64 = 50;
        if raw.is_empty() || raw.len() as u64 > MAX {
            return Err(Invalid::Malformed { expected: "a list of 1 to 50 types" });
        }
        raw.iter().map(|pattern| FactPattern::parse(pattern)).collect::<Result<_, _>>().map(Self)
    }
}

/// garde rule: something may be sent to the address.
fn admitted(url: &Given<WebhookUrl>, webhooks: &WebhookRegistry) -> garde::Result {
    match url {
        Given::Value(url) => webhooks.admits(url).map_err(|refused| Violation::new("not_allowed", refused.0).into()),
        Given::Missing | Given::Null | Given::Wrong(_) => Ok(()),
    }
}

/// A webhook to be.
#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = CreateWebhookRequest)]
#[garde(context(WebhookRegistry))]
pub(crate) struct CreateWebhook {
    #[serde(default)]
    #[garde(custom(present), custom(admitted))]
    #[schema(required = true, value_type = String, min_length = 8, max_length = 2048, example = "https://example.com/hooks/boxoffice")]
    url: Given<WebhookUrl>,
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = Vec<String>, min_items = 1, max_items = 50, example = json!(["registration.*"]))]
    types: Given<Patterns>,
    #[serde(default)]
    #[garde(custom(sound_or_null))]
    #[schema(value_type = Option<String>, max_length = 10_000, example = "Sends tickets.")]
    description: Given<Description>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<bool>, nullable = false, default = true, example = true)]
    enabled: Given<bool>,
}

impl CreateWebhook {
    pub(crate) fn into_draft(self) -> Result<WebhookDraft, crate::problem::Problem> {
        Ok(WebhookDraft {
            url: self.url.required("url")?,
            types: self.types.required("types")?.0,
            description: self.description.optional().map(|text| text.as_str().to_owned()),
            enabled: self.enabled.optional().unwrap_or(true),
        })
    }
}

/// Changes to a webhook; what is left out stays.
#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = UpdateWebhookRequest)]
#[garde(context(WebhookRegistry))]
pub(crate) struct UpdateWebhook {
    #[serde(default)]
    #[garde(custom(sound), custom(admitted))]
    #[schema(value_type = Option<String>, nullable = false, min_length = 8, max_length = 2048, example = "https://example.com/hooks/boxoffice")]
    url: Given<WebhookUrl>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<Vec<String>>, nullable = false, min_items = 1, max_items = 50, example = json!(["*"]))]
    types: Given<Patterns>,
    #[serde(default)]
    #[garde(custom(sound_or_null))]
    #[schema(value_type = Option<String>, max_length = 10_000, example = "Sends tickets.")]
    description: Given<Description>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<bool>, nullable = false, example = true)]
    enabled: Given<bool>,
}

impl From<UpdateWebhook> for WebhookPatch {
    fn from(update: UpdateWebhook) -> Self {
        Self {
            url: update.url.optional(),
            types: update.types.optional().map(|types| types.0),
            description: update.description.nullable().map(|text| text.map(|text| text.as_str().to_owned())),
            enabled: update.enabled.optional(),
        }
    }
}

/// Which facts of the past to send.
#[derive(Deserialize, Validate, ToSchema)]
#[schema(as = ReplayRequest)]
#[garde(context(()))]
pub(crate) struct Replay {
    #[serde(default)]
    #[garde(custom(present))]
    #[schema(required = true, value_type = String, max_length = 40, example = "2030-01-15")]
    from: Given<PeriodFrom>,
    #[serde(default)]
    #[garde(custom(sound), custom(crate::period::not_before(&self.from, "from")))]
    #[schema(value_type = Option<String>, nullable = false, max_length = 40, example = "2030-01-16T12:00:00Z")]
    to: Given<PeriodTo>,
    #[serde(default)]
    #[garde(custom(sound))]
    #[schema(value_type = Option<Vec<String>>, nullable = false, min_items = 1, max_items = 50, example = json!(["registration.confirmed"]))]
    types: Given<Patterns>,
}

impl Replay {
    pub(crate) fn into_replay(self) -> Result<domain::Replay, crate::problem::Problem> {
        let patterns = self.types.optional().map(|types| types.0).unwrap_or_default();
        Ok(domain::Replay {
            from: self.from.required("from")?.0,
            to: self.to.optional().map(|to| to.0),
            types: patterns.iter().flat_map(FactPattern::types).collect(),
        })
    }
}

/// One fact on its way to a receiver.
#[derive(Serialize, ToSchema)]
pub(crate) struct Delivery {
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 512)]
    id: u64,
    /// The fact's name, which the receiver gets as `webhook-id`.
    #[schema(max_length = 100, example = "0193a5c0-7d10-7b7a-a5f4-2a6c1a1f0c11-0")]
    fact_id: String,
    /// The fact's type, or `webhook.test`.
    #[schema(max_length = 100, example = "registration.confirmed")]
    r#type: String,
    status: DeliveryStatus,
    /// How often it was tried.
    #[schema(minimum = 0, maximum = 1000, example = 1)]
    attempts: u32,
    /// When it is tried next; null once it is over.
    #[schema(required = true, value_type = Option<String>, format = DateTime, max_length = 27, example = "2030-01-15T09:30:05Z")]
    next_attempt_at: Option<Time>,
    /// The status that the receiver answered last.
    #[schema(required = true, minimum = 100, maximum = 999, example = 503)]
    last_status: Option<u16>,
    /// What went wrong last.
    #[schema(required = true, max_length = 500, example = "the receiver answered 503")]
    last_error: Option<String>,
    /// When the receiver took it.
    #[schema(required = true, value_type = Option<String>, format = DateTime, max_length = 27, example = "2030-01-15T09:30:00Z")]
    delivered_at: Option<Time>,
}

/// What became of a delivery.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeliveryStatus {
    Pending,
    Delivered,
    Failed,
}

impl From<domain::DeliveryStatus> for DeliveryStatus {
    fn from(status: domain::DeliveryStatus) -> Self {
        match status {
            domain::DeliveryStatus::Pending => Self::Pending,
            domain::DeliveryStatus::Delivered => Self::Delivered,
            domain::DeliveryStatus::Failed => Self::Failed,
        }
    }
}

impl From<&domain::Delivery> for Delivery {
    fn from(delivery: &domain::Delivery) -> Self {
        let time = |at: Option<Timestamp>| at.map(Time::from);
        Self {
            id: delivery.id.get(),
            fact_id: delivery.fact.as_str().to_owned(),
            r#type: delivery.kind.clone(),
            status: delivery.status.into(),
            attempts: delivery.attempts,
            next_attempt_at: time(delivery.next_attempt_at),
            last_status: delivery.last_status,
            last_error: delivery.last_error.clone(),
            delivered_at: time(delivery.delivered_at),
        }
    }
}

/// A delivery that was queued.
#[derive(Serialize, ToSchema)]
pub(crate) struct Queued {
    /// Its id, by which the log shows what became of it.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_i64, example = 512)]
    pub(crate) delivery_id: u64,
}

/// Deliveries that were queued.
#[derive(Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// How many facts will be sent.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_i64, example = 42)]
    pub(crate) queued: u64,
}

/// A list of webhooks.
#[derive(ToSchema)]
#[schema(as = WebhookList, max_items = 50)]
#[expect(dead_code, reason = "describes a list in the document")]
pub(crate) struct Webhooks(Vec<Webhook>);

/// A page of deliveries.
#[derive(ToSchema)]
#[schema(as = DeliveryList, max_items = 1000)]
#[expect(dead_code, reason = "describes a list in the document")]
pub(crate) struct Deliveries(Vec<Delivery>);
