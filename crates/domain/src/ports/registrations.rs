//! Reading who booked what.

use async_trait::async_trait;

use super::StoreError;
use crate::{EventId, Page, PageRequest, RegistrationStatus, RegistrationWithEvent, RegistrationWithUser, UserId};

/// Lists of registrations, newest first: by the time of registration, then id, descending.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Registrations: Send + Sync {
    /// One page of an event's registrations, of a deleted event too; `None` if there never was
    /// such an event. Rows and total are from one snapshot.
    async fn of_event(
        &self,
        event: EventId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Option<Page<RegistrationWithUser>>, StoreError>;

    /// One page of a user's registrations, those of deleted events included. Rows and total are
    /// from one snapshot.
    async fn of_user(
        &self,
        user: UserId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<RegistrationWithEvent>, StoreError>;
}

/// Which registrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RegistrationFilter {
    /// Only those of this status.
    pub status: Option<RegistrationStatus>,
}
