//! Sharing work without sharing the past.

use std::any::Any;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::ports::StoreError;
use metrics::{Histogram, histogram};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

/// Answers questions in rounds: all who wait for a key when a run starts share it, and nobody ever
/// joins a run that began before they came.
///
/// A question is answered by a run that starts after it was asked, so what the run reads is at
/// least as new as the question. Nothing lingers for company: while the runs of a key are under
/// way, whoever comes gathers for the next one.
///
/// Runs are tasks of one runtime, whatever runtime the askers are on; or, [nearby](Rounds::nearby),
/// of the runtime of the asker who was first. An asker who stops waiting, as all do who have waited too
/// long, hurts nobody: a run that has begun is finished for the others, one that has not forgets them.
/// A run that panics fails those who shared it and no one else. A key that nobody asks for takes no
/// memory.
pub(crate) struct Rounds<K, Q, A> {
    inner: Arc<Inner<K, Q, A>>,
}

/// What a run does with its key and the questions of all who share it; at least one.
type Run<K, Q, A> = dyn Fn(K, Vec<Q>) -> Pin<Box<dyn Future<Output = A> + Send>> + Send + Sync;

struct Inner<K, Q, A> {
    /// What is shared, for traces.
    name: &'static str,
    sizes: Histogram,
    lanes: usize,
    patience: Duration,
    /// Where runs are carried out; `None` for where they are asked for.
    runtime: Option<Handle>,
    run: Box<Run<K, Q, A>>,
    rooms: Mutex<HashMap<K, Room<Q, A>>>,
}

/// Who waits for a key, and how many runs of it are under way.
struct Room<Q, A> {
    waiting: Vec<Waiter<Q, A>>,
    running: usize,
}

struct Waiter<Q, A> {
    question: Q,
    answer: oneshot::Sender<A>,
    /// From the question to the answer.
    span: Span,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The run came to no end: it panicked, or its runtime is shutting down.
    Lost,
    /// The asker has waited this long, and long enough.
    Late(Duration),
}

impl From<NoAnswer> for StoreError {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Lost => Self::fault("a read shared by several readers came to no end"),
            NoAnswer::Late(waited) => {
                Self::unavailable("a read shared by several readers was not answered in time").expected_in(waited)
            }
        }
    }
}

impl<K, Q, A> Rounds<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    /// Rounds on `runtime`, with at most `lanes` runs of a key under way at a time. Nobody waits longer than
    /// `patience` for an answer, the runs before theirs included. In traces they have this name.
    pub(crate) fn new<F>(
        name: &'static str,
        runtime: Handle,
        lanes: usize,
        patience: Duration,
        run: impl Fn(K, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = A> + Send + 'static,
    {
        Self::on(name, Some(runtime), lanes, patience, run)
    }

    /// The same, with runs on the runtimes of those who ask: they are begun and answered without
    /// waking another thread, and begun only after everything that the runtime was about to do. Every
    /// runtime needs keys of its own, or one that ends takes the runs of another's askers with it.
    pub(crate) fn nearby<F>(
        name: &'static str,
        lanes: usize,
        patience: Duration,
        run: impl Fn(K, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = A> + Send + 'static,
    {
        Self::on(name, None, lanes, patience, run)
    }

    fn on<F>(
        name: &'static str,
        runtime: Option<Handle>,
        lanes: usize,
        patience: Duration,
        run: impl Fn(K, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = A> + Send + 'static,
    {
        let sizes = histogram!("cache_round_size", "round" => name);
        let run: Box<Run<K, Q, A>> = Box::new(move |key, questions| Box::pin(run(key, questions)));
        Self { inner: Arc::new(Inner { name, sizes, lanes, patience, runtime, run, rooms: Mutex::default() }) }
    }

    /// The answer of the first run for `key` that starts after the call.
    pub(crate) async fn ask(&self, key: K, question: Q) -> Result<A, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let span = tracing::info_span!(target: "otel", "shared read", otel.name = self.inner.name);
        let starts = {
            let mut rooms = self.inner.rooms();
            let room = rooms.entry(key.clone()).or_insert_with(|| Room { waiting: Vec::new(), running: 0 });
            room.waiting.push(Waiter { question, answer, span });
            let starts = room.running < self.inner.lanes;
            room.running += usize::from(starts);
            starts
        };
        if starts {
            // Made before the task: a runtime that shuts down drops tasks it never began.
            let turn = Turn { inner: Arc::clone(&self.inner), key, left: false };
            match &self.inner.runtime {
                Some(runtime) => runtime.spawn(turn.run()),
                None => tokio::spawn(turn.run()),
            };
        }
        match tokio::time::timeout(self.inner.patience, answered).await {
            Ok(answer) => answer.map_err(|_| NoAnswer::Lost),
            Err(_) => Err(NoAnswer::Late(self.inner.patience)),
        }
    }

    /// How many have asked and have no run yet.
    pub(crate) fn gathered(&self) -> usize {
        self.inner.rooms().values().map(|room| room.waiting.len()).sum()
    }

    /// How many keys are asked for.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.inner.rooms().len()
    }

    /// How many wait for `key` and have no run yet.
    #[cfg(test)]
    pub(crate) fn waiting(&self, key: &K) -> usize {
        self.inner.rooms().get(key).map_or(0, |room| room.waiting.len())
    }
}

impl<K, Q, A> Inner<K, Q, A> {
    fn rooms(&self) -> MutexGuard<'_, HashMap<K, Room<Q, A>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lane of a key: runs until nobody waits.
struct Turn<K: Eq + Hash, Q, A> {
    inner: Arc<Inner<K, Q, A>>,
    key: K,
    left: bool,
}

impl<K, Q, A> Turn<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    async fn run(mut self) {
        while let Some(waiters) = self.gather() {
            let waiters: Vec<_> = waiters.into_iter().filter(|waiter| !waiter.answer.is_closed()).collect();
            if waiters.is_empty() {
                continue;
            }
            let span = self.span(&waiters);
            self.inner.sizes.record(f64::from(u32::try_from(waiters.len()).unwrap_or(u32::MAX)));
            let (questions, answers): (Vec<Q>, Vec<oneshot::Sender<A>>) =
                waiters.into_iter().map(|waiter| (waiter.question, waiter.answer)).unzip();
            let run = async { (self.inner.run)(self.key.clone(), questions).await };
            if let Ok(result) = unwound(run.instrument(span)).await {
                for answer in answers {
                    // Whoever stopped waiting meanwhile needs no answer.
                    let _ = answer.send(result.clone());
                }
            }
        }
    }

    /// A run's span: a trace of its own, as it is a part of what each of them asked for.
    fn span(&self, waiters: &[Waiter<Q, A>]) -> Span {
        let name = self.inner.name;
        let span =
            tracing::info_span!(target: "otel", parent: None, "round", otel.name = name, round.size = waiters.len());
        if !span.is_disabled() {
            for waiter in waiters {
                span.follows_from(&waiter.span);
            }
        }
        span
    }

    /// Everybody who waits; or, if that is nobody, leaves the lane.
    fn gather(&mut self) -> Option<Vec<Waiter<Q, A>>> {
        let mut rooms = self.inner.rooms();
        let room = rooms.get_mut(&self.key)?;
        if room.waiting.is_empty() {
            room.running -= 1;
            if room.running == 0 {
                rooms.remove(&self.key);
            }
            self.left = true;
            return None;
        }
        Some(std::mem::take(&mut room.waiting))
    }
}

impl<K: Eq + Hash, Q, A> Drop for Turn<K, Q, A> {
    /// A lane that is left before its end was on a runtime that shut down: whoever still waits, and
    /// has no other lane, is told so.
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut rooms = self.inner.rooms();
        let abandoned = rooms.get_mut(&self.key).is_some_and(|room| {
            room.running -= 1;
            room.running == 0
        });
        let room = abandoned.then(|| rooms.remove(&self.key));
        drop(rooms);
        drop(room);
    }
}

/// The future's output, or what it panicked with.
async fn unwound<F: Future>(future: F) -> Result<F::Output, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic)),
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
    use tokio::task::{JoinHandle, yield_now};

    use super::*;

    /// A run that has begun, waiting to be told what to answer.
    struct Begun {
        key: u8,
        questions: Vec<u8>,
        finish: oneshot::Sender<&'static str>,
    }

    /// For answers that come: a busy machine shall not look like one that hangs.
    const AMPLE: Duration = Duration::from_secs(30);

    fn rounds(lanes: usize) -> (Arc<Rounds<u8, u8, &'static str>>, UnboundedReceiver<Begun>) {
        patient_rounds(lanes, AMPLE)
    }

    fn patient_rounds(
        lanes: usize,
        patience: Duration,
    ) -> (Arc<Rounds<u8, u8, &'static str>>, UnboundedReceiver<Begun>) {
        let (begun, runs) = unbounded_channel();
        let rounds = Rounds::new("test", Handle::current(), lanes, patience, move |key, questions| {
            let begun: UnboundedSender<Begun> = begun.clone();
            async move {
                let (finish, finished) = oneshot::channel();
                begun.send(Begun { key, questions, finish }).ok().unwrap();
                finished.await.expect("a run is told what to answer, or panics")
            }
        });
        (Arc::new(rounds), runs)
    }

    fn ask(
        rounds: &Arc<Rounds<u8, u8, &'static str>>,
        key: u8,
        question: u8,
    ) -> JoinHandle<Result<&'static str, NoAnswer>> {
        let rounds = Arc::clone(rounds);
        tokio::spawn(async move { rounds.ask(key, question).await })
    }

    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn nobody_joins_a_run_that_began_before_they_came() {
        let (rounds, mut runs) = rounds(1);
        let first = ask(&rounds, 7, 1);
        let run = runs.recv().await.unwrap();
        assert_eq!((run.key, &run.questions[..]), (7, &[1][..]));

        let late = ask(&rounds, 7, 2);
        until(|| rounds.waiting(&7) == 1).await;
        run.finish.send("old").unwrap();
        assert_eq!(first.await.unwrap(), Ok("old"));

        let run = runs.recv().await.unwrap();
        assert_eq!(run.questions, [2]);
        run.finish.send("new").unwrap();
        assert_eq!(late.await.unwrap(), Ok("new"));
        until(|| rounds.open() == 0).await;
    }

    #[tokio::test]
    async fn all_who_wait_share_the_next_run() {
        let (rounds, mut runs) = rounds(1);
        let first = ask(&rounds, 7, 0);
        let run = runs.recv().await.unwrap();
        let crowd: Vec<_> = (1..=100).map(|question| ask(&rounds, 7, question)).collect();
        until(|| rounds.waiting(&7) == 100).await;
        run.finish.send("first").unwrap();
        assert_eq!(first.await.unwrap(), Ok("first"));

        let mut run = runs.recv().await.unwrap();
        run.questions.sort_unstable();
        assert_eq!(run.questions, (1..=100).collect::<Vec<_>>());
        run.finish.send("second").unwrap();
        for one in crowd {
            assert_eq!(one.await.unwrap(), Ok("second"));
        }
        assert!(runs.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_slow_run_leaves_the_other_lane_free() {
        let (rounds, mut runs) = rounds(2);
        let slow = ask(&rounds, 7, 1);
        let stuck = runs.recv().await.unwrap();
        for question in 2..5 {
            let quick = ask(&rounds, 7, question);
            runs.recv().await.unwrap().finish.send("quick").unwrap();
            assert_eq!(quick.await.unwrap(), Ok("quick"));
        }
        stuck.finish.send("slow").unwrap();
        assert_eq!(slow.await.unwrap(), Ok("slow"));
    }

    #[tokio::test]
    async fn no_more_runs_are_under_way_than_there_are_lanes() {
        let (rounds, mut runs) = rounds(2);
        let _first = ask(&rounds, 7, 1);
        let _held = runs.recv().await.unwrap();
        let _second = ask(&rounds, 7, 2);
        let _also_held = runs.recv().await.unwrap();
        let _third = ask(&rounds, 7, 3);
        until(|| rounds.waiting(&7) == 1).await;
        assert!(runs.try_recv().is_err());
    }

    #[tokio::test]
    async fn nobody_waits_for_ever_behind_a_run_that_hangs() {
        let (rounds, mut runs) = patient_rounds(1, Duration::from_millis(20));
        let first = ask(&rounds, 7, 1);
        let _hangs = runs.recv().await.unwrap();
        let behind = ask(&rounds, 7, 2);
        let late = Err(NoAnswer::Late(Duration::from_millis(20)));
        assert_eq!((behind.await.unwrap(), first.await.unwrap()), (late, late));
    }

    #[tokio::test]
    async fn keys_do_not_wait_for_each_other() {
        let (rounds, mut runs) = rounds(1);
        let _one = ask(&rounds, 1, 0);
        let _held = runs.recv().await.unwrap();
        let two = ask(&rounds, 2, 0);
        let run = runs.recv().await.unwrap();
        assert_eq!(run.key, 2);
        run.finish.send("two").unwrap();
        assert_eq!(two.await.unwrap(), Ok("two"));
    }

    #[tokio::test]
    async fn who_hangs_up_hurts_nobody_and_leaves_nothing() {
        let (rounds, mut runs) = rounds(1);
        let first = ask(&rounds, 7, 1);
        let run = runs.recv().await.unwrap();
        let gone = ask(&rounds, 7, 2);
        until(|| rounds.waiting(&7) == 1).await;
        let stays = ask(&rounds, 7, 3);
        until(|| rounds.waiting(&7) == 2).await;
        first.abort();
        gone.abort();
        assert!(first.await.is_err() && gone.await.is_err());
        run.finish.send("to nobody").unwrap();

        let run = runs.recv().await.unwrap();
        assert_eq!(run.questions, [3], "whoever hung up is not asked for");
        run.finish.send("answer").unwrap();
        assert_eq!(stays.await.unwrap(), Ok("answer"));
        until(|| rounds.open() == 0).await;
    }

    #[tokio::test]
    async fn a_run_that_panics_fails_those_who_shared_it_and_no_one_else() {
        let (rounds, mut runs) = rounds(1);
        let unlucky = ask(&rounds, 7, 1);
        let run = runs.recv().await.unwrap();
        let lucky = ask(&rounds, 7, 2);
        until(|| rounds.waiting(&7) == 1).await;
        drop(run.finish);
        assert_eq!(unlucky.await.unwrap(), Err(NoAnswer::Lost));
        runs.recv().await.unwrap().finish.send("well").unwrap();
        assert_eq!(lucky.await.unwrap(), Ok("well"));
        until(|| rounds.open() == 0).await;
    }

    #[test]
    fn a_run_nearby_begins_after_everybody_who_was_about_to_ask() {
        let rounds =
            Arc::new(Rounds::nearby("test", 1, AMPLE, |_: u8, questions: Vec<u8>| async move { questions.len() }));
        let askers = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        askers.block_on(async {
            let crowd: Vec<_> = (0..50)
                .map(|question| {
                    let rounds = Arc::clone(&rounds);
                    tokio::spawn(async move { rounds.ask(7, question).await })
                })
                .collect();
            for one in crowd {
                assert_eq!(one.await.unwrap(), Ok(50));
            }
        });
    }

    #[test]
    fn a_runtime_that_is_gone_answers_an_error_at_once() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let rounds: Rounds<u8, u8, u8> =
            Rounds::new("test", runtime.handle().clone(), 1, AMPLE, |_, _| std::future::pending());
        let askers = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        askers.block_on(async {
            let mut waiting = pin!(rounds.ask(7, 1));
            let pending = poll_fn(|context| std::task::Poll::Ready(waiting.as_mut().poll(context).is_pending())).await;
            assert!(pending);
            runtime.shutdown_background();
            assert_eq!(waiting.await, Err(NoAnswer::Lost));
            assert_eq!(rounds.ask(7, 2).await, Err(NoAnswer::Lost));
            assert_eq!(rounds.open(), 0);
        });
    }
}
