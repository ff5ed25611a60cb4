//! The questions that wait, and what is known to answer them.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::Histogram;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::Span;

/// What a run does with its key and its questions; at least one.
pub(super) type Run<K, Q, A> = dyn Fn(K, Vec<Q>) -> Pin<Box<dyn Future<Output = A> + Send>> + Send + Sync;

pub(super) struct Inner<K, Q, A> {
    /// What is shared, for traces.
    pub(super) name: &'static str,
    pub(super) sizes: Histogram,
    pub(super) most_runs: usize,
    pub(super) patience: Duration,
    /// Where runs are carried out; `None` for where they are asked for.
    pub(super) runtime: Option<Handle>,
    pub(super) run: Box<Run<K, Q, A>>,
    pub(super) waiters: Mutex<HashMap<K, Waiters<Q, A>>>,
}

/// The questions that wait for a key, and how many runs of it are under way.
pub(super) struct Waiters<Q, A> {
    pub(super) waiting: Vec<Waiter<Q, A>>,
    pub(super) running: usize,
}

pub(super) struct Waiter<Q, A> {
    pub(super) question: Q,
    pub(super) answer: oneshot::Sender<A>,
    /// From the question to the answer.
    pub(super) span: Span,
}

impl<K, Q, A> Inner<K, Q, A> {
    pub(super) fn waiters(&self) -> MutexGuard<'_, HashMap<K, Waiters<Q, A>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
