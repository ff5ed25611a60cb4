//! The span of a request, for collectors of traces.

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

use crate::metrics;
use crate::openapi::Operations;
use crate::services::Services;

/// A request that is traced, or is not.
pub(crate) struct Trace {
    /// What happens for the request happens within it.
    pub(crate) span: Span,
    /// The trace's id, if there is one.
    pub(crate) id: Option<String>,
}

impl Trace {
    /// A request whose method is the client's own, and `request_id` its id.
    pub(crate) fn begin(request: &ServiceRequest, method: &str, request_id: &str) -> Self {
        let services = request.app_data::<actix_web::web::Data<Services>>();
        let Some(traces) = services.and_then(|services| services.traces.as_ref()) else {
            return Self { span: Span::none(), id: None };
        };
        let route = Operations::route(request.request());
        let method = metrics::known(method).unwrap_or("_OTHER");
        let name = match (method, route) {
            ("_OTHER", Some(route)) => format!("HTTP {route}"),
            ("_OTHER", None) => "HTTP".to_owned(),
            (method, Some(route)) => format!("{method} {route}"),
            (method, None) => method.to_owned(),
        };
        let span = tracing::info_span!(
            target: "otel",
            "request",
            otel.name = name,
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = Empty,
            url.path = request.path(),
            request.id = request_id,
        );
        let headers = request.headers();
        let id = traces.join(&span, only(headers, "traceparent"), only(headers, "tracestate"));
        Self { span, id }
    }

    /// Notes the answer.
    pub(crate) fn end(self, status: u16) {
        self.span.record("http.response.status_code", status);
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}

/// The header's value. Of several, none is the right one.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}
