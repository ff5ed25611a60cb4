//! A clock that only moves when a test moves it.

use std::sync::Mutex;

use domain::Timestamp;
use domain::ports::Clock;
use domain::sample::now;

/// Stands still at noon of 2030-01-15 until a test moves it.
#[derive(Debug)]
pub struct MovableClock(Mutex<Timestamp>);

impl MovableClock {
    /// A clock at its first instant.
    pub fn new() -> Self {
        Self(Mutex::new(now()))
    }

    /// Moves the clock forward.
    pub fn advance_secs(&self, secs: u32) {
        let mut now = self.0.lock().unwrap();
        *now = now.plus_secs(secs);
    }

    /// Moves the clock to an instant.
    pub fn set(&self, instant: Timestamp) {
        *self.0.lock().unwrap() = instant;
    }
}

impl Clock for MovableClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}
