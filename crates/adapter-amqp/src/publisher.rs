//! The port `Publisher` over lapin: one connection, one channel, confirms.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Fact;
use domain::ports::{PublishFailed, Publisher};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Confirmation, ExchangeKind, PublisherConfirm};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::exchange::Exchange;
use crate::url::AmqpUrl;
use crate::{failure, message};

/// How long connecting may take, until the exchange is there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// How long the confirms of all facts of one call may take.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);

/// How long [`Publisher::is_reachable`] may take.
const GLANCE: Duration = Duration::from_secs(1);

/// How many facts may be on their way, published and not confirmed.
const MAX_UNCONFIRMED: usize = 256;

/// Publishes facts to a durable topic exchange, which it declares, as persistent messages.
///
/// It connects when it is first used, and anew after every failure.
pub struct RabbitPublisher {
    url: AmqpUrl,
    exchange: Exchange,
    /// Locked only while it is looked at or made.
    connection: Mutex<Option<Arc<Connection>>>,
    /// Locked while facts are published, so that calls follow each other. Taken out meanwhile: a call that is dropped
    /// drops its channel, with whatever is not confirmed on it.
    channel: Mutex<Option<ConfirmingChannel>>,
}

/// A channel that confirms, to an exchange that is there.
struct ConfirmingChannel {
    connection: Arc<Connection>,
    channel: Channel,
}

impl RabbitPublisher {
    /// A publisher that is not connected yet.
    pub fn new(url: AmqpUrl, exchange: Exchange) -> Self {
        Self { url, exchange, connection: Mutex::default(), channel: Mutex::default() }
    }

    /// The open connection, made if there is none.
    async fn connection(&self) -> Result<Arc<Connection>, PublishFailed> {
        let mut kept = self.connection.lock().await;
        if let Some(open) = kept.as_ref().filter(|connection| connection.is_open()) {
            return Ok(Arc::clone(open));
        }
        *kept = None;
        let opened = Arc::new(Connection::open(&self.url).await?);
        *kept = Some(Arc::clone(&opened));
        Ok(opened)
    }

    async fn open_channel(&self) -> Result<ConfirmingChannel, PublishFailed> {
        let connection = self.connection().await?;
        let channel = connection.channel().await.map_err(|error| failure::publishing(&error))?;
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let name = self.exchange.as_str().into();
        let declared = channel.exchange_declare(name, ExchangeKind::Topic, durable, FieldTable::default()).await;
        declared.map_err(|error| failure::declaring(&error, &self.exchange))?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirms.map_err(|error| failure::publishing(&error))?;
        Ok(ConfirmingChannel { connection, channel })
    }

    /// Publishes on the channel that was kept if it is open, and otherwise on a new one. Returns the channel.
    async fn publish_on(
        &self,
        kept: Option<ConfirmingChannel>,
        facts: &[Fact],
    ) -> Result<ConfirmingChannel, PublishFailed> {
        let channel = match kept.filter(ConfirmingChannel::is_open) {
            Some(open) => open,
            None => timeout(CONNECT_PATIENCE, self.open_channel())
                .await
                .unwrap_or_else(|_| Err(failure::unconnected(CONNECT_PATIENCE)))?,
        };
        match timeout(CONFIRM_PATIENCE, channel.publish(&self.exchange, facts)).await {
            Ok(published) => published.map(|()| channel),
            Err(_) => Err(failure::unconfirmed(CONFIRM_PATIENCE, channel.connection.is_blocked())),
        }
    }
}

#[async_trait]
impl Publisher for RabbitPublisher {
    async fn publish(&self, facts: &[Fact]) -> Result<(), PublishFailed> {
        if facts.is_empty() {
            return Ok(());
        }
        let mut kept = self.channel.lock().await;
        match self.publish_on(kept.take(), facts).await {
            Ok(channel) => {
                *kept = Some(channel);
                Ok(())
            }
            Err(failed) => {
                *self.connection.lock().await = None;
                Err(failed)
            }
        }
    }

    async fn is_reachable(&self) -> bool {
        timeout(GLANCE, self.connection()).await.is_ok_and(|connection| connection.is_ok())
    }
}

impl fmt::Debug for RabbitPublisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitPublisher")
            .field("url", &self.url)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}

impl ConfirmingChannel {
    fn is_open(&self) -> bool {
        self.connection.is_open() && self.channel.status().connected()
    }

    /// Publishes in order, and waits for the confirm of each.
    async fn publish(&self, exchange: &Exchange, facts: &[Fact]) -> Result<(), PublishFailed> {
        let mut unconfirmed = VecDeque::new();
        for fact in facts {
            if unconfirmed.len() == MAX_UNCONFIRMED
                && let Some((oldest, confirm)) = unconfirmed.pop_front()
            {
                confirmed(oldest, confirm).await?;
            }
            unconfirmed.push_back((fact, self.send(exchange, fact).await?));
        }
        for (fact, confirm) in unconfirmed {
            confirmed(fact, confirm).await?;
        }
        Ok(())
    }

    async fn send(&self, exchange: &Exchange, fact: &Fact) -> Result<PublisherConfirm, PublishFailed> {
        let (exchange, key) = (exchange.as_str().into(), fact.kind.as_str().into());
        let (options, properties) = (BasicPublishOptions::default(), message::properties(fact)?);
        let sent = self.channel.basic_publish(exchange, key, options, fact.body.as_bytes(), properties).await;
        sent.map_err(|error| failure::publishing(&error))
    }
}

async fn confirmed(fact: &Fact, confirm: PublisherConfirm) -> Result<(), PublishFailed> {
    match confirm.await.map_err(|error| failure::publishing(&error))? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) => Err(failure::line(&format!("the broker returned the fact {}", fact.id.as_str()))),
        Confirmation::Nack(_) => Err(failure::line(&format!("the broker did not take the fact {}", fact.id.as_str()))),
        Confirmation::NotRequested => Err(failure::line("the broker confirms nothing")),
    }
}
