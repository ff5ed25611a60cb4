//! How fast commands are decided at present.

use std::time::{Duration, Instant};

/// How long commands are counted before the pace is drawn from them.
const WINDOW: Duration = Duration::from_millis(500);

/// Commands decided in a second, the last half second counting as much as all before it.
#[derive(Debug, Default)]
pub(super) struct Pace {
    counted: u64,
    since: Option<Instant>,
    per_sec: Option<f64>,
}

impl Pace {
    /// Counts commands that were decided by `now`.
    pub(super) fn count(&mut self, commands: usize, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.counted += u64::try_from(commands).unwrap_or(u64::MAX);
        let elapsed = now.duration_since(since);
        if elapsed >= WINDOW {
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let latest = self.counted as f64 / elapsed.as_secs_f64();
            self.per_sec = Some(self.per_sec.map_or(latest, |before| f64::midpoint(before, latest)));
            (self.counted, self.since) = (0, Some(now));
        }
    }

    /// Begins to count anew: no command waited, so the time until now says nothing of the pace.
    pub(super) fn resume(&mut self, now: Instant) {
        (self.counted, self.since) = (0, Some(now));
    }

    /// How long so many commands will take; `None` before there is a pace.
    pub(super) fn time_for(&self, commands: usize) -> Option<Duration> {
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let secs = commands as f64 / self.per_sec.filter(|per_sec| *per_sec > 0.0)?;
        Duration::try_from_secs_f64(secs).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_the_last_moments() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        pace.resume(begun);
        assert_eq!(pace.time_for(1_000), None);
        pace.count(400, at(400));
        pace.count(600, at(1_000));
        assert_eq!(pace.time_for(2_000), Some(Duration::from_secs(2)));
        // Three times as fast for a second, after a pause that no command waited through.
        pace.resume(at(60_000));
        pace.count(3_000, at(61_000));
        assert_eq!(pace.time_for(2_000), Some(Duration::from_secs(1)));
    }

    #[test]
    fn where_nothing_is_decided_nothing_is_promised() {
        let (mut pace, begun) = (Pace::default(), Instant::now());
        pace.resume(begun);
        pace.count(0, begun + Duration::from_secs(9));
        assert_eq!(pace.time_for(1), None);
    }
}
