//! Headers of requests, for the document. Each says what reads it.

use utoipa::IntoParams;

/// The idempotency key, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that `RequestBody` reads")]
pub(crate) struct OnceHeader {
    /// The client's own name for this request, such as a UUID, quoted or bare. Within 7 days the same
    /// request with the same key is answered the same, and done once.
    #[param(rename = "Idempotency-Key", nullable = false, min_length = 1, max_length = 255, pattern = r"^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// The conditions of a read, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that the representation middleware reads")]
pub(crate) struct IfNoneMatchHeader {
    /// Tags of the copies the client has, such as `"42"`: if one is current, the answer is 304.
    #[param(rename = "If-None-Match", nullable = false, max_length = 65_536)]
    if_none_match: Option<String>,
}

/// The conditions of a write, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a header that `conditional` reads")]
pub(crate) struct IfMatchHeader {
    /// Tags of the versions the change is meant for, such as `"42"`: if none is current, the answer is 412.
    #[param(rename = "If-Match", nullable = false, max_length = 65_536)]
    if_match: Option<String>,
}
