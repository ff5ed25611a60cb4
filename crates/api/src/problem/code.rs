//! The table of every error a client can meet: its stable name, its status, and what it means.

use actix_web::http::StatusCode;

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
    CursorExpired = "cursor_expired", GONE, "Cursor expired",
        "Facts after this cursor are not kept any more. Begin again without `after`, and mind the gap.";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed",
        "The address exists, but not with this method. The `Allow` header names those it has.";
    TooManyWebhooks = "too_many_webhooks", CONFLICT, "Too many webhooks",
        "There are 50 webhooks, and may be no more. Delete one first.";
    WebhookDisabled = "webhook_disabled", CONFLICT, "Webhook disabled",
        "Nothing is sent to a disabled webhook. Enable it first.";
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
        "The body must be JSON in UTF-8 and say so, `Content-Type: application/json`, without any `Content-Encoding`.";
    ValidationFailed = "validation_failed", UNPROCESSABLE_ENTITY, "Validation failed",
        "Parts of the request are missing, of the wrong type or out of range. `errors` names all of them.";
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, "Idempotency key used before",
        "This idempotency key stands for a different request. Use a new key for a new request.";
    UpgradeRequired = "upgrade_required", UPGRADE_REQUIRED, "Upgrade required",
        "This address speaks WebSocket only. Open it as one: `ws://` or `wss://`, version 13.";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests",
        "Too many requests came from this address. Wait for the time in `Retry-After`.";
    TooManyAttempts = "too_many_attempts", TOO_MANY_REQUESTS, "Too many log-in attempts",
        "Too many attempts to log in failed, from this address or for this account. Wait for the time in `Retry-After`. Sessions that exist already go on.";
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
}
