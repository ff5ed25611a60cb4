//! The settings of traces.

use super::declare::settings;
use super::parser::Parser;
use super::values::{share, text};
use crate::url::OtlpUrl;

settings! {
    /// Which requests are traced, and where traces are sent.
    /// What else the OpenTelemetry SDK reads from the environment holds too, such as `OTEL_EXPORTER_OTLP_HEADERS`,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_BSP_SCHEDULE_DELAY`.
    pub struct Traces {
        /// A collector that takes traces as OTLP over HTTP (protobuf): its address without /v1/traces. TLS (https:) is
        /// not supported: name a collector nearby. Unset: nothing is traced, which costs nothing. A collector that is
        /// away, slow or hangs costs spans, never a request.
        OTEL_EXPORTER_OTLP_ENDPOINT => endpoint: Option<OtlpUrl> =
            Parser::with_complaints(OtlpUrl::MUST, OtlpUrl::parse).optional().example("http://127.0.0.1:4318");

        /// What the program is called in traces.
        OTEL_SERVICE_NAME => service_name: String = text().default_to("boxoffice");

        /// Which requests are traced. After `parentbased_`, that is for requests without a valid `traceparent`, and
        /// others are traced if their caller is. What is done for several requests together is traced if one of them
        /// is.
        OTEL_TRACES_SAMPLER => sampler: Sampler = sampler().default_to("parentbased_always_on");

        /// The share that `traceidratio` traces. Unset: 1.
        OTEL_TRACES_SAMPLER_ARG => sampler_share: Option<f64> = share().optional().example("0.1");
    }
}

impl Traces {
    /// Which requests are traced, by the sampler and its share.
    pub fn sampling(&self) -> Sampling {
        let ratio = match self.sampler.choice {
            Choice::Always => 1.0,
            Choice::Never => 0.0,
            Choice::Share => self.sampler_share.unwrap_or(1.0),
        };
        Sampling { by_parent: self.sampler.by_parent, ratio }
    }
}

/// Which requests are traced, of those whose caller did not decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// Whether a caller's own decision (W3C Trace Context) holds.
    pub by_parent: bool,
    /// The share of the others: 0.0–1.0.
    pub ratio: f64,
}

/// A sampler of the OpenTelemetry specification that needs no other service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    by_parent: bool,
    choice: Choice,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Always,
    Never,
    Share,
}

fn sampler() -> Parser<Sampler> {
    Parser::new("must be always_on, always_off or traceidratio, perhaps after parentbased_", |raw| {
        let by_parent = raw.starts_with("parentbased_");
        let choice = match raw.strip_prefix("parentbased_").unwrap_or(raw) {
            "always_on" => Choice::Always,
            "always_off" => Choice::Never,
            "traceidratio" => Choice::Share,
            _ => return None,
        };
        Some(Sampler { by_parent, choice })
    })
}
