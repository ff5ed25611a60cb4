//! What every request and answer have in common: the request's id, the access line, the metrics,
//! the security headers, the shape of errors, `HEAD`, and the end of the connection while draining.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BodyStream, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode, Version};
use actix_web::middleware::Next;
use actix_web::web::{Bytes, Data};
use actix_web::{Error, HttpMessage, HttpRequest};
use futures_util::stream;
use tracing::Instrument;

use crate::caller::LoggedUser;
use crate::draining::Draining;
use crate::metrics::{self, InFlight, milliseconds};
use crate::openapi::Operations;
use crate::problem::{Code, PROBLEM_JSON, Problem};
use crate::trace::Trace;

/// The longest request id of a client's own that is kept.
const MAX_REQUEST_ID: usize = 128;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What Helmet sends, without `upgrade-insecure-requests`: that breaks a page served over plain HTTP.
/// Swagger UI needs inline styles and pictures in `data:` addresses.
static SECURITY_HEADERS: [(HeaderName, HeaderValue); 13] = [
    header(
        "content-security-policy",
        "default-src 'self'; base-uri 'self'; connect-src 'self'; font-src 'self' data:; form-action 'self'; \
         frame-ancestors 'self'; img-src 'self' data:; object-src 'none'; script-src 'self'; \
         script-src-attr 'none'; style-src 'self' 'unsafe-inline'",
    ),
    header("cross-origin-opener-policy", "same-origin"),
    header("cross-origin-resource-policy", "same-origin"),
    header("origin-agent-cluster", "?1"),
    header("referrer-policy", "no-referrer"),
    header("strict-transport-security", "max-age=31536000; includeSubDomains"),
    header("x-content-type-options", "nosniff"),
    header("x-dns-prefetch-control", "off"),
    header("x-download-options", "noopen"),
    header("x-frame-options", "SAMEORIGIN"),
    header("x-permitted-cross-domain-policies", "none"),
    header("x-xss-protection", "0"),
    header("permissions-policy", "camera=(), geolocation=(), microphone=()"),
];

const fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
    (HeaderName::from_static(name), HeaderValue::from_static(value))
}

/// Marks a `HEAD`, which is handled as the `GET` it stands for.
struct Head;

/// Whether only the head of the answer is wanted.
pub(crate) fn is_head(request: &HttpRequest) -> bool {
    request.extensions().contains::<Head>()
}

/// Wraps a request and its answer.
pub(crate) async fn envelope(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let _in_flight = InFlight::begin();
    let request_id = request_id(request.headers());
    let method = request.method().clone();
    if method == Method::HEAD {
        // The connection remembers the method and leaves the body out.
        request.head_mut().method = Method::GET;
        request.extensions_mut().insert(Head);
    }
    let id = request_id.to_str().unwrap_or_default();
    let trace = Trace::begin(&request, method.as_str(), id);
    let span = tracing::info_span!("request", request_id = id, trace_id = trace.id);
    // The log's span is the inner one: it is what tasks of other threads take along as the present one.
    let response = next.call(request).instrument(span).instrument(trace.span.clone()).await?.map_into_boxed_body();
    let mut response = with_problem(response, id, trace.id.as_deref());
    if method == Method::HEAD && response.response().body().size() == BodySize::Stream {
        // Left out, it would still be waited for.
        let nothing = stream::empty::<Result<Bytes, Infallible>>();
        response = response.map_body(|_, _| BodyStream::new(nothing).boxed());
    }
    if response.request().version() < Version::HTTP_11 && response.response().body().size() == BodySize::Stream {
        // HTTP/1.0 knows no chunks (RFC 9112, 7.1): such a body ends with its connection.
        let head = response.response_mut().head_mut();
        head.no_chunking(true);
        head.set_connection_type(ConnectionType::Close);
    }
    finish_headers(&mut response, request_id.clone());
    close_while_draining(&mut response);
    record(&response, &method, &request_id, trace, started.elapsed());
    Ok(response)
}

/// The client's own id if it can be logged and sent back, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let printable = |id: &&HeaderValue| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte))
    };
    headers.get(REQUEST_ID).filter(printable).cloned().unwrap_or_else(|| {
        let id = uuid::Uuid::now_v7().to_string();
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    })
}

/// Gives an error its body: our own problems theirs, the framework's bare refusals one of ours.
fn with_problem(response: ServiceResponse, request_id: &str, trace_id: Option<&str>) -> ServiceResponse {
    let status = response.status();
    let own = response.response().extensions().get::<Problem>().cloned();
    let bare = || {
        let already = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == PROBLEM_JSON);
        (status.is_client_error() || status.is_server_error()) && !already
    };
    let Some(problem) = own.or_else(|| bare().then(|| bare_refusal(&response))) else { return response };
    let (request, response) = response.into_parts();
    let mut response = response.set_body(BoxBody::new(problem.body(request_id, trace_id)));
    *response.status_mut() = problem.code.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    ServiceResponse::new(request, response)
}

fn bare_refusal(response: &ServiceResponse) -> Problem {
    let preflight = response.request().method() == Method::OPTIONS && response.status() == StatusCode::BAD_REQUEST;
    if preflight {
        return Problem::detailed(
            Code::MalformedRequest,
            "The CORS preflight asks for what this origin is not allowed.",
        );
    }
    Problem::new(Code::of_bare(response.status()))
}

fn finish_headers(response: &mut ServiceResponse, request_id: HeaderValue) {
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, request_id);
    for (name, value) in &SECURITY_HEADERS {
        // A page may have a policy of its own.
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    if !headers.contains_key(CACHE_CONTROL) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Lets no client keep its connection to an instance that is about to stop. A proxy that sends the next request on a
/// kept connection while the instance closes it cannot tell whether a write was taken.
fn close_while_draining(response: &mut ServiceResponse) {
    let draining = response.request().app_data::<Data<Draining>>().is_some_and(|draining| draining.has_begun());
    let head = response.response_mut().head_mut();
    if draining && !head.upgrade() {
        head.set_connection_type(ConnectionType::Close);
    }
}

/// Counts the request, writes its access line and ends its trace. The query is left out: people put secrets
/// there.
fn record(response: &ServiceResponse, method: &Method, request_id: &HeaderValue, trace: Trace, elapsed: Duration) {
    let request = response.request();
    let route = Operations::route(request).unwrap_or("unmatched");
    let status = response.status().as_u16();
    metrics::request(method, route, status, elapsed);
    tracing::info!(
        target: "access",
        request_id = request_id.to_str().unwrap_or_default(),
        trace_id = trace.id,
        user_id = actix_web::HttpMessage::extensions(request).get::<LoggedUser>().map(|user| user.0.get()),
        method = method.as_str(),
        route,
        path = request.path(),
        status,
        latency_ms = milliseconds(elapsed),
    );
    trace.end(status);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(sent: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(sent.as_bytes()).unwrap());
        request_id(&headers).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_clients_own_id_is_kept_if_it_is_fit_to_print() {
        assert_eq!(id_of("checkout-42"), "checkout-42");
        for unfit in ["", "é", &"x".repeat(129)] {
            assert_ne!(id_of(unfit), unfit);
        }
    }
}
