//! Sharing work without sharing the past.
//!
//! Who asks is here; the questions that wait are in `waiters`, and `runner` answers them.

mod runner;
mod waiters;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::ports::StoreError;
use metrics::histogram;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use runner::Runner;
use waiters::{Inner, Run, Waiter, Waiters};

/// Reads that are shared: all questions that wait for a key when a run starts are answered by it, and no question
/// joins a run that began before it was asked.
///
/// So what a run reads is at least as new as its questions. A run never waits for more questions: while the runs of a key
/// are under way, new questions gather for the next one.
///
/// Runs are tasks of one runtime, whatever runtime the questions come from; or, [nearby](SharedReads::nearby),
/// of the runtime of the first question. A caller that stops waiting, as all do after `patience`, hurts no other: a run
/// that has begun is finished for the others, one that has not forgets the question. A run that panics fails the
/// questions that shared it and no others. A key without questions takes no memory.
pub(crate) struct SharedReads<K, Q, A> {
    inner: Arc<Inner<K, Q, A>>,
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
                Self::unavailable("a read shared by several readers was not answered in time").retry_after(waited)
            }
        }
    }
}

impl<K, Q, A> SharedReads<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    /// Reads on `runtime`, with at most `most_runs` runs of a key under way at a time. No caller waits longer than
    /// `patience` for an answer, earlier runs included. In traces they have this name.
    pub(crate) fn new<F>(
        name: &'static str,
        runtime: Handle,
        most_runs: usize,
        patience: Duration,
        run: impl Fn(K, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = A> + Send + 'static,
    {
        Self::on(name, Some(runtime), most_runs, patience, run)
    }

    /// The same, with runs on the runtimes of those who ask: they are begun and answered without
    /// waking another thread, and begun only after everything that the runtime was about to do. Every
    /// runtime needs keys of its own, or one that ends takes the runs of another's askers with it.
    pub(crate) fn nearby<F>(
        name: &'static str,
        most_runs: usize,
        patience: Duration,
        run: impl Fn(K, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = A> + Send + 'static,
    {
        Self::on(name, None, most_runs, patience, run)
    }

    fn on<F>(
        name: &'static str,
        runtime: Option<Handle>,
        most_runs: usize,
        patience: Duration,
        run: impl Fn(K, Vec<Q>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = A> + Send + 'static,
    {
        let sizes = histogram!("cache_round_size", "round" => name);
        let run: Box<Run<K, Q, A>> = Box::new(move |key, questions| Box::pin(run(key, questions)));
        Self { inner: Arc::new(Inner { name, sizes, most_runs, patience, runtime, run, waiters: Mutex::default() }) }
    }

    /// The answer of the first run for `key` that starts after the call.
    pub(crate) async fn ask(&self, key: K, question: Q) -> Result<A, NoAnswer> {
        let (answer, answered) = oneshot::channel();
        let span = tracing::info_span!(target: "otel", "shared read", otel.name = self.inner.name);
        let starts = {
            let mut waiters = self.inner.waiters();
            let of_key = waiters.entry(key.clone()).or_insert_with(|| Waiters { waiting: Vec::new(), running: 0 });
            of_key.waiting.push(Waiter { question, answer, span });
            let starts = of_key.running < self.inner.most_runs;
            of_key.running += usize::from(starts);
            starts
        };
        if starts {
            // Made before the task: a runtime that shuts down drops tasks it never began.
            let runner = Runner::new(Arc::clone(&self.inner), key);
            match &self.inner.runtime {
                Some(runtime) => runtime.spawn(runner.run()),
                None => tokio::spawn(runner.run()),
            };
        }
        match tokio::time::timeout(self.inner.patience, answered).await {
            Ok(answer) => answer.map_err(|_| NoAnswer::Lost),
            Err(_) => Err(NoAnswer::Late(self.inner.patience)),
        }
    }

    /// How many have asked and have no run yet.
    pub(crate) fn gathered(&self) -> usize {
        self.inner.waiters().values().map(|of_key| of_key.waiting.len()).sum()
    }

    /// How many keys are asked for.
    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.inner.waiters().len()
    }

    /// How many wait for `key` and have no run yet.
    #[cfg(test)]
    pub(crate) fn waiting(&self, key: &K) -> usize {
        self.inner.waiters().get(key).map_or(0, |of_key| of_key.waiting.len())
    }
}
