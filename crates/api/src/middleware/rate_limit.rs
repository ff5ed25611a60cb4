//! How often one client may call `/api`: the only file that knows actix-governor.
//!
//! The limiter counts in real time, whatever the program's clock says.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use actix_governor::governor::NotUntil;
use actix_governor::governor::clock::{Clock, DefaultClock, QuantaInstant};
use actix_governor::governor::middleware::StateInformationMiddleware;
use actix_governor::{Governor, GovernorConfig, GovernorConfigBuilder, KeyExtractor};
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, HttpResponseBuilder};
use ipnet::IpNet;

use super::client_address::TrustedProxies;
use crate::problem::{Code, Problem};

/// How often idle clients are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// Buckets of requests, one a client, shared by the workers of an instance.
#[derive(Clone)]
pub(crate) struct RateLimit {
    on: bool,
    config: GovernorConfig<ClientKey, StateInformationMiddleware>,
}

impl RateLimit {
    /// Buckets that hold `per_minute` requests and are refilled at that pace; 0 turns the limit off.
    pub(crate) fn new(per_minute: u32, trusted_proxies: TrustedProxies) -> Self {
        let size = NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN);
        let config = GovernorConfigBuilder::default()
            .period(Duration::from_mins(1) / size.get())
            .burst_size(size.get())
            .key_extractor(ClientKey { trusted_proxies })
            .use_headers()
            .finish()
            .expect("neither the size nor the period is zero");
        Self { on: per_minute > 0, config }
    }

    /// Whether there is a limit at all.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// The middleware over these buckets.
    pub(crate) fn governor(&self) -> Governor<ClientKey, StateInformationMiddleware> {
        Governor::new(&self.config)
    }

    /// Forgets clients whose bucket is full again, every now and then, until the server is gone.
    pub(crate) fn forget_idle_clients(&self) -> impl Future<Output = ()> + Send + 'static {
        let limiter = Arc::downgrade(&self.config.limiter());
        async move {
            let mut every = tokio::time::interval(FORGET_EVERY);
            loop {
                every.tick().await;
                let Some(limiter) = limiter.upgrade() else { return };
                limiter.retain_recent();
                limiter.shrink_to_fit();
            }
        }
    }
}

/// Who is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// No client: the request does not count.
    Uncounted,
    /// Every client of this network.
    Network(IpNet),
}

/// Finds the client of a request.
#[derive(Debug, Clone)]
pub(crate) struct ClientKey {
    trusted_proxies: TrustedProxies,
}

impl KeyExtractor for ClientKey {
    type Key = Client;
    type KeyExtractionError = Problem;

    fn extract(&self, request: &ServiceRequest) -> Result<Client, Problem> {
        let preflight =
            request.method() == Method::OPTIONS && request.headers().contains_key("Access-Control-Request-Method");
        // As the router reads it: `/%61pi/events` is the API too.
        let path = request.match_info().as_str();
        let api = path == "/api" || path.starts_with("/api/");
        if preflight || !api {
            return Ok(Client::Uncounted);
        }
        Ok(Client::Network(self.trusted_proxies.client_of(request.request())))
    }

    fn exceed_rate_limit_response(&self, refusal: &NotUntil<QuantaInstant>, _: HttpResponseBuilder) -> HttpResponse {
        let wait = refusal.wait_time_from(DefaultClock::default().now());
        let mut response = Problem::later(Code::RateLimited, wait).to_response();
        let headers = response.headers_mut();
        headers.insert(GOVERNOR_LIMIT, refusal.quota().burst_size().get().into());
        headers.insert(GOVERNOR_REMAINING, 0.into());
        response
    }

    fn whitelisted_keys(&self) -> Vec<Client> {
        vec![Client::Uncounted]
    }
}

const GOVERNOR_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const GOVERNOR_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
static GOVERNOR_OTHERS: [HeaderName; 2] =
    [HeaderName::from_static("x-ratelimit-after"), HeaderName::from_static("x-ratelimit-whitelisted")];

/// Renames the governor's headers to those of the IETF draft, and adds the time until the bucket
/// is full again. Goes around the governor.
pub(crate) async fn standard_headers<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let mut response = next.call(request).await?;
    let headers = response.headers_mut();
    let mut take = |name: HeaderName| -> Option<u64> {
        headers.remove(name).next().and_then(|value| value.to_str().ok()?.parse().ok())
    };
    let counted = (take(GOVERNOR_LIMIT), take(GOVERNOR_REMAINING));
    for name in &GOVERNOR_OTHERS {
        headers.remove(name);
    }
    if let (Some(limit), Some(remaining)) = counted {
        let reset = (limit.saturating_sub(remaining) * 60).div_ceil(limit.max(1));
        for (name, value) in
            [("ratelimit-limit", limit), ("ratelimit-remaining", remaining), ("ratelimit-reset", reset)]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        }
    }
    Ok(response)
}
