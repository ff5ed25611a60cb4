//! The settings of the log.

use super::declare::settings;
use super::log_filter;
use super::parser::Parser;
use super::values::one_of;

settings! {
    /// What is logged, and how. Logs go to standard error.
    pub struct Log {
        /// One JSON object a line, or lines for people.
        LOG_FORMAT => format: LogFormat = one_of([("json", LogFormat::Json), ("pretty", LogFormat::Pretty)])
            .default_by_environment("pretty", "json");

        /// The levels of what is logged, separated by commas. The lines about requests have the target `access`.
        RUST_LOG => filter: String = Parser::with_complaints(log_filter::MUST, log_filter::parse)
            .default_by_environment("info", "info,access=warn");
    }
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Pretty,
}
