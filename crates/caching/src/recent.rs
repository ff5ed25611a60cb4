//! What was confirmed a moment ago, for operators who allow readers that much age.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::{Key, Snapshot};

/// Remembers which bodies were confirmed within the last `max_age`.
///
/// It holds no body: what the places for bodies let go of is gone here too.
pub(crate) struct Recent {
    max_age: Duration,
    confirmed: Mutex<HashMap<Key, (Instant, Weak<Snapshot>)>>,
}

impl Recent {
    /// How many bodies are remembered.
    const MAX_KEYS: usize = 8192;

    pub(crate) fn new(max_age: Duration) -> Self {
        Self { max_age, confirmed: Mutex::default() }
    }

    /// The body of this key, if it was confirmed less than `max_age` before `now`.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Arc<Snapshot>> {
        let confirmed = self.confirmed();
        let (at, body) = confirmed.get(key)?;
        if self.is_young(*at, now) { body.upgrade() } else { None }
    }

    /// Notes that the body was confirmed to somebody who came at `asked`; what was confirmed later
    /// stands.
    pub(crate) fn note(&self, key: &Key, body: &Arc<Snapshot>, asked: Instant) {
        let mut confirmed = self.confirmed();
        if confirmed.get(key).is_some_and(|(at, _)| *at > asked) {
            return;
        }
        if confirmed.len() >= Self::MAX_KEYS && !confirmed.contains_key(key) {
            confirmed.retain(|_, (at, body)| self.is_young(*at, asked) && body.strong_count() > 0);
            if confirmed.len() >= Self::MAX_KEYS {
                confirmed.clear();
            }
        }
        confirmed.insert(key.clone(), (asked, Arc::downgrade(body)));
    }

    fn is_young(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.max_age
    }

    fn confirmed(&self) -> MutexGuard<'_, HashMap<Key, (Instant, Weak<Snapshot>)>> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::EventId;

    use super::*;
    use crate::snapshot::sample::event;

    const AGE: Duration = Duration::from_millis(100);

    fn key(id: u64) -> Key {
        Key::Event(EventId::new(id).unwrap())
    }

    fn body(version: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot::Event(event(1, version).into()))
    }

    #[test]
    fn a_body_is_trusted_until_its_age_is_reached() {
        let (recent, start, body) = (Recent::new(AGE), Instant::now(), body(1));
        recent.note(&key(1), &body, start);
        assert_eq!(recent.get(&key(1), start + Duration::from_millis(99)), Some(body));
        assert_eq!(recent.get(&key(1), start + AGE), None);
        assert_eq!(recent.get(&key(2), start), None);
    }

    #[test]
    fn a_late_note_does_not_hide_a_newer_one() {
        let (recent, start) = (Recent::new(AGE), Instant::now());
        let (old, new) = (body(1), body(2));
        recent.note(&key(1), &new, start + Duration::from_millis(1));
        recent.note(&key(1), &old, start);
        assert_eq!(recent.get(&key(1), start + Duration::from_millis(2)), Some(new));
    }

    #[test]
    fn a_body_that_is_kept_nowhere_is_forgotten() {
        let (recent, start) = (Recent::new(AGE), Instant::now());
        recent.note(&key(1), &body(1), start);
        assert_eq!(recent.get(&key(1), start), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (recent, start, body) = (Recent::new(AGE), Instant::now(), body(1));
        for id in 1..=50_000 {
            recent.note(&key(id), &body, start);
        }
        assert!(recent.confirmed().len() <= Recent::MAX_KEYS);
    }
}
