//! How long a request may take.

use std::time::Duration;

/// How long each part of a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpDeadlines {
    /// Its head, to arrive.
    pub head: Duration,
    /// Its body, to arrive.
    pub body: Duration,
    /// Everything from there to its answer.
    pub request: Duration,
    /// A dependency, to say that it is there.
    pub probe: Duration,
}
