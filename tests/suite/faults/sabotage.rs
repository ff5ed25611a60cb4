//! That the reckoning finds what is wrong, end to end.

use std::time::{Duration, Instant};

use super::ledger::Breach;
use super::postgres::is_acknowledged_booking;
use super::service::Service;
use crate::harness::proxy::{Proxy, Toxic};
use crate::harness::server::Site;

/// A service that answers what was confirmed a moment ago is asked for by a setting.
#[tokio::test(flavor = "multi_thread")]
async fn reads_that_nobody_confirms_are_found() {
    let site = Site::migrated().await.with("CACHE_MAX_STALENESS", "1s");
    let service = Service::on(site).await;
    service.lasts(Duration::from_secs(2)).await;
    let (_, findings) = service.findings().await;
    assert!(findings.iter().any(|finding| finding.breach == Breach::Stale), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding.breach == Breach::Stale), "{findings:#?}");
}

/// The hand at the prompt takes a seat away without a word.
#[tokio::test(flavor = "multi_thread")]
async fn a_booking_that_is_taken_away_is_found() {
    let service = Service::on(Site::migrated().await).await;
    service.calm().await;
    // Events first, as everybody locks.
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

/// A program that takes no locks is the same program over a line that takes the words for it out of what it says.
#[tokio::test(flavor = "multi_thread")]
async fn seats_that_are_counted_without_a_lock_are_found() {
    let site = Site::migrated().await;
    // Time for somebody else between the look and the write.
    let (slow, url) = Proxy::on_the_way_to(&site.database_url()).await;
    slow.set(Toxic::Latency(Duration::from_millis(10)));
    let (line, url) = Proxy::on_the_way_to(&url).await;
    line.set(Toxic::Unsay(&["FOR UPDATE SKIP LOCKED", "FOR UPDATE"]));
    let mut service = Service::on(site.with("DATABASE_URL", &url)).await;
    // A seat that is counted wrong twice may look right in the end: it is looked for until one does not.
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

/// A server that says of a commit that it is done before it has written it down anywhere.
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
    // A lost cancellation is a booking that nobody asked for.
    let lost = [Breach::Lost, Breach::FromNowhere, Breach::Stale, Breach::BookedTwice, Breach::KeyActedTwice];
    assert!(findings.iter().any(|finding| lost.contains(&finding.breach)), "{findings:#?}");
    assert!(findings.iter().all(|finding| lost.contains(&finding.breach)), "{findings:#?}");
}
