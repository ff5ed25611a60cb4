//! A newer release moves the schema ahead while instances of this one serve: expand and contract.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::service::{Service, went_well};
use crate::harness::server::{Site, Stack};

/// What a release may add, each a statement that an operator could have written as well: columns with
/// and without a default, a table that refers to others, an index, a check that all rows pass.
const EXPANSION: [&str; 9] = [
    "ALTER TABLE events ADD COLUMN organiser TEXT",
    "ALTER TABLE events ADD COLUMN language TEXT NOT NULL DEFAULT 'en'",
    "ALTER TABLE registrations ADD COLUMN channel TEXT NOT NULL DEFAULT 'web' CHECK (channel <> '')",
    "ALTER TABLE users ADD COLUMN newsletter BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE idempotency_keys ADD COLUMN origin TEXT",
    "ALTER TABLE sessions ADD COLUMN device TEXT",
    "CREATE TABLE reviews (id BIGINT PRIMARY KEY, event_id BIGINT NOT NULL REFERENCES events (id), text TEXT NOT NULL)",
    "CREATE INDEX idx_events_language ON events (language, date)",
    "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_of_a_newer_release', 0)",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_schema_that_grows_under_instances_is_not_noticed() {
    is_not_noticed(Site::migrated().await, "BEGIN").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sqlite_schema_that_grows_under_instances_is_not_noticed() {
    is_not_noticed(Site::new(Stack::Embedded).await, "BEGIN IMMEDIATE").await;
}

/// `alone` begins a transaction that no other write can interleave with.
async fn is_not_noticed(site: Site, alone: &str) {
    let older = [site.start_process().await, site.start_process().await];
    let mut service = Service::of(site, older.iter().map(|program| Arc::new(program.instance())).collect()).await;
    service.calm().await;
    let begun = Instant::now();
    for statement in EXPANSION {
        service.site.run_sql(&format!("{alone}; {statement}; COMMIT")).await;
        service.lasts(Duration::from_millis(200)).await;
    }
    service.calm().await;

    // A crashed instance starts again, with and without the right to migrate.
    let again = service.site.start_process().await;
    let site = service.site.with("DATABASE_MIGRATE", "false");
    let strict = site.start_process().await;
    service.site = site;
    for program in [&again, &strict] {
        service.instances.push(Arc::new(program.instance()));
    }
    service.heals(Instant::now()).await;
    for entry in service.since(begun) {
        assert!(went_well(&entry), "{entry:?}");
    }
    for instance in &service.instances {
        let metrics = instance.get("/metrics").send().await.expect(200).text();
        assert!(metrics.contains("booking_batches_total{outcome=\"committed\"}"), "{metrics}");
        for troubled in ["one_by_one", "unavailable", "unknown"] {
            assert!(!metrics.contains(&format!("booking_batches_total{{outcome=\"{troubled}\"}}")), "{metrics}");
        }
    }
    service.reckon().await;
}
