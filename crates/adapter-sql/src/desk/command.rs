//! Commands as the queue and a batch see them, whatever they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::ports::StoreError;
use domain::{
    Author, Command, Committed, EventId, KeyConflict, Needs, Once, SeatBook, SeatCommand, SeatCommandError, Timeline,
    Timestamp,
};
use tokio::sync::oneshot;

use crate::access::error::Obstacle;
use crate::tables::idempotency::{Kept, Met, NotMet};
use crate::tables::outcome::Outcome;

/// What becomes of a command: its outcome, or why it was not carried out.
pub(crate) type Answer<C> = Result<Committed<<C as SeatCommand>::Done>, SeatCommandError<<C as SeatCommand>::Refused>>;

/// Whether a command's idempotency key, which was there before, is the command's own.
pub(super) enum Claimed {
    /// It is, and stands for nothing yet.
    Unused,
    /// It has outlived its outcome, and is to be taken over.
    Outlived,
    /// It is not, or its outcome was replayed: the command is decided.
    Decided,
}

/// A seat command with its author, its key and its caller.
///
/// What was decided is remembered and told only once the transaction is committed. A transaction that is tried again
/// decides again.
pub(super) trait DeskCommand: Send + Sync {
    fn event(&self) -> EventId;

    fn author(&self) -> Author;

    fn once(&self) -> Option<&Once>;

    fn needs(&self) -> Needs;

    /// Whether it is refused when no seat is free.
    fn takes_seats(&self) -> bool;

    /// Decides it on the book of its event, if the event stands. Answers whether it was carried out.
    fn decide(&self, book: Option<&mut SeatBook>, now: Timestamp) -> bool;

    /// Whether it is refused on a book that was read without a lock, and may lack what only a change needs.
    fn is_refused(&self, book: Option<SeatBook>, now: Timestamp) -> bool;

    /// The outcome to be kept with its key, if it was carried out.
    fn outcome(&self) -> Result<Option<String>, StoreError>;

    /// Meets the row that its key has already.
    fn meet(&self, kept: &Kept, now: Timestamp, timeline: Timeline) -> Claimed;

    /// Decides it without its rule.
    fn fail(&self, obstacle: Obstacle);

    /// Whether the caller still waits.
    fn is_waited_for(&self) -> bool;

    /// Tells the caller what was decided; or a failure instead, for a transaction that was given up may still decide.
    fn tell(&self, failure: Option<StoreError>);
}

struct Submitted<C: SeatCommand> {
    command: Command<C, Author>,
    decided: Mutex<Option<Answer<C>>>,
    caller: Mutex<Option<oneshot::Sender<Answer<C>>>>,
}

/// A command for the queue, and where its answer will arrive.
pub(super) fn submit<C>(command: Command<C, Author>) -> (Arc<dyn DeskCommand>, oneshot::Receiver<Answer<C>>)
where
    C: SeatCommand,
    C::Done: Outcome,
{
    let (caller, answered) = oneshot::channel();
    let submitted = Submitted { command, decided: Mutex::default(), caller: Mutex::new(Some(caller)) };
    (Arc::new(submitted), answered)
}

impl<C: SeatCommand> Submitted<C> {
    fn decided(&self) -> MutexGuard<'_, Option<Answer<C>>> {
        self.decided.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn caller(&self) -> MutexGuard<'_, Option<oneshot::Sender<Answer<C>>>> {
        self.caller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C> DeskCommand for Submitted<C>
where
    C: SeatCommand,
    C::Done: Outcome,
{
    fn event(&self) -> EventId {
        self.command.what.event()
    }

    fn author(&self) -> Author {
        self.command.by
    }

    fn once(&self) -> Option<&Once> {
        self.command.once.as_ref()
    }

    fn needs(&self) -> Needs {
        self.command.what.needs()
    }

    fn takes_seats(&self) -> bool {
        self.command.what.takes_seats()
    }

    fn decide(&self, book: Option<&mut SeatBook>, now: Timestamp) -> bool {
        let answer = match book {
            Some(book) => book.carry_out(&self.command.what, self.command.by, now),
            None => Err(SeatCommandError::EventNotFound),
        };
        let done = answer.is_ok();
        *self.decided() = Some(answer.map(|outcome| Committed { outcome, replayed: false }));
        done
    }

    fn is_refused(&self, book: Option<SeatBook>, now: Timestamp) -> bool {
        let refused = match book.map(|mut book| book.carry_out(&self.command.what, self.command.by, now)) {
            None => SeatCommandError::EventNotFound,
            Some(Err(refused @ SeatCommandError::Refused(_))) => refused,
            Some(_) => return false,
        };
        *self.decided() = Some(Err(refused));
        true
    }

    fn outcome(&self) -> Result<Option<String>, StoreError> {
        match &*self.decided() {
            Some(Ok(Committed { outcome, replayed: false })) => outcome.to_json().map(Some),
            _ => Ok(None),
        }
    }

    fn meet(&self, kept: &Kept, now: Timestamp, timeline: Timeline) -> Claimed {
        let Some(once) = self.once() else { return Claimed::Decided };
        let answer = match kept.meet(once, now, timeline) {
            Ok(Met::Unused) => return Claimed::Unused,
            Ok(Met::Outlived) => return Claimed::Outlived,
            Ok(Met::Replay(committed)) => Ok(committed),
            Err(NotMet::Reused) => Err(KeyConflict::Reused.into()),
            Err(NotMet::Store(error)) => Err(error.into()),
        };
        *self.decided() = Some(answer);
        Claimed::Decided
    }

    fn fail(&self, obstacle: Obstacle) {
        *self.decided() = Some(Err(obstacle.into()));
    }

    fn is_waited_for(&self) -> bool {
        self.caller().as_ref().is_some_and(|caller| !caller.is_closed())
    }

    fn tell(&self, failure: Option<StoreError>) {
        let answer = failure.map(|failure| Err(failure.into())).or_else(|| self.decided().take());
        if let (Some(answer), Some(caller)) = (answer, self.caller().take()) {
            // A caller that hung up needs no answer.
            let _ = caller.send(answer);
        }
    }
}
