//! Selling seats and taking them back.

use async_trait::async_trait;
use domain::ports::{BookError, Bookings, CancelError};
use domain::{Author, BookSeat, CancelSeat, Command, Committed, Registration};

use crate::Sql;

#[async_trait]
impl Bookings for Sql {
    async fn book(&self, command: Command<BookSeat, Author>) -> Result<Committed<Registration>, BookError> {
        self.submit(command).await
    }

    async fn cancel(&self, command: Command<CancelSeat, Author>) -> Result<Committed<Registration>, CancelError> {
        self.submit(command).await
    }
}
