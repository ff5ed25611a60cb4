//! The task that carries out the runs of a key.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::waiters::{Inner, Waiter};

/// Runs for one key, one after the other, until no question waits.
pub(super) struct Runner<K: Eq + Hash, Q, A> {
    inner: Arc<Inner<K, Q, A>>,
    key: K,
    left: bool,
}

impl<K, Q, A> Runner<K, Q, A>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    pub(super) fn new(inner: Arc<Inner<K, Q, A>>, key: K) -> Self {
        Self { inner, key, left: false }
    }

    pub(super) async fn run(mut self) {
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
                    // A caller that stopped waiting needs no answer.
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

    /// The questions that wait; or, if there are none, leaves.
    fn gather(&mut self) -> Option<Vec<Waiter<Q, A>>> {
        let mut waiters = self.inner.waiters();
        let of_key = waiters.get_mut(&self.key)?;
        if of_key.waiting.is_empty() {
            of_key.running -= 1;
            if of_key.running == 0 {
                waiters.remove(&self.key);
            }
            self.left = true;
            return None;
        }
        Some(std::mem::take(&mut of_key.waiting))
    }
}

impl<K: Eq + Hash, Q, A> Drop for Runner<K, Q, A> {
    /// A runner that did not leave by itself was on a runtime that shut down. Questions that have no other runner are
    /// dropped, which their callers are told.
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut waiters = self.inner.waiters();
        let abandoned = waiters.get_mut(&self.key).is_some_and(|of_key| {
            of_key.running -= 1;
            of_key.running == 0
        });
        let abandoned = abandoned.then(|| waiters.remove(&self.key));
        drop(waiters);
        drop(abandoned);
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
