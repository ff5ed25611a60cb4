//! The declaration of a setting, from which all else follows: its field, its default, what is said of a wrong text,
//! the names that are known, and its lines in `config/default.toml` and `.env.example`.

use super::environment::Environment;

/// Declares the settings of one concern, as a struct with a field for each:
///
/// ```text
/// settings! {
///     /// What the section is about, for `config/default.toml` and for the docs of the struct.
///     pub struct Database {
///         /// What the setting is for, for both as well. What its text must be is added by its parser.
///         DATABASE_POOL_SIZE => pool_size: u32 = whole(1..=65_535).default_to("10");
///     }
/// }
/// ```
macro_rules! settings {
    (
        $(#[doc = $section_about:literal])*
        pub struct $section:ident {$(
            $(#[doc = $about:literal])*
            $name:ident => $field:ident: $value:ty = $setting:expr;
        )*}
    ) => {
        $(#[doc = $section_about])*
        #[derive(Debug, Clone)]
        pub struct $section {$(
            #[doc = concat!("`", stringify!($name), "`")]
            #[doc = ""]
            $(#[doc = $about])*
            pub $field: $value,
        )*}

        impl $section {
            /// What is declared here.
            pub(super) fn section() -> $crate::settings::declare::Section {
                $crate::settings::declare::Section {
                    title: stringify!($section),
                    about: vec![$($section_about),*],
                    settings: vec![$($setting.declared(stringify!($name), vec![$($about),*])),*],
                }
            }

            /// Reads every setting, so that all complaints are made at once; `None` if there was one.
            pub(super) fn read(texts: &mut $crate::settings::texts::Texts) -> Option<Self> {
                $(let $field = texts.read(stringify!($name), &$setting);)*
                Some(Self { $($field: $field?),* })
            }
        }
    };
}
pub(super) use settings;

/// The settings of one concern, as documents show them.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    /// Lines of doc comments, each with the space that it begins with.
    pub(super) about: Vec<&'static str>,
    pub(super) settings: Vec<Declared>,
}

/// A setting as documents show it.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: &'static str,
    /// Lines of doc comments, each with the space that it begins with.
    pub(super) about: Vec<&'static str>,
    pub(super) facts: Facts,
}

/// What is known of a setting besides its name and its purpose.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// What its text must be, as a sentence without its subject and its full stop: "must be true or false".
    pub(super) must: String,
    pub(super) unset: Unset,
    /// A text that it may have, if the default is not enough of an example.
    pub(super) example: Option<&'static str>,
    /// Whether `X_FILE` may name a file that holds it.
    pub(super) in_file: bool,
}

/// What a setting is when no layer has a text for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unset {
    /// This text, which is the lowest layer. An empty text in a file does not bring it back, and is refused.
    Default(&'static str),
    /// One of these texts; an empty text in a file brings it back.
    DefaultByEnvironment { development: &'static str, production: &'static str },
    /// Nothing.
    Absent,
}

impl Unset {
    /// The text that is read when there is none, apart from that of the lowest layer.
    fn text(self, environment: Environment) -> Option<&'static str> {
        match (self, environment) {
            (Self::DefaultByEnvironment { development, .. }, Environment::Development) => Some(development),
            (Self::DefaultByEnvironment { production, .. }, Environment::Production) => Some(production),
            (Self::Default(_) | Self::Absent, _) => None,
        }
    }
}

/// How a setting is read, into a `T`.
pub(super) struct Setting<T> {
    facts: Facts,
    read: Box<Read<T>>,
}

type Read<T> = dyn Fn(Option<&str>, Environment) -> Result<T, String>;

impl<T: 'static> Setting<T> {
    /// A setting whose text, if there is one, `read` makes a value of.
    pub(super) fn new(must: String, unset: Unset, read: impl Fn(Option<&str>) -> Result<T, String> + 'static) -> Self {
        let facts = Facts { must, unset, example: None, in_file: false };
        Self { facts, read: Box::new(move |text, environment| read(text.or(unset.text(environment)))) }
    }

    /// Shows this text in documents, where it explains more than the default or there is no default.
    pub(super) fn example(mut self, example: &'static str) -> Self {
        self.facts.example = Some(example);
        self
    }

    /// Lets the text come in a file, as containers and systemd hand secrets over: `X_FILE` names the file of `X`.
    pub(super) fn or_in_file(mut self) -> Self {
        self.facts.in_file = true;
        self
    }

    /// Refuses less than this in production.
    pub(super) fn at_least_in_production(mut self, least: T) -> Self
    where
        T: PartialOrd + std::fmt::Display,
    {
        self.facts.must = format!("{}, in production at least {least}", self.facts.must);
        let read = self.read;
        self.read = Box::new(move |text, environment| match read(text, environment)? {
            value if environment == Environment::Production && value < least => {
                Err(format!("must be at least {least} in production, not {value}"))
            }
            value => Ok(value),
        });
        self
    }

    /// Makes a value of the setting's text.
    pub(super) fn read(&self, text: Option<&str>, environment: Environment) -> Result<T, String> {
        (self.read)(text, environment)
    }

    /// The setting as documents show it.
    pub(super) fn declared(&self, name: &'static str, about: Vec<&'static str>) -> Declared {
        Declared { name, about, facts: self.facts.clone() }
    }
}
