//! The documents that are written from the declarations: `config/default.toml` and `.env.example`.

use std::fmt::Write as _;

use super::declare::{Declared, Section, Unset};
use super::names::{FILE_SUFFIX, key};

/// Where settings are looked up.
const TOML_HEAD: &str = "\
# Every setting of boxoffice, with its default, which is compiled into the program. `just settings` writes this file
# from where they are declared, crates/boxoffice/src/settings/.
#
# A setting is looked up in this order, and the first one found counts:
#   1. the environment, under the setting's name in capitals (DATABASE_URL, PORT, …);
#      an empty variable is an unset one. Some may come in a file, which X_FILE names; X itself wins over it
#   2. in development, the file .env in the working directory (see .env.example); a name in it that is nearly one of
#      ours stops the start, unless that one is set as well, and other names are left to other tools
#   3. config/<BOXOFFICE_ENV>.toml in the working directory, if there is one
#   4. its default
#
# BOXOFFICE_ENV itself is `development` (the default) or `production`, and is set in the environment only.
# A setting that is commented out here has no default, or one that the comment tells.
# Durations are written as 500ms, 30s, 5m, 24h, 30d. Lists are texts, separated by commas.
";

const ENV_HEAD: &str = "\
# Copy to .env and edit; it is read in development only, and a variable of the environment beats it.
# Every variable is explained in config/default.toml. What is commented out shows the default or an example.
";

/// `config/default.toml`: every setting with all that is known of it.
pub(super) fn default_toml(sections: &[Section]) -> String {
    let mut text = TOML_HEAD.to_owned();
    for section in sections {
        let _ = writeln!(text, "\n\n{:-<114}", format!("# --- {} ", section.title));
        text.push_str("#\n");
        comment(&mut text, &section.about);
        for setting in &section.settings {
            text.push('\n');
            explain(&mut text, setting);
        }
    }
    text
}

/// `.env.example`: every setting, commented out.
pub(super) fn env_example(sections: &[Section]) -> String {
    let mut text = ENV_HEAD.to_owned();
    for section in sections {
        text.push('\n');
        for Declared { name, facts, .. } in &section.settings {
            let default = match facts.unset {
                Unset::Default(text) | Unset::DefaultByEnvironment { development: text, .. } => Some(text),
                Unset::Absent => None,
            };
            let shown: Vec<_> = default.into_iter().chain(facts.example).collect();
            for value in if shown.is_empty() { &[""][..] } else { &shown } {
                let _ = writeln!(text, "# {name}={value}");
            }
        }
    }
    text
}

fn explain(text: &mut String, Declared { name, about, facts }: &Declared) {
    comment(text, about);
    let mut must = facts.must.clone();
    must[..1].make_ascii_uppercase();
    let _ = writeln!(text, "# {must}.");
    if facts.in_file {
        let _ = writeln!(text, "# May come in a file, which {name}{FILE_SUFFIX} names.");
    }
    let key = key(name);
    let _ = match facts.unset {
        Unset::Default(default) => writeln!(text, "{key} = {}", toml(default)),
        Unset::DefaultByEnvironment { development, production } => {
            writeln!(
                text,
                "# Unset: `{production}` in production, `{development}` otherwise.\n# {key} = {}",
                toml(development)
            )
        }
        Unset::Absent => writeln!(text, "# {key} = {}", toml(facts.example.unwrap_or_default())),
    };
}

/// Lines of doc comments, without the fences of what is shown as it is.
fn comment(text: &mut String, about: &[&str]) {
    for line in about.iter().filter(|line| !line.trim_start().starts_with("```")) {
        let _ = writeln!(text, "#{line}");
    }
}

/// A text as a value of TOML: numbers and switches as they are, the others in quotes.
fn toml(text: &str) -> String {
    if text.parse::<i64>().is_ok() || text.parse::<bool>().is_ok() { text.to_owned() } else { format!("{text:?}") }
}
