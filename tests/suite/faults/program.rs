//! The program's own end, by SIGKILL or SIGTERM.

use std::env;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::ledger::{Entry, Outcome, Wish};
use super::service::{Service, went_well};
use crate::harness::disk::Disk;
use crate::harness::server::{Site, Stack};
use crate::harness::until;

/// From the signal to the end, at the latest.
const STOPS_WITHIN: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_has_every_booking_it_acknowledged() {
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
    // Both at once: no instance is left to clean up.
    for program in &mut programs {
        program.kill();
    }
    for program in &mut programs {
        program.start_again().await;
    }
    service.heals(Instant::now()).await;
    service.reckon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_program_on_sqlite_has_every_booking_it_acknowledged() {
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

/// How often one of two programs is killed, at whatever it does.
const KILLS: u32 = 200;

/// What happens is told whatever instant the program ends at: between a commit and its projection, between a claim and
/// its result. The ledger checks the history with everything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_two_hundred_times_loses_no_fact() {
    let site = Site::migrated().await;
    let mut programs = [site.start_process().await, site.start_process().await];
    let mut service = Service::of(site, programs.iter().map(|program| Arc::new(program.instance())).collect()).await;
    service.may_be_cut();
    service.calm().await;
    for kill in 0..KILLS {
        let program = &mut programs[usize::from(kill % 2 == 1)];
        program.kill();
        program.start_again().await;
        service.lasts(Duration::from_millis(u64::from(kill % 7) * 10)).await;
    }
    service.heals(Instant::now()).await;
    let entries = service.reckon().await;
    let booked = entries.iter().filter(|entry| matches!(entry.wish, Wish::Book { .. }) && went_well(entry)).count();
    assert!(booked >= KILLS as usize, "only {booked} bookings went well");
}

/// On the embedded stack the database is in the program, so the program itself has to handle a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_until_there_is_space() {
    let mut site = Site::new(Stack::Embedded).await;
    let disk = Disk::below(site.folder(), &env::temp_dir());
    for (name, value) in disk.variables() {
        site = site.with(name, value.to_str().unwrap());
    }
    let program = site.start_process().await;
    let mut service = Service::of(site, vec![Arc::new(program.instance())]).await;
    for _ in 0..3 {
        service.calm().await;
        // SQLite reuses the space of its log. When the log is short, every write makes it grow.
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
async fn sigterm_under_load_answers_every_open_request() {
    let site = Site::migrated().await.with("SHUTDOWN_GRACE", "5s");
    let mut programs = [site.start_process().await, site.start_process().await];
    let mut service = Service::of(site, programs.iter().map(|program| Arc::new(program.instance())).collect()).await;
    service.may_be_cut();
    service.calm().await;

    let begun = Instant::now();
    programs[0].terminate();
    let instance = Arc::clone(&service.instances[0]);
    // Ask while it still listens: after the grace there is no answer.
    until("readiness says no", async || instance.get("/health/ready").send().await.status == 503).await;
    let status = programs[0].ended(STOPS_WITHIN).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}");
    eprintln!("stopped after {:?}", begun.elapsed());

    programs[0].start_again().await;
    service.heals(Instant::now()).await;
    let entries = service.reckon().await;
    // A request without an answer met a closed port, or an idle connection that was closed: it was not done.
    // The client repeats it, and the key shows whether it had been done.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_program_answers_every_connection_that_was_made() {
    let site = Site::migrated().await.with("SHUTDOWN_GRACE", "1s");
    let mut program = site.start_process().await;
    let address = program.instance().base().trim_start_matches("http://").to_owned();
    for _ in 0..3 {
        let mut clients = JoinSet::new();
        for _ in 0..32 {
            clients.spawn(connects_until_refused(address.clone()));
        }
        program.terminate();
        let answered: u32 = clients.join_all().await.into_iter().sum();
        assert!(answered > 0);
        assert!(program.ended(STOPS_WITHIN).await.is_some_and(|status| status.success()));
        program.start_again().await;
    }
}

/// Makes a connection for each request until none can be made, and says how many were answered. A proxy may repeat a
/// request that found no connection; it must not repeat a write that went out on one.
async fn connects_until_refused(address: String) -> u32 {
    let mut answered = 0;
    while let Ok(mut connection) = TcpStream::connect(&address).await {
        let mut answer = Vec::new();
        let request = "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let sent = connection.write_all(request.as_bytes()).await;
        let received = connection.read_to_end(&mut answer).await;
        assert!(answer.starts_with(b"HTTP/1.1 200 "), "{sent:?}, {received:?} after {answered} answers");
        answered += 1;
    }
    answered
}
