//! Where bodies are kept.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::shared_reads::SharedReads;
use crate::{Key, Snapshot};

/// A place for bodies.
///
/// It promises next to nothing: it may forget anything at any time, keep an older body after a
/// newer one, and lose what it is given. Whatever is wrong with it, it answers within its own
/// budget of time, and has no errors: what cannot be had is absent. Two things are asked of it: a
/// body it answers was put under that very key, unaltered, for the same database; and it lets go of
/// a body after the [key's lifetime](Key::lifetime).
#[async_trait]
pub trait Bodies: Send + Sync {
    /// The body of this key, if it is at hand.
    async fn get(&self, key: &Key) -> Option<Arc<Snapshot>>;

    /// Keeps a body, if that can be done.
    async fn put(&self, key: &Key, body: Arc<Snapshot>);
}

/// A near place before a far one: the process before the network.
pub struct Tiered {
    near: Arc<dyn Bodies>,
    far: Arc<dyn Bodies>,
    fetches: SharedReads<Key, (), Option<Arc<Snapshot>>>,
    puts: Arc<Semaphore>,
    runtime: Handle,
}

impl Tiered {
    /// How many bodies are on their way to the far place at a time; more are not sent there.
    const MAX_PUTS: usize = 64;

    /// `near` is asked first; `far` only for what is not there, and what it has is put near. A reader waits
    /// for it no longer than `patience`, for a fetch that began before they came and for their own.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime: the one it is made on does the work with the far place.
    pub fn new(near: Arc<dyn Bodies>, far: Arc<dyn Bodies>, patience: Duration) -> Self {
        let runtime = Handle::current();
        let fetches = {
            let (near, far) = (Arc::clone(&near), Arc::clone(&far));
            SharedReads::new("fetch body", runtime.clone(), 1, patience, move |key: Key, _| {
                let (near, far) = (Arc::clone(&near), Arc::clone(&far));
                async move {
                    // The round before this one may have brought it.
                    if let Some(body) = near.get(&key).await {
                        return Some(body);
                    }
                    let body = far.get(&key).await?;
                    near.put(&key, Arc::clone(&body)).await;
                    Some(body)
                }
            })
        };
        Self { near, far, fetches, puts: Arc::new(Semaphore::new(Self::MAX_PUTS)), runtime }
    }
}

#[async_trait]
impl Bodies for Tiered {
    async fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
        match self.near.get(key).await {
            Some(body) => Some(body),
            None => self.fetches.ask(key.clone(), ()).await.ok()?,
        }
    }

    /// Near at once, far in the background.
    async fn put(&self, key: &Key, body: Arc<Snapshot>) {
        self.near.put(key, Arc::clone(&body)).await;
        if let Ok(permit) = Arc::clone(&self.puts).try_acquire_owned() {
            let (far, key) = (Arc::clone(&self.far), key.clone());
            let put = async move {
                far.put(&key, body).await;
                drop(permit);
            };
            self.runtime.spawn(put.instrument(tracing::info_span!(target: "otel", "keep body")));
        }
    }
}

#[cfg(test)]
pub(crate) mod sample {
    //! A place for the unit tests of this crate.

    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    /// Forgets nothing, and says what it was asked.
    #[derive(Default)]
    pub(crate) struct Shelf {
        bodies: Mutex<HashMap<String, Arc<Snapshot>>>,
        gets: Mutex<usize>,
    }

    impl Shelf {
        pub(crate) fn gets(&self) -> usize {
            *self.gets.lock().unwrap()
        }

        pub(crate) fn peek(&self, key: &Key) -> Option<Arc<Snapshot>> {
            self.bodies.lock().unwrap().get(&key.to_string()).cloned()
        }

        pub(crate) fn lay(&self, key: &Key, body: Arc<Snapshot>) {
            self.bodies.lock().unwrap().insert(key.to_string(), body);
        }

        pub(crate) fn len(&self) -> usize {
            self.bodies.lock().unwrap().len()
        }
    }

    #[async_trait]
    impl Bodies for Shelf {
        async fn get(&self, key: &Key) -> Option<Arc<Snapshot>> {
            *self.gets.lock().unwrap() += 1;
            self.peek(key)
        }

        async fn put(&self, key: &Key, body: Arc<Snapshot>) {
            self.lay(key, body);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::sample::{event, event_id};
    use tokio::task::yield_now;

    use super::sample::Shelf;
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(90);

    fn key(id: u64) -> Key {
        Key::Event(event_id(id))
    }

    fn body(id: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot::Event(event(id).into()))
    }

    #[tokio::test]
    async fn the_far_place_is_asked_only_for_bodies_that_are_not_near() {
        let (near, far) = (Arc::new(Shelf::default()), Arc::new(Shelf::default()));
        let tiered = Tiered::new(near.clone(), far.clone(), PATIENCE);
        near.lay(&key(1), body(1));
        assert_eq!(tiered.get(&key(1)).await, Some(body(1)));
        assert_eq!(far.gets(), 0);
        far.lay(&key(2), body(2));
        assert_eq!(tiered.get(&key(2)).await, Some(body(2)));
        assert_eq!(tiered.get(&key(2)).await, Some(body(2)));
        assert_eq!(far.gets(), 1, "what was found far is near afterwards");
        assert_eq!(tiered.get(&key(3)).await, None);
    }

    #[tokio::test]
    async fn a_body_is_near_at_once_and_far_in_time() {
        let (near, far) = (Arc::new(Shelf::default()), Arc::new(Shelf::default()));
        let tiered = Tiered::new(near.clone(), far.clone(), PATIENCE);
        tiered.put(&key(1), body(1)).await;
        assert_eq!(near.peek(&key(1)), Some(body(1)));
        while far.peek(&key(1)).is_none() {
            yield_now().await;
        }
    }

    /// Never answers, and takes a body only when the gate is open.
    struct Gated {
        shelf: Shelf,
        gate: Semaphore,
    }

    #[async_trait]
    impl Bodies for Gated {
        async fn get(&self, _: &Key) -> Option<Arc<Snapshot>> {
            std::future::pending().await
        }

        async fn put(&self, key: &Key, body: Arc<Snapshot>) {
            let _open = self.gate.acquire().await.unwrap();
            self.shelf.lay(key, body);
        }
    }

    #[tokio::test]
    async fn a_far_place_that_does_not_answer_has_nothing() {
        let far = Arc::new(Gated { shelf: Shelf::default(), gate: Semaphore::new(0) });
        let tiered = Tiered::new(Arc::new(Shelf::default()), far, PATIENCE);
        assert_eq!(tiered.get(&key(1)).await, None);
    }

    #[tokio::test]
    async fn a_hanging_far_place_blocks_no_put_and_builds_no_queue() {
        let far = Arc::new(Gated { shelf: Shelf::default(), gate: Semaphore::new(0) });
        let tiered = Tiered::new(Arc::new(Shelf::default()), far.clone(), PATIENCE);
        for id in 1..=1000 {
            tiered.put(&key(id), body(id)).await;
        }
        far.gate.add_permits(1);
        while tiered.puts.available_permits() < Tiered::MAX_PUTS {
            yield_now().await;
        }
        assert_eq!(far.shelf.len(), Tiered::MAX_PUTS);
    }
}
