//! Watches an event's seats through many streams at once, and tells when all of them know the end.
//!
//! `watch-seats <host:port> <event> <watchers>` opens the streams and writes `watching` once each has
//! its first state. A line on standard input says that no more bookings are sent: then the event is
//! asked for its seats until all have been told the same, and one line of figures is written: how many
//! watchers there are, how many milliseconds that took, how many were not told within ten seconds, and
//! how many messages came in all.

use std::io::{Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use boxoffice_bench::{Connection, Head};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::Semaphore;

/// How many connections are being opened at a time: fewer than a listener's backlog.
const OPENING: usize = 64;

/// How long the last watcher may take to be told.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at what the watchers know.
const LOOK: Duration = Duration::from_millis(5);

/// What a watcher has been told; none at first.
const NOTHING: u64 = u64::MAX;

/// What all watchers have been told.
struct Told {
    available: Vec<AtomicU64>,
    messages: AtomicU64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, event, watchers] = arguments.as_slice() else {
        bail!("usage: watch-seats <host:port> <event> <watchers>");
    };
    let watchers: usize = watchers.parse()?;
    let told = Arc::new(Told {
        available: (0..watchers).map(|_| AtomicU64::new(NOTHING)).collect(),
        messages: AtomicU64::new(0),
    });
    let opening = Arc::new(Semaphore::new(OPENING));
    for watcher in 0..watchers {
        let permit = Arc::clone(&opening).acquire_owned().await?;
        let (address, path, told) = (address.clone(), format!("/api/events/{event}/seats/stream"), Arc::clone(&told));
        tokio::spawn(async move {
            if let Ok((stream, _)) = get(&address, &path, "text/event-stream").await {
                drop(permit);
                // A stream that ends early leaves its watcher behind, and that is counted.
                let _ = watch(stream, watcher, &told).await;
            }
        });
    }
    let behind = |seats: u64| told.available.iter().filter(|told| told.load(Ordering::Relaxed) != seats).count();
    let opened = Instant::now();
    while told.available.iter().any(|told| told.load(Ordering::Relaxed) == NOTHING) {
        ensure!(opened.elapsed() < PATIENCE, "not every stream has begun");
        tokio::time::sleep(LOOK).await;
    }
    writeln!(stdout(), "watching")?;

    BufReader::new(tokio::io::stdin()).lines().next_line().await?;
    let ended = Instant::now();
    // What the load generator hung up on may still be booked.
    let mut left = behind(present(address, event).await?);
    while left > 0 && ended.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
        left = behind(present(address, event).await?);
    }
    let (millis, messages) = (ended.elapsed().as_millis(), told.messages.load(Ordering::Relaxed));
    writeln!(stdout(), "figures {watchers} {millis} {left} {messages}")?;
    Ok(())
}

/// Follows the event's stream until it ends.
async fn watch(mut stream: Connection, watcher: usize, told: &Told) -> anyhow::Result<()> {
    let mut line = String::new();
    while stream.read_line(&mut line).await? {
        if let Some(seats) = available_seats(&line) {
            told.messages.fetch_add(1, Ordering::Relaxed);
            if let Some(told) = told.available.get(watcher) {
                told.store(seats, Ordering::Relaxed);
            }
        }
    }
    Ok(())
}

/// The event's seats as the API answers them.
async fn present(address: &str, event: &str) -> anyhow::Result<u64> {
    let (mut connection, head) = get(address, &format!("/api/events/{event}"), "application/json").await?;
    available_seats(&connection.body(&head).await?).context("the event has no seats")
}

/// A connection over which this was asked for, and the head of the answer, which says 200.
async fn get(address: &str, path: &str, accepts: &str) -> anyhow::Result<(Connection, Head)> {
    let mut connection = Connection::open(address).await?;
    let head = connection.ask(&format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: {accepts}\r\n\r\n")).await?;
    ensure!(head.status == 200, "{path} answered {}", head.status);
    Ok((connection, head))
}

fn available_seats(json: &str) -> Option<u64> {
    let (_, rest) = json.split_once(r#""available_seats":"#)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
