//! Faults of Postgres, and of the way to it.

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

/// Most of these times pass in waiting: these troubles are had at once, each by a service of its own.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_long_for_what_hangs() {
    tokio::join!(
        a_postgres_that_freezes_is_not_waited_for_and_loses_nothing(),
        a_line_to_postgres_that_swallows_everything_is_replaced(),
        a_row_that_somebody_holds_stops_its_own_event_only_and_not_for_long(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_with_a_connection() {
    tokio::join!(
        connections_that_end_are_replaced(),
        a_commit_whose_answer_is_lost_is_settled_or_repeated_but_never_done_twice(),
        a_slow_line_makes_answers_slow_and_nothing_else(),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_in_need_is_used_as_far_as_it_goes() {
    tokio::join!(
        a_postgres_that_crashes_and_recovers_has_everything_that_was_acknowledged(),
        a_postgres_without_a_free_connection_is_unavailable_until_there_is_one(),
        a_postgres_that_only_reads_answers_reads_and_refuses_writes(),
        a_full_disk_refuses_writes_and_harms_nothing_that_is_there(),
    );
}

async fn a_postgres_that_freezes_is_not_waited_for_and_loses_nothing() {
    let mut service = Service::on(Site::breakable().await).await;
    service.calm().await;
    service.site.postgres().freeze();
    outlast(&mut service).await;
    service.site.postgres().thaw();
    service.heals(Instant::now()).await;
    service.calm().await;

    // Shortly, so that what was begun goes on.
    service.site.postgres().freeze();
    service.lasts(Duration::from_secs(2)).await;
    service.site.postgres().thaw();
    service.heals(Instant::now()).await;
    service.reckon().await;
}

async fn a_line_to_postgres_that_swallows_everything_is_replaced() {
    let (mut service, line) = Service::behind_a_bad_line(Site::migrated().await).await;
    service.calm().await;
    line.set(Toxic::BlackHole);
    outlast(&mut service).await;
    line.mend();
    service.heals(Instant::now()).await;
    service.reckon().await;
}

async fn a_postgres_that_crashes_and_recovers_has_everything_that_was_acknowledged() {
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

async fn a_commit_whose_answer_is_lost_is_settled_or_repeated_but_never_done_twice() {
    let (mut service, line) = Service::behind_a_bad_line(Site::migrated().await).await;
    let begun = Instant::now();
    for _ in 0..4 {
        line.set(Toxic::LoseAnswerTo("COMMIT"));
        service.lasts(Duration::from_millis(700)).await;
        line.mend();
        service.heals(Instant::now()).await;
    }
    let settled = service.since(begun).iter().filter(|entry| is_acknowledged_booking(entry)).count();
    assert!(settled > 0);
    service.reckon().await;
}

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

async fn a_row_that_somebody_holds_stops_its_own_event_only_and_not_for_long() {
    let mut service = Service::on(Site::migrated().await).await;
    let held = service.events[1];
    service.calm().await;
    let begun = Instant::now();
    let other = hold_row(&service.site.database_url(), held).await;
    let locked = Instant::now();
    // Twice as long as anybody may wait: who came while others waited already does not wait for longer.
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
        assert!(went_well(entry) && took < Duration::from_secs(2), "{entry:?} took {took:?}");
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

async fn a_postgres_without_a_free_connection_is_unavailable_until_there_is_one() {
    let mut service = Service::on(Site::breakable().await).await;
    let begun = Instant::now();
    let hoard = hoard_connections(&service.site.postgres().url(), Duration::from_secs(3)).await;
    assert!(hoard.len() > 30, "{}", hoard.len());
    let is_refused = |entry: &Entry| matches!(entry.outcome, Outcome::Unavailable(_));
    until("who waits for a connection is refused", async || service.since(begun).iter().any(is_refused)).await;
    for connection in hoard {
        connection.close().await.unwrap();
    }
    service.heals(Instant::now()).await;
    service.reckon().await;
}

/// Takes every connection the server has, those of the program one after the other: whoever comes
/// first has a connection.
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
    // Whoever had one of the connections that were ended has noticed by then.
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

/// Whether somebody was told that a seat is theirs now.
pub fn is_acknowledged_booking(entry: &Entry) -> bool {
    matches!((&entry.wish, &entry.outcome), (Wish::Book { .. }, Outcome::Done { replayed: false, .. }))
}

/// Asks for everything soon after a database has fallen silent, and once more while the first who
/// asked wait: all are refused in time.
async fn outlast(service: &mut Service) {
    service.lasts(Duration::from_millis(500)).await;
    let first = service.send_wave();
    service.lasts(Duration::from_secs(3)).await;
    let second = service.send_wave();
    assert_refused(&service.answers(first).await);
    assert_refused(&service.answers(second).await);
}

/// Without the database the program is alive, and does nothing else.
fn assert_refused(entries: &[Entry]) {
    for entry in entries {
        let alive = entry.wish == Wish::Other("live");
        assert_eq!(went_well(entry), alive, "{entry:?}");
        assert!(entry.ended - entry.asked < ANSWERED_WITHIN, "{entry:?} took {:?}", entry.ended - entry.asked);
    }
}
