//! The gate between a write and its commit.

use std::sync::atomic::{AtomicU8, Ordering};

use domain::ports::{Cause, StoreError};

/// Whether a write may still be committed, or its caller was told that it will not be. The commit and the caller's
/// deadline pass it one at a time, so a write that was refused for want of time is never committed.
#[derive(Debug, Default)]
pub(crate) struct CommitGate(AtomicU8);

const OPEN: u8 = 0;
const COMMITTING: u8 = 1;
const GIVEN_UP: u8 = 2;

impl CommitGate {
    /// Whether nothing was committed, nor given up.
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == OPEN
    }

    /// To be asked right before the commit, once; an error if it must not be.
    pub(crate) fn commit(&self) -> Result<(), StoreError> {
        match self.0.compare_exchange(OPEN, COMMITTING, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::unavailable("the write was given up before its commit")),
        }
    }

    /// Keeps the write from being committed, if that is still possible.
    pub(crate) fn give_up(&self) -> StoreError {
        match self.0.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(GIVEN_UP) => StoreError::unavailable("no answer in time"),
            Err(_) => StoreError::OutcomeUnknown(Cause::new("the commit was sent and not answered in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_given_up_is_not_committed() {
        let gate = CommitGate::default();
        assert!(matches!(gate.give_up(), StoreError::Unavailable(_)));
        assert!(gate.commit().is_err());
    }

    #[test]
    fn the_outcome_of_a_write_given_up_while_committing_is_unknown() {
        let gate = CommitGate::default();
        assert!(gate.commit().is_ok());
        assert!(matches!(gate.give_up(), StoreError::OutcomeUnknown(_)));
    }
}
