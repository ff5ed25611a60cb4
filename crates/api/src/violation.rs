//! What is wrong with one field of a request.

use domain::Invalid;
use serde::Serialize;

/// One wrong part of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct FieldError {
    /// The path in the body, or the parameter's name.
    pub(crate) field: String,
    /// The broken rule, for programs.
    pub(crate) code: String,
    /// The broken rule, for people.
    pub(crate) message: String,
}

/// Why a field was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) code: &'static str,
    message: String,
}

impl Violation {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn required() -> Self {
        Self::new("required", "is required")
    }

    pub(crate) fn null() -> Self {
        Self::new("null", "must not be null")
    }

    pub(crate) fn wrong_type(expected: &str) -> Self {
        Self::new("wrong_type", format!("must be {expected}"))
    }

    /// The violation as the error of one field.
    pub(crate) fn of(self, field: &str) -> FieldError {
        FieldError { field: field.to_owned(), code: self.code.to_owned(), message: self.message }
    }
}

impl From<Invalid> for Violation {
    fn from(invalid: Invalid) -> Self {
        let code = match invalid {
            Invalid::Blank => "blank",
            Invalid::TooShort { .. } => "too_short",
            Invalid::TooLong { .. } | Invalid::TooManyBytes { .. } => "too_long",
            Invalid::ControlCharacter => "control_character",
            Invalid::OutOfRange { .. } => "out_of_range",
            Invalid::Malformed { .. } => "malformed",
            Invalid::NotInFuture => "not_in_future",
        };
        Self::new(code, invalid.to_string())
    }
}

/// garde's errors are one text: ours begins with the code.
impl From<Violation> for garde::Error {
    fn from(violation: Violation) -> Self {
        Self::new(format!("{}: {}", violation.code, violation.message))
    }
}
