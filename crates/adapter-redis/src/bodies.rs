//! Cached bodies, shared by the instances of the program.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use caching::{Bodies, Key, Seal, Snapshot};
use redis::{Cmd, Value, cmd};

use crate::Redis;

/// Keeps bodies in Redis under their keys, sealed, each for its key's lifetime; none over 1 MiB.
///
/// Whatever is wrong with Redis, or with what lies there, is a miss: within [`Redis::BUDGET`], and
/// at once while it is known to fail.
pub struct RedisBodies {
    redis: Redis,
    seal: Seal,
    warnings: Rarely,
}

impl RedisBodies {
    /// The bodies in `redis`, proved by `seal`.
    pub fn new(redis: Redis, seal: Seal) -> Self {
        Self { redis, seal, warnings: Rarely::default() }
    }

    fn warn(&self, key: &Key, problem: impl Display) {
        if self.warnings.is_due(Instant::now()) {
            tracing::warn!(%key, %problem, "a cached body in Redis cannot be used (told every ten seconds at most)");
        }
    }
}

#[async_trait]
impl Bodies for RedisBodies {
    async fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
        match self.redis.ask(&read(key)).await? {
            Ok(Value::BulkString(bytes)) if bytes.is_empty() => None,
            Ok(Value::BulkString(bytes)) => {
                let body = self.seal.open(key, &bytes);
                if body.is_none() {
                    self.warn(key, "it is not one of ours");
                }
                body.map(Arc::new)
            }
            Ok(_) => {
                self.warn(key, "it was answered as something else than bytes");
                None
            }
            Err(error) => {
                self.warn(key, error);
                None
            }
        }
    }

    async fn put(&self, key: &Key, body: Arc<Snapshot>) {
        if !self.redis.is_asked() {
            return;
        }
        let sealed = self.seal.wrap(key, &body);
        if sealed.len() > Seal::MAX_BYTES {
            return;
        }
        if let Some(Err(error)) = self.redis.ask(&write(key, &sealed)).await {
            self.warn(key, error);
        }
    }
}

/// Reads one byte more than a body may have: another client may have put a value of any size there, and
/// this does not fetch all of it. A key that is not there reads as no bytes.
fn read(key: &Key) -> Cmd {
    let mut command = cmd("GETRANGE");
    command.arg(key.to_string()).arg(0).arg(Seal::MAX_BYTES);
    command
}

fn write(key: &Key, sealed: &[u8]) -> Cmd {
    let lifetime_ms = u64::try_from(key.lifetime().as_millis()).unwrap_or(u64::MAX);
    let mut command = cmd("SET");
    command.arg(key.to_string()).arg(sealed).arg("PX").arg(lifetime_ms);
    command
}

/// Lets something happen once in a while: where one body cannot be used, none can.
#[derive(Default)]
struct Rarely {
    last: Mutex<Option<Instant>>,
}

impl Rarely {
    const PAUSE: Duration = Duration::from_secs(10);

    fn is_due(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_duration_since(last) >= Self::PAUSE);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use domain::sample::event_id;

    use super::*;

    fn packed(command: &Cmd) -> String {
        String::from_utf8(command.get_packed_command()).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn a_body_is_written_with_its_lifetime_and_read_with_a_bound() {
        let key = Key::Event(event_id(17));
        assert_eq!(packed(&write(&key, b"x")), "*5 $3 SET $16 events:detail:17 $1 x $2 PX $6 600000 ");
        assert_eq!(packed(&read(&key)), "*4 $8 GETRANGE $16 events:detail:17 $1 0 $7 1048576 ");
    }

    #[test]
    fn a_warning_is_not_repeated_for_ten_seconds() {
        let (warnings, now) = (Rarely::default(), Instant::now());
        let at = |secs| warnings.is_due(now + Duration::from_secs(secs));
        assert_eq!([0, 0, 9, 10, 11, 20].map(at), [true, false, false, true, false, true]);
    }
}
