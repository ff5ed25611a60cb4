//! Which problem each error enum of the use cases and ports is.
//!
//! A new variant of any of them does not compile until it has its code here.

use std::fmt;

use application::{
    AccessError, AttendeesError, EventHistoryError, LogInError, RefreshError, ShowProfileError, SignUpError,
    WebhookError,
};
use domain::ports::{
    CreateEventError, CreateWebhookError, HistoryError, OrderDeliveryError, PasswordsError, RotateError, StoreError,
    UpdateUserError,
};
use domain::{
    BookingRefused, CancellationRefused, DeletionRefused, Invalid, KeyConflict, RevisionRefused, SeatCommandError,
    UpdateRefused,
};

use super::Problem;
use super::code::Code;
use crate::violation::{FieldError, Violation};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Unavailable(_) => Code::Unavailable,
            StoreError::OutcomeUnknown(_) => Code::OutcomeUnknown,
            StoreError::Fault(_) => Code::InternalError,
        };
        let problem = failed(code, &error);
        let retry_after = match &error {
            StoreError::Unavailable(why) => why.retry_after(),
            StoreError::OutcomeUnknown(_) | StoreError::Fault(_) => None,
        };
        match retry_after {
            Some(time) => problem.retry_after(time),
            None => problem,
        }
    }
}

impl From<PasswordsError> for Problem {
    fn from(error: PasswordsError) -> Self {
        match error {
            PasswordsError::Busy(wait) => Self::new(Code::Unavailable).retry_after(wait),
            PasswordsError::Fault(_) => failed(Code::InternalError, &error),
        }
    }
}

impl From<KeyConflict> for Problem {
    fn from(conflict: KeyConflict) -> Self {
        match conflict {
            KeyConflict::Reused => Code::IdempotencyKeyReused.into(),
            KeyConflict::InProgress => Code::IdempotencyInProgress.into(),
        }
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        match error {
            AccessError::Unauthenticated => Code::Unauthenticated.into(),
            AccessError::Forbidden => {
                tracing::warn!(target: "security", "what takes an admin was refused");
                Code::Forbidden.into()
            }
            AccessError::Store(error) => error.into(),
        }
    }
}

impl From<SignUpError> for Problem {
    fn from(error: SignUpError) -> Self {
        match error {
            SignUpError::EmailTaken => Code::EmailTaken.into(),
            SignUpError::Passwords(error) => error.into(),
            SignUpError::Tokens(cause) => failed(Code::InternalError, &cause),
            SignUpError::Store(error) => error.into(),
        }
    }
}

impl From<LogInError> for Problem {
    fn from(error: LogInError) -> Self {
        match error {
            LogInError::InvalidCredentials => Code::InvalidCredentials.into(),
            LogInError::Passwords(error) => error.into(),
            LogInError::Tokens(cause) => failed(Code::InternalError, &cause),
            LogInError::Store(error) => error.into(),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Rotate(RotateError::Invalid) => Code::InvalidRefreshToken.into(),
            RefreshError::Rotate(RotateError::Reused) => Code::RefreshTokenReused.into(),
            RefreshError::Rotate(RotateError::Store(error)) => error.into(),
            RefreshError::Tokens(cause) => failed(Code::InternalError, &cause),
        }
    }
}

impl From<CreateEventError> for Problem {
    fn from(error: CreateEventError) -> Self {
        match error {
            CreateEventError::Past => past_date(),
            CreateEventError::AuthorGone => Code::Unauthenticated.into(),
            CreateEventError::Key(conflict) => conflict.into(),
            CreateEventError::Store(error) => error.into(),
        }
    }
}

impl<R: Into<Problem>> From<SeatCommandError<R>> for Problem {
    fn from(error: SeatCommandError<R>) -> Self {
        match error {
            SeatCommandError::EventNotFound => Code::NotFound.into(),
            SeatCommandError::Refused(refused) => refused.into(),
            SeatCommandError::AuthorGone => Code::Unauthenticated.into(),
            SeatCommandError::Key(conflict) => conflict.into(),
            SeatCommandError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateRefused> for Problem {
    fn from(refused: UpdateRefused) -> Self {
        match refused {
            UpdateRefused::Stale => Code::PreconditionFailed.into(),
            UpdateRefused::Revision(RevisionRefused::Past) => past_date(),
            UpdateRefused::Revision(RevisionRefused::Seats(seats)) => {
                Self::detailed(Code::SeatsBelowRegistrations, seats.to_string())
            }
        }
    }
}

impl From<DeletionRefused> for Problem {
    fn from(refused: DeletionRefused) -> Self {
        match refused {
            DeletionRefused::Stale => Code::PreconditionFailed.into(),
        }
    }
}

impl From<BookingRefused> for Problem {
    fn from(refused: BookingRefused) -> Self {
        match refused {
            BookingRefused::Started => Code::EventStarted.into(),
            BookingRefused::AlreadyRegistered => Code::AlreadyRegistered.into(),
            BookingRefused::SoldOut => Code::SoldOut.into(),
        }
    }
}

impl From<CancellationRefused> for Problem {
    fn from(refused: CancellationRefused) -> Self {
        match refused {
            CancellationRefused::NotRegistered => Code::RegistrationNotFound.into(),
            CancellationRefused::Started => Code::EventStarted.into(),
        }
    }
}

impl From<AttendeesError> for Problem {
    fn from(error: AttendeesError) -> Self {
        match error {
            AttendeesError::EventNotFound => Code::NotFound.into(),
            AttendeesError::Store(error) => error.into(),
        }
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound => Code::NotFound.into(),
            WebhookError::Url(refused) => {
                let field = FieldError { field: "url".to_owned(), code: "not_allowed".to_owned(), message: refused.0 };
                Self::validation(vec![field])
            }
            WebhookError::Secret(cause) => failed(Code::InternalError, &cause),
            WebhookError::Create(CreateWebhookError::TooMany) => Code::TooManyWebhooks.into(),
            WebhookError::Create(CreateWebhookError::AuthorGone) => Code::Unauthenticated.into(),
            WebhookError::Create(CreateWebhookError::Key(conflict)) => conflict.into(),
            WebhookError::Order(OrderDeliveryError::Disabled) => Code::WebhookDisabled.into(),
            WebhookError::Create(CreateWebhookError::Store(error))
            | WebhookError::Order(OrderDeliveryError::Store(error))
            | WebhookError::Store(error) => error.into(),
        }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::CursorExpired => Code::CursorExpired.into(),
            HistoryError::Store(error) => error.into(),
        }
    }
}

impl From<EventHistoryError> for Problem {
    fn from(error: EventHistoryError) -> Self {
        match error {
            EventHistoryError::EventNotFound => Code::NotFound.into(),
            EventHistoryError::History(error) => error.into(),
        }
    }
}

impl From<ShowProfileError> for Problem {
    fn from(error: ShowProfileError) -> Self {
        match error {
            ShowProfileError::Gone => Code::Unauthenticated.into(),
            ShowProfileError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateUserError> for Problem {
    fn from(error: UpdateUserError) -> Self {
        match error {
            UpdateUserError::EmailTaken => Code::EmailTaken.into(),
            UpdateUserError::AuthorGone => Code::Unauthenticated.into(),
            UpdateUserError::Key(conflict) => conflict.into(),
            UpdateUserError::Store(error) => error.into(),
        }
    }
}

/// The date of an event was not in the future when it was to be written.
fn past_date() -> Problem {
    Problem::validation(vec![Violation::from(Invalid::NotInFuture).of("date")])
}

/// Logs the inside of a failure, here where it ends, and keeps it from the client.
fn failed(code: Code, cause: &dyn fmt::Display) -> Problem {
    if code == Code::InternalError {
        tracing::error!(code = code.as_str(), %cause, "a request failed");
    } else {
        tracing::warn!(code = code.as_str(), %cause, "a request could not be served");
    }
    code.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_5xx_says_nothing_of_the_inside() {
        let problem = Problem::from(StoreError::fault("password=hunter2"));
        let body = String::from_utf8(problem.body("r-1", None)).unwrap();
        assert!(!body.contains("hunter2"));
        assert!(body.contains(r#""code":"internal_error""#) && body.contains(r#""request_id":"r-1""#));
    }
}
