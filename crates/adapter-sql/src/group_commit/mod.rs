//! Bookings and cancellations of many people, committed together.
//!
//! A transaction for each booking holds its event's row through a flush to disk, and an event that
//! everybody wants sells no faster than the disk flushes. So an order (somebody's wish to book or to
//! cancel) waits in its event's line while the transaction before it is being committed, and then
//! goes with all others that gathered meanwhile:
//!
//! ```text
//!  orders ──► lines, one an event ──► a lane takes whole lines ──► one transaction ──► each its answer
//!              (arrival order)        (events nobody serves)       lock · decide · write · commit
//! ```
//!
//! Nothing waits for company: a lone order finds a free lane and goes at once. The row's lock stays
//! the truth between instances, and the domain's rule decides each order as if it were alone, in the
//! order of arrival. An event whose row somebody else holds is skipped and served on a lane of its
//! own, where it waits for the lock without holding up the rest.
//!
//! | module | what it holds |
//! |---|---|
//! | `queue` | the lines, and who may be taken from them |
//! | `ledger` | what the rule makes of the orders, on rows that are locked |
//! | `batch` | the transaction: a few statements, however many orders |
//! | `look` | refusals that need no lock |
//! | `pace` | how fast orders are decided |
//! | `bound` | many rows bound as one value |
//! | `settle` | whether a transaction was committed whose answer was lost |

mod batch;
mod bound;
mod ledger;
mod look;
mod pace;
mod queue;
mod settle;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::event::{BookingRefused, CancellationRefused};
use domain::ports::{BookError, CancelError, Cause, StoreError};
use domain::{Committed, EventId, KeyConflict, Once, Registration, UserId};
use metrics::{counter, histogram};
use tokio::sync::{Semaphore, oneshot};
use tracing::{Instrument, Span};

use crate::deadlines::work_ends;
use crate::lane::locked_by_somebody_else;
use crate::tx::Engine;
use crate::{Sql, bookings};
use batch::{Locking, Part, Progress};
use pace::Pace;
use queue::Queue;

/// Orders that go together at most: more would hold the rows longer than a flush takes.
const BATCH: usize = 512;

/// Orders that may wait in all: a second of work or so. Whoever comes after is refused at once.
const WAITING: usize = 20_000;

/// Events that are remembered as sold out.
const HINTS: usize = 100_000;

/// What an order wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Book,
    Cancel,
}

/// Somebody's wish, as a transaction reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) verb: Verb,
    pub(crate) by: UserId,
    pub(crate) event: EventId,
    pub(crate) once: Option<Once>,
}

/// What became of an order.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    Done(Committed<Registration>),
    NoEvent,
    NotBooked(BookingRefused),
    NotCancelled(CancellationRefused),
    AuthorGone,
    Key(KeyConflict),
    Store(StoreError),
}

/// An order in its line.
struct Order {
    ask: Ask,
    arrived: Instant,
    place: Arc<Place>,
    answer: oneshot::Sender<Verdict>,
    /// From its arrival to its answer.
    span: Span,
}

impl Order {
    fn tell(self, verdict: Verdict) {
        // Whoever hung up needs no answer.
        let _ = self.answer.send(verdict);
    }

    /// Whether somebody waits for it still; from now on they wait until it is decided.
    fn take(&self) -> bool {
        !self.answer.is_closed() && self.place.take()
    }
}

/// Whether an order is still in its line. It is taken or it leaves, never both, so somebody who was
/// refused for want of time knows that their order will never act.
#[derive(Debug, Default)]
struct Place(AtomicU8);

impl Place {
    const WAITING: u8 = 0;
    const TAKEN: u8 = 1;
    const LEFT: u8 = 2;

    fn take(&self) -> bool {
        self.become_(Self::TAKEN)
    }

    fn leave(&self) -> bool {
        self.become_(Self::LEFT)
    }

    fn become_(&self, state: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Where orders wait, and who serves them.
pub(crate) struct Desk {
    state: Mutex<State>,
    /// So that rows held elsewhere cannot take every connection.
    aside: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    queue: Queue<Order>,
    lanes: usize,
    pace: Pace,
    /// Events that had no seat left when they were last served, as a hint where to look first.
    sold_out: HashSet<EventId>,
}

impl State {
    /// Whether one more order for this event may wait: in all, and in its line if that is long and would
    /// not be served within `patience`.
    fn has_room(&self, event: EventId, patience: Duration) -> bool {
        let line = self.queue.length(event);
        let in_time = line < BATCH || self.pace.time_for(line).is_none_or(|wait| wait <= patience);
        self.queue.waiting() < WAITING && in_time
    }

    /// How long all who wait will take at the present pace; `usually` before there is one.
    fn expected_wait(&self, usually: Duration) -> Duration {
        self.pace.time_for(self.queue.waiting()).unwrap_or(usually)
    }

    /// Whether one more lane has something to serve; if so, it is counted.
    fn opens_lane(&mut self, most: usize) -> bool {
        let opens = self.lanes < most && self.queue.has_ready();
        self.lanes += usize::from(opens);
        opens
    }
}

impl Desk {
    /// A desk in front of this many connections, of which every second writes.
    pub(crate) fn new(pool_size: u32) -> Self {
        let aside = usize::try_from(pool_size / 4).unwrap_or(1).max(1);
        Self { state: Mutex::default(), aside: Arc::new(Semaphore::new(aside)) }
    }

    /// How many orders wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().queue.waiting()
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
    /// Puts an order into its line and waits for what becomes of it.
    pub(crate) async fn order(&self, ask: Ask) -> Verdict {
        let arrived = Instant::now();
        let (answer, mut answered) = oneshot::channel();
        let place = Arc::new(Place::default());
        let span = tracing::info_span!(target: "otel", "booking order");
        let order = Order { ask, arrived, place: Arc::clone(&place), answer, span };
        if let Err(full) = self.enqueue(order) {
            return Verdict::Store(full);
        }
        if let Ok(verdict) = tokio::time::timeout_at((arrived + self.0.deadlines.queue).into(), &mut answered).await {
            return verdict.unwrap_or_else(|_| lost());
        }
        if place.leave() {
            return self.not_reached();
        }
        match tokio::time::timeout_at((arrived + self.0.deadlines.order).into(), answered).await {
            Ok(verdict) => verdict.unwrap_or_else(|_| lost()),
            Err(_) => lost(),
        }
    }

    /// Refuses what there is no room for, and what would not be reached in time at the present pace.
    fn enqueue(&self, order: Order) -> Result<(), StoreError> {
        let starts = {
            let mut state = self.0.desk.state();
            if !state.has_room(order.ask.event, self.0.deadlines.queue) {
                state.queue.retain(|order| !order.answer.is_closed());
                if !state.has_room(order.ask.event, self.0.deadlines.queue) {
                    let wait = state.expected_wait(self.0.deadlines.queue);
                    return Err(StoreError::unavailable("too many bookings are waiting").expected_in(wait));
                }
            }
            if state.lanes == 0 {
                state.pace.resume(Instant::now());
            }
            state.queue.push(order.ask.event, order);
            state.opens_lane(self.lanes())
        };
        if starts {
            self.open_lane();
        }
        Ok(())
    }

    /// They are expected to be reached once those who wait now have been.
    fn not_reached(&self) -> Verdict {
        let wait = self.0.desk.state().expected_wait(self.0.deadlines.queue);
        Verdict::Store(StoreError::unavailable("the booking was not reached in time").expected_in(wait))
    }

    /// Serves lines on a lane that [`State::opens_lane`] counted.
    fn open_lane(&self) {
        self.0.runtime.spawn(Lane { sql: self.clone(), serving: Vec::new(), left: false }.serve());
    }

    /// `SQLite` has one writer. On Postgres, a second lane serves other events while the first commits.
    fn lanes(&self) -> usize {
        match self.0.pools.engine() {
            Engine::Postgres => 2,
            Engine::Sqlite => 1,
        }
    }
}

fn lost() -> Verdict {
    Verdict::Store(StoreError::OutcomeUnknown(Cause::new("the booking was taken and not answered in time")))
}

/// One after the other, transactions over lines that no other lane serves.
struct Lane {
    sql: Sql,
    /// The events whose lines it has taken.
    serving: Vec<EventId>,
    left: bool,
}

impl Lane {
    async fn serve(mut self) {
        while let Some(orders) = self.take() {
            let held = self.sql.carry_out_orders(orders, Locking::SkipHeld).await;
            for (event, orders) in held {
                self.serving.retain(|serving| *serving != event);
                let aside = Aside { sql: self.sql.clone(), event };
                self.sql.0.runtime.spawn(aside.serve(orders));
            }
        }
    }

    /// The orders of lines that nobody serves; or, if there are none, leaves.
    fn take(&mut self) -> Option<Vec<Order>> {
        let mut state = self.sql.0.desk.state();
        for event in self.serving.drain(..) {
            state.queue.done(event);
        }
        let lines = state.queue.take(BATCH);
        if lines.is_empty() {
            state.lanes -= 1;
            self.left = true;
            return None;
        }
        drop(state);
        let waits = histogram!("booking_queue_wait_duration_seconds");
        let mut all = Vec::new();
        for (event, orders) in lines {
            self.serving.push(event);
            all.extend(orders.into_iter().filter(Order::take));
        }
        for order in &all {
            waits.record(order.arrived.elapsed());
        }
        Some(all)
    }
}

impl Drop for Lane {
    /// A lane that did not leave by itself panicked, or its runtime is shutting down.
    fn drop(&mut self) {
        if !self.left {
            let mut state = self.sql.0.desk.state();
            state.lanes -= 1;
            for event in self.serving.drain(..) {
                state.queue.done(event);
            }
        }
    }
}

/// Serves one event whose row somebody else holds, waiting for the lock, until its line is empty.
struct Aside {
    sql: Sql,
    event: EventId,
}

impl Aside {
    async fn serve(self, mut orders: Vec<Order>) {
        loop {
            let aside = Arc::clone(&self.sql.0.desk.aside).acquire_owned();
            let patience_ends = work_ends(self.sql.told_by(&orders, Locking::Wait));
            if let Ok(Ok(_place)) = tokio::time::timeout_at(patience_ends.into(), aside).await {
                self.sql.carry_out_orders(orders, Locking::Wait).await;
            } else {
                let busy = locked_by_somebody_else(self.event).expected_in(self.sql.0.deadlines.lock);
                for order in orders {
                    order.tell(Verdict::Store(busy.clone()));
                }
            }
            orders = self.sql.0.desk.state().queue.more(self.event, BATCH);
            orders.retain(Order::take);
            if orders.is_empty() {
                return;
            }
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let starts = {
            let mut state = self.sql.0.desk.state();
            state.queue.done(self.event);
            state.opens_lane(self.sql.lanes())
        };
        if starts {
            self.sql.open_lane();
        }
    }
}

impl Sql {
    /// Decides orders together and tells each what became of it. Answers those whose event is held by
    /// somebody else, by event, undecided.
    async fn carry_out_orders(&self, orders: Vec<Order>, locking: Locking) -> Vec<(EventId, Vec<Order>)> {
        // A trace of its own: it is a part of what each of them asked for.
        let batch =
            tracing::info_span!(target: "otel", parent: None, "booking batch", booking.batch.size = orders.len());
        if !batch.is_disabled() {
            for order in &orders {
                batch.follows_from(&order.span);
            }
        }
        self.decide_together(orders, locking).instrument(batch).await
    }

    async fn decide_together(&self, mut orders: Vec<Order>, locking: Locking) -> Vec<(EventId, Vec<Order>)> {
        let mut held: Vec<(EventId, Vec<Order>)> = Vec::new();
        self.refuse_sold_out(&mut orders, locking).await;
        loop {
            // A transaction may take as long as they have waited: who is late now would not be told in time.
            let (late, in_time): (Vec<_>, Vec<_>) =
                orders.into_iter().partition(|order| order.arrived.elapsed() > self.0.deadlines.queue);
            for order in late {
                order.tell(self.not_reached());
            }
            orders = in_time;
            if orders.is_empty() {
                return held;
            }
            let until = self.told_by(&orders, locking);
            let asks: Arc<[Ask]> = orders.iter().map(|order| order.ask.clone()).collect();
            let parts = self.transact(&asks, locking, until).await;
            let (mut later, mut decided) = (Vec::new(), Vec::new());
            for (order, part) in orders.into_iter().zip(parts) {
                match part {
                    Part::Decided(verdict) => decided.push((order, verdict)),
                    Part::Later => later.push(order),
                    Part::Alone => {
                        let verdict = bookings::alone(self, &order.ask, until).await;
                        order.tell(verdict);
                    }
                    Part::Held => match held.iter_mut().find(|(event, _)| *event == order.ask.event) {
                        Some((_, orders)) => orders.push(order),
                        None => held.push((order.ask.event, vec![order])),
                    },
                }
            }
            self.0.desk.state().pace.count(decided.len(), Instant::now());
            // The next transaction need not wait until everybody has been woken.
            self.0.runtime.spawn(async move {
                for (order, verdict) in decided {
                    order.tell(verdict);
                }
            });
            orders = later;
        }
    }

    /// When orders that share a transaction have to be told of it at the latest: in time for whoever came first.
    fn told_by(&self, orders: &[Order], locking: Locking) -> Instant {
        let first = orders.iter().map(|order| order.arrived).min();
        let patience = match (self.0.pools.engine(), locking) {
            (Engine::Postgres, Locking::SkipHeld) => self.0.deadlines.answer(),
            // Another process may hold the whole file.
            (Engine::Sqlite, _) | (Engine::Postgres, Locking::Wait) => self.0.deadlines.held(),
        };
        first.unwrap_or_else(Instant::now) + patience
    }

    /// Tells those who want a seat of an event that seems sold out, and is, without a lock.
    async fn refuse_sold_out(&self, orders: &mut Vec<Order>, locking: Locking) {
        let seems_sold_out = {
            let state = self.0.desk.state();
            orders.iter().any(|order| state.sold_out.contains(&order.ask.event))
        };
        if !seems_sold_out {
            return;
        }
        let asks: Vec<_> = orders.iter().map(|order| order.ask.clone()).collect();
        let told_by = self.told_by(orders, locking);
        let looked = tokio::time::timeout_at(told_by.into(), look::refusals(self, &asks)).await;
        // If it cannot be looked, the transaction will tell.
        let Ok(Ok(refused)) = looked else { return };
        let mut left = Vec::new();
        for (order, refusal) in orders.drain(..).zip(refused) {
            match refusal {
                Some(verdict) => order.tell(verdict),
                None => left.push(order),
            }
        }
        *orders = left;
    }

    /// One transaction over all; or, if it fails for reasons of one of them, one for each.
    async fn transact(&self, asks: &Arc<[Ask]>, locking: Locking, until: Instant) -> Vec<Part> {
        histogram!("booking_batch_size").record(f64::from(u32::try_from(asks.len()).unwrap_or(u32::MAX)));
        let (progress, begun) = (Arc::new(Progress::default()), Instant::now());
        let done = {
            let (asks, progress) = (Arc::clone(asks), Arc::clone(&progress));
            let work = move |writing| batch::transact(writing, asks, locking, progress);
            self.write_until(until, "book_together", work).await
        };
        self.0.desk.note_seats(&progress.take_seats());
        let outcome = match &done {
            Ok(_) => "committed",
            Err(StoreError::Fault(_)) => "one_by_one",
            Err(StoreError::Unavailable(_)) => "unavailable",
            Err(StoreError::OutcomeUnknown(_)) => "unknown",
        };
        counter!("booking_batches_total", "outcome" => outcome).increment(1);
        histogram!("booking_batch_duration_seconds", "outcome" => outcome).record(begun.elapsed());
        match done {
            Ok(parts) => parts,
            Err(StoreError::Fault(cause)) => {
                tracing::warn!(%cause, orders = asks.len(), "bookings are taken one by one");
                self.one_by_one(asks, until).await
            }
            Err(StoreError::OutcomeUnknown(cause)) => match settle::outcome(self, &progress).await {
                Some(parts) => parts,
                None => all_parts(asks.len(), &Verdict::Store(StoreError::OutcomeUnknown(cause))),
            },
            Err(error @ StoreError::Unavailable(_)) => all_parts(asks.len(), &Verdict::Store(error)),
        }
    }

    /// So that what is wrong with one order hurts no other.
    async fn one_by_one(&self, asks: &[Ask], until: Instant) -> Vec<Part> {
        let mut parts = Vec::with_capacity(asks.len());
        for ask in asks {
            parts.push(Part::Decided(bookings::alone(self, ask, until).await));
        }
        parts
    }
}

fn all_parts(number: usize, verdict: &Verdict) -> Vec<Part> {
    vec![Part::Decided(verdict.clone()); number]
}

impl From<Verdict> for Result<Committed<Registration>, BookError> {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done(committed) => Ok(committed),
            Verdict::NoEvent => Err(BookError::EventNotFound),
            Verdict::NotBooked(refused) => Err(refused.into()),
            Verdict::NotCancelled(refused) => Err(BookError::Store(StoreError::fault(refused))),
            Verdict::AuthorGone => Err(BookError::AuthorGone),
            Verdict::Key(conflict) => Err(conflict.into()),
            Verdict::Store(error) => Err(error.into()),
        }
    }
}

impl From<Verdict> for Result<Committed<Registration>, CancelError> {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Done(committed) => Ok(committed),
            Verdict::NoEvent => Err(CancelError::EventNotFound),
            Verdict::NotCancelled(refused) => Err(refused.into()),
            Verdict::NotBooked(refused) => Err(CancelError::Store(StoreError::fault(refused))),
            Verdict::AuthorGone => Err(CancelError::AuthorGone),
            Verdict::Key(conflict) => Err(conflict.into()),
            Verdict::Store(error) => Err(error.into()),
        }
    }
}

impl From<Result<Committed<Registration>, BookError>> for Verdict {
    fn from(booked: Result<Committed<Registration>, BookError>) -> Self {
        match booked {
            Ok(committed) => Self::Done(committed),
            Err(BookError::EventNotFound) => Self::NoEvent,
            Err(BookError::Refused(refused)) => Self::NotBooked(refused),
            Err(BookError::AuthorGone) => Self::AuthorGone,
            Err(BookError::Key(conflict)) => Self::Key(conflict),
            Err(BookError::Store(error)) => Self::Store(error),
        }
    }
}

impl From<Result<Committed<Registration>, CancelError>> for Verdict {
    fn from(cancelled: Result<Committed<Registration>, CancelError>) -> Self {
        match cancelled {
            Ok(committed) => Self::Done(committed),
            Err(CancelError::EventNotFound) => Self::NoEvent,
            Err(CancelError::Refused(refused)) => Self::NotCancelled(refused),
            Err(CancelError::AuthorGone) => Self::AuthorGone,
            Err(CancelError::Key(conflict)) => Self::Key(conflict),
            Err(CancelError::Store(error)) => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_would_not_be_served_in_time_has_no_room_and_the_others_have() {
        let (long, short) = (EventId::new(1).unwrap(), EventId::new(2).unwrap());
        let (mut state, begun) = (State::default(), Instant::now());
        let ask = |event| Ask { verb: Verb::Book, by: UserId::new(1).unwrap(), event, once: None };
        let order = |event| Order {
            ask: ask(event),
            arrived: begun,
            place: Arc::default(),
            answer: oneshot::channel().0,
            span: Span::none(),
        };
        for _ in 0..BATCH * 2 {
            state.queue.push(long, order(long));
        }
        let patience = Duration::from_secs(4);
        assert!(state.has_room(long, patience), "nobody knows the pace yet");
        state.pace.resume(begun);
        state.pace.count(BATCH, begun + Duration::from_secs(1));
        assert!(state.has_room(long, patience), "it takes two seconds");
        state.pace.count(10, begun + Duration::from_mins(1));
        state.pace.count(10, begun + Duration::from_mins(2));
        assert!(!state.has_room(long, patience) && state.has_room(short, patience));
    }

    #[test]
    fn whoever_left_is_not_taken_and_whoever_was_taken_cannot_leave() {
        let left = Place::default();
        assert!(left.leave() && !left.take());
        let taken = Place::default();
        assert!(taken.take() && !taken.leave());
    }
}
