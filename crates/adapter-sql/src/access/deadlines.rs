//! How long anything that has to do with the database may take.

use std::time::{Duration, Instant};

/// By how much the wait for any other work is shorter than that for an order, which may have to ask
/// afterwards what became of it.
const TO_SETTLE: Duration = Duration::from_millis(500);

/// What is left of a caller's wait for the commit.
const TO_COMMIT: Duration = Duration::from_millis(400);

/// Deadlines, from the outside in. Each has to be shorter than the one around it: `lock` than
/// `statement`, and `queue` and `statement` together than `order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SqlDeadlines {
    /// How long a caller waits for what becomes of a booking or a cancellation.
    pub order: Duration,
    /// How long an order waits in its line to be taken, and a list for room.
    pub queue: Duration,
    /// How long an operation waits for a connection, the making of one included.
    pub acquire: Duration,
    /// How long a statement may take. A statement that is not first in the queue of a row's lock waits
    /// twice, and the lock's own timeout counts each wait by itself; this one counts both.
    pub statement: Duration,
    /// How long a write waits for another transaction's lock, the wait in its queue and for its connection
    /// included; on `SQLite` for the write lock of another process.
    pub lock: Duration,
    /// How long the server keeps a transaction whose next statement does not come.
    pub idle_in_transaction: Duration,
}

impl SqlDeadlines {
    /// How long a caller waits for anything but an order.
    pub(crate) fn answer(&self) -> Duration {
        self.order.saturating_sub(TO_SETTLE)
    }

    /// How long a caller waits for a write to a row, or to a file of `SQLite`, that another transaction holds.
    pub(crate) fn held(&self) -> Duration {
        self.answer().min(self.lock + TO_COMMIT)
    }
}

/// When everything has to be done, to be committed while a caller who is told by then still waits.
pub(crate) fn work_ends(told_by: Instant) -> Instant {
    told_by.checked_sub(TO_COMMIT).unwrap_or(told_by)
}

impl Default for SqlDeadlines {
    /// Those under which every request is answered within ten seconds.
    fn default() -> Self {
        Self {
            order: Duration::from_millis(9_500),
            queue: Duration::from_millis(4_500),
            acquire: Duration::from_secs(5),
            statement: Duration::from_millis(4_800),
            lock: Duration::from_secs(4),
            idle_in_transaction: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_before_the_wait_for_it_and_that_before_an_order_s() {
        let (deadlines, begun) = (SqlDeadlines::default(), Instant::now());
        assert_eq!(deadlines.answer(), Duration::from_secs(9));
        assert_eq!(work_ends(begun + deadlines.answer()), begun + Duration::from_millis(8_600));
    }

    #[test]
    fn a_wait_for_a_held_row_ends_within_five_seconds() {
        assert_eq!(SqlDeadlines::default().held(), Duration::from_millis(4_400));
    }
}
