//! Faults on purpose, which the check of the ledger has to find, end to end.

use std::time::{Duration, Instant};

use super::ledger::Breach;
use super::postgres::is_acknowledged_booking;
use super::service::Service;
use crate::harness::proxy::{Proxy, Toxic};
use crate::harness::server::Site;

/// With `CACHE_MAX_STALENESS` a service answers bodies that were confirmed a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn unconfirmed_reads_are_found() {
    let site = Site::migrated().await.with("CACHE_MAX_STALENESS", "1s");
    let mut service = Service::on(site).await;
    let begun = Instant::now();
    let findings = loop {
        service.lasts(Duration::from_secs(2)).await;
        let findings = service.look_back().await;
        if !findings.is_empty() {
            break findings;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "nothing is found");
    };
    service.findings().await;
    assert!(findings.iter().all(|finding| finding.breach == Breach::Stale), "{findings:#?}");
}

/// An operator at the SQL prompt cancels registrations.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_is_taken_away_is_found() {
    let service = Service::on(Site::migrated().await).await;
    service.calm().await;
    service.meets("a booking is acknowledged", Instant::now(), is_acknowledged_booking).await;
    // Lock events first, in the order of all transactions.
    let taken = "BEGIN;
                 SELECT id FROM events ORDER BY id FOR UPDATE;
                 WITH lost AS (UPDATE registrations SET status = 'cancelled', version = version + 1 WHERE id IN
                     (SELECT id FROM registrations WHERE status = 'confirmed' LIMIT 3) RETURNING event_id)
                 UPDATE events SET available_seats = available_seats + lost.seats, version = version + 1
                 FROM (SELECT event_id, count(*) AS seats FROM lost GROUP BY event_id) lost WHERE id = lost.event_id;
                 COMMIT";
    service.site.run_sql(taken).await;
    let (_, findings) = service.findings().await;
    let seen = |breach| findings.iter().any(|finding| finding.breach == breach);
    assert!(seen(Breach::Lost) || seen(Breach::Stale), "{findings:#?}");
}

/// The proxy removes the clauses that lock from the program's statements, so that it takes no row locks.
#[tokio::test(flavor = "multi_thread")]
async fn seats_that_are_counted_without_a_lock_are_found() {
    let site = Site::migrated().await;
    // The latency leaves time for another transaction between the read and the write.
    let (slow, url) = Proxy::on_the_way_to(&site.database_url()).await;
    slow.set(Toxic::Latency(Duration::from_millis(10)));
    let (line, url) = Proxy::on_the_way_to(&url).await;
    line.set(Toxic::Unsay(&["FOR UPDATE SKIP LOCKED", "FOR UPDATE"]));
    let mut service = Service::on(site.with("DATABASE_URL", &url)).await;
    // Two wrong counts may cancel each other out: repeat until one shows.
    let begun = Instant::now();
    loop {
        service.lasts(Duration::from_secs(3)).await;
        let findings = service.look_back().await;
        let seen = |breach| findings.iter().any(|finding| finding.breach == breach);
        if seen(Breach::DoesNotAddUp) || seen(Breach::Oversold) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{findings:#?}");
    }
    service.findings().await;
}

/// A Postgres that acknowledges commits before it writes them to disk.
#[tokio::test(flavor = "multi_thread")]
async fn commits_that_are_not_written_before_a_crash_are_found() {
    let mut service = Service::on(Site::breakable().await).await;
    service.site.run_sql("ALTER SYSTEM SET synchronous_commit = off").await;
    service.site.run_sql("SELECT pg_reload_conf()").await;
    service.site.postgres().stop_wal_writer();
    for _ in 0..3 {
        service.meets("a booking is acknowledged", Instant::now(), is_acknowledged_booking).await;
    }
    service.site.postgres().stop_immediately();
    service.site.postgres().start_again().await;
    service.heals(Instant::now()).await;
    let (_, findings) = service.findings().await;
    // After a lost cancellation, the booking looks like one that no client requested.
    let lost = [Breach::Lost, Breach::FromNowhere, Breach::Stale, Breach::BookedTwice, Breach::KeyActedTwice];
    assert!(findings.iter().any(|finding| lost.contains(&finding.breach)), "{findings:#?}");
    assert!(findings.iter().all(|finding| lost.contains(&finding.breach)), "{findings:#?}");
}
