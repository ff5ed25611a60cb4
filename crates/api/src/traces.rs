//! The port to a collector of traces.

use tracing::Span;

/// Traces that cross services (W3C Trace Context).
pub trait Traces: Send + Sync {
    /// Makes `span` a part of the trace that these headers of a request name, or the beginning of a new
    /// one if they cannot be read. Answers the trace's id: 32 hexadecimal digits.
    fn join(&self, span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<String>;
}
