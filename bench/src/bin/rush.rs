//! Lets a crowd come at once, and tells how it was served.
//!
//! `rush <host:port> <path>` reads a line for each person: an access token, or a body of JSON. Everybody opens a
//! connection; then all of them send `POST <path>` in the same instant. Who is refused comes back after the
//! time in `Retry-After`, until served. Two lines of figures are written. `served` has how many there were, the
//! seconds until the last of them was, and the median and the 99th percentile of the milliseconds a person
//! waited from the first instant on. `refused` has how many refusals there were on the way, and the same
//! percentiles of the milliseconds that such an answer took.

use std::io::{Write, stdout};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use boxoffice_bench::Connection;
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long the crowd may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// How long a person waited to be served, and how long for each refusal before.
struct Waited {
    served: Duration,
    refused: Vec<Duration>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [address, path] = arguments.as_slice() else { bail!("usage: rush <host:port> <path>") };
    let (doors, _) = watch::channel(None);
    let mut crowd = JoinSet::new();
    let mut people = BufReader::new(stdin()).lines();
    while let Some(person) = people.next_line().await? {
        let request = request(address, path, &person);
        let connection = Connection::open(address).await?;
        let mut doors = doors.subscribe();
        crowd.spawn(async move {
            let opened = doors.wait_for(Option::is_some).await?.context("the doors are open")?;
            insist(connection, &request, opened).await
        });
    }
    let opened = Instant::now();
    doors.send_replace(Some(opened));
    let waited = tokio::time::timeout(PATIENCE, crowd.join_all()).await.context("not everybody was served")?;
    let took = opened.elapsed();
    let waited = waited.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let served: Vec<_> = waited.iter().map(|person| person.served).collect();
    let refused: Vec<_> = waited.into_iter().flat_map(|person| person.refused).collect();
    writeln!(stdout(), "served {} {:.4} {}", served.len(), took.as_secs_f64(), percentiles(served))?;
    writeln!(stdout(), "refused {} {}", refused.len(), percentiles(refused))?;
    Ok(())
}

/// The request of a person who has this token, or sends this body.
fn request(address: &str, path: &str, person: &str) -> String {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n");
    if person.starts_with('{') {
        format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{person}", person.len())
    } else {
        format!("{head}Authorization: Bearer {person}\r\nContent-Length: 0\r\n\r\n")
    }
}

/// Sends the request until it is served.
async fn insist(mut connection: Connection, request: &str, opened: Instant) -> anyhow::Result<Waited> {
    let mut refused = Vec::new();
    let mut asked = opened;
    loop {
        let head = connection.ask(request).await?;
        let body = connection.body(&head).await?;
        if head.status < 300 {
            return Ok(Waited { served: opened.elapsed(), refused });
        }
        ensure!(head.status == 503, "{} {body}", head.status);
        refused.push(asked.elapsed());
        // As a client does who heeds what it is told; how soon crowds come back is part of what is measured.
        tokio::time::sleep(head.retry_after.context("a refusal without Retry-After")?).await;
        asked = Instant::now();
    }
}

/// The median and the 99th percentile, in milliseconds.
fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3);
    format!("{:.2} {:.2}", at(50), at(99))
}
