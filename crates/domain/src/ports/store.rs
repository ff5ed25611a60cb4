//! What can go wrong with any store.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use thiserror::Error as ThisError;

/// The technical reason of a failure: for the log, never for a client.
#[derive(Clone)]
pub struct Cause(Arc<dyn Error + Send + Sync>);

impl Cause {
    /// Wraps an adapter's own error, or a text.
    pub fn new(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// The adapter's own error, for itself to recognise.
    pub fn downcast_ref<E: Error + 'static>(&self) -> Option<&E> {
        self.0.downcast_ref()
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

/// Why something cannot be had at present, and when it may be had again.
#[derive(Debug, Clone)]
pub struct Unavailable {
    cause: Cause,
    retry_after: Option<Duration>,
}

impl Unavailable {
    /// The technical reason.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// After what time a retry may succeed, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cause.fmt(f)
    }
}

/// A store did not do what it was asked, for reasons that are not the asker's.
#[derive(Debug, Clone, ThisError)]
pub enum StoreError {
    /// It cannot be reached, or not in time. Nothing was done, nor will be.
    #[error("the store is unavailable: {0}")]
    Unavailable(Unavailable),
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
        Self::Unavailable(Unavailable { cause: Cause::new(cause), retry_after: None })
    }

    /// The same; if the store is unavailable and nothing better is known, it is worth while to ask again
    /// after this time.
    #[must_use]
    pub fn retry_after(self, time: Duration) -> Self {
        match self {
            Self::Unavailable(Unavailable { cause, retry_after }) => {
                Self::Unavailable(Unavailable { cause, retry_after: retry_after.or(Some(time)) })
            }
            other => other,
        }
    }

    /// The store failed.
    pub fn fault(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Fault(Cause::new(cause))
    }
}
