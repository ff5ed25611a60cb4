//! What happened, for those whom it concerns.

use std::sync::Arc;

use domain::EventId;
use domain::ports::{History, HistoryError, HistoryFilter, HistoryPage, Outbox, Position, StoreError};
use thiserror::Error;
use tokio::time::{Duration, sleep};

use crate::outage::Outage;
use crate::{Admin, SignedIn};

/// Reads the history.
pub struct HistoryReader {
    history: Arc<dyn History>,
}

impl HistoryReader {
    /// The history kept in `history`.
    pub fn new(history: Arc<dyn History>) -> Self {
        Self { history }
    }

    /// All of it, for an admin.
    pub async fn all(
        &self,
        _admin: Admin,
        filter: HistoryFilter,
        after: Position,
        limit: u32,
    ) -> Result<HistoryPage, HistoryError> {
        self.history.page(&filter, after, limit).await
    }

    /// That of one event, deleted or not.
    pub async fn of_event(
        &self,
        _admin: Admin,
        event: EventId,
        filter: HistoryFilter,
        after: Position,
        limit: u32,
    ) -> Result<HistoryPage, EventHistoryError> {
        if !self.history.knows_event(event).await? {
            return Err(EventHistoryError::EventNotFound);
        }
        let filter = HistoryFilter { event: Some(event), ..filter };
        Ok(self.history.page(&filter, after, limit).await?)
    }

    /// What is about the user who asks, or was done by them.
    pub async fn mine(
        &self,
        user: SignedIn,
        filter: HistoryFilter,
        after: Position,
        limit: u32,
    ) -> Result<HistoryPage, HistoryError> {
        let filter = HistoryFilter { concerns: Some(user.user()), ..filter };
        self.history.page(&filter, after, limit).await
    }
}

/// Why an event's history was not shown.
#[derive(Debug, Clone, Error)]
pub enum EventHistoryError {
    /// There never was such an event.
    #[error("no such event")]
    EventNotFound,
    /// There is no page.
    #[error(transparent)]
    History(#[from] HistoryError),
}

impl From<StoreError> for EventHistoryError {
    fn from(error: StoreError) -> Self {
        Self::History(error.into())
    }
}

/// Makes history of what transactions write down, for as long as the program runs.
pub async fn project(outbox: Arc<dyn Outbox>) {
    /// How long to leave a store alone that failed.
    const PAUSE: Duration = Duration::from_secs(1);
    let mut outage = Outage::none("what happened cannot be made into history");
    loop {
        outbox.wait().await;
        loop {
            let projected = outbox.project().await;
            if projected.is_ok() {
                outage.ended();
            }
            match projected {
                Ok(projected) if projected.more => {}
                Ok(_) => break,
                Err(error) => {
                    outage.failed(&error);
                    sleep(PAUSE).await;
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::UserId;
    use domain::ports::MockHistory;

    use super::*;
    use crate::access::proof;

    #[tokio::test]
    async fn a_user_reads_only_facts_about_them() {
        let ada = UserId::new(7).unwrap();
        let mut history = MockHistory::new();
        history
            .expect_page()
            .withf(move |filter, _, _| filter.concerns == Some(ada))
            .times(1)
            .returning(|_, after, _| Ok(HistoryPage { facts: Vec::new(), next: after }));
        let reader = HistoryReader::new(Arc::new(history));
        reader.mine(proof::signed_in(ada), HistoryFilter::default(), Position::START, 10).await.unwrap();
    }

    #[tokio::test]
    async fn an_unknown_event_has_no_history() {
        let mut history = MockHistory::new();
        history.expect_knows_event().returning(|_| Ok(false));
        let (admin, event) = (proof::admin(UserId::new(1).unwrap()), EventId::new(9).unwrap());
        let reader = HistoryReader::new(Arc::new(history));
        let refused = reader.of_event(admin, event, HistoryFilter::default(), Position::START, 10).await;
        assert!(matches!(refused, Err(EventHistoryError::EventNotFound)));
    }
}
