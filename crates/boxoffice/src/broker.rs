//! The broker, as the rest of the program uses it.

use std::sync::Arc;

use adapter_amqp::RabbitPublisher;
use async_trait::async_trait;
use domain::Fact;
use domain::ports::{Probe, PublishFailed, Publisher, StoreError};
use metrics::counter;

use crate::settings::Broker;

/// The publisher to the broker of the settings, if there is one.
pub(crate) fn publisher(settings: &Broker) -> Option<Arc<dyn Publisher>> {
    let rabbit = RabbitPublisher::new(settings.url.clone()?, settings.exchange.clone());
    Some(Arc::new(Counted(rabbit)))
}

/// Counts what is published.
struct Counted<P>(P);

#[async_trait]
impl<P: Publisher> Publisher for Counted<P> {
    async fn publish(&self, facts: &[Fact]) -> Result<(), PublishFailed> {
        let published = self.0.publish(facts).await;
        let outcome = if published.is_ok() { "delivered" } else { "retried" };
        let count = u64::try_from(facts.len()).unwrap_or(u64::MAX);
        counter!("deliveries_total", "channel" => "broker", "outcome" => outcome).increment(count);
        published
    }

    async fn is_reachable(&self) -> bool {
        self.0.is_reachable().await
    }
}

/// Whether the broker answers, for readiness.
pub(crate) struct BrokerProbe(pub(crate) Arc<dyn Publisher>);

#[async_trait]
impl Probe for BrokerProbe {
    async fn ping(&self) -> Result<(), StoreError> {
        if self.0.is_reachable().await { Ok(()) } else { Err(StoreError::unavailable("the broker does not answer")) }
    }
}
