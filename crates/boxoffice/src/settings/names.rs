//! The names of settings: which are known, and which was probably meant.

use super::declare::Section;
use super::environment::ENVIRONMENT;
use super::spelling;

/// What the name of a setting ends with when its value is the path of a file.
pub(super) const FILE_SUFFIX: &str = "_FILE";

/// The key of a setting in files.
pub(super) fn key(name: &str) -> String {
    name.to_lowercase()
}

/// The names of all settings, in capitals.
#[derive(Debug)]
pub(super) struct Names {
    all: Vec<&'static str>,
    in_files: Vec<&'static str>,
}

impl Names {
    /// The names of what is declared, and that of the environment.
    pub(super) fn of(sections: &[Section]) -> Self {
        let declared = || sections.iter().flat_map(|section| &section.settings);
        Self {
            all: declared().map(|setting| setting.name).chain([ENVIRONMENT]).collect(),
            in_files: declared().filter(|setting| setting.facts.in_file).map(|setting| setting.name).collect(),
        }
    }

    /// The settings that may come in a file.
    pub(super) fn in_files(&self) -> &[&'static str] {
        &self.in_files
    }

    /// Whether a variable of this name is a setting, or names the file of one.
    pub(super) fn is_variable(&self, name: &str) -> bool {
        self.all.contains(&name) || name.strip_suffix(FILE_SUFFIX).is_some_and(|name| self.in_files.contains(&name))
    }

    /// The setting that a variable of this name probably misspells.
    pub(super) fn meant(&self, name: &str) -> Option<&'static str> {
        spelling::meant(name, self.all.iter().copied())
    }

    /// What is wrong with a key of a file, if anything is.
    pub(super) fn refuse_key(&self, written: &str) -> Option<String> {
        if written.eq_ignore_ascii_case(ENVIRONMENT) {
            return Some("chooses the file and cannot be in it: set it in the environment".to_owned());
        }
        let keys: Vec<_> = self.all.iter().map(|name| key(name)).collect();
        if keys.iter().any(|key| key == written) {
            return None;
        }
        let meant = spelling::meant(written, keys.iter().map(String::as_str));
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        Some(format!("is no setting: config/default.toml lists them all, in lower case{hint}"))
    }
}
