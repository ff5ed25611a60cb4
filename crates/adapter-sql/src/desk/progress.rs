//! What is known of a transaction while it goes on, for the worker that waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::ports::StoreError;
use domain::{EventId, Happening, Timeline};

/// What a transaction did with one command.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// It is decided, and [remembers](super::command::DeskCommand) what was.
    Decided,
    /// It is not decided, nor will be.
    Failed(StoreError),
    /// Its event is held by another transaction.
    Held,
    /// Another command with the same idempotency key goes first.
    Later,
}

/// What is known of a transaction before it is committed, in case the answer is lost.
/// It is of the last attempt, if there were several.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Known>);

#[derive(Debug, Default)]
pub(super) struct Known {
    /// Which transaction it is, on Postgres.
    pub(super) transaction: Option<Transaction>,
    /// What will be true if it was committed.
    pub(super) parts: Option<Vec<Part>>,
    /// Which of the locked events have seats left.
    pub(super) seats: Vec<(EventId, bool)>,
    /// What it did, if it was committed.
    pub(super) happened: Vec<Happening>,
}

/// A transaction of Postgres. Every timeline gives the same numbers out again.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) id: String,
    pub(super) timeline: Timeline,
}

impl Progress {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that is known, which nothing else needs any more.
    pub(super) fn take(&self) -> Known {
        std::mem::take(&mut *self.known())
    }

    /// Which of the locked events have seats left.
    pub(super) fn take_seats(&self) -> Vec<(EventId, bool)> {
        std::mem::take(&mut self.known().seats)
    }
}
