//! Seats: booked and given back by their holders, listed for them and for admins.

use std::sync::Arc;

use domain::ports::{BookError, Bookings, CancelError, RegistrationFilter, Registrations, StoreError};
use domain::{
    BookSeat, CancelSeat, Command, Committed, EventId, Once, Page, PageRequest, Registration, RegistrationWithEvent,
    RegistrationWithUser,
};
use thiserror::Error;

use crate::{Admin, Bearer, SignedIn};

/// Seats and their holders.
pub struct SeatBookings {
    bookings: Arc<dyn Bookings>,
    registrations: Arc<dyn Registrations>,
}

impl SeatBookings {
    /// Sells seats through `bookings` and lists them from `registrations`.
    pub fn new(bookings: Arc<dyn Bookings>, registrations: Arc<dyn Registrations>) -> Self {
        Self { bookings, registrations }
    }

    /// Books a seat for the user who asks.
    pub async fn book(
        &self,
        user: Bearer,
        once: Option<Once>,
        event: EventId,
    ) -> Result<Committed<Registration>, BookError> {
        let what = BookSeat { event, user: user.user() };
        self.bookings.book(Command { by: user.holder().into(), once, what }).await
    }

    /// Gives back the seat of the user who asks.
    pub async fn cancel(
        &self,
        user: Bearer,
        once: Option<Once>,
        event: EventId,
    ) -> Result<Committed<Registration>, CancelError> {
        let what = CancelSeat { event, user: user.user() };
        self.bookings.cancel(Command { by: user.holder().into(), once, what }).await
    }

    /// Who registered for an event, deleted or not.
    pub async fn attendees(
        &self,
        _admin: Admin,
        event: EventId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<RegistrationWithUser>, AttendeesError> {
        self.registrations.of_event(event, filter, page).await?.ok_or(AttendeesError::EventNotFound)
    }

    /// What the user who asks has registered for.
    pub async fn mine(
        &self,
        user: SignedIn,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<RegistrationWithEvent>, StoreError> {
        self.registrations.of_user(user.user(), filter, page).await
    }
}

/// Why an event's registrations were not listed.
#[derive(Debug, Clone, Error)]
pub enum AttendeesError {
    /// There never was such an event.
    #[error("no such event")]
    EventNotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use domain::BookingRefused;
    use domain::ports::{MockBookings, MockRegistrations};
    use domain::sample::{event_id, user_id};

    use super::*;
    use crate::access::proof;

    fn page() -> PageRequest {
        PageRequest { number: 1, size: 100 }
    }

    #[tokio::test]
    async fn a_seat_is_booked_for_the_caller_only() {
        let mut bookings = MockBookings::new();
        bookings
            .expect_book()
            .withf(|command| {
                let (user, event) = (user_id(7), event_id(3));
                command.by.user() == Some(user) && command.what == BookSeat { event, user }
            })
            .times(1)
            .returning(|_| Err(BookError::Refused(BookingRefused::SoldOut)));
        let seats = SeatBookings::new(Arc::new(bookings), Arc::new(MockRegistrations::new()));
        let refused = seats.book(proof::signed_in(user_id(7)).into(), None, event_id(3)).await;
        assert!(matches!(refused, Err(BookError::Refused(BookingRefused::SoldOut))));
    }

    #[tokio::test]
    async fn an_event_that_never_was_has_no_list() {
        let mut registrations = MockRegistrations::new();
        registrations.expect_of_event().returning(|_, _, _| Ok(None));
        let seats = SeatBookings::new(Arc::new(MockBookings::new()), Arc::new(registrations));
        let admin = proof::admin(user_id(9));
        let answer = seats.attendees(admin, event_id(3), RegistrationFilter::default(), page()).await;
        assert!(matches!(answer, Err(AttendeesError::EventNotFound)));
    }

    #[tokio::test]
    async fn a_user_lists_their_own_registrations() {
        let mut registrations = MockRegistrations::new();
        registrations
            .expect_of_user()
            .withf(|user, _, _| user.get() == 7)
            .times(1)
            .returning(|_, _, _| Ok(Page { rows: Vec::new(), total: 0 }));
        let seats = SeatBookings::new(Arc::new(MockBookings::new()), Arc::new(registrations));
        let user = proof::signed_in(user_id(7));
        assert!(seats.mine(user, RegistrationFilter::default(), page()).await.is_ok());
    }
}
