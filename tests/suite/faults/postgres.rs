//! Faults of Postgres, and of the network before it.

use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection};
use tokio::time::sleep;

use super::ledger::{ANSWERED_WITHIN, Entry, Outcome, Wish};
use super::service::{HEALS_WITHIN, Service, went_well};
use crate::harness::proxy::Toxic;
use crate::harness::server::Site;
use crate::harness::store::connect_past;
use crate::harness::until;

/// Ends every connection of the program, as an operator may.
pub const END_ALL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                       WHERE datname = current_database() AND application_name = 'boxoffice'";

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_freezes_is_not_waited_for_and_loses_nothing() {
    let mut service = Service::on(Site::breakable().await).await;
    service.calm().await;
    service.site.postgres().freeze();
    outlast(&mut service).await;
    service.site.postgres().thaw();
    service.heals(Instant::now()).await;
    service.calm().await;

    // Freeze shortly, so that open transactions go on afterwards.
    service.site.postgres().freeze();
    service.lasts(Duration::from_secs(2)).await;
    service.site.postgres().thaw();
    service.heals(Instant::now()).await;
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_to_postgres_that_swallows_everything_is_replaced() {
    let (mut service, line) = Service::behind_a_bad_line(Site::migrated().await).await;
    service.calm().await;
    line.set(Toxic::BlackHole);
    outlast(&mut service).await;
    line.mend();
    service.heals(Instant::now()).await;
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_recovers_from_a_crash_has_what_was_acknowledged() {
    let mut service = Service::on(Site::breakable().await).await;
    service.calm().await;
    service.site.postgres().stop_immediately();
    service.site.postgres().start_again().await;
    service.heals(Instant::now()).await;
    service.calm().await;

    service.site.postgres().stop_immediately();
    assert_refused(&service.wave().await);
    service.site.postgres().start_again().await;
    service.heals(Instant::now()).await;
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_are_replaced() {
    let (mut service, line) = Service::behind_a_bad_line(Site::migrated().await).await;
    for _ in 0..5 {
        service.calm().await;
        service.site.run_sql(END_ALL).await;
    }
    service.heals(Instant::now()).await;

    line.set(Toxic::Reset);
    service.lasts(Duration::from_secs(1)).await;
    line.mend();
    service.heals(Instant::now()).await;

    for bytes in [1, 50, 150, 400, 1_000, 3_000] {
        line.set(Toxic::CutAfter(bytes));
        service.lasts(Duration::from_millis(300)).await;
        line.mend();
        service.heals(Instant::now()).await;
    }
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_never_done_twice() {
    let (mut service, line) = Service::behind_a_bad_line(Site::migrated().await).await;
    for _ in 0..4 {
        line.set(Toxic::LoseAnswerTo("COMMIT"));
        let begun = Instant::now();
        service.lasts(Duration::from_millis(700)).await;
        service.meets("a booking whose outcome was looked up", begun, is_acknowledged_booking).await;
        line.mend();
        service.heals(Instant::now()).await;
    }
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_makes_answers_slow_and_nothing_else() {
    let (service, line) = Service::behind_a_bad_line(Site::migrated().await).await;
    let begun = Instant::now();
    for toxic in [Toxic::Latency(Duration::from_millis(50)), Toxic::Slices(40, Duration::from_millis(2))] {
        line.set(toxic);
        service.lasts(Duration::from_millis(1_500)).await;
    }
    line.mend();
    let entries = service.since(begun);
    let failed: Vec<_> = entries.iter().filter(|entry| !went_well(entry)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_row_lock_stops_its_own_event_only_and_not_for_long() {
    let mut service = Service::on(Site::migrated().await).await;
    let held = service.events[1];
    service.calm().await;
    let begun = Instant::now();
    let other = hold_row(&service.site.database_url(), held).await;
    let locked = Instant::now();
    // Twice the longest wait: a request that joins the queue later waits no longer than others.
    service.lasts(Duration::from_secs(10)).await;
    let during = service.since(locked);
    other.execute_unprepared("COMMIT").await.unwrap();
    other.close().await.unwrap();
    service.heals(Instant::now()).await;
    assert!(begun.elapsed() < Duration::from_secs(10) + HEALS_WITHIN);

    let writes_held =
        |entry: &&Entry| matches!(entry.wish, Wish::Book { event, .. } | Wish::Cancel { event, .. } if event == held);
    let (of_held, of_others): (Vec<_>, Vec<_>) = during.iter().partition(writes_held);
    assert!(of_held.iter().any(|entry| matches!(entry.outcome, Outcome::Unavailable(_))), "{of_held:#?}");
    for entry in of_held {
        let took = entry.ended - entry.asked;
        assert!(took <= Duration::from_secs(5), "{entry:?} took {took:?}");
    }
    for entry in of_others {
        let took = entry.ended - entry.asked;
        // A request that waited for the row would be refused after four seconds.
        assert!(went_well(entry) && took < Duration::from_secs(4), "{entry:?} took {took:?}");
    }
    service.reckon().await;
}

/// Locks the row of an event until the connection commits.
pub async fn hold_row(url: &str, event: u64) -> DatabaseConnection {
    let hand = connect_past(url).await;
    hand.execute_unprepared("BEGIN").await.unwrap();
    hand.execute_unprepared(&format!("SELECT 1 FROM events WHERE id = {event} FOR UPDATE")).await.unwrap();
    hand
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_without_a_free_connection_is_unavailable_until_there_is_one() {
    let mut service = Service::on(Site::breakable().await).await;
    let begun = Instant::now();
    let hoard = hoard_connections(&service.site.postgres().url(), Duration::from_secs(3)).await;
    assert!(hoard.len() > 30, "{}", hoard.len());
    let is_refused = |entry: &Entry| matches!(entry.outcome, Outcome::Unavailable(_));
    until("a request that waits for a connection is refused", async || {
        // The program may have got a connection meanwhile: end it.
        hoard[hoard.len() - 1].execute_unprepared(END_ALL).await.unwrap();
        service.since(begun).iter().any(is_refused)
    })
    .await;
    for connection in hoard {
        connection.close().await.unwrap();
    }
    service.heals(Instant::now()).await;
    service.reckon().await;
}

/// Takes every connection of the server. It ends those of the program one after the other, and takes each
/// that becomes free first.
pub async fn hoard_connections(url: &str, within: Duration) -> Vec<DatabaseConnection> {
    let operator = connect_past(url).await;
    let mut one = ConnectOptions::new(url);
    one.max_connections(1).connect_timeout(Duration::from_millis(200)).sqlx_logging(false);
    let mut hoard = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < within {
        operator.execute_unprepared(END_ALL).await.unwrap();
        while let Ok(connection) = Database::connect(one.clone()).await {
            hoard.push(connection);
        }
        sleep(Duration::from_millis(20)).await;
    }
    hoard.push(operator);
    hoard
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_only_reads_answers_reads_and_refuses_writes() {
    let mut service = Service::on(Site::migrated().await).await;
    service.calm().await;
    let set = async |service: &Service, only_reads: bool| {
        let url = service.site.database_url();
        let name = url.rsplit_once('/').unwrap().1;
        let operator = connect_past(&url).await;
        for statement in [
            "SET default_transaction_read_only = off",
            &format!("ALTER DATABASE {name} SET default_transaction_read_only = {only_reads}"),
            END_ALL,
        ] {
            operator.execute_unprepared(statement).await.unwrap();
        }
        operator.close().await.unwrap();
    };
    set(&service, true).await;
    let event = service.events[0];
    let instance = service.instances[0].clone();
    let admin = service.admin.clone();
    until("writes are refused", async || instance.book(event, &admin).await.status == 503).await;
    until("reads are answered", async || instance.get(&format!("/api/events/{event}")).send().await.status == 200)
        .await;
    // By then, each request with an ended connection has got its error.
    service.calm().await;
    let begun = Instant::now();
    service.lasts(Duration::from_secs(1)).await;
    for entry in service.since(begun) {
        let reads = matches!(entry.wish, Wish::Look { .. } | Wish::Mine | Wish::Other("list" | "live"));
        assert!(!reads || went_well(&entry), "{entry:?}");
        assert!(reads || !is_acknowledged_booking(&entry), "{entry:?}");
    }
    set(&service, false).await;
    service.heals(Instant::now()).await;
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_and_harms_nothing_that_is_there() {
    let mut service = Service::on(Site::breakable().await).await;
    for _ in 0..2 {
        service.calm().await;
        let begun = Instant::now();
        service.site.postgres().fill_disk();
        // Pages have room for a few rows more.
        service.meets("a booking is refused", begun, is_refused_booking).await;
        service.lasts(Duration::from_secs(2)).await;
        for entry in service.since(begun) {
            let writes = matches!(entry.wish, Wish::Book { .. } | Wish::Cancel { .. } | Wish::Other("edit" | "log in"));
            assert!(writes || went_well(&entry), "{entry:?}");
        }
        service.site.postgres().clear_disk().await;
        service.heals(Instant::now()).await;
    }
    service.reckon().await;
}

fn is_refused_booking(entry: &Entry) -> bool {
    matches!((&entry.wish, &entry.outcome), (Wish::Book { .. }, Outcome::Unavailable(_)))
}

/// Whether a booking was made and acknowledged.
pub fn is_acknowledged_booking(entry: &Entry) -> bool {
    matches!((&entry.wish, &entry.outcome), (Wish::Book { .. }, Outcome::Done { replayed: false, .. }))
}

/// Sends all kinds of requests soon after a database stopped answering, and once more while the first
/// requests wait: all are refused in time.
async fn outlast(service: &mut Service) {
    service.lasts(Duration::from_millis(500)).await;
    let first = service.send_wave();
    service.lasts(Duration::from_secs(3)).await;
    let second = service.send_wave();
    assert_refused(&service.answers(first).await);
    assert_refused(&service.answers(second).await);
}

/// Without the database, only the liveness check succeeds.
fn assert_refused(entries: &[Entry]) {
    for entry in entries {
        let alive = entry.wish == Wish::Other("live");
        assert_eq!(went_well(entry), alive, "{entry:?}");
        assert!(entry.ended - entry.asked < ANSWERED_WITHIN, "{entry:?} took {:?}", entry.ended - entry.asked);
    }
}
