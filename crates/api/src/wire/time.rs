//! Instants, as RFC 3339 in UTC.

use domain::Timestamp;
use serde::{Serialize, Serializer};

/// An instant, written as RFC 3339 in UTC with `Z`, to the microsecond at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Time(Timestamp);

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}
