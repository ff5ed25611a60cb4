//! The one place where anything is tried again.
//!
//! Postgres ends a transaction to break a circle of locks, or a connection dies that was well when it was
//! taken from its pool. Neither is the fault of the request, and nothing was done: the work is done again,
//! a few times, within the time it has. Once a `COMMIT` was sent, nothing is ever done again.
//!
//! Making a connection is the pool's business, which tries that again by itself; what a lock's timeout
//! refuses would be refused again. No other code here or above repeats what failed: two layers that
//! do so three times each would make nine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::ports::{Cause, StoreError};
use metrics::counter;

use crate::access::bond::Retired;
use crate::access::commit_gate::CommitGate;
use crate::access::error::{Failure, Transient, transient};
use crate::access::pools::Pool;
use crate::access::using::{Using, superseded};

/// How often something is tried in all.
const ATTEMPTS: u32 = 3;

/// The longest pause before the second attempt; it doubles with each.
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of work that may be done again.
pub(crate) struct Retry {
    pub(crate) operation: &'static str,
    pub(crate) using: Arc<Using>,
    pub(crate) gate: Arc<CommitGate>,
    /// No attempt begins later.
    pub(crate) until: Instant,
}

impl Retry {
    /// What came of the last attempt.
    pub(crate) async fn run<T, E, F>(self, mut attempt: impl FnMut(&Pool) -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Failure,
    {
        let mut made = 0;
        loop {
            let pool = self.using.renewed();
            let result = tokio::select! {
                biased;
                result = attempt(&pool) => result,
                () = self.superseded(&pool) => Err(self.interrupted().into()),
            };
            let Some(transient) = self.transient(&pool, &result) else { return result };
            // Who only waited for a connection has attempted nothing.
            if transient != Transient::Retired {
                made += 1;
            }
            let pause = pause_before_the_next(made);
            if made == ATTEMPTS || !self.gate.is_open() || Instant::now() + pause >= self.until {
                return if transient == Transient::Superseded { Err(superseded().into()) } else { result };
            }
            drop(result);
            counter!("database_retries_total", "operation" => self.operation, "reason" => transient.name())
                .increment(1);
            tokio::time::sleep(pause).await;
        }
    }

    /// Waits until another server than the pool's writes. The pool is closed then, so an attempt that is given
    /// up takes its connection with it.
    async fn superseded(&self, pool: &Pool) {
        pool.bond.superseded().await;
        self.using.renewed();
    }

    /// What is known of an attempt whose server was replaced under it.
    fn interrupted(&self) -> StoreError {
        if self.gate.is_open() {
            superseded()
        } else {
            StoreError::OutcomeUnknown(Cause::new("another server became the one that writes during the commit"))
        }
    }

    /// Why the work is worth another attempt.
    fn transient<T, E: Failure>(&self, pool: &Pool, result: &Result<T, E>) -> Option<Transient> {
        let transient = result.as_ref().err().and_then(Failure::of_store).and_then(transient);
        match transient {
            Some(Transient::Lost) => {
                pool.bond.distrust();
                self.using.alarm();
            }
            Some(Transient::ReadOnly) => {
                pool.bond.retire(Retired::Superseded);
                self.using.alarm();
            }
            // Closed for good, as the program ends.
            Some(Transient::Retired) if !pool.bond.is_retired() => return None,
            // What it said may be past, whatever it is.
            None if pool.bond.is_superseded() && self.gate.is_open() => return Some(Transient::Superseded),
            _ => {}
        }
        transient
    }
}

/// A random part of the longest, so that two transactions that met do not meet again.
fn pause_before_the_next(made: u32) -> Duration {
    let longest = PAUSE * 2_u32.pow(made.saturating_sub(1));
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use sea_orm::sqlx::Error as SqlxError;
    use sea_orm::{DbErr, RuntimeErr};

    use super::*;
    use crate::access::error::failed;

    /// The error of a connection that died.
    fn lost() -> StoreError {
        let died = SqlxError::Io(std::io::ErrorKind::UnexpectedEof.into());
        failed(DbErr::Query(RuntimeErr::SqlxError(Arc::new(died))))
    }

    fn retry(gate: &Arc<CommitGate>, time: Duration) -> Retry {
        retry_on(Pool::nowhere(), gate, time)
    }

    fn retry_on(pool: Arc<Pool>, gate: &Arc<CommitGate>, time: Duration) -> Retry {
        Retry { operation: "test", using: Using::only(pool), gate: Arc::clone(gate), until: Instant::now() + time }
    }

    /// How many attempts are made if each fails like that.
    async fn attempts(gate: &Arc<CommitGate>, time: Duration, fails: impl Fn() -> StoreError) -> u32 {
        let made = Cell::new(0);
        let result: Result<(), StoreError> = retry(gate, time)
            .run(|_| {
                made.set(made.get() + 1);
                let error = fails();
                async move { Err(error) }
            })
            .await;
        assert!(result.is_err());
        made.get()
    }

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn transient_errors_are_tried_three_times_and_others_once() {
        let gate = Arc::new(CommitGate::default());
        assert_eq!(attempts(&gate, LONG, lost).await, 3);
        assert_eq!(attempts(&gate, LONG, || StoreError::unavailable("no connection")).await, 1);
        assert_eq!(attempts(&gate, LONG, || StoreError::fault("a defect")).await, 1);
    }

    #[tokio::test]
    async fn the_second_attempt_s_answer_is_the_answer() {
        let made = Cell::new(0);
        let result: Result<u32, StoreError> = retry(&Arc::default(), LONG)
            .run(|_| {
                made.set(made.get() + 1);
                let answer = if made.get() == 1 { Err(lost()) } else { Ok(made.get()) };
                async move { answer }
            })
            .await;
        assert_eq!(result.unwrap(), 2);
    }

    #[tokio::test]
    async fn nothing_is_tried_again_once_its_commit_was_sent_or_its_time_is_over() {
        let committing = Arc::new(CommitGate::default());
        committing.commit().unwrap();
        assert_eq!(attempts(&committing, LONG, lost).await, 1);
        assert_eq!(attempts(&Arc::default(), Duration::ZERO, lost).await, 1);
    }

    #[tokio::test]
    async fn an_answer_of_a_superseded_server_is_not_returned() {
        let made = Cell::new(0);
        let pool = Pool::nowhere();
        pool.bond.retire(Retired::Superseded);
        let answer = |gate: &Arc<CommitGate>| {
            retry_on(Arc::clone(&pool), gate, LONG).run(|_| {
                made.set(made.get() + 1);
                async { Ok::<_, StoreError>(()) }
            })
        };
        let told = answer(&Arc::default()).await;
        assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
        assert_eq!(made.replace(0), ATTEMPTS);

        // What became of a commit is judged by who sent it.
        let committing = Arc::new(CommitGate::default());
        committing.commit().unwrap();
        assert!(answer(&committing).await.is_ok());
        assert_eq!(made.get(), 1);

        // A server that is frozen says nothing for ever.
        let hangs = |gate: &Arc<CommitGate>| retry_on(Arc::clone(&pool), gate, LONG).run(|_| std::future::pending());
        let told: Result<(), StoreError> = hangs(&Arc::default()).await;
        assert!(matches!(told, Err(StoreError::Unavailable(_))), "{told:?}");
        let told: Result<(), StoreError> = hangs(&committing).await;
        assert!(matches!(told, Err(StoreError::OutcomeUnknown(_))), "{told:?}");
    }

    #[test]
    fn pauses_are_bounded_and_differ() {
        for made in 1..ATTEMPTS {
            let pauses: Vec<_> = (0..100).map(|_| pause_before_the_next(made)).collect();
            assert!(pauses.iter().all(|pause| *pause < PAUSE * 2_u32.pow(made - 1)), "{pauses:?}");
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
