//! A Redis server, as far as one may count on it.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bb8::{Pool, RunError};
use bb8_redis::RedisConnectionManager;
use domain::ports::{Probe, StoreError};
use metrics::histogram;
use redis::{Arg, Client, Cmd, IntoConnectionInfo, RedisError, Value, cmd};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Instrument;
use tracing::field::Empty;

use crate::breaker::{Admission, Breaker, Turn};
use crate::connections::{Connections, Health};

/// A Redis server. Copies share its connections.
#[derive(Clone)]
pub struct Redis {
    server: Arc<Server>,
}

/// How connections to Redis are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedisState {
    /// How many are open. Each carries any number of commands at a time.
    pub open: u32,
    /// How many commands are under way.
    pub running: u32,
    /// Whether the server is asked at all: not while it is known to fail.
    pub answers: bool,
}

struct Server {
    /// Host and port, for the log; never the password.
    address: String,
    budget: Duration,
    /// For connections that are used otherwise than by asking.
    client: Client,
    pool: Pool<Connections>,
    health: Arc<Health>,
    breaker: Breaker,
    calls: Semaphore,
    runtime: Handle,
}

impl Redis {
    /// What all the work for one call may usually take: the wait for a connection, the command, and its
    /// repetition if the connection turns out to be dead.
    pub const BUDGET: Duration = Duration::from_millis(80);

    /// Each carries any number of commands at a time: one would do, more keep a large body from
    /// holding up the small ones.
    const CONNECTIONS: u32 = 4;

    /// How many calls may be under way. More would wait for each other until they were all late, and
    /// make a server that is well look as if it were not.
    const CALLS: usize = 256;

    /// The server at `redis://[user[:password]@]host[:port][/database]`, or at
    /// `redis+unix:///path`. It need not be there yet: connections are made when they are needed.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime: the one it is made on drives the connections.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        Self::with_budget(url, Self::BUDGET)
    }

    /// The same, with another budget than the [usual](Self::BUDGET).
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn with_budget(url: &str, budget: Duration) -> Result<Self, InvalidUrl> {
        let info = url.into_connection_info().map_err(|_| InvalidUrl)?;
        let (address, runtime, health) = (info.addr().to_string(), Handle::current(), Arc::<Health>::default());
        let client = Client::open(info.clone()).map_err(|_| InvalidUrl)?;
        let manager = RedisConnectionManager::new(info).map_err(|_| InvalidUrl)?;
        let pool = Pool::builder()
            .max_size(Self::CONNECTIONS)
            .connection_timeout(budget)
            // Costs no round trip: see `Connections`.
            .test_on_check_out(true)
            .build_unchecked(Connections::new(manager, runtime.clone(), Arc::clone(&health)));
        let (breaker, calls) = (Breaker::new(), Semaphore::new(Self::CALLS));
        Ok(Self { server: Arc::new(Server { address, budget, client, pool, health, breaker, calls, runtime }) })
    }

    /// How its connections are used at present.
    pub fn state(&self) -> RedisState {
        let pool = self.server.pool.state();
        let running = Self::CALLS - self.server.calls.available_permits();
        RedisState {
            open: pool.connections,
            running: u32::try_from(running).unwrap_or(u32::MAX),
            answers: self.server.breaker.is_closed(),
        }
    }

    /// Makes connections of one's own, beside the pool.
    pub(crate) fn client(&self) -> &Client {
        &self.server.client
    }

    /// The runtime that drives the connections.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.server.runtime
    }

    /// Host and port, for the log.
    pub(crate) fn address(&self) -> &str {
        &self.server.address
    }

    /// Whether it is worth while to prepare a command; Redis is not asked for that.
    pub(crate) fn is_asked(&self) -> bool {
        self.server.breaker.is_closed()
    }

    /// What the server says to a command that may be sent twice, if it says anything within the
    /// budget; an error is its own. While the server is known to fail, or busy with more calls than
    /// it could answer in time, it is not asked at all.
    pub(crate) async fn ask(&self, command: &Cmd) -> Option<Result<Value, RedisError>> {
        let name = name(command);
        let span = tracing::info_span!(
            target: "otel",
            "redis",
            otel.name = name,
            otel.kind = "client",
            otel.status_code = Empty,
            db.system.name = "redis",
            db.operation.name = name,
        );
        let begun = Instant::now();
        let answer = self.ask_at_all(command).instrument(span.clone()).await;
        let result = match &answer {
            Some(Ok(_)) => "answered",
            Some(Err(_)) => "refused",
            None => "silent",
        };
        histogram!("redis_command_duration_seconds", "command" => name.to_owned(), "result" => result)
            .record(begun.elapsed());
        if !matches!(answer, Some(Ok(_))) {
            span.record("otel.status_code", "ERROR");
        }
        answer
    }

    async fn ask_at_all(&self, command: &Cmd) -> Option<Result<Value, RedisError>> {
        let _place = self.server.calls.try_acquire().ok()?;
        match self.server.breaker.admit(Instant::now()) {
            Admission::Pass => {}
            Admission::Refuse => return None,
            Admission::Try => {
                // In the background: no reader pays for it.
                let server = Arc::clone(&self.server);
                self.server.runtime.spawn(async move {
                    let answered = server.within_budget(&cmd("PING")).await.is_ok();
                    server.tell(server.breaker.tried(answered, Instant::now()), None);
                });
                return None;
            }
        }
        let answer = self.server.within_budget(command).await;
        let turn = self.server.breaker.called(answer.is_ok(), Instant::now());
        self.server.tell(turn, answer.as_ref().err());
        answer.ok()
    }
}

/// The name of a command, in capitals as we write it.
fn name(command: &Cmd) -> &str {
    match command.args_iter().next() {
        Some(Arg::Simple(name)) => std::str::from_utf8(name).unwrap_or_default(),
        _ => "",
    }
}

#[async_trait]
impl Probe for Redis {
    async fn ping(&self) -> Result<(), StoreError> {
        let answer = self.server.answer(&cmd("PING")).await;
        answer.and_then(|said| said.map_err(Silence::Connection)).map(drop).map_err(StoreError::unavailable)
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("address", &self.server.address).finish_non_exhaustive()
    }
}

impl Server {
    async fn within_budget(&self, command: &Cmd) -> Result<Result<Value, RedisError>, Silence> {
        // A connection that owes an answer by then is thrown away.
        timeout(self.budget, self.answer(command)).await.unwrap_or(Err(Silence::Late))
    }

    /// Asks once; and once more, over a new connection, if the first one was dead already.
    async fn answer(&self, command: &Cmd) -> Result<Result<Value, RedisError>, Silence> {
        match self.answer_once(command).await {
            Err(Silence::Connection(error)) if !error.is_timeout() => self.answer_once(command).await,
            answer => answer,
        }
    }

    async fn answer_once(&self, command: &Cmd) -> Result<Result<Value, RedisError>, Silence> {
        let pooled = self.pool.get().await.map_err(|error| match error {
            RunError::User(error) => Silence::Connection(error),
            RunError::TimedOut => self.health.refusal().map_or(Silence::Late, Silence::Refused),
        })?;
        // Shared, not lent: the next command need not wait for this one's answer.
        let connection = pooled.clone();
        drop(pooled);
        connection.answer(command).await.map_err(Silence::Connection)
    }

    /// Tells the operator, once for each turn.
    fn tell(&self, turn: Option<Turn>, reason: Option<&Silence>) {
        let redis = self.address.as_str();
        match turn {
            Some(Turn::Went) => {
                let reason = reason.map(ToString::to_string).unwrap_or_default();
                tracing::warn!(redis, reason, "Redis does not answer; doing without it until it does");
            }
            Some(Turn::CameBack) => tracing::info!(redis, "Redis answers again"),
            None => {}
        }
    }
}

/// Why the server said nothing.
#[derive(Debug)]
enum Silence {
    /// No answer in time.
    Late,
    /// No connection could be made, for this reason.
    Refused(String),
    /// The connection failed.
    Connection(RedisError),
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late => f.write_str("no answer in time"),
            Self::Refused(reason) => write!(f, "no connection: {reason}"),
            Self::Connection(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

impl Error for Silence {}

/// The text is no URL of a Redis server. It is not repeated here: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidUrl;

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a URL such as redis://user:password@host:6379/0 (rediss:// is not supported)")
    }
}

impl Error for InvalidUrl {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// For a server that answers: a busy machine shall not look like a silent one.
    const AMPLE: Duration = Duration::from_secs(30);

    async fn listener(budget: Duration) -> (TcpListener, Redis) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        (listener, Redis::with_budget(&url, budget).unwrap())
    }

    #[tokio::test]
    async fn a_password_is_never_shown() {
        let redis = Redis::new("redis://ada:hunter2@localhost:6390/3").unwrap();
        assert_eq!(format!("{redis:?}"), "Redis { address: \"localhost:6390\", .. }");
        for url in
            ["", "localhost", "http://ada:hunter2@x", "redis://ada:hunter2@x/db", "rediss://:hunter2@x", "redis://"]
        {
            let refused = Redis::new(url);
            assert_eq!(refused.as_ref().err(), Some(&InvalidUrl), "{url}");
            assert!(!format!("{refused:?} {InvalidUrl}").contains("hunter2"));
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_left_alone_after_three_calls() {
        let (listener, redis) = listener(Redis::BUDGET).await;
        drop(listener);
        for _ in 0..3 {
            assert!(redis.is_asked());
            assert!(redis.ask(&cmd("PING")).await.is_none());
        }
        assert!(!redis.is_asked());
        assert!(redis.server.health.refusal().is_some_and(|reason| reason.contains("refused")));
        assert!(redis.ping().await.is_err());
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_left_alone_after_three_calls() {
        let (_listener, redis) = listener(Redis::BUDGET).await;
        for _ in 0..3 {
            assert!(redis.ask(&cmd("PING")).await.is_none());
        }
        assert!(!redis.is_asked());
    }

    #[tokio::test]
    async fn more_calls_than_can_be_served_in_time_are_not_made() {
        let (_listener, redis) = listener(AMPLE).await;
        let crowd: Vec<_> = (0..Redis::CALLS)
            .map(|_| {
                let redis = redis.clone();
                tokio::spawn(async move { redis.ask(&cmd("PING")).await })
            })
            .collect();
        while redis.server.calls.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(redis.ask(&cmd("PING")).await.is_none());
        assert_eq!(redis.server.calls.available_permits(), 0, "the call did not wait for a permit");
        // A caller that hangs up gives its permit back.
        for call in crowd {
            call.abort();
            assert!(call.await.is_err());
        }
        assert_eq!(redis.server.calls.available_permits(), Redis::CALLS);
    }

    #[tokio::test]
    async fn a_server_that_speaks_another_protocol_is_no_server() {
        let (listener, redis) = listener(Redis::BUDGET).await;
        let chatter = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
        });
        for _ in 0..3 {
            assert!(redis.ask(&cmd("PING")).await.is_none());
        }
        assert!(!redis.is_asked());
        chatter.abort();
    }

    /// Answers every command with a status line, and closes each connection after `commands` of
    /// them, those of the handshake included.
    async fn moody(listener: TcpListener, said: &'static [u8], commands: usize) {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut buffer, mut seen) = ([0; 4096], 0);
                while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                    let asked = buffer[..length].split(|byte| *byte == b'*').count() - 1;
                    let _ = stream.write_all(&said.repeat(asked)).await;
                    seen += asked;
                    if seen >= commands {
                        return;
                    }
                }
            });
        }
    }

    #[tokio::test]
    async fn a_connection_that_died_in_the_pool_is_replaced_within_the_call() {
        let (listener, redis) = listener(AMPLE).await;
        // The handshake takes two commands.
        let server = tokio::spawn(moody(listener, b"+OK\r\n", 3));
        for _ in 0..20 {
            let answer = redis.ask(&cmd("PING")).await;
            assert!(matches!(answer, Some(Ok(_))), "{answer:?}");
        }
        server.abort();
    }

    #[tokio::test]
    async fn an_error_of_the_server_s_own_is_an_answer() {
        let (listener, redis) = listener(AMPLE).await;
        let server = tokio::spawn(moody(listener, b"-OOM command not allowed\r\n", usize::MAX));
        for _ in 0..5 {
            assert!(matches!(redis.ask(&cmd("SET")).await, Some(Err(_))));
        }
        assert!(redis.is_asked());
        server.abort();
    }
}
