//! A request that has arrived is answered in time, however many hops it makes.
//!
//! Each hop has a deadline of its own, and a request makes several: who asks, a password, what was asked for.
//! None of them may add up to more than the request's.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpMessage, HttpRequest};
use tokio::time::{Instant, timeout_at};

use crate::deadlines::HttpDeadlines;
use crate::problem::{Code, Problem};

/// When a request has to be answered. Copies are of the same request.
#[derive(Clone)]
pub(crate) struct Deadline(Rc<State>);

struct State {
    at: Cell<Instant>,
    /// The request, once its route is found: until then nothing else may hold it. It holds this, so it has to
    /// be let go at the end.
    request: RefCell<Option<HttpRequest>>,
}

impl Deadline {
    fn within(time: Duration) -> Self {
        Self(Rc::new(State { at: Cell::new(Instant::now() + time), request: RefCell::default() }))
    }

    /// Has `request` answered in time from now on. Its extractors call this before they wait for anything.
    pub(crate) fn watch(request: &HttpRequest) {
        if let Some(due) = request.extensions().get::<Self>() {
            due.0.request.replace(Some(request.clone()));
        }
    }

    /// Gives `request` this time, from now on.
    pub(crate) fn postpone(request: &HttpRequest, time: Duration) {
        if let Some(due) = request.extensions().get::<Self>() {
            due.0.at.set(Instant::now() + time);
        }
    }
}

/// Lets the request go, whatever becomes of who waits for its answer.
struct Release(Deadline);

impl Drop for Release {
    fn drop(&mut self) {
        let held = self.0.0.request.take();
        drop(held);
    }
}

/// Waits for the answer as long as the request may take, and then answers in its stead: a read was not
/// served, and what became of anything else is unknown.
pub(crate) async fn deadline(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(deadlines) = request.app_data::<Data<HttpDeadlines>>() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    let allowed = deadlines.request;
    let release = Release(Deadline::within(allowed));
    let due = &release.0.0;
    let code = if request.method() == Method::GET { Code::Unavailable } else { Code::OutcomeUnknown };
    request.extensions_mut().insert(release.0.clone());
    let mut answer = pin!(next.call(request));
    loop {
        let at = due.at.get();
        match timeout_at(at, &mut answer).await {
            Ok(answer) => return Ok(answer?.map_into_boxed_body()),
            // It was given more time meanwhile.
            Err(_) if due.at.get() > at => {}
            Err(_) => {
                let Some(request) = due.request.take() else { return Ok(answer.await?.map_into_boxed_body()) };
                tracing::warn!(code = code.as_str(), "a request was not answered in time");
                let problem = Problem::new(code).retry_after(allowed);
                return Ok(ServiceResponse::new(request, problem.to_response()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use actix_web::dev::Service;
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, HttpResponse, web};
    use tokio::time::sleep;

    use super::*;
    use crate::body::RequestBody;

    const REQUEST: Duration = Duration::from_secs(5);
    const BODY: Duration = Duration::from_mins(1);

    fn deadlines() -> Data<HttpDeadlines> {
        Data::new(HttpDeadlines { head: BODY, body: BODY, request: REQUEST, probe: REQUEST })
    }

    async fn hangs(_: RequestBody) -> HttpResponse {
        pending().await
    }

    /// In time that passes only while nothing else is to be done.
    fn in_no_time(test: impl Future<Output = ()>) {
        let paused = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        tokio::task::LocalSet::new().block_on(&paused, test);
    }

    async fn codes_of(
        app: impl Service<actix_http::Request, Response = ServiceResponse<BoxBody>, Error = Error>,
    ) -> Vec<Code> {
        let mut codes = Vec::new();
        for method in [Method::GET, Method::POST] {
            let response = call_service(&app, TestRequest::default().method(method).to_request()).await;
            codes.push(response.response().extensions().get::<Problem>().unwrap().code);
        }
        codes
    }

    #[test]
    fn a_request_that_hangs_is_answered_and_only_a_read_was_not_done() {
        in_no_time(async {
            let app = App::new().app_data(deadlines()).wrap(from_fn(deadline)).default_service(web::to(hangs));
            let begun = Instant::now();
            assert_eq!(codes_of(init_service(app).await).await, [Code::Unavailable, Code::OutcomeUnknown]);
            assert!(begun.elapsed() >= 2 * REQUEST && begun.elapsed() < 3 * REQUEST);
        });
    }

    #[test]
    fn a_body_that_arrives_slowly_takes_nothing_of_the_time_to_answer() {
        async fn slow(request: HttpRequest) -> HttpResponse {
            Deadline::watch(&request);
            Deadline::postpone(&request, BODY);
            sleep(BODY / 2).await;
            Deadline::postpone(&request, REQUEST);
            sleep(REQUEST / 2).await;
            HttpResponse::Ok().finish()
        }
        in_no_time(async {
            let app = App::new().app_data(deadlines()).wrap(from_fn(deadline)).default_service(web::to(slow));
            let response = call_service(&init_service(app).await, TestRequest::default().to_request()).await;
            assert_eq!(response.status(), 200);
        });
    }

    #[test]
    fn a_request_is_let_go_with_its_answer() {
        async fn keeps_an_eye(request: HttpRequest) -> HttpResponse {
            Deadline::watch(&request);
            HttpResponse::Ok().finish()
        }
        in_no_time(async {
            let app = App::new().app_data(deadlines()).wrap(from_fn(deadline)).default_service(web::to(keeps_an_eye));
            let response = call_service(&init_service(app).await, TestRequest::default().to_request()).await;
            assert!(response.request().extensions().get::<Deadline>().unwrap().0.request.borrow().is_none());
        });
    }
}
