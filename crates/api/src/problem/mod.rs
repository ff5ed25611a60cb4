//! Every error a client can meet, on its way to the client.
//!
//! `code` is the table of them, `errors` the conversion from each error enum.

mod code;
mod errors;

use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

pub(crate) use code::Code;

use crate::violation::FieldError;

/// The media type of every error's body (RFC 9457).
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

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

    /// This problem; of two validation problems, the wrong fields of both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        if self.code == Code::ValidationFailed {
            self.errors.extend(other.errors);
            self.errors.sort_by(|a, b| a.field.cmp(&b.field));
        }
        self
    }

    /// This problem, which is expected to last for this time. Not all who are told so come back at once.
    pub(crate) fn retry_after(self, time: Duration) -> Self {
        Self { retry_after_secs: Some(retry_after_secs(time, fastrand::u64(..))), ..self }
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

/// Whole seconds that are not over before the wait is.
pub(crate) fn ceil_secs(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// Whole seconds, at least 1 and at most 30; up to half as many again, at random, so that those who were
/// refused together do not come back together.
fn retry_after_secs(retry_after: Duration, random: u64) -> u64 {
    const LONGEST: u64 = 30;
    let secs = ceil_secs(retry_after).clamp(1, LONGEST);
    (secs + random % (secs / 2 + 1)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use domain::ports::StoreError;

    use super::*;

    #[test]
    fn a_retryable_problem_has_retry_after() {
        let response = Problem::new(Code::Unavailable).to_response();
        assert_eq!(response.headers().get("Retry-After").unwrap(), "1");
    }

    #[test]
    fn retry_after_is_in_whole_seconds_and_differs_between_refusals() {
        let told = |millis, random| retry_after_secs(Duration::from_millis(millis), random);
        assert_eq!([0, 1, 1_000].map(|millis| told(millis, 7)), [1, 1, 1]);
        assert_eq!([0, 1, 2].map(|random| told(4_500, random)), [5, 6, 7]);
        assert_eq!((told(4_500, 3), told(3_600_000, 9)), (5, 30));
        let queue = StoreError::unavailable("too many are waiting").retry_after(Duration::from_secs(9));
        let response = Problem::from(queue).to_response();
        let secs: u64 = response.headers().get("Retry-After").unwrap().to_str().unwrap().parse().unwrap();
        assert!((9..=13).contains(&secs), "{secs}");
    }
}
