//! Room for the requests that an instance works on, and for their bodies.

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

/// Requests that may be under way at a time. A crowd had better wait than be refused and come again.
const REQUESTS: usize = 16_384;

/// What the bodies of requests under way may take together, in KiB.
const BODIES_KIB: usize = 128 << 10;

/// When a request that finds no room may find some: few of those under way are likely to take longer.
const ROOM_IN: Duration = Duration::from_secs(1);

/// Room for requests to the API. What operators ask, and pages, need none. Bodies have a bound of their own:
/// whoever sends them slowly is in the way of others who send one, and of nobody who reads or books.
pub(crate) struct Room {
    requests: Arc<Semaphore>,
    bodies_kib: Arc<Semaphore>,
}

/// The room of one request, until this is dropped.
struct Place {
    _request: OwnedSemaphorePermit,
    _body: OwnedSemaphorePermit,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self::of(REQUESTS, BODIES_KIB)
    }

    fn of(requests: usize, bodies_kib: usize) -> Self {
        Self { requests: Arc::new(Semaphore::new(requests)), bodies_kib: Arc::new(Semaphore::new(bodies_kib)) }
    }

    /// A place for this request, if it needs one.
    fn enter(&self, request: &ServiceRequest) -> Result<Option<Place>, Problem> {
        if !request.match_info().as_str().starts_with("/api/") {
            return Ok(None);
        }
        let full = |_| Problem::new(Code::Unavailable).expected_in(ROOM_IN);
        let body_kib = body_kib(request.headers());
        Ok(Some(Place {
            _request: Arc::clone(&self.requests).try_acquire_owned().map_err(full)?,
            _body: Arc::clone(&self.bodies_kib).try_acquire_many_owned(body_kib).map_err(full)?,
        }))
    }
}

/// Refuses a request at once while there is no room for it.
pub(crate) async fn room(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match request.app_data::<Data<Room>>().map(|room| room.enter(&request)).transpose() {
        Ok(_place) => Ok(next.call(request).await?.map_into_boxed_body()),
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
    fn a_body_takes_what_is_said_of_it_and_no_more_than_is_read() {
        let kib = |name, value| body_kib(request("/", Some((name, value))).headers());
        assert_eq!(kib("accept", "*/*"), 0);
        assert_eq!(
            ["0", "1", "1024", "1025", "65536", "999999999999"].map(|bytes| kib("content-length", bytes)),
            [0, 1, 1, 2, 64, 64]
        );
        assert_eq!(kib("transfer-encoding", "chunked"), 64);
    }

    #[test]
    fn bodies_are_in_the_way_of_bodies_only_and_operators_of_nobody() {
        let room = Room::of(2, 64);
        let slow = room.enter(&request("/api/events", Some(("transfer-encoding", "chunked")))).unwrap();
        assert!(room.enter(&request("/api/events", Some(("content-length", "2")))).is_err());
        let reader = room.enter(&request("/api/events", None)).unwrap();
        assert!(reader.is_some());
        assert!(room.enter(&request("/api/events", None)).is_err());
        assert!(room.enter(&request("/health/ready", None)).unwrap().is_none());
        drop((slow, reader));
        assert!(room.enter(&request("/api/events", Some(("content-length", "2")))).is_ok());
    }

    #[test]
    fn whoever_is_refused_for_a_body_takes_no_place() {
        let room = Room::of(1, 0);
        assert!(room.enter(&request("/api/events", Some(("content-length", "2")))).is_err());
        assert!(room.enter(&request("/api/events", None)).is_ok());
    }

    #[actix_web::test]
    async fn a_request_is_refused_while_there_is_no_room_and_gives_its_own_back_with_its_answer() {
        let data = Data::new(Room::of(1, 0));
        let app = App::new()
            .app_data(data.clone())
            .wrap(from_fn(room))
            .default_service(web::to(|| async { HttpResponse::Ok().finish() }));
        let app = init_service(app).await;
        let to_api = || TestRequest::with_uri("/api/events");
        let status = async || call_service(&app, to_api().to_request()).await.status().as_u16();
        assert_eq!([status().await, status().await], [200, 200]);
        let held = data.enter(&to_api().to_srv_request()).unwrap();
        assert_eq!(status().await, 503);
        drop(held);
        assert_eq!(status().await, 200);
    }
}
