//! The system's time.

use domain::Timestamp;
use domain::ports::Clock;

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the port through which all other code asks")]
    fn now(&self) -> Timestamp {
        Timestamp::new(chrono::Utc::now())
    }
}
