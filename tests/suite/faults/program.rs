//! The program's own end, by force or in good order.

use std::env;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::ledger::{Entry, Outcome, Wish};
use super::service::{Service, went_well};
use crate::harness::disk::Disk;
use crate::harness::server::{Site, Stack};
use crate::harness::until;

/// From the signal to the end, at the latest.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_outlives_the_program() {
    tokio::join!(
        a_program_that_is_killed_while_it_sells_has_every_booking_it_acknowledged(),
        a_program_on_sqlite_that_is_killed_while_it_sells_has_every_booking_it_acknowledged(),
    );
}

async fn a_program_that_is_killed_while_it_sells_has_every_booking_it_acknowledged() {
    let site = Site::migrated().await;
    let mut programs = vec![site.start_process().await, site.start_process().await];
    let mut service = Service::of(site, programs.iter().map(|program| Arc::new(program.instance())).collect()).await;
    service.may_be_cut();
    for turn in [0, 1, 0] {
        service.calm().await;
        programs[turn].kill();
        service.lasts(Duration::from_millis(200)).await;
        programs[turn].start_again().await;
        service.heals(Instant::now()).await;
    }
    // Both at once: nobody is left to clean up.
    for program in &mut programs {
        program.kill();
    }
    for program in &mut programs {
        program.start_again().await;
    }
    service.heals(Instant::now()).await;
    service.reckon().await;
}

async fn a_program_on_sqlite_that_is_killed_while_it_sells_has_every_booking_it_acknowledged() {
    let site = Site::new(Stack::Embedded).await;
    let mut program = site.start_process().await;
    let mut service = Service::of(site, vec![Arc::new(program.instance())]).await;
    service.may_be_cut();
    for _ in 0..3 {
        service.calm().await;
        program.kill();
        program.start_again().await;
        service.heals(Instant::now()).await;
    }
    service.reckon().await;
}

/// Embedded, the database is the program's own, and so is the trouble with its disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_whose_disk_is_full_refuses_writes_and_goes_on_when_there_is_room() {
    let mut site = Site::new(Stack::Embedded).await;
    let disk = Disk::below(site.folder(), &env::temp_dir());
    for (name, value) in disk.variables() {
        site = site.with(name, value.to_str().unwrap());
    }
    let program = site.start_process().await;
    let mut service = Service::of(site, vec![Arc::new(program.instance())]).await;
    for _ in 0..3 {
        service.calm().await;
        // What the log has written once it can write again. When nothing is left of it, every write makes it grow.
        let log = service.site.folder().join("boxoffice.db-wal");
        let half = fs::metadata(&log).unwrap().len() / 2;
        until("the log is short", async || {
            service.site.run_sql("PRAGMA wal_checkpoint(TRUNCATE)").await;
            fs::metadata(&log).unwrap().len() <= half
        })
        .await;
        let begun = Instant::now();
        disk.fill();
        let refused = |entry: &Entry| {
            matches!((&entry.wish, &entry.outcome), (Wish::Book { .. }, Outcome::Unavailable(_) | Outcome::Unknown))
        };
        service.meets("a booking is refused", begun, refused).await;
        service.lasts(Duration::from_secs(1)).await;
        for entry in service.since(begun) {
            let reads = matches!(entry.wish, Wish::Look { .. } | Wish::Mine | Wish::Other("list" | "live" | "ready"));
            assert!(!reads || went_well(&entry), "{entry:?}");
        }
        disk.clear();
        service.heals(Instant::now()).await;
    }
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_told_to_stop_while_it_sells_answers_everybody_first() {
    let site = Site::migrated().await.with("SHUTDOWN_GRACE", "1s");
    let mut programs = [site.start_process().await, site.start_process().await];
    let mut service = Service::of(site, programs.iter().map(|program| Arc::new(program.instance())).collect()).await;
    service.may_be_cut();
    service.calm().await;

    let begun = Instant::now();
    programs[0].terminate();
    let instance = Arc::clone(&service.instances[0]);
    until("readiness says no", async || instance.get("/health/ready").send().await.status == 503).await;
    assert!(begun.elapsed() < Duration::from_millis(500), "it took {:?}", begun.elapsed());
    let status = programs[0].ended(STOPS_WITHIN).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    eprintln!("stopped after {:?}", begun.elapsed());

    programs[0].start_again().await;
    service.heals(Instant::now()).await;
    let entries = service.reckon().await;
    // Whoever got no answer came to a closed door, or over a connection that was let go idle: what
    // they asked for was not done. They asked again, and their key says whether it had been.
    for (place, entry) in entries.iter().enumerate() {
        let turned_away = matches!(entry.outcome, Outcome::Broken(_));
        assert!(turned_away || entry.wish == Wish::Other("ready") || went_well(entry), "{entry:?}");
        let replayed =
            |again: &&Entry| again.wish == entry.wish && matches!(again.outcome, Outcome::Done { replayed: true, .. });
        if turned_away && matches!(entry.wish, Wish::Book { .. } | Wish::Cancel { .. }) {
            assert!(entries[place..].iter().find(replayed).is_none(), "{entry:?} was done and not answered");
        }
    }
}
