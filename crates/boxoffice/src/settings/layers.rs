//! Where settings are looked up, and in which order.

use std::ffi::OsString;
use std::path::Path;

use config::{Config, Source as _};

use super::declare::Section;
use super::dotenv;
use super::environment::{ENVIRONMENT, Environment};
use super::layer::Layer;
use super::names::Names;
use super::texts::Texts;
use super::toml_file;
use super::wrong::{WrongSetting, WrongSettings};

/// The text of each setting from the first layer that has it: these variables, `.env` in development, the file of the
/// environment, the defaults.
pub(super) fn merge(
    sections: &[Section],
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    directory: &Path,
) -> Result<Texts, WrongSettings> {
    let names = Names::of(sections);
    let mut wrong = Vec::new();
    let mut warnings = Vec::new();
    let mut variables = Layer::of_environment(variables, &names, &mut wrong, &mut warnings);
    let environment = match variables.remove(ENVIRONMENT).as_deref().map(Environment::parse) {
        None => Environment::Development,
        Some(Ok(environment)) => environment,
        Some(Err(problem)) => {
            wrong.push(WrongSetting::new(ENVIRONMENT, None, problem));
            return Err(WrongSettings(wrong));
        }
    };
    let dotenv = match environment {
        Environment::Development => dotenv::layer(&directory.join(".env"), &variables, &names, &mut wrong),
        Environment::Production => Layer::default(),
    };
    let file = directory.join("config").join(environment.as_str()).with_extension("toml");
    let layered = Config::builder()
        .add_source(Layer::of_defaults(sections))
        .add_source(toml_file::layer(&file, &mut wrong))
        .add_source(dotenv)
        .add_source(variables)
        .build()
        .and_then(|layered| layered.collect());
    match layered {
        Ok(values) => {
            let mut unknown: Vec<_> = values
                .iter()
                .filter_map(|(key, value)| Some(WrongSetting::new(key, value.origin(), names.refuse_key(key)?)))
                .collect();
            unknown.sort_by(|a, b| a.name.cmp(&b.name));
            wrong.extend(unknown);
            Ok(Texts::new(environment, values, wrong, warnings))
        }
        Err(error) => {
            wrong.push(WrongSetting::new("settings", None, toml_file::first_line(&error)));
            Err(WrongSettings(wrong))
        }
    }
}
