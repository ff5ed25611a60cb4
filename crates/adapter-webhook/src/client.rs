//! The port `WebhookSender` over reqwest.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::WebhookUrl;
use domain::ports::{Cause, SendFailed, WebhookAccepted, WebhookMessage, WebhookSender, WebhookUrlRefused};
use ipnet::IpNet;
use reqwest::{Client, Response, redirect};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout, timeout_at};

use crate::failure;
use crate::networks::{Networks, Scheme};
use crate::resolver::{CheckedResolver, Resolver};
use crate::retry_after::retry_after;
use crate::signed;
use crate::target::{Target, refused};

/// How long one message may take, from the look-up to the answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// How long a connection is kept for the next message. Within a burst the next one comes at once. Servers close idle
/// connections after two seconds and more, and a message that meets such a close is lost until it is tried again.
const IDLE: Duration = Duration::from_secs(1);

/// Connections that are kept for one host.
const MAX_IDLE: usize = 32;

/// How much of an answer's body is read. It is thrown away: only a body that was read to its end leaves the connection
/// to the next message.
const MAX_ANSWER_BYTES: usize = 4 * 1024;

/// How long the body may take. The status has come before it and decides alone.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

const USER_AGENT: &str = concat!("boxoffice/", env!("CARGO_PKG_VERSION"));

/// Posts messages over HTTP/1.1, to addresses in public and in allowed networks.
#[derive(Debug)]
pub struct WebhookClient {
    networks: Arc<Networks>,
    https: Client,
    /// Its resolver admits allowed networks only.
    http: Client,
    patience: Duration,
}

impl WebhookClient {
    /// A client that connects to public addresses and to those of the `allowed` networks, and trusts the authorities
    /// that Mozilla trusts. Names are looked up by `resolver`.
    pub fn new(allowed: Vec<IpNet>, resolver: Arc<dyn Resolver>) -> Result<Self, Cause> {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self::trusting(roots, allowed, resolver, PATIENCE)
    }

    /// The same with other authorities and another patience, for tests.
    pub(crate) fn trusting(
        roots: RootCertStore,
        allowed: Vec<IpNet>,
        resolver: Arc<dyn Resolver>,
        patience: Duration,
    ) -> Result<Self, Cause> {
        let networks = Arc::new(Networks::new(allowed));
        let (tls, checked) = (tls(roots)?, Arc::clone(&networks));
        let client = move |scheme| {
            let resolver = CheckedResolver { resolver: Arc::clone(&resolver), networks: Arc::clone(&checked), scheme };
            Client::builder()
                .user_agent(USER_AGENT)
                .dns_resolver(resolver)
                .no_proxy()
                .redirect(redirect::Policy::none())
                .referer(false)
                // A host of several addresses: the next is tried while there is time for it.
                .connect_timeout(patience * 2 / 3)
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MAX_IDLE)
                .https_only(scheme == Scheme::Https)
                .tls_backend_preconfigured(tls.clone())
                .build()
                .map_err(Cause::new)
        };
        let (https, http) = (client(Scheme::Https)?, client(Scheme::Http)?);
        Ok(Self { networks, https, http, patience })
    }

    async fn post(&self, message: &WebhookMessage) -> Result<Response, SendFailed> {
        // Again and not at creation alone: a host that is an IP address never comes to the resolver, and the allowed
        // networks may have changed.
        let target = Target::parse(&message.url, &self.networks)
            .map_err(|refused| failure::unanswered(&format!("the address {refused}")))?;
        let headers = signed::headers(message).map_err(|unsigned| failure::unanswered(&unsigned.to_string()))?;
        let client = match target.scheme {
            Scheme::Https => &self.https,
            Scheme::Http => &self.http,
        };
        let request = client.post(target.url).headers(headers).body(message.body.to_string());
        request.send().await.map_err(|error| failure::unanswered(&failure::reason(&error)))
    }
}

#[async_trait]
impl WebhookSender for WebhookClient {
    fn admits(&self, url: &WebhookUrl) -> Result<(), WebhookUrlRefused> {
        let target = Target::parse(url, &self.networks)?;
        if target.is_strange(&self.networks) { Err(refused("must be https")) } else { Ok(()) }
    }

    async fn send(&self, message: &WebhookMessage) -> Result<WebhookAccepted, SendFailed> {
        let begun = Instant::now();
        let deadline = begun + self.patience;
        let answer = timeout_at(deadline, self.post(message))
            .await
            .unwrap_or_else(|_| Err(failure::unanswered(&format!("there was no answer within {:?}", self.patience))))?;
        let status = answer.status();
        let now_secs = message.at.unix_secs().saturating_add_unsigned(begun.elapsed().as_secs());
        let retry_after = retry_after(answer.headers(), now_secs);
        // An error or too long a body closes the connection, which is all that follows from it.
        let _ = timeout_at(deadline, timeout(BODY_PATIENCE, read_to_the_end(answer))).await;
        if status.is_success() {
            Ok(WebhookAccepted { status: status.as_u16() })
        } else {
            Err(failure::refused(status, retry_after))
        }
    }
}

/// Reads a body that is short, so that its connection can be used again, and gives up a longer one.
async fn read_to_the_end(mut answer: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > MAX_ANSWER_BYTES {
            return;
        }
    }
}

/// TLS 1.2 and 1.3 by ring, which is what the databases' drivers have as well. Named here and not taken from the
/// process: reqwest would panic if no provider was installed before.
fn tls(roots: RootCertStore) -> Result<ClientConfig, Cause> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    let mut tls = versions.map_err(Cause::new)?.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}
