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
            // The error says that another recorder is installed; then ours stays empty.
            let _ = metrics::set_global_recorder(recorder);
            describe();
            handle
        })
        .clone())
}

/// Describes each metric, by the crate that records it.
fn describe() {
    describe_counter!("http_requests_total", Unit::Count, "Requests answered, by method, route and status");
    describe_histogram!("http_request_duration_seconds", Unit::Seconds, "From a request's head to its answer's");
    describe_gauge!("http_requests_in_flight", Unit::Count, "Requests that are being answered");
    describe_counter!("bookings_total", Unit::Count, "Bookings and cancellations tried, by verb and outcome");
    describe_counter!("facts_total", Unit::Count, "Facts that this instance made history of, by type");
    describe_counter!(
        "deliveries_total",
        Unit::Count,
        "Deliveries of facts that this instance tried, by channel and outcome"
    );
    describe_gauge!(
        "fact_lag_seconds",
        Unit::Seconds,
        "How old the oldest fact is that a channel was not told, by channel"
    );
    describe_counter!("log_in_attempts_total", Unit::Count, "Attempts to log in, by outcome");
    describe_gauge!("live_connections", Unit::Count, "Live streams that are open, by kind");
    describe_counter!("live_messages_sent_total", Unit::Count, "States sent to live streams, by kind");

    describe_gauge!("booking_queue_length", Unit::Count, "Seat commands that wait in the queues of their events");
    describe_histogram!(
        "booking_queue_wait_duration_seconds",
        Unit::Seconds,
        "From a seat command's arrival to its batch"
    );
    describe_histogram!("booking_batch_size", Unit::Count, "Seat commands that shared a transaction");
    describe_histogram!("booking_batch_duration_seconds", Unit::Seconds, "Transactions of seat commands, by outcome");
    describe_counter!("booking_batches_total", Unit::Count, "Transactions of seat commands, by outcome");

    describe_histogram!(
        "database_operation_duration_seconds",
        Unit::Seconds,
        "Database operations, by name and result"
    );
    describe_counter!("database_retries_total", Unit::Count, "Retries of database operations, by operation and reason");
    describe_histogram!("database_commit_duration_seconds", Unit::Seconds, "COMMITs, the flush to disk included");
    describe_gauge!("database_connections", Unit::Count, "Open connections, by pool and state");
    describe_gauge!(
        "database_connections_max",
        Unit::Count,
        "Connections that a pool may open: fewer than set while the server grants fewer"
    );
    describe_gauge!("database_writable", Unit::Count, "0 while Postgres is known not to be written to, else 1");
    describe_gauge!("database_timeline", Unit::Count, "The greatest timeline of Postgres that was met");
    describe_counter!(
        "database_pool_replacements_total",
        Unit::Count,
        "Pools replaced because another server writes (superseded), or for other connections to the same (replaced)"
    );
    describe_gauge!("database_connections_waiting", Unit::Count, "Operations that wait for a connection, by pool");
    describe_histogram!(
        "database_connection_wait_duration_seconds",
        Unit::Seconds,
        "The wait for a connection, by pool"
    );
    describe_counter!("database_connection_timeouts_total", Unit::Count, "Operations that got no connection in time");

    describe_counter!(
        "cache_requests_total",
        Unit::Count,
        "Reads through the cache, by kind and how they were answered"
    );
    describe_gauge!("cache_readers_waiting", Unit::Count, "Reads whose confirmation has not been asked for yet");
    describe_histogram!("cache_round_size", Unit::Count, "Reads that shared one query, by query");

    describe_gauge!("redis_connections", Unit::Count, "Open connections to Redis, each for any number of commands");
    describe_gauge!("redis_commands_running", Unit::Count, "Commands that Redis has not answered yet");
    describe_gauge!("redis_up", Unit::Count, "1 while Redis is asked, 0 while it is known to fail");
    describe_histogram!("redis_command_duration_seconds", Unit::Seconds, "Commands to Redis, by name and result");

    describe_gauge!("password_hashes_running", Unit::Count, "Password hashes that are computed, at most one a core");
    describe_gauge!("password_hashes_waiting", Unit::Count, "Log-ins and sign-ups that wait for a core");
    describe_histogram!(
        "password_hash_wait_duration_seconds",
        Unit::Seconds,
        "The wait of a log-in or sign-up for a core"
    );
    describe_counter!("password_hashes_refused_total", Unit::Count, "Log-ins and sign-ups refused: too many wait");

    describe_counter!("trace_spans_total", Unit::Count, "Spans of traces, by what became of them");
    describe_gauge!("tokio_workers", Unit::Count, "Threads of the runtime that all storage works on");
    describe_gauge!("tokio_tasks_alive", Unit::Count, "Tasks of that runtime that have not ended");
    describe_gauge!("tokio_queue_length", Unit::Count, "Tasks of that runtime that no thread has taken yet");
    metrics_process::Collector::default().describe();
}
