//! Workers take commands from the queues, decide them in batches, and tell each caller what became of its command.

use std::sync::Arc;
use std::time::Instant;

use domain::EventId;
use domain::ports::StoreError;
use metrics::{counter, histogram};
use tracing::Instrument;

use super::command::DeskCommand;
use super::progress::{Part, Progress};
use super::store::Locking;
use super::{BATCH, Pending, batch, lost_commit, precheck};
use crate::Sql;
use crate::access::deadlines::work_ends;
use crate::access::engine::Engine;

/// Why commands of an event whose row another transaction holds come to nothing.
fn held_elsewhere(event: EventId) -> StoreError {
    StoreError::unavailable(format!("event {event} is locked by another transaction"))
}

/// One batch after the other, over queues that no other worker serves.
struct BatchWorker {
    sql: Sql,
    /// The events whose queues it has taken.
    serving: Vec<EventId>,
    left: bool,
}

impl Sql {
    /// Starts a worker that [`super::State::starts_worker`] counted.
    pub(super) fn start_worker(&self) {
        self.0.runtime.spawn(BatchWorker { sql: self.clone(), serving: Vec::new(), left: false }.serve());
    }
}

impl BatchWorker {
    async fn serve(mut self) {
        while let Some(batch) = self.take() {
            let held = self.sql.carry_out_batch(batch, Locking::SkipHeld).await;
            for (event, commands) in held {
                self.hand_over(event, commands);
            }
        }
    }

    /// Leaves an event to a worker of its own, which may wait for it.
    fn hand_over(&mut self, event: EventId, commands: Vec<Pending>) {
        self.serving.retain(|serving| *serving != event);
        self.sql.0.runtime.spawn(HeldEventWorker { sql: self.sql.clone(), event }.serve(commands));
    }

    /// The commands of queues that no worker serves; or, if there are none, leaves.
    fn take(&mut self) -> Option<Vec<Pending>> {
        let mut state = self.sql.0.desk.state();
        for event in self.serving.drain(..) {
            state.queues.done(event);
        }
        let taken = state.queues.take(BATCH);
        if taken.is_empty() {
            state.workers -= 1;
            self.left = true;
            return None;
        }
        drop(state);
        let waits = histogram!("booking_queue_wait_duration_seconds");
        let mut batch = Vec::new();
        for (event, mut commands) in taken {
            self.serving.push(event);
            commands.retain(Pending::take);
            for pending in &commands {
                waits.record(pending.arrived.elapsed());
            }
            if commands.iter().any(|pending| pending.is_alone) {
                self.hand_over(event, commands);
            } else {
                batch.extend(commands);
            }
        }
        Some(batch)
    }
}

impl Drop for BatchWorker {
    /// A worker that did not leave by itself panicked, or its runtime is shutting down.
    fn drop(&mut self) {
        if !self.left {
            let mut state = self.sql.0.desk.state();
            state.workers -= 1;
            for event in self.serving.drain(..) {
                state.queues.done(event);
            }
        }
    }
}

/// Serves one event whose row another transaction holds, or of which a command needs every registration. It waits for the
/// lock, until the event's queue is empty.
struct HeldEventWorker {
    sql: Sql,
    event: EventId,
}

impl HeldEventWorker {
    async fn serve(self, mut batch: Vec<Pending>) {
        loop {
            let permit = Arc::clone(&self.sql.0.desk.held_events).acquire_owned();
            let deadline = work_ends(self.sql.answer_due(&batch, Locking::Wait));
            if let Ok(Ok(_permit)) = tokio::time::timeout_at(deadline.into(), permit).await {
                self.sql.carry_out_batch(batch, Locking::Wait).await;
            } else {
                let busy = held_elsewhere(self.event).retry_after(self.sql.0.deadlines.lock);
                for pending in batch {
                    pending.tell(Some(busy.clone()));
                }
            }
            batch = self.sql.0.desk.state().queues.more(self.event, BATCH);
            batch.retain(Pending::take);
            if batch.is_empty() {
                return;
            }
        }
    }
}

impl Drop for HeldEventWorker {
    fn drop(&mut self) {
        let starts = {
            let mut state = self.sql.0.desk.state();
            state.queues.done(self.event);
            state.starts_worker(self.sql.workers())
        };
        if starts {
            self.sql.start_worker();
        }
    }
}

impl Sql {
    /// Decides commands together and tells each what became of it. Answers those whose event another transaction
    /// holds, by event, undecided.
    async fn carry_out_batch(&self, batch: Vec<Pending>, locking: Locking) -> Vec<(EventId, Vec<Pending>)> {
        // A trace of its own: it is a part of what each of them asked for.
        let span = tracing::info_span!(target: "otel", parent: None, "booking batch", booking.batch.size = batch.len());
        if !span.is_disabled() {
            for pending in &batch {
                span.follows_from(&pending.span);
            }
        }
        self.decide_together(batch, locking).instrument(span).await
    }

    async fn decide_together(&self, mut batch: Vec<Pending>, locking: Locking) -> Vec<(EventId, Vec<Pending>)> {
        let mut held: Vec<(EventId, Vec<Pending>)> = Vec::new();
        self.refuse_sold_out(&mut batch, locking).await;
        loop {
            // A transaction may take as long as they have waited: what is late now would not be told in time.
            let (late, in_time): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|pending| pending.arrived.elapsed() > self.0.deadlines.queue);
            for pending in late {
                pending.tell(Some(self.not_reached()));
            }
            batch = in_time;
            if batch.is_empty() {
                return held;
            }
            let commands: Arc<[Arc<dyn DeskCommand>]> =
                batch.iter().map(|pending| Arc::clone(&pending.command)).collect();
            let parts = self.commit(&commands, locking, self.answer_due(&batch, locking)).await;
            let (mut later, mut decided) = (Vec::new(), Vec::new());
            for (pending, part) in batch.into_iter().zip(parts) {
                match part {
                    Part::Decided => decided.push((pending, None)),
                    Part::Failed(error) => decided.push((pending, Some(error))),
                    Part::Later => later.push(pending),
                    Part::Held => {
                        let event = pending.command.event();
                        match held.iter_mut().find(|(held, _)| *held == event) {
                            Some((_, commands)) => commands.push(pending),
                            None => held.push((event, vec![pending])),
                        }
                    }
                }
            }
            self.0.desk.state().pace.count(decided.len(), Instant::now());
            // The next transaction need not wait until every caller has been woken.
            self.0.runtime.spawn(async move {
                for (pending, failure) in decided {
                    pending.tell(failure);
                }
            });
            batch = later;
        }
    }

    /// When the callers of a batch have to be answered at the latest: in time for the first that came.
    fn answer_due(&self, batch: &[Pending], locking: Locking) -> Instant {
        let first = batch.iter().map(|pending| pending.arrived).min();
        let is_alone = batch.iter().any(|pending| pending.is_alone);
        let patience = match (self.0.pools.engine(), locking) {
            // The lock is waited for no longer than any other, but then there is much to do.
            _ if is_alone => self.0.deadlines.answer(),
            (Engine::Postgres, Locking::SkipHeld) => self.0.deadlines.answer(),
            // Another process may hold the whole file.
            (Engine::Sqlite, _) | (Engine::Postgres, Locking::Wait) => self.0.deadlines.held(),
        };
        first.unwrap_or_else(Instant::now) + patience
    }

    /// Refuses without a lock what wants a seat of an event that seems sold out, and is.
    async fn refuse_sold_out(&self, batch: &mut Vec<Pending>, locking: Locking) {
        let seems_sold_out = {
            let state = self.0.desk.state();
            batch.iter().any(|pending| state.sold_out.contains(&pending.command.event()))
        };
        if !seems_sold_out {
            return;
        }
        let commands: Vec<_> = batch.iter().map(|pending| Arc::clone(&pending.command)).collect();
        let due = self.answer_due(batch, locking);
        let checked = tokio::time::timeout_at(due.into(), precheck::refused(self, &commands)).await;
        // If it cannot be read, the transaction will tell.
        let Ok(Ok(refused)) = checked else { return };
        let mut left = Vec::new();
        for (place, pending) in batch.drain(..).enumerate() {
            if refused.contains(&place) {
                pending.tell(None);
            } else {
                left.push(pending);
            }
        }
        *batch = left;
    }

    /// One transaction over all; or, if it fails for reasons of one of them, one for each.
    async fn commit(&self, commands: &Arc<[Arc<dyn DeskCommand>]>, locking: Locking, due: Instant) -> Vec<Part> {
        match self.commit_once(commands, locking, due).await {
            Ok(parts) => parts,
            Err(StoreError::Fault(cause)) => {
                tracing::warn!(%cause, commands = commands.len(), "seat commands are taken one by one");
                let mut parts = Vec::with_capacity(commands.len());
                for command in commands.iter() {
                    let alone = Arc::from([Arc::clone(command)]);
                    match self.commit_once(&alone, Locking::Wait, due).await {
                        Ok(part) => parts.extend(part),
                        Err(error) => parts.push(Part::Failed(error)),
                    }
                }
                parts
            }
            Err(error) => vec![Part::Failed(error); commands.len()],
        }
    }

    async fn commit_once(
        &self,
        commands: &Arc<[Arc<dyn DeskCommand>]>,
        locking: Locking,
        due: Instant,
    ) -> Result<Vec<Part>, StoreError> {
        histogram!("booking_batch_size").record(f64::from(u32::try_from(commands.len()).unwrap_or(u32::MAX)));
        let (progress, begun) = (Arc::new(Progress::default()), Instant::now());
        let done = {
            let (commands, progress) = (Arc::clone(commands), Arc::clone(&progress));
            let work = move |writing| batch::transact(writing, commands, locking, progress);
            self.write_until(due, "seat_commands", work).await
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
            Err(error @ StoreError::OutcomeUnknown(_)) => {
                lost_commit::outcome(self, &progress).await.unwrap_or(Err(error))
            }
            done => done,
        }
    }
}
