//! Databases, servers and clocks for tests: each test has its own, and a Redis of its own if it breaks it.

pub mod clock;
pub mod collector;
pub mod dice;
pub mod disk;
pub mod front;
pub mod live;
pub mod mail_server;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod rabbitmq;
pub mod receiver;
pub mod redis;
pub mod server;
pub mod store;

use std::env;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::time;

/// Starts every task at the same instant, each on any free thread, and returns their results in
/// their order.
pub async fn all_at_once<T: Send + 'static>(
    tasks: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
) -> Vec<T> {
    let tasks: Vec<_> = tasks.into_iter().collect();
    let start = Arc::new(Barrier::new(tasks.len()));
    let running: Vec<_> = tasks
        .into_iter()
        .map(|task| {
            let start = start.clone();
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(running.len());
    for task in running {
        answers.push(task.await.unwrap());
    }
    answers
}

/// Polls until the answer is yes: for a server of another process that starts again, or a message
/// that is under way. Fails after 10 s with the name of what it awaited.
pub async fn until(awaited: &str, mut yes: impl AsyncFnMut() -> bool) {
    let asked = Instant::now();
    while !yes().await {
        assert!(asked.elapsed() < Duration::from_secs(10), "in vain: {awaited}");
        time::sleep(Duration::from_millis(10)).await;
    }
}

/// A setting that `tests/run` makes. Without its servers a test fails: one that is skipped tests nothing.
pub fn provided(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with `tests/run`, which starts Postgres, Redis and RabbitMQ for them")
    })
}

/// A port below those the system hands out to outgoing connections, so that a killed server's port
/// is still free when it comes back.
fn free_port() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish() % 12_000;
        let port = 20_000 + u16::try_from(random).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Sends a signal to a process that a test started.
fn signal(process: u32, name: &str) {
    assert!(signal_if_there(process, name), "SIG{name} was not sent");
}

/// Sends a signal to a process that may have ended; answers whether it was sent.
fn signal_if_there(process: u32, name: &str) -> bool {
    let kill = format!("kill -{name} {process} 2>/dev/null");
    Command::new("sh").args(["-c", &kill]).status().unwrap().success()
}
