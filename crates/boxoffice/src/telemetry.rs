//! Logs to standard error, and the metrics that `/metrics` shows.

use std::io::{self, IsTerminal};
use std::sync::OnceLock;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::settings::{LogFormat, Settings};

/// The upper bounds of the histograms of durations, in seconds: from a cached read to the deadline
/// after which a request is refused.
const DURATION_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// How often histograms are folded into their buckets, so that their samples do not pile up.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// Writes the process's log to standard error from now on. A process has one log: a second call
/// changes nothing.
pub fn log_to_stderr(settings: &Settings) {
    // The error says that there is a log already.
    let _ = log(settings, io::stderr, io::stderr().is_terminal()).try_init();
}

/// The log of these settings, which `writer` writes; in colours if it is for a terminal.
pub fn log<W>(settings: &Settings, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'line> MakeWriter<'line> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::registry().with(EnvFilter::new(&settings.log_filter));
    let form = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match settings.log_format {
        LogFormat::Json => Box::new(lines.with(form.json().flatten_event(true))),
        LogFormat::Pretty => Box::new(lines.with(form)),
    }
}

/// The process's metrics, recorded since the first call. Servers in one process share them.
pub(crate) fn metrics() -> anyhow::Result<PrometheusHandle> {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = METRICS.get() {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &DURATION_BUCKETS)?;
    Ok(METRICS
        .get_or_init(|| {
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // The error says that somebody else's recorder is installed; then ours stays empty.
            let _ = metrics::set_global_recorder(recorder);
            handle
        })
        .clone())
}
