//! A bound on the requests that are under way, and on the bytes of their bodies.

use std::sync::Arc;
use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use actix_web::middleware::Next;
use actix_web::web::Data;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::MAX_BYTES;
use crate::problem::{Code, Problem};

/// Requests that may be under way at a time. In a crowd, waiting is quicker than being refused and retrying.
const REQUESTS: usize = 16_384;

/// What the bodies of requests under way may take together, in KiB.
const BODIES_KIB: usize = 128 << 10;

/// The `Retry-After` of a refusal: few of the requests under way are likely to take longer.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Permits for requests to the API. Operators' endpoints and pages need none. Bodies have a bound of their own: a client
/// that sends one slowly delays others that send one, and no request without a body.
pub(crate) struct Admission {
    requests: Arc<Semaphore>,
    bodies_kib: Arc<Semaphore>,
}

/// The permits of one request, until this is dropped.
struct Admitted {
    _request: OwnedSemaphorePermit,
    _body: OwnedSemaphorePermit,
}

impl Admission {
    pub(crate) fn new() -> Self {
        Self::of(REQUESTS, BODIES_KIB)
    }

    fn of(requests: usize, bodies_kib: usize) -> Self {
        Self { requests: Arc::new(Semaphore::new(requests)), bodies_kib: Arc::new(Semaphore::new(bodies_kib)) }
    }

    /// The permits of this request, if it needs any.
    fn admit(&self, request: &ServiceRequest) -> Result<Option<Admitted>, Problem> {
        if !request.match_info().as_str().starts_with("/api/") {
            return Ok(None);
        }
        let full = |_| Problem::new(Code::Unavailable).retry_after(RETRY_AFTER);
        let body_kib = body_kib(request.headers());
        Ok(Some(Admitted {
            _request: Arc::clone(&self.requests).try_acquire_owned().map_err(full)?,
            _body: Arc::clone(&self.bodies_kib).try_acquire_many_owned(body_kib).map_err(full)?,
        }))
    }
}

/// Refuses a request at once while there is no permit for it.
pub(crate) async fn admission(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match request.app_data::<Data<Admission>>().map(|admission| admission.admit(&request)).transpose() {
        Ok(_admitted) => Ok(next.call(request).await?.map_into_boxed_body()),
        Err(full) => Ok(request.into_response(full.to_response())),
    }
}

/// What the body may take, in KiB: what the client says of it, but no more than is read.
fn body_kib(headers: &HeaderMap) -> u32 {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let unsaid = || headers.contains_key(TRANSFER_ENCODING).then_some(MAX_BYTES);
    let bytes = announced.or_else(unsaid).unwrap_or(0).min(MAX_BYTES);
    u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    fn request(path: &str, header: Option<(&str, &str)>) -> ServiceRequest {
        let request = TestRequest::with_uri(path);
        header.into_iter().fold(request, TestRequest::insert_header).to_srv_request()
    }

    #[test]
    fn a_body_counts_its_declared_length_up_to_the_limit() {
        let kib = |name, value| body_kib(request("/", Some((name, value))).headers());
        assert_eq!(kib("accept", "*/*"), 0);
        assert_eq!(
            ["0", "1", "1024", "1025", "65536", "999999999999"].map(|bytes| kib("content-length", bytes)),
            [0, 1, 1, 2, 64, 64]
        );
        assert_eq!(kib("transfer-encoding", "chunked"), 64);
    }

    #[test]
    fn a_full_body_budget_refuses_bodies_only_and_health_needs_no_place() {
        let admission = Admission::of(2, 64);
        let slow = admission.admit(&request("/api/events", Some(("transfer-encoding", "chunked")))).unwrap();
        assert!(admission.admit(&request("/api/events", Some(("content-length", "2")))).is_err());
        let reader = admission.admit(&request("/api/events", None)).unwrap();
        assert!(reader.is_some());
        assert!(admission.admit(&request("/api/events", None)).is_err());
        assert!(admission.admit(&request("/health/ready", None)).unwrap().is_none());
        drop((slow, reader));
        assert!(admission.admit(&request("/api/events", Some(("content-length", "2")))).is_ok());
    }

    #[test]
    fn a_request_refused_for_its_body_takes_no_place() {
        let admission = Admission::of(1, 0);
        assert!(admission.admit(&request("/api/events", Some(("content-length", "2")))).is_err());
        assert!(admission.admit(&request("/api/events", None)).is_ok());
    }

    #[actix_web::test]
    async fn a_request_needs_a_permit_and_gives_it_back_with_its_answer() {
        let data = Data::new(Admission::of(1, 0));
        let app = App::new()
            .app_data(data.clone())
            .wrap(from_fn(admission))
            .default_service(web::to(|| async { HttpResponse::Ok().finish() }));
        let app = init_service(app).await;
        let to_api = || TestRequest::with_uri("/api/events");
        let status = async || call_service(&app, to_api().to_request()).await.status().as_u16();
        assert_eq!([status().await, status().await], [200, 200]);
        let held = data.admit(&to_api().to_srv_request()).unwrap();
        assert_eq!(status().await, 503);
        drop(held);
        assert_eq!(status().await, 200);
    }
}
