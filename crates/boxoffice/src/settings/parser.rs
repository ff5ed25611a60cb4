//! How the text of a setting becomes a value, and when it does not, what it must be.

use super::declare::{Setting, Unset};

/// Makes a `T` of a text.
pub(super) struct Parser<T> {
    /// What the text must be, as a sentence without its subject and its full stop: "must be true or false".
    must: String,
    parse: Box<Parse<T>>,
}

type Parse<T> = dyn Fn(&str) -> Result<T, String>;

impl<T: 'static> Parser<T> {
    /// A parser whose complaint is "must …, not "…"": it quotes the text, trimmed, and so is not for secrets.
    pub(super) fn new(must: impl Into<String>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        let must = must.into();
        let told = must.clone();
        Self::with_complaints(must, move |raw| parse(raw.trim()).ok_or_else(|| format!("{told}, not {:?}", raw.trim())))
    }

    /// A parser with complaints of its own, which sees the text untrimmed.
    pub(super) fn with_complaints<E: ToString>(
        must: impl Into<String>,
        parse: impl Fn(&str) -> Result<T, E> + 'static,
    ) -> Self {
        Self { must: must.into(), parse: Box::new(move |raw| parse(raw).map_err(|error| error.to_string())) }
    }

    /// Makes a value of a text, or says what the text must be.
    pub(super) fn parse(&self, raw: &str) -> Result<T, String> {
        (self.parse)(raw)
    }

    /// What the text must be.
    pub(super) fn must(&self) -> &str {
        &self.must
    }

    /// A setting that is this text when it is not set.
    pub(super) fn default_to(self, text: &'static str) -> Setting<T> {
        let Self { must, parse } = self;
        Setting::new(must, Unset::Default(text), move |text| parse(text.ok_or("must not be empty")?))
    }

    /// A setting that is one of these texts when it is not set.
    pub(super) fn default_by_environment(self, development: &'static str, production: &'static str) -> Setting<T> {
        let Self { must, parse } = self;
        let unset = Unset::DefaultByEnvironment { development, production };
        Setting::new(must, unset, move |text| parse(text.unwrap_or_default()))
    }

    /// A setting that is nothing when it is not set.
    pub(super) fn optional(self) -> Setting<Option<T>> {
        let Self { must, parse } = self;
        Setting::new(must, Unset::Absent, move |text| text.map(&parse).transpose())
    }
}

impl Parser<String> {
    /// A setting that is nothing when it is not set, and else what is made of its text.
    pub(super) fn optional_as<T: 'static>(self, make: impl Fn(String) -> T + 'static) -> Setting<Option<T>> {
        let Self { must, parse } = self;
        Setting::new(must, Unset::Absent, move |text| text.map(|text| parse(text).map(&make)).transpose())
    }
}

impl<T: 'static> Parser<Vec<T>> {
    /// A setting that is an empty list when it is not set.
    pub(super) fn or_empty(self) -> Setting<Vec<T>> {
        let Self { must, parse } = self;
        Setting::new(must, Unset::Absent, move |text| text.map_or(Ok(Vec::new()), &parse))
    }
}
