//! The files of `config/`, and where in them something is wrong.

use std::fs;
use std::io;
use std::path::Path;

use config::{ConfigError, File, FileFormat, Source};

use super::layer::Layer;
use super::wrong::WrongSetting;

/// The layer of a file; an empty one if there is no file.
pub(super) fn layer(path: &Path, wrong: &mut Vec<WrongSetting>) -> Layer {
    let file = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Layer::default(),
        Err(error) => {
            wrong.push(WrongSetting::new(file, None, format!("cannot be read: {error}")));
            return Layer::default();
        }
    };
    if let Err(error) = text.parse::<toml::Table>() {
        // The error's own text quotes the file, where secrets may be.
        let (line, column) = place(&text, error.span().map_or(0, |span| span.start));
        let problem = format!("cannot be read: {}", error.message().lines().next().unwrap_or("no TOML"));
        wrong.push(WrongSetting::new(format!("{file}, line {line}, column {column}"), None, problem));
        return Layer::default();
    }
    match File::from_str(&text, FileFormat::Toml).collect() {
        Ok(values) => Layer::of_file(&file, values),
        Err(error) => {
            wrong.push(WrongSetting::new(file, None, first_line(&error)));
            Layer::default()
        }
    }
}

/// The line and the column of a byte in a text, both from 1.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The gist of an error about a file. The rest of it quotes the file, where secrets may be.
pub(super) fn first_line(error: &ConfigError) -> String {
    let text = match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => other.to_string(),
    };
    format!("cannot be read: {}", text.lines().next().unwrap_or_default())
}
