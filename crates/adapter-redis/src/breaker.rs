//! When to leave a failing server alone.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Stops calls to a server that failed several in a row, and has it tried by one call at a time
/// until it answers again.
pub(crate) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, trying: bool },
}

/// What a call may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Go ahead.
    Pass,
    /// Leave the server alone.
    Refuse,
    /// Leave it alone, but see that a caller tries it and tells [`Breaker::tried`].
    Try,
}

/// The server went or came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Went,
    CameBack,
}

impl Breaker {
    /// How many calls have to fail one after another.
    const FAILURES: u32 = 3;
    /// How long the server is left alone before it is tried.
    const PAUSE: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Closed { failures: 0 }) }
    }

    /// Whether to call at `now`.
    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut state = self.state();
        match *state {
            State::Closed { .. } => Admission::Pass,
            State::Open { until, trying: false } if until <= now => {
                *state = State::Open { until, trying: true };
                Admission::Try
            }
            State::Open { .. } => Admission::Refuse,
        }
    }

    /// Whether calls pass at present.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed { .. })
    }

    /// Whether a call that passed was answered. Those that end after the server was given up say
    /// nothing new.
    pub(crate) fn called(&self, answered: bool, now: Instant) -> Option<Turn> {
        let mut state = self.state();
        let State::Closed { failures } = &mut *state else { return None };
        *failures = if answered { 0 } else { *failures + 1 };
        if *failures < Self::FAILURES {
            return None;
        }
        *state = State::Open { until: now + Self::PAUSE, trying: false };
        Some(Turn::Went)
    }

    /// Whether the server that was tried has answered.
    pub(crate) fn tried(&self, answered: bool, now: Instant) -> Option<Turn> {
        let mut state = self.state();
        if answered {
            *state = State::Closed { failures: 0 };
            return Some(Turn::CameBack);
        }
        *state = State::Open { until: now + Self::PAUSE, trying: false };
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(now: Instant) -> Breaker {
        let breaker = Breaker::new();
        assert_eq!([0; 3].map(|_| breaker.called(false, now)), [None, None, Some(Turn::Went)]);
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let (breaker, now) = (Breaker::new(), Instant::now());
        for answered in [false, false, true, false, false, true] {
            assert_eq!(breaker.called(answered, now), None);
            assert_eq!(breaker.admit(now), Admission::Pass);
        }
    }

    #[test]
    fn an_open_one_refuses_and_has_the_server_tried_by_one_at_a_time() {
        let now = Instant::now();
        let breaker = open(now);
        assert_eq!(breaker.admit(now + Duration::from_millis(999)), Admission::Refuse);
        let later = now + Breaker::PAUSE;
        assert_eq!(breaker.admit(later), Admission::Try);
        assert_eq!(breaker.admit(later), Admission::Refuse);
        assert_eq!(breaker.tried(false, later), None);
        assert_eq!(breaker.admit(later), Admission::Refuse);
        assert_eq!(breaker.admit(later + Breaker::PAUSE), Admission::Try);
        assert_eq!(breaker.tried(true, later), Some(Turn::CameBack));
        assert_eq!(breaker.admit(later), Admission::Pass);
    }

    #[test]
    fn going_and_coming_back_are_each_told_once() {
        let now = Instant::now();
        let breaker = open(now);
        assert_eq!([0; 3].map(|_| breaker.called(false, now)), [None; 3]);
        assert_eq!(breaker.called(true, now), None, "a late answer says nothing of the present");
        assert_eq!(breaker.admit(now), Admission::Refuse);
        breaker.admit(now + Breaker::PAUSE);
        assert_eq!(breaker.tried(true, now), Some(Turn::CameBack));
        assert_eq!([0; 2].map(|_| breaker.called(false, now)), [None; 2], "the count starts again");
    }
}
