//! What was counted before, and still counts while the programme is as it was then.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{EventFilter, EventOrder, Version};

/// How many totals are remembered.
const REMEMBERED: usize = 1_000;

/// A number of events, and the programme's version at which they were so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Total {
    pub(super) events: u64,
    pub(super) catalogue: Version,
}

/// What was counted, by filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals(Arc<Mutex<HashMap<EventFilter, Total>>>);

impl Totals {
    pub(super) fn recall(&self, filter: &EventFilter) -> Option<Total> {
        self.all().get(&whatever_order(filter)).copied()
    }

    pub(super) fn remember(&self, filter: &EventFilter, total: Total) {
        let mut all = self.all();
        if all.len() >= REMEMBERED {
            all.retain(|_, known| known.catalogue >= total.catalogue);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(whatever_order(filter), total);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<EventFilter, Total>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whatever_order(filter: &EventFilter) -> EventFilter {
    EventFilter { order: EventOrder::default(), ..filter.clone() }
}

#[cfg(test)]
mod tests {
    use domain::sample::at;

    use super::*;

    #[test]
    fn totals_of_an_older_programme_make_room() {
        let totals = Totals::default();
        let day = at("2030-05-02T00:00:00Z");
        let filter = |number: u32| EventFilter { from: Some(day.plus_secs(number)), ..EventFilter::default() };
        for number in 0..1_000 {
            totals.remember(&filter(number), Total { events: 1, catalogue: Version::new(u64::from(number % 2)) });
        }
        totals.remember(&filter(5_000), Total { events: 1, catalogue: Version::FIRST });
        assert_eq!((totals.recall(&filter(0)), totals.all().len()), (None, 501));
        let descending = EventOrder { descending: true, ..EventOrder::default() };
        assert!(totals.recall(&EventFilter { order: descending, ..filter(1) }).is_some());
    }
}
