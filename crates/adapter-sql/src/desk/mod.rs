//! The desk: every command that moves seats, of many people, committed together.
//!
//! A transaction for each booking holds its event's row through a flush to disk, and a popular event
//! sells no faster than the disk flushes. So a command waits in its event's queue
//! while the transaction before it is being committed, and then goes with all others that gathered
//! meanwhile:
//!
//! ```text
//!  commands ──► queues, one an event ──► a worker takes whole queues ──► one transaction ──► each its answer
//!               (arrival order)          (events that have no worker)    lock · load · decide · write · commit
//! ```
//!
//! Nothing waits for company: a lone command finds a free worker and is a batch of one. The row's lock
//! stays the truth between instances, and the command's rule decides each as if it were alone, in the
//! order of arrival. An event whose row another transaction holds is skipped and served by a worker of
//! its own, which waits for the lock without holding up the rest; so is a command that needs every
//! registration of its event.
//!
//! | module | what it holds |
//! |---|---|
//! | `command` | any command, as the queue and a batch see it |
//! | `queue` | the queues, and what may be taken from them |
//! | `worker` | who takes commands from the queues and tells what became of them |
//! | `batch` | the transaction: which steps, and in which order |
//! | `progress` | what is known of it while it goes on |
//! | `store` | what a batch loads and writes: a few statements, however many commands |
//! | `keys` | idempotency keys of many commands |
//! | `precheck` | refusals that need no lock |
//! | `lost_commit` | whether a transaction was committed whose answer was lost |
//! | `pace` | how fast commands are decided |

mod batch;
mod command;
mod keys;
mod lost_commit;
mod pace;
mod precheck;
mod progress;
mod queue;
mod store;
mod worker;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::ports::{Cause, StoreError};
use domain::{Author, Command, EventId, SeatCommand};
use tokio::sync::Semaphore;
use tracing::Span;

use crate::Sql;
use crate::access::engine::Engine;
use crate::tables::outcome::Outcome;
use command::{Answer, DeskCommand};
use pace::Pace;
use queue::{EventQueues, Queued};

/// Commands that go together at most: more would hold the rows longer than a flush takes.
const BATCH: usize = 512;

/// Commands that may wait in all: a second of work or so. What comes after is refused at once.
const WAITING: usize = 20_000;

/// Events that are remembered as sold out.
const HINTS: usize = 100_000;

/// A command in its queue.
struct Pending {
    command: Arc<dyn DeskCommand>,
    arrived: Instant,
    claim: Arc<Claim>,
    /// Whether it has a transaction to itself.
    is_alone: bool,
    /// From its arrival to its answer.
    span: Span,
}

impl Pending {
    fn tell(&self, failure: Option<StoreError>) {
        self.command.tell(failure);
    }

    /// Whether its caller waits for it still; from now on the caller waits until it is decided.
    fn take(&self) -> bool {
        self.command.is_waited_for() && self.claim.take()
    }
}

impl Queued for Pending {
    fn is_alone(&self) -> bool {
        self.is_alone
    }
}

/// Whether a command is still in its queue. A worker takes it or its caller withdraws it, never both, so
/// a caller that was refused for want of time knows that the command will never act.
#[derive(Debug, Default)]
struct Claim(AtomicU8);

impl Claim {
    const WAITING: u8 = 0;
    const TAKEN: u8 = 1;
    const WITHDRAWN: u8 = 2;

    fn take(&self) -> bool {
        self.become_(Self::TAKEN)
    }

    fn withdraw(&self) -> bool {
        self.become_(Self::WITHDRAWN)
    }

    fn become_(&self, state: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Where commands wait, and how many workers serve them.
pub(crate) struct Desk {
    state: Mutex<State>,
    /// So that rows which other transactions hold cannot take every connection.
    held_events: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    queues: EventQueues<Pending>,
    workers: usize,
    pace: Pace,
    /// Events that had no seat left when they were last served, as a hint where to look first.
    sold_out: HashSet<EventId>,
}

impl State {
    /// Whether one more command for this event may wait: in all, and in its queue if that is long and would
    /// not be served within `patience`.
    fn has_room(&self, event: EventId, patience: Duration) -> bool {
        let ahead = self.queues.length(event);
        let in_time = ahead < BATCH || self.pace.time_for(ahead).is_none_or(|wait| wait <= patience);
        self.queues.waiting() < WAITING && in_time
    }

    /// How long all that wait will take at the present pace; `usually` before there is one.
    fn expected_wait(&self, usually: Duration) -> Duration {
        self.pace.time_for(self.queues.waiting()).unwrap_or(usually)
    }

    /// Whether one more worker has something to serve; if so, it is counted.
    fn starts_worker(&mut self, most: usize) -> bool {
        let starts = self.workers < most && self.queues.has_ready();
        self.workers += usize::from(starts);
        starts
    }
}

impl Desk {
    /// A desk in front of this many connections, of which every second writes.
    pub(crate) fn new(pool_size: u32) -> Self {
        let held_events = usize::try_from(pool_size / 4).unwrap_or(1).max(1);
        Self { state: Mutex::default(), held_events: Arc::new(Semaphore::new(held_events)) }
    }

    /// How many commands wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queues.waiting()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers which events had seats left.
    fn note_seats(&self, seats: &[(EventId, bool)]) {
        let mut state = self.state();
        if state.sold_out.len() > HINTS {
            state.sold_out.clear();
        }
        for (event, left) in seats {
            if *left {
                state.sold_out.remove(event);
            } else {
                state.sold_out.insert(*event);
            }
        }
    }
}

impl Sql {
    /// Puts a command into its event's queue and waits for what becomes of it.
    pub(crate) async fn submit<C>(&self, command: Command<C, Author>) -> Answer<C>
    where
        C: SeatCommand,
        C::Done: Outcome,
    {
        let arrived = Instant::now();
        let (command, mut answered) = command::submit(command);
        let claim = Arc::new(Claim::default());
        let span = tracing::info_span!(target: "otel", "seat command");
        let is_alone = command.needs().everyone;
        self.enqueue(Pending { command, arrived, claim: Arc::clone(&claim), is_alone, span })?;
        if let Ok(answer) = tokio::time::timeout_at((arrived + self.0.deadlines.queue).into(), &mut answered).await {
            return answer.unwrap_or_else(|_| Err(lost().into()));
        }
        if claim.withdraw() {
            return Err(self.not_reached().into());
        }
        match tokio::time::timeout_at((arrived + self.0.deadlines.order).into(), answered).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(lost().into())),
            Err(_) => Err(lost().into()),
        }
    }

    /// Refuses what there is no room for, and what would not be reached in time at the present pace.
    fn enqueue(&self, pending: Pending) -> Result<(), StoreError> {
        let event = pending.command.event();
        let starts = {
            let mut state = self.0.desk.state();
            if !state.has_room(event, self.0.deadlines.queue) {
                state.queues.retain(|pending| pending.command.is_waited_for());
                if !state.has_room(event, self.0.deadlines.queue) {
                    let wait = state.expected_wait(self.0.deadlines.queue);
                    return Err(StoreError::unavailable("too many bookings are waiting").retry_after(wait));
                }
            }
            if state.workers == 0 {
                state.pace.resume(Instant::now());
            }
            state.queues.push(event, pending);
            state.starts_worker(self.workers())
        };
        if starts {
            self.start_worker();
        }
        Ok(())
    }

    /// The caller is expected to be reached once all that wait now have been.
    fn not_reached(&self) -> StoreError {
        let wait = self.0.desk.state().expected_wait(self.0.deadlines.queue);
        StoreError::unavailable("the command was not reached in time").retry_after(wait)
    }

    /// How many workers there are at most. `SQLite` has one writer. On Postgres, a second worker serves other events
    /// while the first commits.
    fn workers(&self) -> usize {
        match self.0.pools.engine() {
            Engine::Postgres => 2,
            Engine::Sqlite => 1,
        }
    }
}

fn lost() -> StoreError {
    StoreError::OutcomeUnknown(Cause::new("the command was taken and not answered in time"))
}

#[cfg(test)]
mod tests {
    use domain::BookSeat;
    use domain::sample::{event_id, user_id};

    use super::*;

    #[test]
    fn a_queue_that_would_not_be_served_in_time_has_no_room() {
        let (long, short) = (event_id(1), event_id(2));
        let (mut state, begun) = (State::default(), Instant::now());
        let user = user_id(1);
        for _ in 0..BATCH * 2 {
            let what = BookSeat { event: long, user };
            let (command, _) = command::submit(Command { by: user.into(), once: None, what });
            let pending =
                Pending { command, arrived: begun, claim: Arc::default(), is_alone: false, span: Span::none() };
            state.queues.push(long, pending);
        }
        let patience = Duration::from_secs(4);
        assert!(state.has_room(long, patience), "there is no pace yet");
        state.pace.resume(begun);
        state.pace.count(BATCH, begun + Duration::from_secs(1));
        assert!(state.has_room(long, patience), "it takes two seconds");
        state.pace.count(10, begun + Duration::from_mins(1));
        state.pace.count(10, begun + Duration::from_mins(2));
        assert!(!state.has_room(long, patience) && state.has_room(short, patience));
    }

    #[test]
    fn a_command_is_taken_or_withdrawn_and_never_both() {
        let withdrawn = Claim::default();
        assert!(withdrawn.withdraw() && !withdrawn.take());
        let taken = Claim::default();
        assert!(taken.take() && !taken.withdraw());
    }
}
