//! Every error a client can meet: one table, and one conversion from each error enum.
//!
//! A new variant anywhere below does not compile until it has its code here.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use application::{AccessError, AttendeesError, LogInError, RefreshError, ShowProfileError, SignUpError};
use domain::event::{BookingRefused, CancellationRefused};
use domain::ports::{
    BookError, CancelError, CreateEventError, DeleteEventError, PasswordsError, RotateError, StoreError,
    UpdateEventError, UpdateUserError,
};
use domain::{Invalid, KeyConflict};
use serde::Serialize;

use crate::field::Violation;

/// The media type of every error's body (RFC 9457).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

macro_rules! codes {
    ($($variant:ident = $code:literal, $status:ident, $title:literal, $about:literal;)*) => {
        /// What went wrong, as a client's program tells it apart.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) enum Code {
            $(#[doc = $about] $variant,)*
        }

        impl Code {
            /// All of them.
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),*];

            /// The stable name: `code` in the body, and the last part of `type`.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status it always comes with.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// A few words for people.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What it means and what to do about it.
            pub(crate) fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

codes! {
    MalformedRequest = "malformed_request", BAD_REQUEST, "Malformed request",
        "The request could not be read: its body is not JSON, or its framing is broken. Send well-formed JSON.";
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Authentication required",
        "No access token was sent where one is needed, or it is invalid, expired, or of a user who is gone. Log in, and send the token as `Authorization: Bearer <token>`.";
    InvalidCredentials = "invalid_credentials", UNAUTHORIZED, "Wrong e-mail address or password",
        "No account has this e-mail address and this password.";
    InvalidRefreshToken = "invalid_refresh_token", UNAUTHORIZED, "Invalid refresh token",
        "The refresh token is unknown, expired or revoked. Log in again.";
    RefreshTokenReused = "refresh_token_reused", UNAUTHORIZED, "Refresh token used twice",
        "The refresh token was spent before. As it may have been stolen, every token of its session is revoked now. Log in again.";
    Forbidden = "forbidden", FORBIDDEN, "Not allowed",
        "The account may not do this: it takes an admin.";
    RoleNotAllowed = "role_not_allowed", FORBIDDEN, "Role not allowed",
        "Only an admin can sign up another admin. Send an admin's access token, or leave `role` out.";
    NotFound = "not_found", NOT_FOUND, "Not found",
        "There is nothing at this address.";
    RegistrationNotFound = "registration_not_found", NOT_FOUND, "No registration",
        "You hold no seat at this event.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed",
        "The address exists, but not with this method. The `Allow` header names those it has.";
    EmailTaken = "email_taken", CONFLICT, "E-mail address taken",
        "Another account has this e-mail address.";
    EventStarted = "event_started", CONFLICT, "Event has started",
        "The event has begun: seats are neither sold nor given back any more.";
    AlreadyRegistered = "already_registered", CONFLICT, "Already registered",
        "You hold a seat at this event already.";
    SoldOut = "sold_out", CONFLICT, "Sold out",
        "No seat is free at present.";
    SeatsBelowRegistrations = "seats_below_registrations", CONFLICT, "Too few seats",
        "More seats are booked than the event would have.";
    IdempotencyInProgress = "idempotency_in_progress", CONFLICT, "Request in progress",
        "A request with this idempotency key is still being carried out. Repeat it after the time in `Retry-After`.";
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Precondition failed",
        "The event has changed since the version named in `If-Match`. Read it again and decide anew.";
    PayloadTooLarge = "payload_too_large", PAYLOAD_TOO_LARGE, "Body too large",
        "The body is larger than 64 KiB.";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type",
        "The body must be JSON in UTF-8 and say so: `Content-Type: application/json`.";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "Validation failed",
        "Parts of the request are missing, of the wrong type or out of range. `errors` names all of them.";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "Idempotency key used before",
        "This idempotency key stands for a different request. Use a new key for a new request.";
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED, "Upgrade required",
        "This address speaks WebSocket only. Open it as one: `ws://` or `wss://`, version 13.";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests",
        "Too many requests came from this address. Wait for the time in `Retry-After`.";
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, "Too many log-in attempts",
        "Too many attempts to log in failed, from this address or for this account. Wait for the time in `Retry-After`. Who is logged in already stays so.";
    InternalError = "internal_error", INTERNAL_SERVER_ERROR, "Internal error",
        "The server failed. It is not the request's fault; the request id helps to find out why.";
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Unavailable",
        "The request cannot be served at present. Nothing was done, nor will be: repeat it after the time in `Retry-After`.";
    OutcomeUnknown = "outcome_unknown", SERVICE_UNAVAILABLE, "Outcome unknown",
        "The change was sent to the database, but whether it was made could not be confirmed. Repeat the request with the same idempotency key, or look.";
}

impl Code {
    /// The code for a refusal that the framework made before any of our code saw the request.
    pub(crate) fn of_bare(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Self::MethodNotAllowed,
            StatusCode::PAYLOAD_TOO_LARGE => Self::PayloadTooLarge,
            StatusCode::UNSUPPORTED_MEDIA_TYPE => Self::UnsupportedMediaType,
            StatusCode::SERVICE_UNAVAILABLE => Self::Unavailable,
            status if status.is_client_error() => Self::MalformedRequest,
            _ => Self::InternalError,
        }
    }
}

/// One wrong part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// The path in the body, or the parameter's name.
    pub(crate) field: String,
    /// The broken rule, for programs.
    pub(crate) code: String,
    /// The broken rule, for people.
    pub(crate) message: String,
}

/// An error on its way to the client. The request's id is added when it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    detail: Option<String>,
    errors: Vec<FieldError>,
    dependencies: Option<serde_json::Value>,
    retry_after_secs: Option<u64>,
}

impl Problem {
    /// The problem of this code, described as in the table.
    pub(crate) fn new(code: Code) -> Self {
        let retry_after_secs =
            (code.status() == StatusCode::SERVICE_UNAVAILABLE || code == Code::IdempotencyInProgress).then_some(1);
        Self { code, detail: None, errors: Vec::new(), dependencies: None, retry_after_secs }
    }

    /// The same, with more to say in this case.
    pub(crate) fn detailed(code: Code, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..Self::new(code) }
    }

    /// All the wrong fields of a request.
    pub(crate) fn validation(errors: Vec<FieldError>) -> Self {
        Self { errors, ..Self::new(Code::ValidationFailed) }
    }

    /// The date of an event was not in the future when it was to be written.
    fn past_date() -> Self {
        Self::validation(vec![Violation::from(Invalid::NotInFuture).of("date")])
    }

    /// This problem; of two validation problems, the wrong fields of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        if self.code == Code::ValidationFailed {
            self.errors.extend(other.errors);
            self.errors.sort_by(|a, b| a.field.cmp(&b.field));
        }
        self
    }

    /// This problem, which is expected to last for this time. Not all who are told so come back at once.
    pub(crate) fn expected_in(self, time: Duration) -> Self {
        let random = RandomState::new().build_hasher().finish();
        Self { retry_after_secs: Some(retry_after_secs(time, random)), ..self }
    }

    /// The problem of this code; the next try is admitted after this time.
    pub(crate) fn later(code: Code, wait: Duration) -> Self {
        Self { retry_after_secs: Some(ceil_secs(wait).max(1)), ..Self::new(code) }
    }

    /// Not ready, because of these dependencies.
    pub(crate) fn not_ready(dependencies: serde_json::Value) -> Self {
        Self { dependencies: Some(dependencies), ..Self::new(Code::Unavailable) }
    }

    /// The body (RFC 9457). It names the request, and its trace if it has one.
    pub(crate) fn body(&self, request_id: &str, trace_id: Option<&str>) -> Vec<u8> {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            request_id: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            trace_id: Option<&'a str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
            #[serde(skip_serializing_if = "Option::is_none")]
            dependencies: &'a Option<serde_json::Value>,
        }
        let body = Body {
            r#type: format!("/problems/{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.as_deref().unwrap_or(self.code.about()),
            code: self.code.as_str(),
            request_id,
            trace_id,
            errors: &self.errors,
            dependencies: &self.dependencies,
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    /// The answer, without the body that needs the request's id; the envelope adds that.
    pub(crate) fn to_response(&self) -> HttpResponse {
        let mut builder = HttpResponse::build(self.code.status());
        if self.code.status() == StatusCode::UNAUTHORIZED {
            builder.insert_header(("WWW-Authenticate", "Bearer"));
        }
        if let Some(secs) = self.retry_after_secs {
            builder.insert_header(("Retry-After", secs.to_string()));
        }
        let mut response = builder.finish();
        response.extensions_mut().insert(self.clone());
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        self.to_response()
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::new(code)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Unavailable(_) => Code::Unavailable,
            StoreError::OutcomeUnknown(_) => Code::OutcomeUnknown,
            StoreError::Fault(_) => Code::InternalError,
        };
        let problem = failed(code, &error);
        let expected_in = match &error {
            StoreError::Unavailable(why) => why.expected_in(),
            StoreError::OutcomeUnknown(_) | StoreError::Fault(_) => None,
        };
        match expected_in {
            Some(time) => problem.expected_in(time),
            None => problem,
        }
    }
}

impl From<PasswordsError> for Problem {
    fn from(error: PasswordsError) -> Self {
        match error {
            PasswordsError::Busy(wait) => Self::new(Code::Unavailable).expected_in(wait),
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
            CreateEventError::Past => Self::past_date(),
            CreateEventError::AuthorGone => Code::Unauthenticated.into(),
            CreateEventError::Key(conflict) => conflict.into(),
            CreateEventError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateEventError> for Problem {
    fn from(error: UpdateEventError) -> Self {
        match error {
            UpdateEventError::NotFound => Code::NotFound.into(),
            UpdateEventError::Stale => Code::PreconditionFailed.into(),
            UpdateEventError::Past => Self::past_date(),
            UpdateEventError::Seats(seats) => Self::detailed(Code::SeatsBelowRegistrations, seats.to_string()),
            UpdateEventError::AuthorGone => Code::Unauthenticated.into(),
            UpdateEventError::Key(conflict) => conflict.into(),
            UpdateEventError::Store(error) => error.into(),
        }
    }
}

impl From<DeleteEventError> for Problem {
    fn from(error: DeleteEventError) -> Self {
        match error {
            DeleteEventError::NotFound => Code::NotFound.into(),
            DeleteEventError::Stale => Code::PreconditionFailed.into(),
            DeleteEventError::AuthorGone => Code::Unauthenticated.into(),
            DeleteEventError::Key(conflict) => conflict.into(),
            DeleteEventError::Store(error) => error.into(),
        }
    }
}

impl From<BookError> for Problem {
    fn from(error: BookError) -> Self {
        match error {
            BookError::EventNotFound => Code::NotFound.into(),
            BookError::Refused(BookingRefused::Started) => Code::EventStarted.into(),
            BookError::Refused(BookingRefused::AlreadyRegistered) => Code::AlreadyRegistered.into(),
            BookError::Refused(BookingRefused::SoldOut) => Code::SoldOut.into(),
            BookError::AuthorGone => Code::Unauthenticated.into(),
            BookError::Key(conflict) => conflict.into(),
            BookError::Store(error) => error.into(),
        }
    }
}

impl From<CancelError> for Problem {
    fn from(error: CancelError) -> Self {
        match error {
            CancelError::EventNotFound => Code::NotFound.into(),
            CancelError::Refused(CancellationRefused::NotRegistered) => Code::RegistrationNotFound.into(),
            CancelError::Refused(CancellationRefused::Started) => Code::EventStarted.into(),
            CancelError::AuthorGone => Code::Unauthenticated.into(),
            CancelError::Key(conflict) => conflict.into(),
            CancelError::Store(error) => error.into(),
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

/// Whole seconds that are not over before the wait is.
pub(crate) fn ceil_secs(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Whole seconds, at least 1 and at most 30; up to half as many again, at random, so that those who were
/// refused together do not come back together.
fn retry_after_secs(expected_in: Duration, random: u64) -> u64 {
    const LONGEST: u64 = 30;
    let secs = ceil_secs(expected_in).clamp(1, LONGEST);
    (secs + random % (secs / 2 + 1)).min(LONGEST)
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
    fn every_code_has_its_own_name() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn a_5xx_says_nothing_of_the_inside() {
        let problem = Problem::from(StoreError::fault("password=hunter2"));
        let body = String::from_utf8(problem.body("r-1", None)).unwrap();
        assert!(!body.contains("hunter2"));
        assert!(body.contains(r#""code":"internal_error""#) && body.contains(r#""request_id":"r-1""#));
    }

    #[test]
    fn what_may_be_repeated_says_when() {
        let response = Problem::new(Code::Unavailable).to_response();
        assert_eq!(response.headers().get("Retry-After").unwrap(), "1");
    }

    #[test]
    fn who_is_refused_is_told_the_time_it_takes_in_whole_seconds_and_not_all_the_same() {
        let told = |millis, random| retry_after_secs(Duration::from_millis(millis), random);
        assert_eq!([0, 1, 1_000].map(|millis| told(millis, 7)), [1, 1, 1]);
        assert_eq!([0, 1, 2].map(|random| told(4_500, random)), [5, 6, 7]);
        assert_eq!((told(4_500, 3), told(3_600_000, 9)), (5, 30));
        let queue = StoreError::unavailable("too many are waiting").expected_in(Duration::from_secs(9));
        let response = Problem::from(queue).to_response();
        let secs: u64 = response.headers().get("Retry-After").unwrap().to_str().unwrap().parse().unwrap();
        assert!((9..=13).contains(&secs), "{secs}");
    }
}
