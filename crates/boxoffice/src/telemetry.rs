//! Logs to standard error, the metrics that `/metrics` shows, and traces for a collector.

mod collector;
mod gauges;
mod lag;
mod metrics;
mod traces;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::settings::{LogFormat, Settings, log_level};

pub(crate) use gauges::Gauges;
pub(crate) use lag::watch_lag;
pub(crate) use metrics::{UPKEEP, metrics};
pub(crate) use traces::TraceContext;
pub use traces::Traces;

/// Writes the process's log to standard error from now on. A process has one log: a second call
/// changes nothing.
pub fn log_to_stderr(settings: &Settings) {
    // The error says that there is a log already.
    let _ = log(settings, io::stderr, io::stderr().is_terminal()).try_init();
}

/// The same, and sends traces to the collector of the settings, if they name one.
pub fn log_and_trace(settings: &Settings) -> anyhow::Result<Option<Traces>> {
    let Some(traces) = Traces::of(settings)? else {
        log_to_stderr(settings);
        return Ok(None);
    };
    let lines = lines(settings, io::stderr, io::stderr().is_terminal());
    // Each with a filter of its own: what is logged says nothing about what is traced.
    let both = Registry::default().with(lines.with_filter(log_filter(settings))).with(traces.layer());
    let _ = both.try_init();
    Ok(Some(traces))
}

/// The log of these settings, which `writer` writes; in colours if it is for a terminal.
pub fn log<W>(settings: &Settings, writer: W, colours: bool) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'line> MakeWriter<'line> + Send + Sync + 'static,
{
    Box::new(Registry::default().with(log_filter(settings)).with(lines(settings, writer, colours)))
}

/// What libraries say at `info` of every migration, every notice of Postgres, every worker, and a broker that is away, of
/// which the program has a line of its own: it would bury the lines that an operator looks for.
const CHATTER: &str = "actix_server=warn,lapin=off,sea_orm_migration=warn,sqlx::postgres::notice=warn";

/// What is logged. Spans for traces are not, and chatter only at `debug`, or where the settings name its target.
fn log_filter(settings: &Settings) -> EnvFilter {
    let filter = &settings.log.filter;
    let chatter = if log_level(filter) == Some(LevelFilter::INFO) { CHATTER } else { "" };
    // The last directive for a target counts.
    EnvFilter::new(format!("{chatter},{filter},{}=off", traces::TARGET))
}

fn lines<S, W>(settings: &Settings, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'line> MakeWriter<'line> + Send + Sync + 'static,
{
    let form = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    match settings.log.format {
        LogFormat::Json => Box::new(form.json().flatten_event(true)),
        LogFormat::Pretty => Box::new(form),
    }
}
