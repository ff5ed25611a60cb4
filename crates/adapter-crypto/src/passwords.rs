//! bcrypt, bounded: hashing is slow on purpose, and must slow no other request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bcrypt::BcryptError;
use domain::ports::{Cause, HashPermit, Passwords, PasswordsError};
use domain::{Password, PasswordHash};
use metrics::{counter, histogram};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::Instrument;

/// How long a caller usually waits for a worker: so long that the answer still comes within ten seconds.
const PATIENCE: Duration = Duration::from_secs(4);

/// Hashes passwords with bcrypt.
///
/// At most `workers` hashes are computed at once, on threads where nothing else waits, and at most
/// `max_waiting` wait for one of these; more are refused with [`PasswordsError::Busy`] at once. A
/// caller whom a busy machine does not get to in time, four seconds unless said otherwise, is refused as
/// well, and at once if that can be foreseen. A caller who stops waiting gives their place up; a hash that
/// has begun is finished.
#[derive(Debug)]
pub struct Bcrypt {
    cost: u32,
    patience: Duration,
    /// What is verified when there is no hash.
    dummy: PasswordHash,
    runtime: Handle,
    /// A place at work or in the queue.
    places: Arc<Semaphore>,
    most_places: usize,
    /// A place at work.
    workers: Arc<Semaphore>,
    most_workers: usize,
    /// Microseconds that a hash takes at present; 0 before the first.
    hash_us: Arc<AtomicU64>,
}

/// How busy the workers are that hash passwords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordLoad {
    /// Hashes being computed.
    pub running: usize,
    /// Hashes that wait for a worker.
    pub waiting: usize,
}

impl Bcrypt {
    /// Hashes with 2^`cost` rounds (4–31), on blocking threads of the runtime it is called in.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(cost: u32, workers: usize, max_waiting: usize) -> Self {
        let workers = workers.max(1);
        let places = workers.saturating_add(max_waiting).min(Semaphore::MAX_PERMITS);
        // So that the metric exists before the first refusal.
        counter!("password_hashes_refused_total").increment(0);
        Self {
            cost,
            patience: PATIENCE,
            dummy: dummy(cost),
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(places)),
            most_places: places,
            workers: Arc::new(Semaphore::new(workers)),
            most_workers: workers,
            hash_us: Arc::default(),
        }
    }

    /// How many hashes are computed, and how many wait to be.
    pub fn load(&self) -> PasswordLoad {
        let running = self.most_workers - self.workers.available_permits();
        PasswordLoad { running, waiting: self.taken().saturating_sub(running) }
    }

    /// The same, with callers who wait this long for a worker.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How many have a place, at work or in the queue.
    fn taken(&self) -> usize {
        self.most_places - self.places.available_permits()
    }

    /// How long those who have a place now will take.
    fn expected_wait(&self) -> Duration {
        let ahead = u64::try_from(self.taken()).unwrap_or(u64::MAX);
        let workers = u64::try_from(self.most_workers).unwrap_or(u64::MAX);
        Duration::from_micros(self.hash_us.load(Ordering::Relaxed).saturating_mul(ahead) / workers)
    }

    /// A refusal, which is counted.
    fn busy(&self) -> PasswordsError {
        counter!("password_hashes_refused_total").increment(1);
        PasswordsError::Busy(self.expected_wait())
    }

    /// Runs `work` on a blocking thread when a worker is free. The places are given back by the
    /// work, not by its caller: a caller that hangs up does not make room for a further thread.
    async fn run<T: Send + 'static>(
        &self,
        turn: HashPermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordsError> {
        self.run_in_turn(turn, work).instrument(tracing::info_span!(target: "otel", "bcrypt")).await
    }

    async fn run_in_turn<T: Send + 'static>(
        &self,
        turn: HashPermit,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordsError> {
        let begun = Instant::now();
        let worker = timeout(self.patience, Arc::clone(&self.workers).acquire_owned()).await;
        let worker = worker.map_err(|_| self.busy())?.map_err(fault)?;
        histogram!("password_hash_wait_duration_seconds").record(begun.elapsed());
        let hash_us = Arc::clone(&self.hash_us);
        self.runtime
            .spawn_blocking(move || {
                let _held = (turn, worker);
                let begun = Instant::now();
                let done = work();
                let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                // Of two at once the later one counts, which is as good.
                let before = hash_us.load(Ordering::Relaxed);
                hash_us.store(if before == 0 { took } else { before.midpoint(took) }, Ordering::Relaxed);
                done
            })
            .await
            .map_err(fault)
    }
}

#[async_trait]
impl Passwords for Bcrypt {
    fn queue(&self) -> Result<HashPermit, PasswordsError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| self.busy())?;
        if self.expected_wait() > self.patience { Err(self.busy()) } else { Ok(HashPermit::new(place)) }
    }

    async fn hash(&self, turn: HashPermit, password: &Password) -> Result<PasswordHash, PasswordsError> {
        let (password, cost) = (password.clone(), self.cost);
        let hash = self.run(turn, move || bcrypt::non_truncating_hash(password.expose(), cost)).await?;
        hash.map(PasswordHash::new).map_err(fault)
    }

    async fn verify(
        &self,
        turn: HashPermit,
        candidate: &str,
        hash: Option<PasswordHash>,
    ) -> Result<bool, PasswordsError> {
        // What cannot be a password is no match, after the work of one that could be.
        let possible = candidate.len() <= Password::MAX_BYTES && !candidate.contains('\0');
        let may_match = possible && hash.is_some();
        let candidate = if possible { candidate.to_owned() } else { String::new() };
        let dummy = self.dummy.clone();
        let matches = self
            .run(turn, move || {
                let hash = hash.as_ref().unwrap_or(&dummy);
                match bcrypt::non_truncating_verify(&candidate, hash.expose()) {
                    Err(BcryptError::InvalidHash(_) | BcryptError::CostNotAllowed(_)) => {
                        tracing::warn!("a stored password hash is not bcrypt: its account cannot log in");
                        bcrypt::non_truncating_verify(&candidate, dummy.expose()).map(|_| false)
                    }
                    verified => verified,
                }
            })
            .await?
            .map_err(fault)?;
        Ok(matches && may_match)
    }
}

/// A hash in bcrypt's form whose salt and digest are all zeros. No known password has it, and
/// verifying it takes as long as verifying any other of that cost.
fn dummy(cost: u32) -> PasswordHash {
    const SALT_AND_DIGEST_CHARS: usize = 22 + 31;
    PasswordHash::new(format!("$2b${cost:02}${}", ".".repeat(SALT_AND_DIGEST_CHARS)))
}

fn fault(error: impl std::error::Error + Send + Sync + 'static) -> PasswordsError {
    PasswordsError::Fault(Cause::new(error))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const COST: u32 = 4;

    fn password(raw: &str) -> Password {
        Password::parse(raw).unwrap()
    }

    async fn hashed(bcrypt: &Bcrypt, password: &Password) -> Result<PasswordHash, PasswordsError> {
        bcrypt.hash(bcrypt.queue()?, password).await
    }

    async fn verify(bcrypt: &Bcrypt, candidate: &str, hash: Option<PasswordHash>) -> Result<bool, PasswordsError> {
        bcrypt.verify(bcrypt.queue()?, candidate, hash).await
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other() {
        let bcrypt = Bcrypt::new(COST, 1, 10);
        let hash = hashed(&bcrypt, &password("correct horse")).await.unwrap();
        assert!(verify(&bcrypt, "correct horse", Some(hash.clone())).await.unwrap());
        assert!(!verify(&bcrypt, "correct horsf", Some(hash.clone())).await.unwrap());
        assert_ne!(hashed(&bcrypt, &password("correct horse")).await.unwrap(), hash, "the salt is fresh");
    }

    #[tokio::test]
    async fn every_byte_of_the_longest_password_counts() {
        let bcrypt = Bcrypt::new(COST, 1, 10);
        let longest = "x".repeat(Password::MAX_BYTES);
        let hash = hashed(&bcrypt, &password(&longest)).await.unwrap();
        assert!(verify(&bcrypt, &longest, Some(hash.clone())).await.unwrap());
        assert!(!verify(&bcrypt, &format!("{}y", &longest[1..]), Some(hash.clone())).await.unwrap());
        for longer in [format!("{longest}x"), longest.repeat(100), format!("{longest}\0")] {
            assert!(!verify(&bcrypt, &longer, Some(hash.clone())).await.unwrap());
        }
    }

    #[tokio::test]
    async fn nothing_matches_without_a_hash_or_with_a_nul() {
        let bcrypt = Bcrypt::new(COST, 1, 10);
        let hash = hashed(&bcrypt, &password("correct horse")).await.unwrap();
        for candidate in ["", "correct horse", "x\0y", &"é".repeat(1000)] {
            assert!(!verify(&bcrypt, candidate, None).await.unwrap(), "{candidate:?}");
        }
        assert!(!verify(&bcrypt, "correct horse\0", Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn an_empty_password_never_stands_in_for_an_impossible_one() {
        let bcrypt = Bcrypt::new(COST, 1, 10);
        let of_nothing = PasswordHash::new(bcrypt::hash("", COST).unwrap());
        assert!(!verify(&bcrypt, "\0", Some(of_nothing)).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_still_verifies() {
        let old = hashed(&Bcrypt::new(COST, 1, 10), &password("correct horse")).await.unwrap();
        assert!(verify(&Bcrypt::new(COST + 1, 1, 10), "correct horse", Some(old)).await.unwrap());
    }

    #[tokio::test]
    async fn a_malformed_hash_matches_nothing() {
        let bcrypt = Bcrypt::new(COST, 1, 10);
        for hash in ["", "correct horse", "$2b$99$......................", &format!("$2b$99${}", ".".repeat(53))] {
            assert!(!verify(&bcrypt, "correct horse", Some(PasswordHash::new(hash.to_owned()))).await.unwrap());
        }
    }

    #[test]
    fn the_dummy_is_a_hash_of_the_configured_cost() {
        let parts: bcrypt::HashParts = dummy(12).expose().parse().unwrap();
        assert_eq!(parts.get_cost(), 12);
        assert!(!bcrypt::non_truncating_verify("", dummy(COST).expose()).unwrap());
    }

    #[tokio::test]
    async fn one_more_than_may_wait_is_refused_at_once_and_leaves_no_trace() {
        let bcrypt = Arc::new(Bcrypt::new(COST, 1, 1));
        let (release, blocked) = mpsc::channel::<()>();
        let (begun, at_work) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let bcrypt = Arc::clone(&bcrypt);
            async move {
                bcrypt
                    .run(bcrypt.queue().unwrap(), move || {
                        begun.send(()).unwrap();
                        blocked.recv().unwrap();
                    })
                    .await
            }
        });
        at_work.await.unwrap();
        let mut second = Box::pin(verify(&bcrypt, "x", None));
        assert!(now_or_never(&mut second).await.is_none(), "the second waits");
        assert_eq!(bcrypt.load(), PasswordLoad { running: 1, waiting: 1 });
        assert!(matches!(verify(&bcrypt, "x", None).await, Err(PasswordsError::Busy(_))));

        drop(second);
        let mut third = Box::pin(verify(&bcrypt, "x", None));
        assert!(now_or_never(&mut third).await.is_none(), "who stopped waiting made room");
        release.send(()).unwrap();
        assert!(!third.await.unwrap());
        first.await.unwrap().unwrap();
        assert_eq!(bcrypt.load(), PasswordLoad { running: 0, waiting: 0 });
    }

    #[tokio::test]
    async fn a_password_check_that_waits_too_long_is_refused_and_frees_its_place() {
        let bcrypt = Bcrypt::new(COST, 1, 1).with_patience(Duration::from_millis(1));
        let worker = Arc::clone(&bcrypt.workers).acquire_owned().await.unwrap();
        for _ in 0..3 {
            assert!(matches!(verify(&bcrypt, "x", None).await, Err(PasswordsError::Busy(_))));
        }
        drop(worker);
        assert!(!verify(&bcrypt, "x", None).await.unwrap());
    }

    #[tokio::test]
    async fn a_log_in_that_would_wait_too_long_is_refused_with_retry_after() {
        let bcrypt = Bcrypt::new(COST, 2, 10).with_patience(Duration::from_secs(3));
        bcrypt.hash_us.store(1_000_000, Ordering::Relaxed);
        let _workers = Arc::clone(&bcrypt.workers).acquire_many_owned(2).await.unwrap();
        let _six = Arc::clone(&bcrypt.places).acquire_many_owned(6).await.unwrap();
        let Err(PasswordsError::Busy(wait)) = verify(&bcrypt, "x", None).await else { panic!("it waits") };
        assert_eq!(wait, Duration::from_millis(3_500));
        assert_eq!(bcrypt.places.available_permits(), 6, "the place is free again");
    }

    /// The answer of a future, if it has one already.
    async fn now_or_never<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        use std::pin::Pin;
        use std::task::Poll;
        std::future::poll_fn(|context| {
            Poll::Ready(match Pin::new(&mut *future).poll(context) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            })
        })
        .await
    }
}
