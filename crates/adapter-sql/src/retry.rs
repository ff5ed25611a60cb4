//! The one place where anything is tried again.
//!
//! Postgres ends a transaction to break a circle of locks, or a connection dies that was well when it was
//! taken from its pool. Neither is the fault of whoever asked, and nothing was done: the work is done again,
//! a few times, within the time it has. Once a `COMMIT` was sent, nothing is ever done again.
//!
//! Making a connection is the pool's business, which tries that again by itself; what a lock's timeout
//! refuses would be refused again. Nobody else here, and nobody above, repeats what failed: two layers that
//! do so three times each would make nine.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;

use crate::connect::Pool;
use crate::error::{Failure, Passing, passing};
use crate::work::Fate;

/// How often something is tried in all.
const ATTEMPTS: u32 = 3;

/// The longest pause before the second attempt; it doubles with each.
const PAUSE: Duration = Duration::from_millis(20);

/// What is known of work that may be done again.
pub(crate) struct Retry {
    pub(crate) operation: &'static str,
    pub(crate) pool: Arc<Pool>,
    pub(crate) fate: Arc<Fate>,
    /// No attempt begins later.
    pub(crate) until: Instant,
}

impl Retry {
    /// What came of the last attempt.
    pub(crate) async fn run<T, E, F>(self, mut attempt: impl FnMut() -> F) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
        E: Failure,
    {
        for made in 1..ATTEMPTS {
            let result = attempt().await;
            let Some(passing) = result.as_ref().err().and_then(Failure::of_store).and_then(passing) else {
                return result;
            };
            if passing == Passing::Lost {
                self.pool.distrust();
            }
            let pause = pause_before_the_next(made);
            if !self.fate.is_open() || Instant::now() + pause >= self.until {
                return result;
            }
            drop(result);
            counter!("database_retries_total", "operation" => self.operation, "reason" => passing.name()).increment(1);
            tokio::time::sleep(pause).await;
        }
        attempt().await
    }
}

/// Anything up to the longest, so that those who got into each other's way do not meet again.
fn pause_before_the_next(made: u32) -> Duration {
    let longest = PAUSE * 2_u32.pow(made - 1);
    let random = RandomState::new().build_hasher().finish();
    Duration::from_micros(random % u64::try_from(longest.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use domain::ports::StoreError;
    use sea_orm::sqlx::Error as SqlxError;
    use sea_orm::{DbErr, RuntimeErr};

    use super::*;
    use crate::error::failed;

    /// What is told by somebody whose connection died.
    fn lost() -> StoreError {
        let died = SqlxError::Io(std::io::ErrorKind::UnexpectedEof.into());
        failed(DbErr::Query(RuntimeErr::SqlxError(Arc::new(died))))
    }

    fn retry(fate: &Arc<Fate>, time: Duration) -> Retry {
        Retry { operation: "test", pool: Pool::nowhere(), fate: Arc::clone(fate), until: Instant::now() + time }
    }

    /// How many attempts are made if each fails like that.
    async fn attempts(fate: &Arc<Fate>, time: Duration, fails: impl Fn() -> StoreError) -> u32 {
        let made = Cell::new(0);
        let result: Result<(), StoreError> = retry(fate, time)
            .run(|| {
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
    async fn what_passes_is_tried_three_times_and_what_does_not_once() {
        let fate = Arc::new(Fate::default());
        assert_eq!(attempts(&fate, LONG, lost).await, 3);
        assert_eq!(attempts(&fate, LONG, || StoreError::unavailable("no connection")).await, 1);
        assert_eq!(attempts(&fate, LONG, || StoreError::fault("a defect")).await, 1);
    }

    #[tokio::test]
    async fn the_second_attempt_s_answer_is_the_answer() {
        let made = Cell::new(0);
        let result: Result<u32, StoreError> = retry(&Arc::default(), LONG)
            .run(|| {
                made.set(made.get() + 1);
                let answer = if made.get() == 1 { Err(lost()) } else { Ok(made.get()) };
                async move { answer }
            })
            .await;
        assert_eq!(result.unwrap(), 2);
    }

    #[tokio::test]
    async fn nothing_is_tried_again_once_its_commit_was_sent_or_its_time_is_over() {
        let committing = Arc::new(Fate::default());
        committing.commit().unwrap();
        assert_eq!(attempts(&committing, LONG, lost).await, 1);
        assert_eq!(attempts(&Arc::default(), Duration::ZERO, lost).await, 1);
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
