//! Redis servers, each for one test, that tests can break.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;
use tokio::time;

use super::{free_port, provided, signal, until};

/// The server that `tests/run` started: for tests that only use it.
pub fn shared_url() -> String {
    provided("BOXOFFICE_TEST_REDIS_URL")
}

/// A Redis server on a port of its own, killed with this value.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    process: Option<Child>,
    /// For the file that `DEBUG RELOAD` writes.
    folder: TempDir,
}

impl RedisServer {
    /// A server that answers already.
    pub async fn start() -> Self {
        for _ in 0..10 {
            let mut server = Self { port: free_port(), process: None, folder: TempDir::new().unwrap() };
            if server.launch().await {
                return server;
            }
        }
        panic!("Redis does not start")
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends the server as a power cut would; what it held is lost.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Starts the server again on the same port, empty.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.launch().await, "Redis does not start again on port {}", self.port);
    }

    /// Stops the server with SIGSTOP: it keeps its connections and answers nothing.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Forgets everything, as FLUSHALL does.
    pub async fn flush(&self) {
        let () = redis::cmd("FLUSHALL").query_async(&mut self.connect().await).await.unwrap();
    }

    /// Gives the server no memory for anything that is written: `OOM`.
    pub async fn exhaust_memory(&self) {
        self.configure("maxmemory-policy", "noeviction").await;
        self.configure("maxmemory", "1").await;
    }

    /// Gives the server all the memory it wants.
    pub async fn free_memory(&self) {
        self.configure("maxmemory", "0").await;
    }

    /// Makes the server a replica of a primary that is not there: it refuses writes, and serves reads
    /// only if it `serves_stale` data.
    pub async fn demote(&self, serves_stale: bool) {
        self.configure("replica-serve-stale-data", if serves_stale { "yes" } else { "no" }).await;
        self.say(redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1)).await;
    }

    /// Makes the server a primary again.
    pub async fn promote(&self) {
        self.say(redis::cmd("REPLICAOF").arg("NO").arg("ONE")).await;
    }

    /// Forbids or permits commands to all clients: `commands` are rules of `ACL SETUSER`.
    pub async fn permit(&self, commands: &[&str]) {
        self.say(redis::cmd("ACL").arg("SETUSER").arg("default").arg(commands)).await;
    }

    /// Lets the server load its data from a file, so slowly that it takes about `time`: until then it
    /// answers every client `LOADING` only.
    pub async fn load_slowly(&self, time: Duration) {
        // The server serves other clients once in a kilobyte loaded.
        for ballast in 0..20 {
            self.say(redis::cmd("SET").arg(format!("ballast:{ballast}")).arg("x".repeat(2_000))).await;
        }
        let delay = time.as_micros() / self.keys().await.len() as u128;
        self.configure("key-load-delay", &delay.to_string()).await;
        // It answers when it has loaded, which takes longer than the usual response timeout.
        let patient = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection_with_config(&patient).await.unwrap();
        let reload =
            tokio::spawn(async move { redis::cmd("DEBUG").arg("RELOAD").query_async::<()>(&mut connection).await });
        until("Redis loads", async || reload.is_finished() || self.is_loading().await).await;
        // On a busy machine the load may end between two polls: then the answer says whether it succeeded.
        if reload.is_finished() {
            reload.await.unwrap().unwrap();
        }
    }

    /// Waits until everything is loaded.
    pub async fn has_loaded(&self) {
        until("Redis has loaded", async || !self.is_loading().await).await;
    }

    async fn is_loading(&self) -> bool {
        let Ok(mut connection) = connect(&self.url()).await else { return true };
        redis::cmd("PING").query_async::<()>(&mut connection).await.is_err()
    }

    /// Every key there is, in order.
    pub async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.connect().await.keys("*").await.unwrap();
        keys.sort();
        keys
    }

    /// Puts rubbish of several kinds under every key there is and under `more`: text, nothing, half
    /// of the old value, a list, and the value of another key.
    pub async fn fill_with_rubbish(&self, more: &[&str]) {
        let mut connection = self.connect().await;
        let mut keys: BTreeSet<_> = self.keys().await.into_iter().collect();
        keys.extend(more.iter().map(|&key| key.to_owned()));
        let mut stranger: Vec<u8> = b"{}".to_vec();
        for (turn, key) in keys.iter().enumerate() {
            let held: Vec<u8> = connection.get(key).await.unwrap_or_default();
            let () = connection.del(key).await.unwrap();
            let () = match turn % 5 {
                0 => connection.set(key, "rubbish").await.unwrap(),
                1 => connection.set(key, "").await.unwrap(),
                2 => connection.set(key, &held[..held.len() / 2]).await.unwrap(),
                3 => connection.rpush(key, "rubbish").await.unwrap(),
                _ => connection.set(key, &stranger).await.unwrap(),
            };
            stranger = held;
        }
    }

    async fn configure(&self, setting: &str, value: &str) {
        self.say(redis::cmd("CONFIG").arg("SET").arg(setting).arg(value)).await;
    }

    async fn say(&self, command: &redis::Cmd) {
        let () = command.query_async(&mut self.connect().await).await.unwrap();
    }

    /// A connection of the test's own, to read the program's keys.
    pub async fn connect(&self) -> MultiplexedConnection {
        connect(&self.url()).await.unwrap()
    }

    /// Whether the server answers; `false` if its process ended, because another process has its port.
    async fn launch(&mut self) -> bool {
        let mut process = Command::new(provided("BOXOFFICE_TEST_REDIS_SERVER"))
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "no"])
            .arg("--dir")
            .arg(self.folder.path())
            // For `load_slowly`: the server answers clients while it loads.
            .args(["--enable-debug-command", "yes", "--loading-process-events-interval-bytes", "1024"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        let id = process.id();
        loop {
            if process.try_wait().unwrap().is_some() {
                return false;
            }
            // The server on the port may be another test's, which was quicker.
            if process_at(&self.url()).await == Some(id) {
                self.process = Some(process);
                return true;
            }
            time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn signal(&self, name: &str) {
        signal(self.process.as_ref().expect("a running server").id(), name);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    redis::Client::open(url)?.get_multiplexed_async_connection().await
}

/// The process that answers there.
async fn process_at(url: &str) -> Option<u32> {
    let info: redis::InfoDict =
        redis::cmd("INFO").arg("server").query_async(&mut connect(url).await.ok()?).await.ok()?;
    info.get("process_id")
}
