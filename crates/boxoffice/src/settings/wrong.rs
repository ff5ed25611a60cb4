//! What is said of settings that cannot be used.

use std::fmt;

use thiserror::Error;

/// Settings that cannot be used: all of them, one a line.
#[derive(Debug, Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct WrongSettings(pub(super) Vec<WrongSetting>);

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongSetting {
    pub(super) name: String,
    /// The file it is in, perhaps with the line; `None` if it is in the environment or nowhere.
    file: Option<String>,
    problem: String,
}

impl WrongSetting {
    pub(super) fn new(name: impl Into<String>, file: Option<&str>, problem: impl Into<String>) -> Self {
        Self { name: name.into(), file: file.map(str::to_owned), problem: problem.into() }
    }
}

impl fmt::Display for WrongSetting {
    /// One line: the setting, where it was found if that is a file, what is wrong and what to write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, file, problem } = self;
        match file {
            Some(file) => write!(f, "{name} (in {file}): {problem}"),
            None => write!(f, "{name}: {problem}"),
        }
    }
}
