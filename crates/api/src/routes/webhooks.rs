//! Webhooks: who is told of what happens, and how that went.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, delete, get, post, put};
use application::Admin;
use domain::{DeliveryStatus, PageNumber, PageRequest, PageSize};
use garde::Validate;
use utoipa::IntoParams;
use utoipa_actix_web::service_config::ServiceConfig;

use crate::addresses::{DeliveryIdParameter, DeliveryPath, WebhookIdParameter, WebhookPath};
use crate::body::RequestBody;
use crate::caller::Caller;
use crate::field::{self, Given, sound};
use crate::headers::OnceHeader;
use crate::problem::Problem;
use crate::query::Query;
use crate::reply::{self, Reply};
use crate::services::Services;
use crate::wire;

pub(crate) fn configure(config: &mut ServiceConfig) {
    config
        .service(create_webhook)
        .service(list_webhooks)
        .service(find_webhook)
        .service(update_webhook)
        .service(delete_webhook)
        .service(rotate_secret)
        .service(test_webhook)
        .service(list_deliveries)
        .service(retry_delivery)
        .service(replay_facts);
}

/// Create a webhook
///
/// Facts from now on are posted to its `url`, signed as in Standard Webhooks with the `secret` that is shown only here.
/// The address has to be `https` and public; `WEBHOOK_ALLOWED_NETWORKS` admits others. There are 50 webhooks at most.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "createWebhook",
    security(("access_token" = ["admin"])),
    params(OnceHeader),
    request_body = wire::CreateWebhook,
    responses((status = 201, description = "The webhook was created.", body = wire::WebhookSecret, headers(
        ("Location" = String, description = "The webhook's address."),
    ))),
    extensions(("x-problems" = json!(["too_many_webhooks"]))),
)]
#[post("/api/webhooks")]
async fn create_webhook(admin: Caller<Admin>, body: RequestBody, services: Data<Services>) -> Reply {
    let (draft, once) = body.command::<wire::CreateWebhook>(&*services.webhooks)?;
    let created = services.webhooks.create(admin.0, once, draft.into_draft()?).await?;
    let location = format!("/api/webhooks/{}", created.outcome.webhook.id);
    Ok(reply::created(&created, &location, |webhook| wire::WebhookSecret::from(webhook)))
}

/// List webhooks
///
/// All of them, oldest first.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "listWebhooks",
    security(("access_token" = ["admin"])),
    responses((status = 200, description = "Every webhook.", body = wire::Webhooks, headers(
        ("X-Total-Count" = u64, description = "How many there are."),
        ("Link" = String, description = "The only page (RFC 8288)."),
        ("ETag" = String, description = "Changes with every visible change of the list."),
    ))),
)]
#[get("/api/webhooks")]
async fn list_webhooks(admin: Caller<Admin>, services: Data<Services>) -> Reply {
    let webhooks = services.webhooks.list(admin.0).await?;
    let rows: Vec<_> = webhooks.iter().map(wire::Webhook::from).collect();
    Ok(reply::private_list(&rows, rows.len() as u64, "</api/webhooks>; rel=\"first\", </api/webhooks>; rel=\"last\""))
}

/// Look at a webhook
///
/// Without its secret.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "getWebhook",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter),
    responses((status = 200, description = "The webhook.", body = wire::Webhook)),
)]
#[get("/api/webhooks/{id}")]
async fn find_webhook(admin: Caller<Admin>, webhook: WebhookPath, services: Data<Services>) -> Reply {
    let webhook = services.webhooks.find(admin.0, webhook.id()?).await?;
    Ok(reply::private(StatusCode::OK, &wire::Webhook::from(&webhook)))
}

/// Change a webhook
///
/// Any subset of its fields. What waits for a disabled webhook is sent once it is enabled again; what happens meanwhile
/// is sent by replay only.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "updateWebhook",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter),
    request_body = wire::UpdateWebhook,
    responses((status = 200, description = "The webhook as it is now.", body = wire::Webhook)),
    extensions(("x-problems" = json!(["outcome_unknown"]))),
)]
#[put("/api/webhooks/{id}")]
async fn update_webhook(
    admin: Caller<Admin>,
    webhook: WebhookPath,
    body: RequestBody,
    services: Data<Services>,
) -> Reply {
    let webhook = webhook.id()?;
    let patch = body.json::<wire::UpdateWebhook>(&*services.webhooks)?;
    let webhook = services.webhooks.update(admin.0, webhook, patch.into()).await?;
    Ok(reply::private(StatusCode::OK, &wire::Webhook::from(&webhook)))
}

/// Delete a webhook
///
/// With the log of its deliveries. Nothing more is sent.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "deleteWebhook",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter),
    responses((status = 204, description = "The webhook is gone.")),
    extensions(("x-problems" = json!(["outcome_unknown"]))),
)]
#[delete("/api/webhooks/{id}")]
async fn delete_webhook(admin: Caller<Admin>, webhook: WebhookPath, services: Data<Services>) -> Reply {
    services.webhooks.delete(admin.0, webhook.id()?).await?;
    Ok(reply::no_content())
}

/// Rotate a webhook's secret
///
/// Messages are signed with the new secret, and with the former one as well for 24 hours.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "rotateWebhookSecret",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter),
    responses((status = 200, description = "The webhook with its new secret, which is shown only here.", body = wire::WebhookSecret)),
    extensions(("x-problems" = json!(["outcome_unknown"]))),
)]
#[post("/api/webhooks/{id}/rotate-secret")]
async fn rotate_secret(admin: Caller<Admin>, webhook: WebhookPath, services: Data<Services>) -> Reply {
    let webhook = services.webhooks.rotate_secret(admin.0, webhook.id()?).await?;
    Ok(reply::private(StatusCode::OK, &wire::WebhookSecret::from(&webhook)))
}

/// Test a webhook
///
/// Sends a message of the type `webhook.test`, which is in the log of deliveries.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "testWebhook",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter),
    responses((status = 202, description = "The test is on its way.", body = wire::Queued)),
    extensions(("x-problems" = json!(["webhook_disabled", "outcome_unknown"]))),
)]
#[post("/api/webhooks/{id}/test")]
async fn test_webhook(admin: Caller<Admin>, webhook: WebhookPath, services: Data<Services>) -> Reply {
    let delivery = services.webhooks.test(admin.0, webhook.id()?).await?;
    Ok(reply::private(StatusCode::ACCEPTED, &wire::Queued { delivery_id: delivery.get() }))
}

/// List a webhook's deliveries
///
/// Newest first, with what became of each.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "listDeliveries",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter, DeliveryListParameters),
    responses((status = 200, description = "One page of deliveries.", body = wire::Deliveries, headers(
        ("X-Total-Count" = u64, description = "How many deliveries match, on all pages together."),
        ("Link" = String, description = "The first, previous, next and last page (RFC 8288), with every filter kept."),
        ("ETag" = String, description = "Changes with every visible change of the page."),
    ))),
)]
#[get("/api/webhooks/{id}/deliveries")]
async fn list_deliveries(
    admin: Caller<Admin>,
    webhook: WebhookPath,
    request: HttpRequest,
    services: Data<Services>,
) -> Reply {
    let webhook = webhook.id()?;
    let (status, page) = DeliveryListQuery::of(&request)?.into_parts();
    let deliveries = services.webhooks.deliveries(admin.0, webhook, status, page).await?;
    let rows: Vec<_> = deliveries.rows.iter().map(wire::Delivery::from).collect();
    Ok(reply::private_list(&rows, deliveries.total, &reply::page_links(&request, page, deliveries.total)))
}

/// Retry a delivery
///
/// Sends it again at once, whatever became of it.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "retryDelivery",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter, DeliveryIdParameter),
    responses((status = 202, description = "The delivery is on its way.", body = wire::Queued)),
    extensions(("x-problems" = json!(["webhook_disabled", "outcome_unknown"]))),
)]
#[post("/api/webhooks/{id}/deliveries/{delivery}/retry")]
async fn retry_delivery(
    admin: Caller<Admin>,
    webhook: WebhookPath,
    delivery: DeliveryPath,
    services: Data<Services>,
) -> Reply {
    let (webhook, delivery) = (webhook.id()?, delivery.id()?);
    services.webhooks.retry(admin.0, webhook, delivery).await?;
    Ok(reply::private(StatusCode::ACCEPTED, &wire::Queued { delivery_id: delivery.get() }))
}

/// Replay facts
///
/// Sends facts of the past, of the webhook's types or some of them, with the ids that they had.
#[utoipa::path(
    tag = "webhooks",
    operation_id = "replayFacts",
    security(("access_token" = ["admin"])),
    params(WebhookIdParameter),
    request_body = wire::Replay,
    responses((status = 202, description = "The facts are on their way.", body = wire::Replayed)),
    extensions(("x-problems" = json!(["webhook_disabled", "outcome_unknown"]))),
)]
#[post("/api/webhooks/{id}/replay")]
async fn replay_facts(
    admin: Caller<Admin>,
    webhook: WebhookPath,
    body: RequestBody,
    services: Data<Services>,
) -> Reply {
    let webhook = webhook.id()?;
    let replay = body.json::<wire::Replay>(&())?.into_replay()?;
    let queued = services.webhooks.replay(admin.0, webhook, replay).await?;
    Ok(reply::private(StatusCode::ACCEPTED, &wire::Replayed { queued }))
}

/// The query of a list of deliveries, as it came.
#[derive(Validate)]
struct DeliveryListQuery {
    #[garde(custom(sound))]
    page: Given<PageNumber>,
    #[garde(custom(sound))]
    limit: Given<PageSize<1000>>,
    #[garde(custom(sound))]
    status: Given<DeliveryStatus>,
}

impl DeliveryListQuery {
    const DEFAULT_SIZE: u32 = 100;

    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let query = Query::of(request);
        let parsed = Self { page: query.field("page"), limit: query.field("limit"), status: query.field("status") };
        parsed.validate().map_err(|report| field::report(&report))?;
        Ok(parsed)
    }

    fn into_parts(self) -> (Option<DeliveryStatus>, PageRequest) {
        (self.status.optional(), field::page_request(self.page, self.limit, Self::DEFAULT_SIZE))
    }
}

/// The same query, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes the parameters that `DeliveryListQuery` reads")]
struct DeliveryListParameters {
    /// Which page, from 1.
    #[param(nullable = false, minimum = 1, maximum = 1_000_000, default = 1, example = 1)]
    page: Option<u32>,
    /// How many deliveries a page has at most.
    #[param(nullable = false, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: Option<u32>,
    /// Only deliveries of this status.
    #[param(nullable = false)]
    status: Option<wire::DeliveryStatus>,
}
