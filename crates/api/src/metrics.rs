//! What is counted, by the names that dashboards know.

use std::time::Duration;

use actix_web::http::Method;
use metrics::{counter, histogram};

use crate::problem::Problem;

/// One answered request.
pub(crate) fn request(method: &Method, route: &str, status: u16, elapsed: Duration) {
    // A client can invent methods; a metric's label cannot have as many values as it likes.
    let method = match method.as_str() {
        known @ ("GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH") => known.to_owned(),
        _ => "other".to_owned(),
    };
    let route = route.to_owned();
    counter!("http_requests_total", "method" => method.clone(), "route" => route.clone(), "status" => status.to_string())
        .increment(1);
    histogram!("http_request_duration_seconds", "method" => method, "route" => route).record(elapsed.as_secs_f64());
}

/// One booking or cancellation that was tried.
pub(crate) fn booking<T>(verb: &'static str, done: Result<T, Problem>) -> Result<T, Problem> {
    let outcome = done.as_ref().map_or_else(|problem| problem.code.as_str(), |_| "ok");
    counter!("bookings_total", "verb" => verb, "outcome" => outcome).increment(1);
    done
}
