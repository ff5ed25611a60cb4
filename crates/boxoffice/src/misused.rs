//! A command line that cannot be used.

use thiserror::Error;

/// A command line that cannot be used, in a way that clap does not see.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Misused(pub(crate) String);
