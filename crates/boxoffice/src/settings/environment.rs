//! `BOXOFFICE_ENV`, which chooses the file of settings, and so is in none.

/// The name of the variable.
pub(super) const ENVIRONMENT: &str = "BOXOFFICE_ENV";

/// Where the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// On a developer's machine.
    Development,
    /// Where it counts.
    Production,
}

impl Environment {
    /// Reads the name of an environment.
    pub(super) fn parse(raw: &str) -> Result<Self, String> {
        match raw {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            other => Err(format!("must be development or production, not {other:?}")),
        }
    }

    /// The environment's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }
}
