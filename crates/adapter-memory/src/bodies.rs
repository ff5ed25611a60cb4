//! Cached bodies, within the process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use caching::{Bodies, Key, Snapshot};
use moka::Expiry;
use moka::sync::Cache;

/// Keeps bodies in memory, those that are asked for most; each for its key's lifetime.
pub struct MemoryBodies {
    bodies: Cache<Key, Arc<Snapshot>>,
}

impl MemoryBodies {
    /// What an entry takes beside its body: the key twice, and the cache's own books. Roughly.
    const OVERHEAD_BYTES: usize = 512;

    /// Room for about `max_bytes` of bodies.
    pub fn new(max_bytes: u64) -> Self {
        let weigh =
            |_: &Key, body: &Arc<Snapshot>| u32::try_from(body.weight() + Self::OVERHEAD_BYTES).unwrap_or(u32::MAX);
        Self { bodies: Cache::builder().max_capacity(max_bytes).weigher(weigh).expire_after(Lifetime).build() }
    }
}

#[async_trait]
impl Bodies for MemoryBodies {
    async fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.bodies.get(key)
    }

    async fn put(&self, key: &Key, body: Arc<Snapshot>) {
        self.bodies.insert(key.clone(), body);
    }
}

/// A body lives as long as its key says, counted from when it was put.
struct Lifetime;

impl Expiry<Key, Arc<Snapshot>> for Lifetime {
    fn expire_after_create(&self, key: &Key, _: &Arc<Snapshot>, _: Instant) -> Option<Duration> {
        Some(key.lifetime())
    }

    fn expire_after_update(
        &self,
        key: &Key,
        _: &Arc<Snapshot>,
        _: Instant,
        _left: Option<Duration>,
    ) -> Option<Duration> {
        Some(key.lifetime())
    }
}

#[cfg(test)]
mod tests {
    use domain::sample::{self, event_id, user_id};
    use domain::{Description, Event, EventFilter, PageRequest};

    use super::*;

    fn key(id: u64) -> Key {
        Key::Event(event_id(id))
    }

    fn body(id: u64, description_chars: usize) -> Arc<Snapshot> {
        let description = Description::parse(&"x".repeat(description_chars)).ok();
        Arc::new(Snapshot::Event(Arc::new(Event { description, ..sample::event(id) })))
    }

    #[tokio::test]
    async fn the_last_body_put_is_returned() {
        let bodies = MemoryBodies::new(1 << 20);
        bodies.put(&key(1), body(1, 0)).await;
        bodies.put(&key(1), body(1, 5)).await;
        assert_eq!(bodies.get(&key(1)).await, Some(body(1, 5)));
        assert_eq!(bodies.get(&key(2)).await, None);
    }

    #[tokio::test]
    async fn the_room_is_bounded_in_bytes() {
        let bodies = MemoryBodies::new(1 << 20);
        for id in 1..=1000 {
            bodies.put(&key(id), body(id, 10_000)).await;
        }
        bodies.bodies.run_pending_tasks();
        assert!(bodies.bodies.weighted_size() <= 1 << 20);
        assert!((50..=105).contains(&bodies.bodies.entry_count()), "{}", bodies.bodies.entry_count());
    }

    #[tokio::test]
    async fn without_room_nothing_is_kept_and_nothing_fails() {
        let bodies = MemoryBodies::new(0);
        bodies.put(&key(1), body(1, 0)).await;
        bodies.bodies.run_pending_tasks();
        assert_eq!(bodies.get(&key(1)).await, None);
    }

    #[test]
    fn a_body_put_again_lives_its_whole_life_again() {
        let (now, page) = (Instant::now(), PageRequest { number: 1, size: 10 });
        let list = Key::EventPage { filter: EventFilter::default(), page };
        for (key, minutes) in [(list, 5), (key(1), 10), (Key::Registrations(user_id(1)), 15)] {
            let whole = Some(Duration::from_mins(minutes));
            assert_eq!(Lifetime.expire_after_create(&key, &body(1, 0), now), whole);
            assert_eq!(Lifetime.expire_after_update(&key, &body(1, 0), now, Some(Duration::from_secs(1))), whole);
        }
    }
}
