//! What can go wrong with any store.

use std::{error::Error, fmt, sync::Arc};

use thiserror::Error as ThisError;

/// The technical reason of a failure: for the log, never for a client.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Wraps an adapter's own error, or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl fmt::Display for Cause {
    /// The error and everything that led to it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A store did not do what it was asked, for reasons that are not the asker's.
#[derive(Debug, Clone, ThisError)]
pub enum StoreError {
    /// It cannot be reached, or not in time. Nothing was done, nor will be.
    #[error("the store is unavailable: {0}")]
    Unavailable(Cause),
    /// A write was sent, and whether it was committed could not be learnt.
    #[error("the outcome of a write is unknown: {0}")]
    OutcomeUnknown(Cause),
    /// It answered what it should never answer: a defect, ours or its own.
    #[error("the store failed: {0}")]
    Fault(Cause),
}

impl StoreError {
    /// The store cannot be reached.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(Cause::new(cause))
    }

    /// The store failed.
    pub fn fault(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fault(Cause::new(cause))
    }
}
