//! Telling each outage once, and its end.

use std::fmt::Display;

/// Whether what a loop does fails at present.
pub(crate) struct Outage {
    what: &'static str,
    lasts: bool,
}

impl Outage {
    /// None yet, of what is said of it: "what happened cannot be made into history".
    pub(crate) fn none(what: &'static str) -> Self {
        Self { what, lasts: false }
    }

    /// It failed.
    pub(crate) fn failed(&mut self, error: &impl Display) {
        if std::mem::replace(&mut self.lasts, true) {
            tracing::debug!(%error, "{} still", self.what);
        } else {
            tracing::warn!(%error, "{}: it is tried again", self.what);
        }
    }

    /// It succeeded.
    pub(crate) fn ended(&mut self) {
        if std::mem::take(&mut self.lasts) {
            tracing::info!("it is over that {}", self.what);
        }
    }
}
