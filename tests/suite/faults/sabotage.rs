//! That the reckoning finds what is wrong, end to end.

use std::time::Duration;

use super::ledger::Breach;
use super::service::Service;
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
    let taken = "WITH lost AS (UPDATE registrations SET status = 'cancelled', version = version + 1 WHERE id IN
                     (SELECT id FROM registrations WHERE status = 'confirmed' LIMIT 3) RETURNING event_id)
                 UPDATE events SET available_seats = available_seats + lost.seats, version = version + 1
                 FROM (SELECT event_id, count(*) AS seats FROM lost GROUP BY event_id) lost WHERE id = lost.event_id";
    service.site.run_sql(taken).await;
    let (_, findings) = service.findings().await;
    let seen = |breach| findings.iter().any(|finding| finding.breach == breach);
    assert!(seen(Breach::Lost) || seen(Breach::Stale), "{findings:#?}");
}
