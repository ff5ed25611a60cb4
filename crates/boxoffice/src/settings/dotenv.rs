//! The file `.env`, and where in it something is wrong. A wrong line may hold a secret: it is never shown.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::environment::ENVIRONMENT;
use super::layer::Layer;
use super::names::Names;
use super::wrong::WrongSetting;

/// A variable of `.env`.
#[derive(Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    value: String,
    /// The number of its line, from 1.
    line: usize,
}

/// A line of `.env` that cannot be read.
#[derive(Debug, PartialEq, Eq)]
struct WrongLine {
    /// Its number, from 1.
    line: usize,
    /// The variable that it sets, if that can be told.
    name: Option<String>,
    /// What is wrong, and what to write.
    problem: &'static str,
}

/// The layer of a `.env`: the variables that are settings and not empty. Other tools read the file too, and foreign
/// names are theirs; but one that is nearly ours stops the start, unless the setting it resembles is set as well.
pub(super) fn layer(path: &Path, environment: &Layer, names: &Names, wrong: &mut Vec<WrongSetting>) -> Layer {
    let file = path.display().to_string();
    let at = |line: usize| format!("{file}, line {line}");
    let mut layer = Layer::default();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return layer,
        Err(error) => {
            wrong.push(WrongSetting::new(file, None, format!("cannot be read: {error}")));
            return layer;
        }
    };
    let mut misspelt = Vec::new();
    for variable in variables(&text) {
        match variable {
            Ok(Variable { name, line, .. }) if name == ENVIRONMENT => {
                wrong.push(WrongSetting::new(name, Some(&at(line)), "must be set in the environment, not here"));
            }
            Ok(Variable { name, value, .. }) if names.is_variable(&name) => layer.insert(&name, value, Some(&file)),
            Ok(Variable { name, line, .. }) => {
                misspelt.extend(names.meant(&name).map(|meant| (name, meant, line)));
            }
            Err(WrongLine { line, name: Some(name), problem }) => {
                wrong.push(WrongSetting::new(name, Some(&at(line)), problem));
            }
            Err(WrongLine { line, name: None, problem }) => wrong.push(WrongSetting::new(at(line), None, problem)),
        }
    }
    layer.read_files(names, wrong);
    misspelt.retain(|(_, meant, _)| !layer.has(meant) && !environment.has(meant));
    wrong.extend(misspelt.into_iter().map(|(name, meant, line)| {
        WrongSetting::new(name, Some(&at(line)), format!("is no setting; did you mean {meant}?"))
    }));
    layer
}

/// Every variable in the text of a `.env`, in its order.
fn variables(text: &str) -> Vec<Result<Variable, WrongLine>> {
    // A last line without its end would be refused for a space behind its value.
    let text = format!("{}\n", text.trim_start_matches('\u{feff}'));
    let read = Cell::new(0);
    let mut begin = 0;
    let mut found = Vec::new();
    for variable in dotenvy::from_read_iter(ByLine { rest: text.as_bytes(), read: &read }) {
        let lines = text.lines().enumerate().take(read.get()).skip(begin);
        let (index, first) = lines.clone().find(|(_, line)| is_variable(line)).unwrap_or((begin, ""));
        let line = index + 1;
        found.push(match variable {
            Ok((name, value)) => Ok(Variable { name, value, line }),
            Err(_) => Err(wrong(line, first, lines.count() > line - begin)),
        });
        begin = read.get();
    }
    found
}

fn is_variable(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with('#')
}

/// What is wrong with a line; `goes_on` if the parser took it together with those below it.
fn wrong(line: usize, text: &str, goes_on: bool) -> WrongLine {
    let text = text.trim();
    let text = text.strip_prefix("export ").unwrap_or(text);
    let wrong = |name: Option<&str>, problem| WrongLine { line, name: name.map(str::to_owned), problem };
    let Some((name, value)) = text.split_once('=') else {
        return wrong(None, "there is no = in it: write NAME=value");
    };
    let name = name.trim();
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
        || name.starts_with(|c: char| !c.is_ascii_alphabetic() && c != '_')
    {
        return wrong(None, "there is no name before its =: write NAME=value");
    }
    let quotes = |quote| value.matches(quote).count();
    let problem = if goes_on || quotes('"') % 2 == 1 || quotes('\'') % 2 == 1 {
        "a quote in its value does not end: write NAME=\"value\""
    } else if value.contains('\\') {
        "there is a \\ in its value: write NAME='value' in single quotes"
    } else if value.trim().contains(char::is_whitespace) {
        "there is a space in its value: write NAME=\"the value\" in quotes"
    } else {
        "its value cannot be read: write NAME='value' in single quotes"
    };
    wrong(Some(name), problem)
}

/// Hands out one line at a time, so that `read` is the number of lines the parser has taken.
struct ByLine<'a> {
    rest: &'a [u8],
    read: &'a Cell<usize>,
}

impl Read for ByLine<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let line = self.rest.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let taken = line.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&line[..taken]);
        self.rest = &self.rest[taken..];
        if line[..taken].ends_with(b"\n") {
            self.read.set(self.read.get() + 1);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(usize, Result<String, String>)> {
        let told = |found| match found {
            Ok(Variable { name, value, line }) => (line, Ok(format!("{name}={value}"))),
            Err(WrongLine { line, name, problem }) => {
                (line, Err(format!("{}: {}", name.unwrap_or_default(), problem.split(':').next().unwrap())))
            }
        };
        variables(text).into_iter().map(told).collect()
    }

    #[test]
    fn a_variable_has_the_number_of_its_line() {
        let text = "\u{feff}PORT=3000\r\n\n# a comment\n  export HOST = '::1' # why\nA=\"two\nlines\"\n#\nB=$A\nC=x ";
        let right = |line, text: &str| (line, Ok(text.to_owned()));
        assert_eq!(
            read(text),
            [
                right(1, "PORT=3000"),
                right(4, "HOST=::1"),
                right(5, "A=two\nlines"),
                right(8, "B=two\nlines"),
                right(9, "C=x"),
            ]
        );
        assert_eq!(read(""), []);
    }

    #[test]
    fn a_wrong_line_is_told_with_its_number_and_its_fault() {
        for (line, told) in [
            ("s3cret", ": there is no = in it"),
            ("my s3cret=x", ": there is no name before its ="),
            ("1A=s3cret", ": there is no name before its ="),
            ("A=s3cret words", "A: there is a space in its value"),
            ("export A=s3cret words", "A: there is a space in its value"),
            ("A=s3\\cret", "A: there is a \\ in its value"),
            ("A=${s3cret", "A: its value cannot be read"),
        ] {
            let text = format!("# first\nPORT=1\n\n{line}\nHOST=b\n");
            let expected = [(2, Ok("PORT=1".to_owned())), (4, Err(told.to_owned())), (5, Ok("HOST=b".to_owned()))];
            assert_eq!(read(&text), expected, "{line}");
        }
    }

    #[test]
    fn a_quote_without_an_end_is_told_where_it_begins() {
        let told = || "A: a quote in its value does not end".to_owned();
        assert_eq!(read("PORT=1\n#\nA=\"s3cret\nHOST=b\n"), [(1, Ok("PORT=1".to_owned())), (3, Err(told()))]);
        assert_eq!(read("A='s3cret"), [(1, Err(told()))]);
    }
}
