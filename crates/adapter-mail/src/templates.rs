//! The texts of all letters, compiled in; files of an operator's folder replace them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::{fs, io};

use domain::MailKind;
use minijinja::{Environment, UndefinedBehavior};
use thiserror::Error;

use crate::words::{NAMES, Words};

/// The frame of every HTML letter.
const LAYOUT: (&str, &str) = ("layout.html", include_str!("../templates/layout.html"));

/// What the first line of a text template begins with.
const SUBJECT: &str = "Subject:";

/// The texts of a kind, as they come with the program: plain and HTML.
fn built_in(kind: MailKind) -> [&'static str; 2] {
    macro_rules! files {
        ($name:literal) => {
            [
                include_str!(concat!("../templates/", $name, ".txt")),
                include_str!(concat!("../templates/", $name, ".html")),
            ]
        };
    }
    match kind {
        MailKind::SeatConfirmed => files!("seat_confirmed"),
        MailKind::SeatCancelled => files!("seat_cancelled"),
        MailKind::EventMoved => files!("event_moved"),
        MailKind::EventDeleted => files!("event_deleted"),
        MailKind::Reminder => files!("reminder"),
    }
}

/// Why the templates cannot be used.
#[derive(Debug, Error)]
pub enum TemplateError {
    /// The folder, or a file in it, cannot be read.
    #[error("{path}: {error}", path = path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file has the ending of a template and the name of none.
    #[error("{path}: there is no template of this name; there are {known}", path = path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The names.
        known: String,
    },
    /// A template is wrong.
    #[error("{file}, line {line}: {problem}")]
    Wrong {
        /// The file, or the template's name if it came with the program.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

/// A letter's words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// One line.
    pub(crate) subject: String,
    /// Plain text.
    pub(crate) text: String,
    /// A document.
    pub(crate) html: String,
}

/// The templates of every kind.
#[derive(Debug)]
pub(crate) struct Templates {
    environment: Environment<'static>,
    folder: Option<PathBuf>,
    /// Names of those that the folder holds.
    replaced: Vec<String>,
}

impl Templates {
    /// Reads all templates, and tries each with every variable and with those alone that always have a value.
    pub(crate) fn read(folder: Option<&Path>) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        let mut templates = Self { environment, folder: folder.map(Path::to_owned), replaced: Vec::new() };
        let known = known();
        if let Some(folder) = folder {
            refuse_other_names(folder, &known)?;
        }
        for (name, built_in) in known {
            templates.add(&name, built_in)?;
        }
        templates.try_all()?;
        Ok(templates)
    }

    /// Puts a kind into words.
    pub(crate) fn write(&self, kind: MailKind, words: &Words) -> Result<Written, TemplateError> {
        let render = |name: &str| {
            let rendered = self.environment.get_template(name).and_then(|template| template.render(words.context()));
            rendered.map_err(|error| self.wrong(name, &error))
        };
        let text_name = format!("{}.txt", kind.as_str());
        let text = render(&text_name)?;
        let (first, body) = text.split_once('\n').unwrap_or((&text, ""));
        let subject = first.strip_prefix(SUBJECT).map(str::trim).filter(|subject| !subject.is_empty());
        let Some(subject) = subject else {
            let problem = format!("the first line must be the subject, as in {SUBJECT} See you soon");
            return Err(TemplateError::Wrong { file: self.file(&text_name), line: 1, problem });
        };
        let html = render(&format!("{}.html", kind.as_str()))?;
        Ok(Written {
            subject: subject.to_owned(),
            text: format!("{}\n", body.trim()),
            html: format!("{}\n", html.trim()),
        })
    }

    fn add(&mut self, name: &str, built_in: &'static str) -> Result<(), TemplateError> {
        let replacement = self.folder.as_ref().and_then(|folder| {
            let path = folder.join(name);
            match fs::read_to_string(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                read => Some(read.map_err(|error| TemplateError::Unreadable { path, error })),
            }
        });
        let source = match replacement {
            Some(read) => {
                self.replaced.push(name.to_owned());
                read?
            }
            None => built_in.to_owned(),
        };
        self.environment.add_template_owned(name.to_owned(), source).map_err(|error| self.wrong(name, &error))
    }

    fn try_all(&self) -> Result<(), TemplateError> {
        for (name, template) in self.environment.templates() {
            // A branch that no sample takes may name a variable that there is not.
            let mut unknown: Vec<_> =
                template.undeclared_variables(false).into_iter().filter(|name| !is_variable(name)).collect();
            unknown.sort();
            if let Some(variable) = unknown.first() {
                let line = template.source().lines().position(|line| names(line, variable)).map_or(1, |at| at + 1);
                let problem = format!("there is no variable {variable}; there are {}", NAMES.join(", "));
                return Err(TemplateError::Wrong { file: self.file(name), line, problem });
            }
        }
        for kind in MailKind::ALL {
            for is_full in [true, false] {
                self.write(kind, &Words::sample(is_full))?;
            }
        }
        Ok(())
    }

    fn wrong(&self, name: &str, error: &minijinja::Error) -> TemplateError {
        let file = self.file(error.name().unwrap_or(name));
        let problem = match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        };
        TemplateError::Wrong { file, line: error.line().unwrap_or(1), problem }
    }

    /// The file of this name, or the name of one that came with the program.
    fn file(&self, name: &str) -> String {
        match &self.folder {
            Some(folder) if self.replaced.iter().any(|replaced| replaced == name) => {
                folder.join(name).display().to_string()
            }
            _ => name.to_owned(),
        }
    }
}

/// Every template's name, and its text as it comes with the program.
fn known() -> Vec<(String, &'static str)> {
    let of_kinds = MailKind::ALL.into_iter().flat_map(|kind| {
        let [text, html] = built_in(kind);
        [(format!("{}.txt", kind.as_str()), text), (format!("{}.html", kind.as_str()), html)]
    });
    [(LAYOUT.0.to_owned(), LAYOUT.1)].into_iter().chain(of_kinds).collect()
}

/// A misspelt name would leave the text that came with the program, and nobody would be told.
fn refuse_other_names(folder: &Path, known: &[(String, &str)]) -> Result<(), TemplateError> {
    let unreadable = |error| TemplateError::Unreadable { path: folder.to_owned(), error };
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_template = path.extension().is_some_and(|ending| ending == "txt" || ending == "html");
        let is_known = |(name, _): &(String, &str)| path.file_name().is_some_and(|file| file == name.as_str());
        if is_template && !known.iter().any(is_known) {
            let names: Vec<_> = known.iter().map(|(name, _)| name.as_str()).collect();
            return Err(TemplateError::Unknown { path, known: names.join(", ") });
        }
    }
    Ok(())
}

/// Whether a template may name it: a variable, a function of minijinja, or what blocks are called by.
fn is_variable(name: &str) -> bool {
    NAMES.contains(&name) || matches!(name, "self" | "super" | "range" | "dict" | "namespace")
}

/// Whether a line of a template has this word in it.
fn names(line: &str, word: &str) -> bool {
    line.split(|char: char| !char.is_alphanumeric() && char != '_').any(|part| part == word)
}
