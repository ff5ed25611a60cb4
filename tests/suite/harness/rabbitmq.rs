//! `RabbitMQ` brokers: the one that `tests/run` started, and others for tests that break theirs.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicGetOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tempfile::TempDir;
use tokio::task;

use super::{provided, signal};

/// The broker that `tests/run` started: for tests that only use it.
pub fn shared_url() -> String {
    provided("BOXOFFICE_TEST_RABBITMQ_URL")
}

/// A broker on a port of its own, ended with this value.
#[derive(Debug)]
pub struct RabbitServer {
    url: String,
    port: String,
    running: Option<Running>,
    folder: TempDir,
}

/// `tests/rabbitmq` and its broker's process.
#[derive(Debug)]
struct Running {
    script: Child,
    broker: u32,
}

impl RabbitServer {
    /// A broker that takes connections already.
    pub async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (running, url) = launch(folder.path(), None).await;
        let port = url.rsplit_once('/').unwrap().0.rsplit_once(':').unwrap().1.to_owned();
        Self { url, port, running: Some(running), folder }
    }

    /// How to connect to it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the broker as a power cut would; what it has written is kept.
    pub fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            signal(running.broker, "KILL");
            running.script.wait().unwrap();
        }
    }

    /// Starts the broker again on the same port, with what it has written.
    pub async fn restart(&mut self) {
        self.kill();
        self.running = Some(launch(self.folder.path(), Some(&self.port)).await.0);
    }

    /// Stops the broker with SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        signal(self.running.as_ref().expect("a running broker").broker, "STOP");
    }

    /// Lets a paused broker go on.
    pub fn resume(&self) {
        signal(self.running.as_ref().expect("a running broker").broker, "CONT");
    }
}

impl Drop for RabbitServer {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            // The script ends its broker when its standard input closes.
            drop(running.script.stdin.take());
            running.script.wait().unwrap();
        }
    }
}

async fn launch(folder: &Path, port: Option<&str>) -> (Running, String) {
    let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rabbitmq"))
        .arg(folder)
        .args(port)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/rabbitmq can be started");
    let mut output = BufReader::new(script.stdout.take().unwrap());
    let read = task::spawn_blocking(move || {
        let mut line = String::new();
        output.read_line(&mut line).map(|_| line)
    });
    let line = read.await.unwrap().unwrap();
    let (url, broker) = line.trim_end().split_once(' ').expect("the broker's URL and process");
    (Running { script, broker: broker.parse().unwrap() }, url.to_owned())
}

/// A consumer of an exchange's messages.
pub struct Consumer {
    exchange: &'static str,
    channel: Channel,
    _connection: Connection,
}

impl Consumer {
    pub async fn connect(url: &str, exchange: &'static str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        Self { exchange, channel: connection.create_channel().await.unwrap(), _connection: connection }
    }

    /// A queue of this exchange. Unless it is durable it ends with the connection.
    pub async fn bind(&self, queue: &str, key: &str, options: QueueDeclareOptions, arguments: FieldTable) {
        let options = QueueDeclareOptions { exclusive: !options.durable, ..options };
        self.channel.queue_declare(self.name(queue).into(), options, arguments).await.unwrap();
        let bind = (QueueBindOptions::default(), FieldTable::default());
        let bound = self.channel.queue_bind(self.name(queue).into(), self.exchange.into(), key.into(), bind.0, bind.1);
        bound.await.unwrap();
    }

    pub async fn next(&self, queue: &str) -> Option<BasicGetMessage> {
        self.channel.basic_get(self.name(queue).into(), BasicGetOptions { no_ack: true }).await.unwrap()
    }

    pub async fn purge(&self, queue: &str) {
        self.channel.queue_purge(self.name(queue).into(), QueuePurgeOptions::default()).await.unwrap();
    }

    pub async fn declare_exchange(&self, kind: ExchangeKind) {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        self.channel.exchange_declare(self.exchange.into(), kind, options, FieldTable::default()).await.unwrap();
    }

    pub async fn delete_exchange(&self) {
        self.channel.exchange_delete(self.exchange.into(), ExchangeDeleteOptions::default()).await.unwrap();
    }

    fn name(&self, queue: &str) -> String {
        format!("{}.{queue}", self.exchange)
    }
}
