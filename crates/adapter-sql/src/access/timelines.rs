//! The timelines of the database that this process has met.
//!
//! A promotion begins a higher timeline, and what a primary of a lower one says or takes from then on is
//! lost. So the greatest timeline is remembered, and a server of a lower one is neither read nor written to.

use std::sync::atomic::{AtomicU32, Ordering};

use domain::Timeline;

/// The greatest timeline that any connection of this process has seen.
#[derive(Debug, Default)]
pub(crate) struct Timelines(AtomicU32);

/// What a timeline is to those that were seen before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A server was promoted: everything that is connected to a lower timeline is out of date.
    Higher,
    /// The one that is known.
    Current,
    /// That of a server that was replaced.
    Lower,
}

impl Timelines {
    /// The greatest, if any was seen.
    pub(crate) fn greatest(&self) -> Option<Timeline> {
        Timeline::new(self.0.load(Ordering::Acquire))
    }

    /// Remembers a timeline. The first is higher than none.
    pub(crate) fn saw(&self, timeline: Timeline) -> Seen {
        let before = self.0.fetch_max(timeline.get(), Ordering::AcqRel);
        match timeline.get().cmp(&before) {
            std::cmp::Ordering::Greater => Seen::Higher,
            std::cmp::Ordering::Equal => Seen::Current,
            std::cmp::Ordering::Less => Seen::Lower,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_timeline_stays() {
        let timelines = Timelines::default();
        assert_eq!(timelines.greatest(), None);
        let seen = |number| timelines.saw(Timeline::new(number).unwrap());
        assert_eq!([2, 2, 1, 3, 2].map(seen), [Seen::Higher, Seen::Current, Seen::Lower, Seen::Higher, Seen::Lower]);
        assert_eq!(timelines.greatest(), Timeline::new(3));
    }
}
