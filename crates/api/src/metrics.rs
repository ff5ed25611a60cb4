//! What is counted, by the names that dashboards know.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use actix_web::http::Method;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::problem::Problem;

/// What has been counted and measured.
pub trait Metrics: Send + Sync {
    /// All of it as it is now, in the text format of Prometheus.
    fn render(&self) -> String;
}

/// The method, if HTTP has it. A client can invent methods; a label cannot have as many values as it likes.
pub(crate) fn known(method: &str) -> Option<&'static str> {
    ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"].into_iter().find(|known| *known == method)
}

/// A time for people to read, to the microsecond: beyond that, a float shows only how it is stored.
pub(crate) fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

/// One answered request.
pub(crate) fn request(method: &Method, route: &str, status: u16, elapsed: Duration) {
    let method = known(method.as_str()).unwrap_or("other");
    HANDLES.with_borrow_mut(|handles| {
        let of_route = match handles.get_mut(route) {
            Some(of_route) => of_route,
            None => handles.entry(route.to_owned()).or_default(),
        };
        let handles = of_route.entry((method, status)).or_insert_with(|| Handles::new(method, route, status));
        handles.requests.increment(1);
        handles.duration.record(elapsed.as_secs_f64());
    });
}

thread_local! {
    /// What each worker counts with, looked up once for each route and answer.
    static HANDLES: RefCell<HashMap<String, ByAnswer>> = RefCell::default();
    static IN_FLIGHT: Gauge = gauge!("http_requests_in_flight");
}

/// The handles of one route, by method and status.
type ByAnswer = HashMap<(&'static str, u16), Handles>;

struct Handles {
    requests: Counter,
    duration: Histogram,
}

impl Handles {
    fn new(method: &'static str, route: &str, status: u16) -> Self {
        let route = route.to_owned();
        Self {
            requests: counter!("http_requests_total", "method" => method, "route" => route.clone(), "status" => status.to_string()),
            duration: histogram!("http_request_duration_seconds", "method" => method, "route" => route),
        }
    }
}

/// A request that is being answered.
pub(crate) struct InFlight;

impl InFlight {
    /// From now on, until the value is dropped.
    pub(crate) fn begin() -> Self {
        IN_FLIGHT.with(|gauge| gauge.increment(1.0));
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        // A worker that ends drops what it still has after its own values.
        let _ = IN_FLIGHT.try_with(|gauge| gauge.decrement(1.0));
    }
}

/// One attempt to log in.
pub(crate) fn log_in(outcome: &'static str) {
    counter!("log_in_attempts_total", "outcome" => outcome).increment(1);
}

/// One booking or cancellation that was tried.
pub(crate) fn booking<T>(verb: &'static str, done: Result<T, Problem>) -> Result<T, Problem> {
    let outcome = done.as_ref().map_or_else(|problem| problem.code.as_str(), |_| "ok");
    counter!("bookings_total", "verb" => verb, "outcome" => outcome).increment(1);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_to_the_microsecond() {
        for (nanos, shown) in [(7_044_571, "7.045"), (999, "0.001"), (0, "0"), (12_345_678_901, "12345.679")] {
            assert_eq!(milliseconds(Duration::from_nanos(nanos)).to_string(), shown);
        }
    }
}
