//! How connections are made, and when they are thrown away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bb8::ManageConnection;
use bb8_redis::RedisConnectionManager;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::runtime::Handle;

/// Makes connections on one runtime, and knows which are no good any more.
///
/// `bb8-redis` finds that out by a `PING` at each checkout, which doubles the round trips and still
/// misses what breaks afterwards. Here a connection that failed, or owes an answer that is not awaited
/// any more, is thrown away, and with it all that are as old: they lead to the same server and are
/// most likely as dead.
pub(crate) struct Connections {
    redis: RedisConnectionManager,
    runtime: Handle,
    health: Arc<Health>,
}

/// What is known of the connections.
#[derive(Default)]
pub(crate) struct Health {
    /// Raised when a connection of the present generation is given up.
    generation: AtomicU64,
    /// Why the last connection was not made, if it was not.
    refusal: Mutex<Option<String>>,
}

/// One connection. Copies share it: their commands are sent one after another, and each gets its own
/// answer, in whatever order they stop waiting.
#[derive(Clone)]
pub(crate) struct Connection {
    redis: MultiplexedConnection,
    generation: u64,
    health: Arc<Health>,
}

impl Connections {
    /// Connections of `redis`, driven by `runtime`.
    pub(crate) fn new(redis: RedisConnectionManager, runtime: Handle, health: Arc<Health>) -> Self {
        Self { redis, runtime, health }
    }
}

impl Health {
    /// Why the last connection was not made, if it was not.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Gives up a generation, if it is the present one: another connection of it may have been first.
    fn give_up(&self, generation: u64) {
        let _ = self.generation.compare_exchange(generation, generation + 1, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl Connection {
    /// What the server answers, an error of its own included. Any other error is the connection's.
    pub(crate) async fn answer(mut self, command: &Cmd) -> Result<Result<Value, RedisError>, RedisError> {
        let mut debt = Debt { health: &self.health, generation: Some(self.generation) };
        match command.query_async(&mut self.redis).await {
            Err(error) if is_fault(&error) => Err(error),
            answer => {
                debt.generation = None;
                Ok(answer)
            }
        }
    }
}

/// An answer that has not come: dropped with its generation still in it, it never did.
struct Debt<'a> {
    health: &'a Health,
    generation: Option<u64>,
}

impl Drop for Debt<'_> {
    fn drop(&mut self) {
        if let Some(generation) = self.generation {
            self.health.give_up(generation);
        }
    }
}

/// Whether the error is the connection's, and not the server's answer.
fn is_fault(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse)
}

impl ManageConnection for Connections {
    type Connection = Connection;
    type Error = RedisError;

    /// The connection is driven by a task of the program's own runtime: a caller may be on one that
    /// is busy with something else, or about to end.
    async fn connect(&self) -> Result<Connection, RedisError> {
        let (generation, redis) = (self.health.generation(), self.redis.clone());
        let made = self.runtime.spawn(async move { redis.connect().await }).await;
        let made = made.unwrap_or_else(|_| Err((ErrorKind::Io, "the program is stopping").into()));
        let refusal = made.as_ref().err().map(ToString::to_string);
        *self.health.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        Ok(Connection { redis: made?, generation, health: Arc::clone(&self.health) })
    }

    async fn is_valid(&self, connection: &mut Connection) -> Result<(), RedisError> {
        if connection.generation == self.health.generation() {
            Ok(())
        } else {
            Err((ErrorKind::Io, "a connection as old as one that failed").into())
        }
    }

    fn has_broken(&self, connection: &mut Connection) -> bool {
        connection.generation != self.health.generation()
    }
}
