//! Facts told to the receivers of docs/webhooks.md and to a broker, while everything around them is killed in turn.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::harness::program::Program;
use crate::harness::rabbitmq::{Consumer, RabbitServer};
use crate::harness::server::{Instance, Person, Site};
use crate::harness::until;

/// How often something is killed, and how many seats are booked before each time.
const KILLS: usize = 8;
const BOOKINGS: usize = 3;

/// A killed process is the one that sends for 15 s more, and what it had taken is due again after a minute.
const TOLD_WITHIN: Duration = Duration::from_mins(3);

#[tokio::test(flavor = "multi_thread")]
async fn receivers_and_a_broker_are_told_all_while_servers_are_killed() {
    let mut broker = RabbitServer::start().await;
    let mut site = Site::breakable().await.with("AMQP_URL", broker.url());
    let mut programs = [site.start_process().await, site.start_process().await];
    let api = programs[0].instance();
    let (admin, person) = (api.admin().await, api.new_user().await);
    let mut events = BTreeSet::new();
    for _ in 0..KILLS * BOOKINGS {
        events.insert(api.event(&admin, 5).await);
    }
    let consumer = Consumer::connect(broker.url(), "boxoffice").await;
    consumer.declare_exchange(ExchangeKind::Topic).await;
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    consumer.bind("kept", "registration.*", durable, FieldTable::default()).await;
    drop(consumer);
    let folder = tempfile::tempdir().unwrap();
    let receivers = [
        Receiver::start(&api, &admin, folder.path(), "python", "python3").await,
        Receiver::start(&api, &admin, folder.path(), "javascript", "node").await,
    ];

    let mut left = events.iter();
    for kill in 0..KILLS {
        for event in left.by_ref().take(BOOKINGS) {
            book(&programs, *event, &person).await;
        }
        match kill % 4 {
            0 | 2 => {
                let program = &mut programs[kill / 2 % 2];
                program.kill();
                program.start_again().await;
            }
            1 => {
                broker.kill();
                broker.restart().await;
            }
            _ => {
                site.postgres().stop_immediately();
                site.postgres().start_again().await;
            }
        }
    }

    let expected: BTreeSet<_> = events.iter().map(|event| format!("registration.confirmed events/{event}")).collect();
    let begun = Instant::now();
    for receiver in &receivers {
        while !receiver.told().is_superset(&expected) {
            assert!(begun.elapsed() < TOLD_WITHIN, "{:?} was not told", &expected - &receiver.told());
            sleep(Duration::from_millis(200)).await;
        }
    }
    let consumer = Consumer::connect(broker.url(), "boxoffice").await;
    let mut published = BTreeSet::new();
    while !published.is_superset(&expected) {
        if let Some(message) = consumer.next("kept").await {
            let fact: Value = serde_json::from_slice(&message.data).unwrap();
            published.insert(format!("{} {}", fact["type"].as_str().unwrap(), fact["subject"].as_str().unwrap()));
            continue;
        }
        assert!(begun.elapsed() < TOLD_WITHIN, "{:?} was not published", &expected - &published);
        sleep(Duration::from_millis(200)).await;
    }
}

/// Books a seat on whichever program answers, again until it is known to be booked.
async fn book(programs: &[Program; 2], event: u64, person: &Person) {
    let begun = Instant::now();
    for program in programs.iter().cycle() {
        let path = format!("/api/events/{event}/register");
        if let Ok(answer) = program.instance().request(Method::POST, &path).by(person).try_send().await
            && [201, 409].contains(&answer.status)
        {
            return;
        }
        assert!(begun.elapsed() < Duration::from_mins(1), "nobody books");
        sleep(Duration::from_millis(100)).await;
    }
}

/// A receiver of the guide, and the lines that it printed: of each fact whose signature it verified.
struct Receiver {
    lines: Arc<Mutex<BTreeSet<String>>>,
    _process: Child,
}

impl Receiver {
    async fn start(api: &Instance, admin: &Person, folder: &Path, language: &str, interpreter: &str) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let body = json!({ "url": format!("http://127.0.0.1:{port}/hook"), "types": ["registration.*"] });
        let webhook = api.post("/api/webhooks", &body).by(admin).send().await.expect(201).json();
        let (_, rest) = include_str!("../../../docs/webhooks.md").split_once(&format!("```{language}\n")).unwrap();
        let program = folder.join(language);
        std::fs::write(&program, rest.split_once("```").unwrap().0).unwrap();
        let mut process = Command::new(interpreter)
            .arg(program)
            .arg(port.to_string())
            .env("WEBHOOK_SECRET", webhook["secret"].as_str().unwrap())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{interpreter} is needed to try docs/webhooks.md: {error}"));
        until("the receiver listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        let (lines, mut output) = (Arc::default(), BufReader::new(process.stdout.take().unwrap()).lines());
        let kept: Arc<Mutex<BTreeSet<String>>> = Arc::clone(&lines);
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                kept.lock().unwrap().insert(line);
            }
        });
        Self { lines, _process: process }
    }

    fn told(&self) -> BTreeSet<String> {
        self.lines.lock().unwrap().clone()
    }
}
