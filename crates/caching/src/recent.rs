//! What was confirmed a moment ago, for operators who allow readers that much age.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use domain::Timeline;

use crate::{Key, Snapshot};

/// Remembers which bodies were confirmed within the last `max_age`, on the present timeline of the database.
///
/// It holds no body: what the places for bodies let go of is gone here too.
pub(crate) struct Recent {
    max_age: Duration,
    confirmed: Mutex<Confirmed>,
}

#[derive(Default)]
struct Confirmed {
    timeline: Timeline,
    /// When this timeline was first heard of, if it is not the one that was there from the start.
    since: Option<Instant>,
    bodies: HashMap<Key, (Instant, Weak<Snapshot>)>,
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
        let (at, body) = confirmed.bodies.get(key)?;
        if self.is_young(*at, now) { body.upgrade() } else { None }
    }

    /// Notes that the body was confirmed to a reader who came at `asked`; what was confirmed later
    /// stands.
    pub(crate) fn note(&self, key: &Key, body: &Arc<Snapshot>, asked: Instant) {
        let mut confirmed = self.confirmed();
        if confirmed.since.is_some_and(|since| since > asked) {
            return;
        }
        let confirmed = &mut confirmed.bodies;
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

    /// Takes note of the timeline of a confirmation made at `now`. What was confirmed on an earlier one may be lost:
    /// it is forgotten, and so will be what is still on its way to those who asked before.
    pub(crate) fn confirmed_on(&self, timeline: Timeline, now: Instant) {
        let mut confirmed = self.confirmed();
        if timeline > confirmed.timeline {
            *confirmed = Confirmed { timeline, since: Some(now), bodies: HashMap::new() };
        }
    }

    fn is_young(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.max_age
    }

    fn confirmed(&self) -> MutexGuard<'_, Confirmed> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use domain::sample::{event, event_id};
    use domain::{Event, Version};

    use super::*;

    const AGE: Duration = Duration::from_millis(100);

    fn key(id: u64) -> Key {
        Key::Event(event_id(id))
    }

    fn body(version: u64) -> Arc<Snapshot> {
        Arc::new(Snapshot::Event(Event { version: Version::new(version), ..event(1) }.into()))
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
    fn the_remembered_versions_are_bounded() {
        let (recent, start, body) = (Recent::new(AGE), Instant::now(), body(1));
        for id in 1..=50_000 {
            recent.note(&key(id), &body, start);
        }
        assert!(recent.confirmed().bodies.len() <= Recent::MAX_KEYS);
    }

    #[test]
    fn confirmations_of_an_earlier_timeline_are_forgotten() {
        let (recent, start, body) = (Recent::new(AGE), Instant::now(), body(1));
        let (promoted, after) = (start + Duration::from_millis(1), start + Duration::from_millis(2));
        recent.note(&key(1), &body, start);
        recent.confirmed_on(Timeline::FIRST, promoted);
        assert!(recent.get(&key(1), promoted).is_some());
        recent.confirmed_on(Timeline::new(2).unwrap(), promoted);
        assert_eq!(recent.get(&key(1), after), None);
        recent.note(&key(1), &body, start);
        assert_eq!(recent.get(&key(1), after), None, "it was asked for before the timeline was known");
        recent.note(&key(1), &body, after);
        recent.confirmed_on(Timeline::FIRST, after);
        assert_eq!(recent.get(&key(1), after), Some(body));
    }
}
