//! What the decorators share: bodies, and the confirmation of their versions.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ports::{StoreError, VersionAnswer, VersionQuestion, Versions};
use metrics::{Counter, counter};
use tokio::runtime::{Handle, Id};

use crate::recent::Recent;
use crate::shared_reads::SharedReads;
use crate::{Bodies, Key, Snapshot};

/// How the cache is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// A body confirmed on this instance less than that ago is answered without asking again; zero,
    /// the default, has every read confirmed.
    pub max_staleness: Duration,
    /// How long a reader waits for a confirmation or a load: longer than the statement may take, and
    /// short enough for two of them within the time of one request.
    pub patience: Duration,
}

impl Default for CacheOptions {
    /// Confirms every read, and waits as long as the usual statement may take.
    fn default() -> Self {
        Self { max_staleness: Duration::ZERO, patience: Duration::from_millis(4_900) }
    }
}

/// Kept bodies, and the one place that confirms them.
pub struct Cache {
    bodies: Arc<dyn Bodies>,
    /// By the runtime of those who ask: gathered there, and then with those of other runtimes.
    confirmations: SharedReads<Id, VersionQuestion, Result<Arc<VersionAnswer>, StoreError>>,
    shared: Arc<SharedReads<(), VersionQuestion, Result<Arc<VersionAnswer>, StoreError>>>,
    recent: Option<Arc<Recent>>,
    counters: Counters,
    patience: Duration,
    runtime: Handle,
}

impl Cache {
    /// How many confirmations are under way at a time, of all readers and of those of a runtime: a
    /// slow one does not hold all readers, and the rest gather in the meantime.
    const CONFIRMATIONS: usize = 2;

    /// A cache of what lies in `bodies`, confirmed by `versions`.
    ///
    /// It counts into the metrics recorder that is installed by then.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime: the one it is made on runs all confirmations and loads, wherever
    /// readers are, and has to outlive them.
    pub fn new(versions: Arc<dyn Versions>, bodies: Arc<dyn Bodies>, options: CacheOptions) -> Arc<Self> {
        let (runtime, patience) = (Handle::current(), options.patience);
        let recent = (!options.max_staleness.is_zero()).then(|| Arc::new(Recent::new(options.max_staleness)));
        let remembered = recent.clone();
        let shared = Arc::new(SharedReads::new(
            "confirm",
            runtime.clone(),
            Self::CONFIRMATIONS,
            patience,
            move |(), questions| {
                let (versions, recent) = (Arc::clone(&versions), remembered.clone());
                async move {
                    let answer = versions.confirm(&merged(&questions)).await?;
                    if let Some(recent) = recent {
                        recent.confirmed_on(answer.timeline, Instant::now());
                    }
                    Ok(Arc::new(answer))
                }
            },
        ));
        let all = Arc::clone(&shared);
        let confirmations =
            SharedReads::nearby("gather", Self::CONFIRMATIONS, patience, move |_, questions: Vec<VersionQuestion>| {
                let shared = Arc::clone(&all);
                async move { shared.ask((), merged(&questions)).await? }
            });
        Arc::new(Self { bodies, confirmations, shared, recent, counters: Counters::new(), patience, runtime })
    }

    /// The versions asked for, and maybe more, from a snapshot taken after the call.
    ///
    /// Readers gather where they are before they are sent for: a worker that has work to do begins
    /// it all before it asks, so a busy one asks for many at a time, and an idle one at once.
    pub(crate) async fn confirm(&self, question: VersionQuestion) -> Result<Arc<VersionAnswer>, StoreError> {
        self.confirmations.ask(Handle::current().id(), question).await?
    }

    /// How many readers wait for a confirmation that has not been asked for yet.
    pub fn waiting(&self) -> usize {
        self.confirmations.gathered() + self.shared.gathered()
    }

    /// The body of this key, of whatever version.
    pub(crate) async fn body(&self, key: &Key) -> Option<Arc<Snapshot>> {
        self.bodies.get(key).await
    }

    /// Keeps a body.
    pub(crate) async fn keep(&self, key: &Key, body: &Arc<Snapshot>) {
        self.bodies.put(key, Arc::clone(body)).await;
    }

    /// A body that needs no confirmation yet.
    pub(crate) fn trusted(&self, key: &Key, arrived: Instant) -> Option<Arc<Snapshot>> {
        self.recent.as_ref()?.get(key, arrived)
    }

    /// Notes what a reader who came at `arrived` is answered, and counts it.
    pub(crate) fn answered(&self, key: &Key, body: &Arc<Snapshot>, arrived: Instant, outcome: Outcome) {
        if let Some(recent) = &self.recent {
            recent.note(key, body, arrived);
        }
        self.count(key, outcome);
    }

    /// Counts an answer.
    pub(crate) fn count(&self, key: &Key, outcome: Outcome) {
        self.counters.of(key, outcome).increment(1);
    }

    /// Shared reads with one load at a time for each key, on the cache's runtime.
    pub(crate) fn loads<Q, A, F>(
        &self,
        run: impl Fn(Key, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> SharedReads<Key, Q, A>
    where
        Key: Hash + Eq,
        Q: Send + 'static,
        A: Clone + Send + 'static,
        F: Future<Output = A> + Send + 'static,
    {
        SharedReads::new("load", self.runtime.clone(), 1, self.patience, run)
    }
}

/// One question for all.
fn merged(questions: &[VersionQuestion]) -> VersionQuestion {
    let mut all = VersionQuestion::default();
    for question in questions {
        all.merge(question);
    }
    all
}

/// How a read was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// From a body, or by the confirmation alone.
    Hit,
    /// From a load.
    Miss,
    /// From a page whose events stayed and were read again.
    Refreshed,
}

/// `cache_requests_total{kind, outcome}`, each looked up once.
struct Counters {
    event: [Counter; 3],
    list: [Counter; 3],
    registrations: [Counter; 3],
}

impl Counters {
    fn new() -> Self {
        let of = |kind: &'static str| {
            ["hit", "miss", "refreshed"]
                .map(|outcome| counter!("cache_requests_total", "kind" => kind, "outcome" => outcome))
        };
        Self { event: of("event"), list: of("list"), registrations: of("registrations") }
    }

    fn of(&self, key: &Key, outcome: Outcome) -> &Counter {
        let counters = match key {
            Key::Event(_) => &self.event,
            Key::EventPage { .. } => &self.list,
            Key::Registrations(_) => &self.registrations,
        };
        let [hit, miss, refreshed] = counters;
        match outcome {
            Outcome::Hit => hit,
            Outcome::Miss => miss,
            Outcome::Refreshed => refreshed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use domain::ports::MockVersions;
    use domain::sample::{event_id, user_id};
    use domain::{EventId, Version};

    use super::*;
    use crate::bodies::sample::Shelf;

    fn events(ids: &[u64]) -> BTreeSet<EventId> {
        ids.iter().map(|id| event_id(*id)).collect()
    }

    #[tokio::test]
    async fn waiting_readers_are_confirmed_by_one_question() {
        let mut versions = MockVersions::new();
        versions
            .expect_confirm()
            .withf(|question| {
                question.catalogue
                    && question.events == events(&[1, 2, 3])
                    && question.attendees.iter().map(|user| user.get()).eq([9])
            })
            .times(1)
            .returning(|_| Ok(VersionAnswer { catalogue: Some(Version::FIRST), ..VersionAnswer::default() }));
        let cache = Cache::new(Arc::new(versions), Arc::new(Shelf::default()), CacheOptions::default());
        // On a runtime of one thread, nothing runs before all three have asked.
        let (one, two, three) = tokio::join!(
            cache.confirm(VersionQuestion { events: events(&[1, 2]), ..VersionQuestion::default() }),
            cache.confirm(VersionQuestion { events: events(&[2, 3]), catalogue: true, ..VersionQuestion::default() }),
            cache.confirm(VersionQuestion { attendees: [user_id(9)].into(), ..Default::default() }),
        );
        let one = one.unwrap();
        assert!(Arc::ptr_eq(&one, &two.unwrap()) && Arc::ptr_eq(&one, &three.unwrap()));
    }

    #[tokio::test]
    async fn a_confirmation_that_panics_is_a_fault_to_its_readers_and_to_no_other() {
        let mut versions = MockVersions::new();
        versions.expect_confirm().times(1).returning(|_| panic!("a defect"));
        versions.expect_confirm().times(1).returning(|_| Ok(VersionAnswer::default()));
        let cache = Cache::new(Arc::new(versions), Arc::new(Shelf::default()), CacheOptions::default());
        assert!(matches!(cache.confirm(VersionQuestion::default()).await, Err(StoreError::Fault(_))));
        assert!(cache.confirm(VersionQuestion::default()).await.is_ok());
    }

    #[tokio::test]
    async fn confirmations_run_on_the_cache_s_runtime_whichever_the_reader_s_is() {
        let mut versions = MockVersions::new();
        versions.expect_confirm().returning(|_| Ok(VersionAnswer::default()));
        let cache = Cache::new(Arc::new(versions), Arc::new(Shelf::default()), CacheOptions::default());
        let elsewhere = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            runtime.block_on(cache.confirm(VersionQuestion::default())).is_ok()
        });
        assert!(elsewhere.await.unwrap());
    }
}
