//! Who is told of what happens, and by what.

use std::net::SocketAddr;
use std::sync::Arc;

use adapter_webhook::{SystemResolver, WebhookClient};
use anyhow::anyhow;
use domain::ports::{Clock, Mailer, Probe, Publisher, WebhookSender};

use crate::broker::{BrokerProbe, publisher};
use crate::mail::mailer;
use crate::settings::{Environment, Settings};

/// The channels that the settings name.
pub(crate) struct Channels {
    pub(crate) webhooks: Arc<dyn WebhookSender>,
    pub(crate) publisher: Option<Arc<dyn Publisher>>,
    pub(crate) mailer: Option<Arc<dyn Mailer>>,
}

impl Channels {
    /// Those of a server at this address.
    pub(crate) fn new(settings: &Settings, address: SocketAddr, clock: &Arc<dyn Clock>) -> anyhow::Result<Self> {
        Ok(Self {
            webhooks: webhook_sender(settings)?,
            publisher: publisher(&settings.broker),
            mailer: mailer(settings, address, Arc::clone(clock))?,
        })
    }

    /// The broker, to be asked whether it answers.
    pub(crate) fn broker(&self) -> Option<Arc<dyn Probe>> {
        let publisher = Arc::clone(self.publisher.as_ref()?);
        Some(Arc::new(BrokerProbe(publisher)))
    }
}

/// What posts facts to receivers: to public addresses, and in development to this machine.
fn webhook_sender(settings: &Settings) -> anyhow::Result<Arc<dyn WebhookSender>> {
    let allowed = match (&settings.news.webhook_allowed_networks, settings.environment) {
        (Some(networks), _) => networks.clone(),
        (None, Environment::Development) => vec!["127.0.0.0/8".parse()?, "::1/128".parse()?],
        (None, Environment::Production) => Vec::new(),
    };
    let client = WebhookClient::new(allowed, Arc::new(SystemResolver));
    Ok(Arc::new(client.map_err(|cause| anyhow!("webhooks cannot be sent: {cause}"))?))
}
