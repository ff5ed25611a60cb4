//! What is measured when the metrics are read, and not before: pools, queues, the process itself.

use std::sync::Arc;

use adapter_crypto::Bcrypt;
use adapter_redis::Redis;
use adapter_sql::{PoolState, Sql};
use api::admin::{Inside, Load, PoolLoad};
use async_trait::async_trait;
use caching::Cache;
use domain::ports::StoreError;
use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;

/// Everything whose present state is a metric.
pub(crate) struct Gauges {
    pub(crate) metrics: PrometheusHandle,
    pub(crate) sql: Sql,
    pub(crate) cache: Arc<Cache>,
    pub(crate) redis: Option<Redis>,
    pub(crate) passwords: Arc<Bcrypt>,
    /// Where storage works.
    pub(crate) runtime: Handle,
}

impl api::Metrics for Gauges {
    fn render(&self) -> String {
        self.look();
        self.metrics.render()
    }
}

impl Gauges {
    fn look(&self) {
        for pool in self.sql.pool_states() {
            gauge!("database_connections", "pool" => pool.name, "state" => "idle").set(pool.idle);
            gauge!("database_connections", "pool" => pool.name, "state" => "busy").set(pool.open - pool.idle);
            gauge!("database_connections_max", "pool" => pool.name).set(pool.max);
            gauge!("database_connections_waiting", "pool" => pool.name).set(pool.waiting);
        }
        gauge!("booking_queue_length").set(count(self.sql.waiting_commands()));
        gauge!("cache_readers_waiting").set(count(self.cache.waiting()));
        if let Some(redis) = &self.redis {
            let state = redis.state();
            gauge!("redis_connections").set(state.open);
            gauge!("redis_commands_running").set(state.running);
            gauge!("redis_up").set(f64::from(u8::from(state.answers)));
        }
        let passwords = self.passwords.load();
        gauge!("password_hashes_running").set(count(passwords.running));
        gauge!("password_hashes_waiting").set(count(passwords.waiting));
        let runtime = self.runtime.metrics();
        gauge!("tokio_workers").set(count(runtime.num_workers()));
        gauge!("tokio_tasks_alive").set(count(runtime.num_alive_tasks()));
        gauge!("tokio_queue_length").set(count(runtime.global_queue_depth()));
        metrics_process::Collector::default().collect();
    }
}

#[async_trait]
impl Inside for Gauges {
    fn load(&self) -> Load {
        let pools = self.sql.pool_states().map(|PoolState { name, max, open, idle, waiting }| PoolLoad {
            name,
            max,
            busy: open - idle,
            idle,
            waiting,
        });
        let passwords = self.passwords.load();
        Load {
            pools: pools.into(),
            bookings_waiting: self.sql.waiting_commands(),
            readers_waiting: self.cache.waiting(),
            passwords_running: passwords.running,
            passwords_waiting: passwords.waiting,
        }
    }

    async fn pending_migrations(&self) -> Result<Vec<String>, StoreError> {
        let status = self.sql.migration_status().await?;
        Ok(status.into_iter().filter(|(_, applied)| !applied).map(|(name, _)| name).collect())
    }
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
