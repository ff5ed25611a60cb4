//! The settings as texts, and what is wrong with them so far.

use std::str::FromStr;

use config::{Map, Value};

use super::declare::Setting;
use super::environment::Environment;
use super::names::{FILE_SUFFIX, key};
use super::wrong::{WrongSetting, WrongSettings};

/// The text of each setting, and the complaints about them.
#[derive(Debug)]
pub(super) struct Texts {
    environment: Environment,
    values: Map<String, Value>,
    wrong: Vec<WrongSetting>,
    warnings: Vec<String>,
}

impl Texts {
    /// Texts by the key they have in files, with the complaints about the layers they are from.
    pub(super) fn new(
        environment: Environment,
        values: Map<String, Value>,
        wrong: Vec<WrongSetting>,
        warnings: Vec<String>,
    ) -> Self {
        Self { environment, values, wrong, warnings }
    }

    /// Where the program runs.
    pub(super) fn environment(&self) -> Environment {
        self.environment
    }

    /// Reads a setting; `None` if it is wrong.
    pub(super) fn read<T: 'static>(&mut self, name: &str, setting: &Setting<T>) -> Option<T> {
        let text = self.find(name).transpose();
        match text.and_then(|text| setting.read(text.as_deref(), self.environment)) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.complain(name, problem);
                None
            }
        }
    }

    /// The number that a setting is; `None` if it is none.
    pub(super) fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    /// The text of a setting, if it has one.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.find(name)?.ok()
    }

    /// Whether a setting has a text, or would have one if its file could be read, which has a complaint of its own.
    pub(super) fn is_set(&self, name: &str) -> bool {
        let unreadable = |wrong: &WrongSetting| wrong.name.strip_suffix(FILE_SUFFIX) == Some(name);
        self.find(name).is_some() || self.wrong.iter().any(unreadable)
    }

    /// Adds a complaint about what is written.
    pub(super) fn complain(&mut self, name: &str, problem: impl Into<String>) {
        let file = self.values.get(&key(name)).and_then(|value| value.origin());
        self.wrong.push(WrongSetting::new(name, file, problem));
    }

    /// Adds a complaint about what is missing.
    pub(super) fn miss(&mut self, name: &str, problem: impl Into<String>) {
        self.wrong.push(WrongSetting::new(name, None, problem));
    }

    /// What an operator should look at, though it stops nothing: a line each.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// What was read, unless there is a complaint.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, WrongSettings> {
        read.filter(|_| self.wrong.is_empty()).ok_or(WrongSettings(self.wrong))
    }

    /// The setting's text; `None` if there is none or it is empty.
    fn find(&self, name: &str) -> Option<Result<String, String>> {
        let value = self.values.get(&key(name))?;
        match value.clone().into_string() {
            Ok(text) if text.trim().is_empty() => None,
            Ok(text) => Some(Ok(text)),
            Err(_) => Some(Err("must be one value, not a list or a table; lists are texts with commas".to_owned())),
        }
    }
}
