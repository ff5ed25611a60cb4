//! What is counted and measured, and what it means.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// The upper bounds of the histograms of durations, in seconds: from a cached read to the deadline
/// after which a request is refused.
const DURATION_BUCKETS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The upper bounds of the histograms of how many go together.
const SIZE_BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// How often histograms are folded into their buckets, so that their samples do not pile up.
pub(crate) const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics, recorded since the first call. Servers in one process share them.
pub(crate) fn metrics() -> anyhow::Result<PrometheusHandle> {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = METRICS.get() {
        return Ok(handle.clone());
    }
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_duration_seconds".to_owned()), &DURATION_BUCKETS)?
        .set_buckets_for_metric(Matcher::Suffix("_size".to_owned()), &SIZE_BUCKETS)?;
    Ok(METRICS
        .get_or_init(|| {
            let recorder = builder.build_recorder();
            let handle = recorder.handle();
            // The error says that somebody else's recorder is installed; then ours stays empty.
            let _ = metrics::set_global_recorder(recorder);
            describe();
            handle
        })
        .clone())
}

/// Says what each is, by the room that counts it.
fn describe() {
    describe_counter!("http_requests_total", Unit::Count, "Requests answered, by method, route and status");
    describe_histogram!("http_request_duration_seconds", Unit::Seconds, "From a request's head to its answer's");
    describe_gauge!("http_requests_in_flight", Unit::Count, "Requests that are being answered");
    describe_counter!("bookings_total", Unit::Count, "Bookings and cancellations tried, by verb and outcome");
    describe_counter!("log_in_attempts_total", Unit::Count, "Attempts to log in, by outcome");
    describe_gauge!("live_connections", Unit::Count, "Live streams that are open, by kind");
    describe_counter!("live_messages_sent_total", Unit::Count, "States sent to live streams, by kind");

    describe_gauge!("booking_queue_length", Unit::Count, "Bookings and cancellations that wait to be taken");
    describe_histogram!("booking_queue_wait_duration_seconds", Unit::Seconds, "From an order's arrival to its batch");
    describe_histogram!("booking_batch_size", Unit::Count, "Orders that went together in one transaction");
    describe_histogram!("booking_batch_duration_seconds", Unit::Seconds, "Transactions of orders, by outcome");
    describe_counter!("booking_batches_total", Unit::Count, "Transactions of orders, by outcome");

    describe_histogram!(
        "database_operation_duration_seconds",
        Unit::Seconds,
        "What was asked of the database, by operation and result"
    );
    describe_counter!("database_retries_total", Unit::Count, "Attempts made again, by operation and reason");
    describe_histogram!("database_commit_duration_seconds", Unit::Seconds, "COMMITs, the flush to disk included");
    describe_gauge!("database_connections", Unit::Count, "Open connections, by pool and state");
    describe_gauge!("database_connections_max", Unit::Count, "Connections that a pool may open");
    describe_gauge!("database_connections_waiting", Unit::Count, "Operations that wait for a connection, by pool");
    describe_histogram!(
        "database_connection_wait_duration_seconds",
        Unit::Seconds,
        "From the wish for a connection to having one, by pool"
    );
    describe_counter!("database_connection_timeouts_total", Unit::Count, "Operations that got no connection in time");

    describe_counter!("cache_requests_total", Unit::Count, "Reads, by kind and how they were answered");
    describe_gauge!("cache_readers_waiting", Unit::Count, "Reads whose confirmation has not been asked for yet");
    describe_histogram!("cache_round_size", Unit::Count, "Reads that shared one question, by round");

    describe_gauge!("redis_connections", Unit::Count, "Open connections to Redis, each for any number of commands");
    describe_gauge!("redis_commands_running", Unit::Count, "Commands that Redis has not answered yet");
    describe_gauge!("redis_up", Unit::Count, "1 while Redis is asked, 0 while it is known to fail");
    describe_histogram!("redis_command_duration_seconds", Unit::Seconds, "Commands to Redis, by name and result");

    describe_gauge!("password_hashes_running", Unit::Count, "Password hashes that are computed, at most one a core");
    describe_gauge!("password_hashes_waiting", Unit::Count, "Log-ins and sign-ups in line for a core");
    describe_histogram!("password_hash_wait_duration_seconds", Unit::Seconds, "From a log-in's turn in line to a core");
    describe_counter!("password_hashes_refused_total", Unit::Count, "Log-ins and sign-ups refused: too many in line");

    describe_counter!("trace_spans_total", Unit::Count, "Spans that a collector was to have, by outcome");
    describe_gauge!("tokio_workers", Unit::Count, "Threads of the runtime that all storage works on");
    describe_gauge!("tokio_tasks_alive", Unit::Count, "Tasks of that runtime that have not ended");
    describe_gauge!("tokio_queue_length", Unit::Count, "Tasks of that runtime that no thread has taken yet");
    metrics_process::Collector::default().describe();
}
