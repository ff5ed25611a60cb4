//! Seats: booked and given back by their holders, listed for them and for admins.

use std::sync::Arc;

use domain::ports::{
    BookError, BookSeat, Bookings, CancelError, CancelSeat, RegistrationFilter, Registrations, StoreError,
};
use domain::{Attendance, Booking, Command, Committed, EventId, Once, Page, PageRequest, Registration};
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

    /// Books a seat for whoever asks.
    pub async fn book(
        &self,
        user: Bearer,
        once: Option<Once>,
        event: EventId,
    ) -> Result<Committed<Registration>, BookError> {
        self.bookings.book(Command { by: user.user(), once, what: BookSeat { event } }).await
    }

    /// Gives back the seat of whoever asks.
    pub async fn cancel(
        &self,
        user: Bearer,
        once: Option<Once>,
        event: EventId,
    ) -> Result<Committed<Registration>, CancelError> {
        self.bookings.cancel(Command { by: user.user(), once, what: CancelSeat { event } }).await
    }

    /// Who registered for an event, deleted or not.
    pub async fn attendees(
        &self,
        _admin: Admin,
        event: EventId,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<Attendance>, AttendeesError> {
        self.registrations.of_event(event, filter, page).await?.ok_or(AttendeesError::EventNotFound)
    }

    /// What whoever asks has registered for.
    pub async fn mine(
        &self,
        user: SignedIn,
        filter: RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<Booking>, StoreError> {
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
    use domain::UserId;
    use domain::event::BookingRefused;
    use domain::ports::{MockBookings, MockRegistrations};

    use super::*;
    use crate::access::proof;

    fn page() -> PageRequest {
        PageRequest { number: 1, size: 100 }
    }

    #[tokio::test]
    async fn a_seat_is_booked_for_whoever_asks_and_nobody_else() {
        let mut bookings = MockBookings::new();
        bookings
            .expect_book()
            .withf(|command| command.by.get() == 7 && command.what.event.get() == 3)
            .times(1)
            .returning(|_| Err(BookingRefused::SoldOut.into()));
        let seats = SeatBookings::new(Arc::new(bookings), Arc::new(MockRegistrations::new()));
        let refused =
            seats.book(proof::signed_in(UserId::new(7).unwrap()).into(), None, EventId::new(3).unwrap()).await;
        assert!(matches!(refused, Err(BookError::Refused(BookingRefused::SoldOut))));
    }

    #[tokio::test]
    async fn an_event_that_never_was_has_no_list() {
        let mut registrations = MockRegistrations::new();
        registrations.expect_of_event().returning(|_, _, _| Ok(None));
        let seats = SeatBookings::new(Arc::new(MockBookings::new()), Arc::new(registrations));
        let admin = proof::admin(UserId::new(9).unwrap());
        let answer = seats.attendees(admin, EventId::new(3).unwrap(), RegistrationFilter::default(), page()).await;
        assert!(matches!(answer, Err(AttendeesError::EventNotFound)));
    }

    #[tokio::test]
    async fn everybody_lists_their_own() {
        let mut registrations = MockRegistrations::new();
        registrations
            .expect_of_user()
            .withf(|user, _, _| user.get() == 7)
            .times(1)
            .returning(|_, _, _| Ok(Page { rows: Vec::new(), total: 0 }));
        let seats = SeatBookings::new(Arc::new(MockBookings::new()), Arc::new(registrations));
        let user = proof::signed_in(UserId::new(7).unwrap());
        assert!(seats.mine(user, RegistrationFilter::default(), page()).await.is_ok());
    }
}
