//! A layer of settings: the defaults, a file, `.env`, or the environment.

use std::ffi::OsString;
use std::fs;

use config::{ConfigError, Map, Source, Value};

use super::declare::{Section, Unset};
use super::names::{FILE_SUFFIX, Names, key};
use super::wrong::WrongSetting;

/// The texts of a layer, by the key they have in files.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer(Map<String, Value>);

impl Layer {
    /// The lowest layer: what is declared as a default.
    pub(super) fn of_defaults(sections: &[Section]) -> Self {
        let mut layer = Self::default();
        for setting in sections.iter().flat_map(|section| &section.settings) {
            if let Unset::Default(text) = setting.facts.unset {
                layer.insert(setting.name, text.to_owned(), None);
            }
        }
        layer
    }

    /// The values of a file, by their keys, which may be unknown.
    pub(super) fn of_file(file: &String, values: Map<String, Value>) -> Self {
        Self(values.into_iter().map(|(key, value)| (key, Value::new(Some(file), value.kind))).collect())
    }

    /// The layer of the environment: the variables that are settings and not empty. The environment is shared with
    /// other programs: a name that is nearly ours may be theirs, and is only warned of.
    pub(super) fn of_environment(
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        names: &Names,
        wrong: &mut Vec<WrongSetting>,
        warnings: &mut Vec<String>,
    ) -> Self {
        let mut layer = Self::default();
        let mut misspelt = Vec::new();
        for (name, value) in variables {
            let Some(known) = name.to_str().filter(|name| names.is_variable(name)) else {
                let name = name.to_string_lossy().into_owned();
                misspelt.extend(names.meant(&name).map(|meant| (name, meant)));
                continue;
            };
            match value.into_string() {
                Ok(value) => layer.insert(known, value, None),
                Err(_) => wrong.push(WrongSetting::new(known, None, "must be UTF-8")),
            }
        }
        layer.read_files(names, wrong);
        misspelt.retain(|(_, meant)| !layer.has(meant));
        warnings
            .extend(misspelt.into_iter().map(|(name, meant)| format!("{name}: is no setting; did you mean {meant}?")));
        layer
    }

    /// Whether a setting is in this layer.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(&key(name))
    }

    /// Takes the text of a setting out of this layer.
    pub(super) fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(&key(name)).and_then(|value| value.into_string().ok())
    }

    /// Adds a setting, unless its text is empty.
    pub(super) fn insert(&mut self, name: &str, text: String, file: Option<&String>) {
        if !text.trim().is_empty() {
            self.0.insert(key(name), Value::new(file, text));
        }
    }

    /// Replaces each `X_FILE` with the `X` that its file holds, unless the layer has an `X` itself. A file that cannot
    /// be read is an error: the default of a database's address is another database.
    pub(super) fn read_files(&mut self, names: &Names, wrong: &mut Vec<WrongSetting>) {
        for name in names.in_files() {
            let variable = format!("{name}{FILE_SUFFIX}");
            let Some(path) = self.0.remove(&key(&variable)) else { continue };
            if self.has(name) {
                continue;
            }
            let origin = path.origin().map(str::to_owned);
            let path = path.into_string().unwrap_or_default();
            let problem = match fs::read_to_string(&path) {
                Ok(text) if text.trim().is_empty() => format!("{path} is empty"),
                Ok(text) => {
                    self.insert(name, text.trim_end_matches(['\n', '\r']).to_owned(), origin.as_ref());
                    continue;
                }
                Err(error) => format!("cannot read {path}: {error}"),
            };
            wrong.push(WrongSetting::new(variable, origin.as_deref(), problem));
        }
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
