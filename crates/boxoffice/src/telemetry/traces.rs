//! Traces, sent to a collector as OTLP over HTTP.
//!
//! Every room marks what it does with spans of the target `otel`, which cost nothing while no collector
//! is set. A request is a trace of its own, or a part of its caller's; what is done for several
//! requests together, such as a batch of bookings, is a trace of its own that is linked to each of them.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use metrics::counter;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TraceState, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample, SpanData,
    SpanExporter as Export,
};
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Span, Subscriber};
use tracing_opentelemetry::{OpenTelemetryLayer, OpenTelemetrySpanExt};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::settings::{Sampling, Settings};
use crate::url::OtlpUrl;

/// What spans for traces have as their target; the log leaves them out.
pub(super) const TARGET: &str = "otel";

/// Requests that one batch of bookings serves, at most.
const LINKS: u32 = 512;

/// How long the last spans may take to be sent.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// What a caller may have us pass on of its trace, in bytes: as much as the specification asks for.
const MAX_TRACE_STATE: usize = 512;

/// Between two complaints about the collector.
const COMPLAINT_PAUSE: Duration = Duration::from_mins(1);

/// The traces of this process, on their way to the collector.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Traces for the collector of the settings; `None` if they name none. The collector need not be
    /// there yet.
    pub(super) fn of(settings: &Settings) -> anyhow::Result<Option<Self>> {
        settings.traces.endpoint.as_ref().map(|collector| Self::sent_to(collector, settings)).transpose()
    }

    fn sent_to(collector: &OtlpUrl, settings: &Settings) -> anyhow::Result<Self> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector.traces())
            .with_http_client(super::collector::client()?)
            .build()
            .context("OTEL_EXPORTER_OTLP_ENDPOINT: traces cannot be sent there")?;
        let exporter = Exporter { inner: exporter, collector: collector.to_string(), complained: Mutex::default() };
        let resource = Resource::builder()
            .with_service_name(settings.traces.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("deployment.environment.name", settings.environment.as_str()))
            .build();
        let provider = SdkTracerProvider::builder()
            // A thread of its own, and a queue that drops what it has no room for: no request ever waits for it.
            .with_span_processor(BatchSpanProcessor::builder(exporter).build())
            .with_sampler(Decision::new(settings.traces.sampling()))
            .with_max_links_per_span(LINKS)
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    /// Makes traces of the spans of our target.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let ours = filter_fn(|metadata: &Metadata<'_>| metadata.is_span() && metadata.target() == TARGET);
        OpenTelemetryLayer::new(self.0.tracer("boxoffice"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::INFO))
    }

    /// Sends the last spans. Takes two seconds at most, whatever the collector does.
    pub async fn flush(self) {
        let flushed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH_WITHIN));
        if !matches!(flushed.await, Ok(Ok(()))) {
            tracing::warn!("the last traces were not sent");
        }
    }
}

/// Reads what a request says of its trace (W3C Trace Context).
pub(crate) struct TraceContext;

impl api::Traces for TraceContext {
    fn join(&self, span: &Span, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<String> {
        let caller = caller(traceparent, tracestate);
        if caller.span().span_context().is_valid() {
            // It fails if the span is not traced.
            let _ = span.set_parent(caller);
        }
        let context = span.context();
        let context = context.span().span_context().clone();
        context.is_valid().then(|| context.trace_id().to_string())
    }
}

/// What the headers of a request say of its trace; nothing if they cannot be read.
fn caller(traceparent: Option<&str>, tracestate: Option<&str>) -> Context {
    let headers = Headers {
        traceparent: traceparent.filter(|header| is_well_formed(header)),
        tracestate: tracestate.filter(|header| header.len() <= MAX_TRACE_STATE),
    };
    TraceContextPropagator::new().extract_with_context(&Context::new(), &headers)
}

/// Whether it has the form `00-<32 digits>-<16 digits>-<2 digits>`, as a later version may with more behind
/// it. The propagator takes shorter ids too.
fn is_well_formed(traceparent: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = traceparent.split('-');
    let lengths = [2, 32, 16, 2];
    lengths.iter().all(|length| parts.next().is_some_and(|part| part.len() == *length && hex(part)))
        && (parts.next().is_none() || !traceparent.starts_with("00"))
}

struct Headers<'a> {
    traceparent: Option<&'a str>,
    tracestate: Option<&'a str>,
}

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.traceparent,
            "tracestate" => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Whether a span is sent: within the process as its parent is; what several asked for, if one of them
/// is traced; and everything else by the settings.
#[derive(Debug, Clone)]
struct Decision(Sampler);

impl Decision {
    fn new(Sampling { by_parent, ratio }: Sampling) -> Self {
        let share = Sampler::TraceIdRatioBased(ratio);
        Self(if by_parent { Sampler::ParentBased(Box::new(share)) } else { share })
    }
}

impl ShouldSample for Decision {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let sampled = |sampled: bool, trace_state: TraceState| SamplingResult {
            decision: if sampled { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state,
        };
        if let Some(parent) = parent.filter(|parent| parent.has_active_span()) {
            let parent = parent.span().span_context().clone();
            if !parent.is_remote() {
                return sampled(parent.is_sampled(), parent.trace_state().clone());
            }
        } else if !links.is_empty() {
            return sampled(links.iter().any(|link| link.span_context.is_sampled()), TraceState::default());
        }
        self.0.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// Sends spans, and says now and then that it cannot.
struct Exporter {
    inner: SpanExporter,
    collector: String,
    complained: Mutex<Option<Instant>>,
}

impl Export for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.inner.export(batch).await;
        let outcome: Cow<'static, str> = if sent.is_ok() { "sent" } else { "lost" }.into();
        counter!("trace_spans_total", "outcome" => outcome).increment(spans.try_into().unwrap_or(u64::MAX));
        if let Err(error) = &sent
            && self.is_time_to_complain()
        {
            let collector = self.collector.as_str();
            tracing::warn!(collector, %error, spans, "traces cannot be sent (told once a minute at most)");
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl Exporter {
    fn is_time_to_complain(&self) -> bool {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        let due = complained.is_none_or(|last| last.elapsed() >= COMPLAINT_PAUSE);
        if due {
            *complained = Some(Instant::now());
        }
        due
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("collector", &self.collector).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags};

    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;

    fn span(sampled: bool, remote: bool) -> SpanContext {
        let flags = if sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        SpanContext::new(TraceId::from(TRACE), SpanId::from(7), flags, remote, TraceState::default())
    }

    fn decided(sampling: Sampling, parent: Option<SpanContext>, links: &[SpanContext]) -> bool {
        let parent = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(parent));
        let links: Vec<_> = links.iter().cloned().map(Link::with_context).collect();
        let decision = Decision::new(sampling);
        let result = decision.should_sample(Some(&parent), TraceId::from(TRACE), "x", &SpanKind::Internal, &[], &links);
        result.decision == SamplingDecision::RecordAndSample
    }

    #[test]
    fn shared_work_is_traced_if_one_of_its_callers_is() {
        for ratio in [0.0, 1.0] {
            let sampling = Sampling { by_parent: false, ratio };
            assert!(decided(sampling, None, &[span(false, false), span(true, false)]));
            assert!(!decided(sampling, None, &[span(false, false)]));
            assert!(decided(sampling, Some(span(true, false)), &[]), "a part goes with the whole");
            assert!(!decided(sampling, Some(span(false, false)), &[span(true, false)]));
        }
    }

    #[test]
    fn a_callers_decision_holds_if_the_settings_say_so() {
        for (by_parent, ratio, callers, traced) in [
            (true, 0.0, Some(true), true),
            (true, 1.0, Some(false), false),
            (true, 1.0, None, true),
            (true, 0.0, None, false),
            (false, 0.0, Some(true), false),
            (false, 1.0, Some(false), true),
        ] {
            let parent = callers.map(|sampled| span(sampled, true));
            assert_eq!(decided(Sampling { by_parent, ratio }, parent, &[]), traced, "{by_parent} {ratio} {callers:?}");
        }
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        let parent = |traceparent| caller(traceparent, Some("a=b")).span().span_context().is_valid();
        assert!(parent(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")));
        assert!(parent(Some("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")));
        for rubbish in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        ] {
            assert!(!parent(Some(rubbish)), "{rubbish}");
        }
        assert!(!parent(None));
    }
}
