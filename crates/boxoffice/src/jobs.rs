//! What goes on beside requests.

use std::sync::Arc;
use std::time::Duration;

use adapter_sql::Sql;
use application::{Courier, LiveSeats, Postman, Publication};
use chrono::TimeDelta;
use domain::Timestamp;
use domain::ports::{Clock, Outbox, Sessions};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::channels::Channels;
use crate::settings::Settings;
use crate::telemetry::{self, watch_lag};

/// How often ended sessions and old keys are forgotten.
const PURGE_EVERY: Duration = Duration::from_hours(1);

/// How long an outcome is kept with its idempotency key.
const KEYS_KEPT: TimeDelta = TimeDelta::days(7);

/// What goes on beside requests, until the program stops.
pub(crate) fn start(
    settings: &Settings,
    sql: &Sql,
    live: Arc<LiveSeats>,
    channels: Channels,
    metrics: PrometheusHandle,
    clock: Arc<dyn Clock>,
) -> JoinSet<()> {
    let Channels { webhooks, publisher, mailer } = channels;
    let mut jobs = JoinSet::new();
    jobs.spawn(async move { live.run().await });
    let watched = sql.clone();
    jobs.spawn(async move { watched.watch().await });
    jobs.spawn(application::history::project(Arc::new(sql.clone())));
    let store = Arc::new(sql.clone());
    jobs.spawn(Courier::new(store.clone(), store.clone(), webhooks, Arc::clone(&clock)).run());
    let lag = watch_lag(store.clone(), Arc::clone(&clock), publisher.is_some(), mailer.is_some());
    jobs.spawn(lag);
    if let Some(publisher) = publisher {
        jobs.spawn(Publication::new(store.clone(), store.clone(), publisher).run());
    }
    if let Some(mailer) = mailer {
        sql.queue_mail();
        let remind_secs = settings.mail.remind_secs;
        jobs.spawn(Postman::new(store.clone(), store, mailer, Arc::clone(&clock), remind_secs).run());
    }
    jobs.spawn(keep_metrics(metrics));
    jobs.spawn(purge_regularly(sql.clone(), clock, settings.news.history_kept));
    jobs
}

/// Folds histograms into their buckets, every few seconds.
async fn keep_metrics(metrics: PrometheusHandle) {
    let mut ticks = interval(telemetry::UPKEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

/// Forgets, every hour, sessions that have ended, outcomes whose keys are too old, and history.
async fn purge_regularly(sql: Sql, clock: Arc<dyn Clock>, history_kept: Duration) {
    let mut ticks = interval(PURGE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = clock.now();
        match Sessions::purge(&sql, now).await {
            Ok(sessions) => tracing::debug!(sessions, "forgot ended sessions"),
            Err(error) => tracing::warn!(%error, "ended sessions could not be forgotten"),
        }
        match sql.purge_idempotency_keys(Timestamp::new(now.as_datetime() - KEYS_KEPT)).await {
            Ok(keys) => tracing::debug!(keys, "forgot old idempotency keys"),
            Err(error) => tracing::warn!(%error, "old idempotency keys could not be forgotten"),
        }
        match sql.drop_history(Timestamp::new(now.as_datetime() - history_kept)).await {
            Ok(facts) => tracing::debug!(facts, "dropped old history"),
            Err(error) => tracing::warn!(%error, "old history could not be dropped"),
        }
    }
}
