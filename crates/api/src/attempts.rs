//! How often a log-in may fail.
//!
//! Guessing is slow work for a client that guesses at many accounts from one address, and for clients that
//! guess at one account from many. Who knows the password is not slowed: a log-in gives its attempts back. And neither count
//! closes an account to its owner: a log-in from a network that the account was lately logged in from needs no
//! attempts. If it fails, it counts for the network, where it is in the way of other accounts only. As the rate limit,
//! this counts in real time, in each instance for itself.

use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use application::LogInError;
use domain::EmailAddress;
use ipnet::IpNet;
use moka::sync::Cache;

use crate::metrics;
use crate::problem::{Code, Problem};

/// How long a network is familiar to an account after a log-in: as long as sessions usually last.
const FAMILIAR_FOR: Duration = Duration::from_hours(30 * 24);
/// How many pairs of an account and a network are remembered, and how many buckets of each kind.
const ROOM: u64 = 100_000;
/// How long an empty bucket takes to be full again.
const REFILLED_IN: Duration = Duration::from_mins(1);

/// Who tries to log in, and to what; shared by the workers of an instance.
pub(crate) struct LogInAttempts(Option<Limits>);

struct Limits {
    by_network: Buckets<IpNet>,
    by_account: Buckets<EmailAddress>,
    familiar: Cache<(IpNet, EmailAddress), ()>,
}

/// An attempt that was admitted.
pub(crate) struct Attempt<'a> {
    attempts: &'a LogInAttempts,
    network: IpNet,
    account: Option<EmailAddress>,
    taken: Taken,
}

/// From which buckets an attempt was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Taken {
    of_network: bool,
    of_account: bool,
}

impl LogInAttempts {
    /// Buckets that hold `per_minute` attempts and are refilled at that pace; 0 turns the limit off.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self((per_minute > 0).then(|| Limits {
            by_network: Buckets::of(per_minute),
            by_account: Buckets::of(per_minute),
            familiar: Cache::builder().max_capacity(ROOM).time_to_live(FAMILIAR_FOR).build(),
        }))
    }

    /// Counts an attempt from a network to log in as `email`, or refuses it.
    pub(crate) fn admit(&self, network: IpNet, email: &str) -> Result<Attempt<'_>, Problem> {
        // What is no address has no account.
        let account = EmailAddress::parse(email).ok();
        let taken = match &self.0 {
            None => Taken::default(),
            Some(limits) => limits.admit(network, account.as_ref(), Instant::now()).map_err(|wait| {
                metrics::log_in("refused");
                Problem::later(Code::TooManyAttempts, wait)
            })?,
        };
        Ok(Attempt { attempts: self, network, account, taken })
    }

    /// Remembers that the owner of the account is at home in this network.
    pub(crate) fn recognize(&self, network: IpNet, account: &EmailAddress) {
        if let Some(limits) = &self.0 {
            limits.familiar.insert((network, account.clone()), ());
        }
    }
}

impl Attempt<'_> {
    /// Counts and logs how it ended: only a wrong password was an attempt.
    pub(crate) fn ended<T>(self, outcome: Result<T, LogInError>) -> Result<T, LogInError> {
        match &outcome {
            Ok(_) => {
                metrics::log_in("succeeded");
                self.give_back();
                if let Some(account) = &self.account {
                    self.attempts.recognize(self.network, account);
                }
            }
            Err(LogInError::InvalidCredentials) => {
                metrics::log_in("failed");
                tracing::warn!(target: "security", network = %self.network, "a log-in failed");
            }
            Err(_) => {
                metrics::log_in("unavailable");
                self.give_back();
            }
        }
        outcome
    }

    fn give_back(&self) {
        let Some(limits) = &self.attempts.0 else { return };
        if self.taken.of_network {
            limits.by_network.give_back(&self.network);
        }
        if let Some(account) = self.account.as_ref().filter(|_| self.taken.of_account) {
            limits.by_account.give_back(account);
        }
    }
}

impl Limits {
    /// Counts an attempt, or says how long to wait. What is refused is no attempt.
    fn admit(&self, network: IpNet, account: Option<&EmailAddress>, now: Instant) -> Result<Taken, Duration> {
        let of_network = self.by_network.take(&network, now);
        if account.is_some_and(|account| self.knows(network, account)) {
            return Ok(Taken { of_network: of_network.is_ok(), of_account: false });
        }
        of_network?;
        if let Some(account) = account {
            self.by_account.take(account, now).inspect_err(|_| self.by_network.give_back(&network))?;
        }
        Ok(Taken { of_network: true, of_account: account.is_some() })
    }

    fn knows(&self, network: IpNet, account: &EmailAddress) -> bool {
        self.familiar.contains_key(&(network, account.clone()))
    }
}

/// A bucket for each of many, forgotten when it is full again.
struct Buckets<K> {
    size: u32,
    each: Cache<K, Arc<Mutex<Bucket>>>,
}

struct Bucket {
    attempts: f64,
    counted: Instant,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Buckets<K> {
    fn of(size: u32) -> Self {
        Self { size, each: Cache::builder().max_capacity(ROOM).time_to_idle(REFILLED_IN).build() }
    }

    /// Takes an attempt out, or says when there is one.
    fn take(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let size = f64::from(self.size);
        let per_sec = size / REFILLED_IN.as_secs_f64();
        let bucket = self.each.get_with_by_ref(key, || Arc::new(Mutex::new(Bucket { attempts: size, counted: now })));
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(bucket.counted);
        bucket.attempts = (bucket.attempts + since.as_secs_f64() * per_sec).min(size);
        bucket.counted = now;
        if bucket.attempts < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.attempts) / per_sec));
        }
        bucket.attempts -= 1.0;
        Ok(())
    }

    fn give_back(&self, key: &K) {
        if let Some(bucket) = self.each.get(key) {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).attempts += 1.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::ceil_secs;

    const ADA: &str = "ada@example.com";

    fn network(address: &str) -> IpNet {
        format!("{address}/32").parse().unwrap()
    }

    fn account(email: &str) -> EmailAddress {
        EmailAddress::parse(email).unwrap()
    }

    /// Three attempts a minute, and a present instant.
    fn three() -> (LogInAttempts, Instant) {
        (LogInAttempts::new(3), Instant::now())
    }

    /// The seconds to wait, or none.
    fn wait(attempts: &LogInAttempts, from: &str, email: &str, now: Instant) -> Option<u64> {
        let account = EmailAddress::parse(email).ok();
        attempts.0.as_ref().unwrap().admit(network(from), account.as_ref(), now).err().map(ceil_secs)
    }

    #[test]
    fn a_network_has_so_many_attempts_whatever_the_account() {
        let (attempts, now) = three();
        for email in [ADA, "bob@example.com", "no address"] {
            assert_eq!(wait(&attempts, "192.0.2.1", email, now), None);
        }
        assert_eq!(wait(&attempts, "192.0.2.1", "eve@example.com", now), Some(20));
        assert_eq!(wait(&attempts, "192.0.2.2", "eve@example.com", now), None);
    }

    #[test]
    fn an_account_has_so_many_attempts_from_any_address_in_any_case() {
        let (attempts, now) = three();
        for (from, email) in [("192.0.2.1", ADA), ("192.0.2.2", "ADA@example.com"), ("192.0.2.3", " ada@Example.com ")]
        {
            assert_eq!(wait(&attempts, from, email, now), None);
        }
        assert_eq!(wait(&attempts, "192.0.2.4", ADA, now), Some(20));
        assert_eq!(wait(&attempts, "192.0.2.4", "bob@example.com", now), None);
    }

    #[test]
    fn attempts_come_back_one_after_the_other_and_asking_too_early_costs_none() {
        let (attempts, now) = three();
        let later = |secs| now + Duration::from_secs(secs);
        for _ in 0..3 {
            assert_eq!(wait(&attempts, "192.0.2.1", ADA, now), None);
        }
        assert_eq!(wait(&attempts, "192.0.2.1", ADA, later(5)), Some(15));
        assert_eq!(wait(&attempts, "192.0.2.1", ADA, later(15)), Some(5));
        assert_eq!(wait(&attempts, "192.0.2.1", ADA, later(21)), None);
        assert_eq!(wait(&attempts, "192.0.2.1", ADA, later(22)), Some(18));
    }

    #[test]
    fn successful_log_ins_are_not_limited() {
        let (attempts, _) = three();
        for _ in 0..20 {
            let attempt = attempts.admit(network("192.0.2.1"), ADA).unwrap();
            assert!(attempt.ended(Ok(())).is_ok());
        }
        for _ in 0..3 {
            let attempt = attempts.admit(network("192.0.2.1"), ADA).unwrap();
            assert!(attempt.ended(Err::<(), _>(LogInError::InvalidCredentials)).is_err());
        }
        assert!(attempts.admit(network("192.0.2.1"), "bob@example.com").is_err());
        assert!(attempts.admit(network("192.0.2.1"), ADA).is_ok(), "she is known there");
    }

    #[test]
    fn strangers_do_not_close_an_account_to_its_owner() {
        let (attempts, now) = three();
        attempts.recognize(network("192.0.2.99"), &account(ADA));
        for stranger in 1..=9 {
            wait(&attempts, &format!("192.0.2.{stranger}"), ADA, now);
        }
        assert!(wait(&attempts, "192.0.2.10", ADA, now).is_some());
        assert_eq!(wait(&attempts, "192.0.2.99", ADA, now), None);
    }

    #[test]
    fn guesses_at_others_do_not_close_a_network_to_an_account_known_there() {
        let (attempts, now) = three();
        attempts.recognize(network("192.0.2.1"), &account(ADA));
        for email in ["bob@example.com", "eve@example.com", "no address"] {
            assert_eq!(wait(&attempts, "192.0.2.1", email, now), None);
        }
        assert_eq!(wait(&attempts, "192.0.2.1", "bob@example.com", now), Some(20));
        for _ in 0..9 {
            assert_eq!(wait(&attempts, "192.0.2.1", "ADA@example.com", now), None);
        }
        assert_eq!(wait(&attempts, "192.0.2.1", "bob@example.com", now), Some(20), "it owes nothing");
    }

    #[test]
    fn a_slip_at_home_counts_for_the_network_and_not_for_the_account() {
        let (attempts, now) = three();
        attempts.recognize(network("192.0.2.1"), &account(ADA));
        for _ in 0..3 {
            assert_eq!(wait(&attempts, "192.0.2.1", ADA, now), None);
        }
        assert_eq!(wait(&attempts, "192.0.2.1", "bob@example.com", now), Some(20));
        assert_eq!(wait(&attempts, "192.0.2.2", ADA, now), None);
    }

    #[test]
    fn an_attempt_refused_for_the_account_costs_the_network_nothing() {
        let (attempts, now) = three();
        for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
            assert_eq!(wait(&attempts, from, ADA, now), None);
        }
        for _ in 0..9 {
            assert_eq!(wait(&attempts, "192.0.2.4", ADA, now), Some(20));
        }
        for email in ["bob@example.com", "eve@example.com", "no address"] {
            assert_eq!(wait(&attempts, "192.0.2.4", email, now), None);
        }
    }

    #[test]
    fn a_log_in_gives_back_its_own_attempt_only() {
        let (attempts, now) = three();
        let limits = attempts.0.as_ref().unwrap();
        for _ in 0..9 {
            let attempt = attempts.admit(network("192.0.2.1"), ADA).unwrap();
            assert!(attempt.ended(Ok(())).is_ok());
        }
        let left = |taken: Result<(), Duration>| taken.is_ok();
        assert_eq!([(); 4].map(|()| left(limits.by_account.take(&account(ADA), now))), [true, true, true, false]);
    }

    #[test]
    fn nothing_is_counted_without_a_limit() {
        let attempts = LogInAttempts::new(0);
        for _ in 0..100 {
            assert!(attempts.admit(network("192.0.2.1"), ADA).is_ok());
        }
    }
}
