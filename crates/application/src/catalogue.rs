//! The programme: all clients browse it, admins run it.

use std::sync::Arc;

use domain::ports::{CreateEventError, DeleteEventError, Events, StoreError, UpdateEventError};
use domain::{
    Command, Committed, DeleteEvent, DeletedEvent, Event, EventDraft, EventFilter, EventId, Once, Page, PageRequest,
    UpdateEvent,
};

use crate::Admin;

/// The programme of events.
pub struct Catalogue {
    events: Arc<dyn Events>,
}

impl Catalogue {
    /// The programme kept in `events`.
    pub fn new(events: Arc<dyn Events>) -> Self {
        Self { events }
    }

    /// One event, or `None` if there is none.
    pub async fn find(&self, id: EventId) -> Result<Option<Arc<Event>>, StoreError> {
        self.events.find(id).await
    }

    /// One page of the events that match.
    pub async fn list(&self, filter: &EventFilter, page: PageRequest) -> Result<Arc<Page<Event>>, StoreError> {
        self.events.list(filter, page).await
    }

    /// Puts an event on the programme.
    pub async fn create(
        &self,
        admin: Admin,
        once: Option<Once>,
        draft: EventDraft,
    ) -> Result<Committed<Event>, CreateEventError> {
        self.events.create(Command { by: admin.user(), once, what: draft }).await
    }

    /// Changes an event.
    pub async fn update(
        &self,
        admin: Admin,
        once: Option<Once>,
        update: UpdateEvent,
    ) -> Result<Committed<Event>, UpdateEventError> {
        self.events.update(Command { by: admin.user().into(), once, what: update }).await
    }

    /// Takes an event off the programme; its registrations are cancelled.
    pub async fn delete(
        &self,
        admin: Admin,
        once: Option<Once>,
        deletion: DeleteEvent,
    ) -> Result<Committed<DeletedEvent>, DeleteEventError> {
        self.events.delete(Command { by: admin.user().into(), once, what: deletion }).await
    }
}

#[cfg(test)]
mod tests {
    use domain::ports::MockEvents;
    use domain::sample::{event_id, user_id};
    use domain::{DeletionRefused, Precondition};

    use super::*;
    use crate::access::proof;

    #[tokio::test]
    async fn a_change_is_made_in_the_name_of_the_admin_who_asked() {
        let mut events = MockEvents::new();
        events
            .expect_delete()
            .withf(|command| command.by.user() == Some(user_id(9)))
            .times(1)
            .returning(|_| Ok(Committed { outcome: DeletedEvent { cancelled_registrations: 3 }, replayed: false }));
        let admin = proof::admin(user_id(9));
        let deletion = DeleteEvent { event: event_id(1), precondition: Precondition::Any };
        let done = Catalogue::new(Arc::new(events)).delete(admin, None, deletion).await.unwrap();
        assert_eq!(done.outcome.cancelled_registrations, 3);
    }

    #[tokio::test]
    async fn a_refusal_reaches_the_caller_as_it_is() {
        let mut events = MockEvents::new();
        events.expect_delete().returning(|_| Err(DeleteEventError::Refused(DeletionRefused::Stale)));
        let admin = proof::admin(user_id(9));
        let deletion = DeleteEvent { event: event_id(1), precondition: Precondition::Any };
        let refused = Catalogue::new(Arc::new(events)).delete(admin, None, deletion).await;
        assert!(matches!(refused, Err(DeleteEventError::Refused(DeletionRefused::Stale))));
    }
}
