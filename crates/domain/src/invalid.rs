//! Why a value was refused at its door.

use thiserror::Error;

/// The rule a raw value breaks. The text says what to send instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Nothing is left after trimming.
    #[error("must not be blank")]
    Blank,
    /// Fewer characters than allowed.
    #[error("must be at least {min} characters long")]
    TooShort {
        /// The least number of Unicode scalar values.
        min: usize,
    },
    /// More characters than allowed.
    #[error("must be at most {max} characters long")]
    TooLong {
        /// The greatest number of Unicode scalar values.
        max: usize,
    },
    /// More bytes than allowed.
    #[error("must be at most {max} bytes long in UTF-8")]
    TooManyBytes {
        /// The greatest number of bytes.
        max: usize,
    },
    /// A control character where only text may stand.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// A number outside its bounds.
    #[error("must be a whole number from {min} to {max}")]
    OutOfRange {
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// Not of the expected form.
    #[error("must be {expected}")]
    Malformed {
        /// The expected form, to be read after "must be".
        expected: &'static str,
    },
    /// A date that has passed already.
    #[error("must be in the future")]
    NotInFuture,
}
