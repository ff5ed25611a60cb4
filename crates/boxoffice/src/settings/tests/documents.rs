//! What is written about settings.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;

use super::{SECRET, load_in};
use crate::settings::declare::Unset;
use crate::settings::names::Names;
use crate::settings::{Purpose, Settings, sections};

const OPERATIONS: &str = include_str!("../../../../../docs/operations.md");

#[test]
fn the_documents_are_those_of_the_declarations() {
    // `just settings` writes them.
    expect_file!["../../../../../config/default.toml"].assert_eq(&Settings::default_toml());
    expect_file!["../../../../../.env.example"].assert_eq(&Settings::env_example());
}

#[test]
fn the_examples_can_be_used_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("config")).unwrap();
    let uncommented = |text: &str, is_setting: fn(&str, &str) -> bool| -> String {
        let settings = text.lines().map(|line| line.trim_start_matches("# "));
        let settings =
            settings.filter(|line| line.split_once('=').is_some_and(|(name, value)| is_setting(name, value)));
        settings.flat_map(|line| [line, "\n"]).collect()
    };
    let is_variable = |name: &str, _: &str| name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let is_entry =
        |key: &str, value: &str| key.ends_with(' ') && value.starts_with(' ') && !key.trim().contains([' ', '`']);
    let variables = uncommented(&Settings::env_example(), is_variable);
    let entries = uncommented(&Settings::default_toml(), is_entry);
    assert_eq!(entries.lines().count(), sections().iter().map(|section| section.settings.len()).sum::<usize>());
    for (file, text) in [("config/development.toml", entries), (".env", variables)] {
        fs::write(home.path().join(file), &text).unwrap();
        let settings = load_in(home.path(), Purpose::Operate, &[]);
        assert_eq!(settings.expect(file).http.trusted_proxies.len(), 3, "{file}");
        fs::remove_file(home.path().join(file)).unwrap();
    }
}

#[test]
fn every_setting_is_explained() {
    for setting in sections().iter().flat_map(|section| &section.settings) {
        assert!(!setting.about.is_empty() && setting.facts.must.starts_with("must "), "{setting:?}");
    }
}

#[test]
fn deadlines_have_the_same_defaults_in_the_manual() {
    let sections = sections();
    let deadlines = sections.iter().find(|section| section.title == "Deadlines").unwrap();
    for setting in &deadlines.settings {
        let Unset::Default(default) = setting.facts.unset else { panic!("{setting:?}") };
        let told = format!("| `{}`, {default} ", setting.name);
        assert!(OPERATIONS.contains(&told), "docs/operations.md: {told}");
    }
}

#[test]
fn the_file_of_production_repeats_the_defaults_there() {
    let repository = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let [with_file, without] = [repository, tempfile::tempdir().unwrap().path()].map(|directory| {
        let variables = [("BOXOFFICE_ENV", "production"), ("JWT_SECRET", SECRET)];
        let settings = load_in(directory, Purpose::Serve, &variables).unwrap();
        Settings { directory: PathBuf::new(), ..settings }
    });
    assert_eq!(format!("{with_file:?}"), format!("{without:?}"));
}

#[test]
fn files_of_a_deployment_set_nothing_but_settings() {
    let names = Names::of(&sections());
    let set = |text: &str, between: char| -> Vec<String> {
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        lines.filter_map(|line| line.split_once(between)).map(|(name, _)| name.to_owned()).collect()
    };
    let environment = set(include_str!("../../../../../deploy/systemd/environment"), '=');
    let config_map = set(include_str!("../../../../../deploy/kubernetes/configmap.yaml"), ':');
    assert!(environment.len() > 5 && config_map.len() > 10, "{environment:?} {config_map:?}");
    for name in environment.iter().chain(&config_map) {
        assert!(names.is_variable(name), "{name} is no setting");
    }
}
