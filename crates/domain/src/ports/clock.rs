//! The time of day.

use crate::Timestamp;

/// Tells the time. Tests move it; nothing else in the workspace asks the system.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Clock: Send + Sync {
    /// The present instant.
    fn now(&self) -> Timestamp;
}
