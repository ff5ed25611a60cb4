//! Changes of seats, told to every instance.
//!
//! Listeners of this instance are told at once, whether there is a Redis or not; those of others by
//! messages on one channel of the database. A message carries the newest changes of many events and
//! is sealed, so what strangers send there is ignored. One message is under way at a time: while it
//! is, changes gather, the newest of each event.
//!
//! A subscription does not mend itself, and says nothing when its server hangs. So it has a loop of
//! its own, which pings, and subscribes again where that fails. What was told in between is lost:
//! listeners are warned of a gap after each subscription.

use std::collections::HashMap;
use std::future::pending;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use caching::Seal;
use domain::ports::{Heard, SeatChanges, SeatListener};
use domain::{EventId, SeatChange, SeatSnapshot, Seats, Version};
use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{RedisError, cmd};
use tokio::sync::Notify;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::Redis;

/// Tells changes to the listeners of every instance on the same Redis and database.
pub struct RedisSeatChanges {
    told: Sender<Heard>,
    outbox: Arc<Outbox>,
    tasks: [AbortHandle; 2],
}

impl RedisSeatChanges {
    /// Things a listener may be behind before it has missed some.
    const BEHIND: usize = 1024;

    /// Tells changes of the database of this id through `redis`, proved by `seal`. The Redis need not
    /// be there yet.
    pub fn new(redis: &Redis, seal: Seal, database_id: &str) -> Self {
        let told = channel(Self::BEHIND).0;
        let outbox = Arc::<Outbox>::default();
        let line = Arc::new(Line { redis: redis.clone(), seal, name: format!("events:seats:{database_id}") });
        let subscriber = Subscriber { line: Arc::clone(&line), told: told.clone() };
        let publisher = Publisher { line, outbox: Arc::clone(&outbox) };
        let tasks = [
            redis.runtime().spawn(subscriber.run()).abort_handle(),
            redis.runtime().spawn(publisher.run()).abort_handle(),
        ];
        Self { told, outbox, tasks }
    }
}

impl Drop for RedisSeatChanges {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl SeatChanges for RedisSeatChanges {
    fn announce(&self, change: SeatChange) {
        // Without listeners here there may be some elsewhere.
        let _ = self.told.send(Heard::Change(change));
        self.outbox.put(change);
    }

    fn listen(&self) -> Box<dyn SeatListener> {
        Box::new(Listener(self.told.subscribe()))
    }
}

struct Listener(Receiver<Heard>);

#[async_trait]
impl SeatListener for Listener {
    async fn next(&mut self) -> Heard {
        match self.0.recv().await {
            Ok(heard) => heard,
            Err(RecvError::Lagged(_)) => Heard::Gap,
            // There is no announcer left.
            Err(RecvError::Closed) => pending().await,
        }
    }
}

/// What has not been published yet: the newest change of each event.
#[derive(Default)]
struct Outbox {
    newest: Mutex<HashMap<EventId, SeatChange>>,
    filled: Notify,
}

impl Outbox {
    /// Events it has room for. Of more, while Redis is away, watchers elsewhere learn by looking.
    const EVENTS: usize = 10_000;

    fn put(&self, change: SeatChange) {
        Self::enter(&mut self.newest(), change);
        self.filled.notify_one();
    }

    fn take(&self) -> HashMap<EventId, SeatChange> {
        mem::take(&mut self.newest())
    }

    /// Puts back what could not be published.
    fn put_back(&self, changes: &[SeatChange]) {
        let mut newest = self.newest();
        for change in changes {
            Self::enter(&mut newest, *change);
        }
    }

    fn enter(newest: &mut HashMap<EventId, SeatChange>, change: SeatChange) {
        let full = newest.len() >= Self::EVENTS;
        match newest.get_mut(&change.event()) {
            Some(known) if known.version() < change.version() => *known = change,
            None if !full => {
                newest.insert(change.event(), change);
            }
            _ => {}
        }
    }

    fn newest(&self) -> MutexGuard<'_, HashMap<EventId, SeatChange>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The channel in Redis that instances share.
struct Line {
    redis: Redis,
    seal: Seal,
    name: String,
}

/// Sends what is in the outbox.
struct Publisher {
    line: Arc<Line>,
    outbox: Arc<Outbox>,
}

impl Publisher {
    /// Changes that go together at most: some 25 KB.
    const TOGETHER: usize = 1_000;

    /// Between two messages: an event is not told more often than ten times a second.
    const PAUSE: Duration = Duration::from_millis(20);

    async fn run(self) {
        let mut failures = 0;
        loop {
            self.outbox.filled.notified().await;
            loop {
                let changes: Vec<_> = self.outbox.take().into_values().collect();
                if changes.is_empty() {
                    break;
                }
                let sent = self.publish(&changes).await;
                self.outbox.put_back(&changes[sent..]);
                failures = if sent == changes.len() { 0 } else { failures + 1 };
                sleep(if failures == 0 { Self::PAUSE } else { pause_after(failures) }).await;
            }
        }
    }

    /// Answers how many of the changes were published.
    async fn publish(&self, changes: &[SeatChange]) -> usize {
        let mut sent = 0;
        for together in changes.chunks(Self::TOGETHER) {
            let sealed = self.line.seal.wrap_message(&self.line.name, &encode(together));
            let mut publish = cmd("PUBLISH");
            publish.arg(&self.line.name).arg(sealed);
            match self.line.redis.ask(&publish).await {
                Some(Ok(_)) => sent += together.len(),
                Some(Err(error)) => {
                    tracing::debug!(%error, "changes of seats cannot be published");
                    break;
                }
                // The breaker has said so.
                None => break,
            }
        }
        sent
    }
}

/// Hears what other instances, and this one, publish.
struct Subscriber {
    line: Arc<Line>,
    told: Sender<Heard>,
}

impl Subscriber {
    /// How long Redis may take to answer.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// How often it is asked whether it is still there.
    const PING_EVERY: Duration = Duration::from_secs(1);

    async fn run(self) {
        let redis = self.line.redis.address();
        let mut failures = 0;
        loop {
            match self.subscribe().await {
                Ok((sink, stream)) => {
                    if failures > 0 {
                        tracing::info!(redis, "changes of seats are heard from Redis again");
                    }
                    failures = 0;
                    // Whatever was told before the subscription was not heard.
                    let _ = self.told.send(Heard::Gap);
                    self.hear(sink, stream).await;
                    tracing::debug!(redis, "the subscription to changes of seats ended");
                }
                Err(error) => {
                    if failures == 0 {
                        let reason = error.map_or_else(|| "no answer in time".to_owned(), |error| error.to_string());
                        tracing::warn!(redis, reason, "changes of seats are not heard from Redis until it answers");
                    }
                    failures += 1;
                }
            }
            sleep(pause_after(failures)).await;
        }
    }

    /// A subscription; or the error, if there was any answer.
    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream), Option<RedisError>> {
        let subscribe = async {
            let (mut sink, stream) = self.line.redis.client().get_async_pubsub().await?.split();
            sink.subscribe(&self.line.name).await?;
            Ok((sink, stream))
        };
        timeout(Self::PATIENCE, subscribe).await.map_err(|_| None)?.map_err(Some)
    }

    /// Passes on what is heard, until the subscription fails.
    async fn hear(&self, mut sink: PubSubSink, mut stream: PubSubStream) {
        let mut pings = interval(Self::PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.open(message.get_payload_bytes()),
                    None => return,
                },
                _ = pings.tick() => {
                    if !matches!(timeout(Self::PATIENCE, sink.ping::<()>()).await, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    }

    fn open(&self, message: &[u8]) {
        let Some(changes) = self.line.seal.open_message(&self.line.name, message).and_then(decode) else {
            tracing::debug!("a message about seats in Redis is not one of ours");
            return;
        };
        for change in changes {
            let _ = self.told.send(Heard::Change(change));
        }
    }
}

/// How long to leave Redis alone: longer after each failure, up to a second, and not for all
/// instances alike.
fn pause_after(failures: u32) -> Duration {
    let longest = 50_u64.saturating_mul(1 << failures.min(10)).min(1_000);
    Duration::from_millis(fastrand::u64(longest / 2..=longest))
}

/// A kind, the event, its seats and its version, big-endian.
const RECORD_BYTES: usize = 1 + 8 + 4 + 4 + 8;
const MOVED: u8 = 1;
const DELETED: u8 = 2;

fn encode(changes: &[SeatChange]) -> Vec<u8> {
    let mut message = Vec::with_capacity(changes.len() * RECORD_BYTES);
    for change in changes {
        let (kind, total, available) = match change {
            SeatChange::Moved(SeatSnapshot { seats, .. }) => (MOVED, seats.total(), seats.available()),
            SeatChange::Deleted { .. } => (DELETED, 0, 0),
        };
        message.push(kind);
        message.extend_from_slice(&change.event().get().to_be_bytes());
        message.extend_from_slice(&total.to_be_bytes());
        message.extend_from_slice(&available.to_be_bytes());
        message.extend_from_slice(&change.version().get().to_be_bytes());
    }
    message
}

fn decode(message: &[u8]) -> Option<Vec<SeatChange>> {
    let (records, rest) = message.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        return None;
    }
    records.iter().map(change_of).collect()
}

fn change_of(record: &[u8; RECORD_BYTES]) -> Option<SeatChange> {
    let (kind, rest) = record.split_first()?;
    let (event, rest) = rest.split_first_chunk()?;
    let (total, rest) = rest.split_first_chunk()?;
    let (available, rest) = rest.split_first_chunk()?;
    let (version, _) = rest.split_first_chunk()?;
    let event = EventId::new(u64::from_be_bytes(*event))?;
    let version = Version::new(u64::from_be_bytes(*version));
    match *kind {
        MOVED => {
            let seats = Seats::stored(u32::from_be_bytes(*total), u32::from_be_bytes(*available))?;
            Some(SeatChange::Moved(SeatSnapshot { event, seats, version }))
        }
        DELETED => Some(SeatChange::Deleted { event, version }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use domain::sample::{event_id, seats};

    use super::*;

    fn moved(event: u64, version: u64) -> SeatChange {
        let (event, version) = (event_id(event), Version::new(version));
        SeatChange::Moved(SeatSnapshot { event, seats: seats(1_000_000, 7), version })
    }

    #[test]
    fn a_message_says_what_was_written_into_it() {
        let changes = vec![moved(1, 1), SeatChange::Deleted { event: event_id(2), version: Version::new(9) }];
        assert_eq!(decode(&encode(&changes)), Some(changes.clone()));
        assert_eq!(decode(&encode(&changes)[1..]), None);
        let mut more_free_than_there_are = encode(&changes);
        more_free_than_there_are[9] = 0;
        more_free_than_there_are[10] = 0;
        more_free_than_there_are[11] = 0;
        more_free_than_there_are[12] = 0;
        assert_eq!(decode(&more_free_than_there_are), None);
    }

    #[test]
    fn the_newest_change_of_each_event_waits_and_of_so_many_events_only() {
        let outbox = Outbox::default();
        for version in [1, 3, 2] {
            outbox.put(moved(1, version));
        }
        let taken: Vec<_> = outbox.take().into_values().collect();
        assert_eq!(taken, [moved(1, 3)]);
        outbox.put(moved(1, 4));
        outbox.put_back(&taken);
        assert_eq!(outbox.take().into_values().collect::<Vec<_>>(), [moved(1, 4)]);
        for event in 1..=20_000 {
            outbox.put(moved(event, 1));
        }
        assert_eq!(outbox.take().len(), Outbox::EVENTS);
    }

    #[test]
    fn redis_is_tried_at_least_every_second() {
        for failures in 0..100 {
            let pause = pause_after(failures);
            assert!((25..=1_000).contains(&pause.as_millis()), "{pause:?}");
        }
    }
}
