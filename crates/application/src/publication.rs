//! Telling the broker every fact: by one process at a time, in the order of the history.

use std::sync::Arc;
use std::time::Duration;

use domain::ports::{Job, Leases, PublishFailed, Publisher, StoreError, Unpublished};
use thiserror::Error;
use tokio::time::sleep;

use crate::leader::Leader;
use crate::outage::Outage;

/// How many facts are published together.
const AT_ONCE: u32 = 256;

/// How long a broker or a store that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Publishes what is not published, for as long as the program runs.
pub struct Publication {
    leader: Leader,
    unpublished: Arc<dyn Unpublished>,
    publisher: Arc<dyn Publisher>,
    outage: Outage,
}

#[derive(Debug, Error)]
enum Failed {
    #[error(transparent)]
    Broker(#[from] PublishFailed),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Publication {
    /// Publishes the facts of `unpublished` by `publisher`, while `leases` give it to this process to do.
    pub fn new(leases: Arc<dyn Leases>, unpublished: Arc<dyn Unpublished>, publisher: Arc<dyn Publisher>) -> Self {
        let outage = Outage::none("the broker cannot be told of what happens");
        Self { leader: Leader::new(leases, Job::Broker), unpublished, publisher, outage }
    }

    /// Never ends by itself.
    pub async fn run(mut self) {
        loop {
            if !self.leader.leads().await {
                self.leader.follow().await;
                continue;
            }
            match self.publish().await {
                Ok(0) => self.unpublished.wait().await,
                Ok(_) => self.outage.ended(),
                Err(error) => {
                    self.outage.failed(&error);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Publishes some facts. Answers how many.
    async fn publish(&self) -> Result<usize, Failed> {
        let page = self.unpublished.next(AT_ONCE).await?;
        if page.facts.is_empty() {
            return Ok(0);
        }
        self.publisher.publish(&page.facts).await?;
        self.unpublished.published(page.next).await?;
        Ok(page.facts.len())
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::{HistoryPage, MockLeases, MockPublisher, MockUnpublished, Position};
    use domain::sample::now;
    use domain::{Fact, FactId, FactType};

    use super::*;

    fn page() -> HistoryPage {
        let fact = Fact {
            id: FactId::new("f-0".to_owned()),
            kind: FactType::EventCreated,
            at: now(),
            event: None,
            body: "{}".into(),
        };
        HistoryPage { facts: vec![fact], next: Position::new(7) }
    }

    fn publication(unpublished: MockUnpublished, publisher: MockPublisher) -> Publication {
        Publication::new(Arc::new(MockLeases::new()), Arc::new(unpublished), Arc::new(publisher))
    }

    #[tokio::test]
    async fn what_the_broker_confirmed_is_published() {
        let (mut unpublished, mut publisher) = (MockUnpublished::new(), MockPublisher::new());
        unpublished.expect_next().returning(|_| Ok(page()));
        unpublished.expect_published().withf(|to| *to == Position::new(7)).times(1).returning(|_| Ok(()));
        publisher.expect_publish().withf(|facts| facts.len() == 1).times(1).returning(|_| Ok(()));
        assert!(matches!(publication(unpublished, publisher).publish().await, Ok(1)));
    }

    #[tokio::test]
    async fn what_the_broker_did_not_confirm_stays_unpublished() {
        let (mut unpublished, mut publisher) = (MockUnpublished::new(), MockPublisher::new());
        unpublished.expect_next().returning(|_| Ok(page()));
        unpublished.expect_published().never();
        publisher.expect_publish().returning(|_| Err(PublishFailed("no broker".to_owned())));
        assert!(matches!(publication(unpublished, publisher).publish().await, Err(Failed::Broker(_))));
    }
}
