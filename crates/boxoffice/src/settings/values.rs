//! Parsers of numbers, switches, durations, lists and secrets.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use secrecy::SecretString;

use super::parser::Parser;
use crate::secret_file::MIN_SECRET_BYTES;

/// A whole number of this range.
pub(super) fn whole<T>(range: RangeInclusive<T>) -> Parser<T>
where
    T: TryFrom<u64> + PartialOrd + Display + 'static,
{
    let must = format!("must be a whole number from {} to {}", range.start(), range.end());
    Parser::new(must, move |raw| {
        let number = T::try_from(raw.parse().ok()?).ok()?;
        range.contains(&number).then_some(number)
    })
}

/// A share, from 0.0 to 1.0.
pub(super) fn share() -> Parser<f64> {
    Parser::new("must be a number from 0 to 1", |raw| raw.parse().ok().filter(|share| (0.0..=1.0).contains(share)))
}

/// `true` or `false`.
pub(super) fn switch() -> Parser<bool> {
    one_of([("true", true), ("false", false)])
}

/// One of these words.
pub(super) fn one_of<T: Copy + 'static>(words: [(&'static str, T); 2]) -> Parser<T> {
    let must = format!("must be {}", words.map(|(word, _)| word).join(" or "));
    Parser::new(must, move |raw| words.iter().find(|(word, _)| *word == raw).map(|(_, value)| *value))
}

/// A text of any kind, trimmed.
pub(super) fn text() -> Parser<String> {
    Parser::with_complaints("must not be empty", |raw| Ok::<_, String>(raw.trim().to_owned()))
}

/// A duration, with its unit.
pub(super) fn duration() -> Parser<Duration> {
    Parser::new("must be a duration such as 500ms, 30s, 5m or 24h", |raw| humantime::parse_duration(raw).ok())
}

/// A duration of so many milliseconds.
pub(super) fn duration_within_ms(range: RangeInclusive<u64>) -> Parser<Duration> {
    let [shortest, longest] = [*range.start(), *range.end()].map(Duration::from_millis);
    let [from, to] = [shortest, longest].map(humantime::format_duration);
    duration_that(format!("must be from {from} to {to}"), move |duration| {
        (shortest..=longest).contains(&duration).then_some(duration)
    })
}

/// A duration of one second or more, in seconds.
pub(super) fn whole_secs() -> Parser<u32> {
    duration_that(format!("must be whole seconds, at least 1s and at most {}s", u32::MAX), |duration| {
        let secs = u32::try_from(duration.as_secs()).ok()?;
        (secs >= 1 && duration.subsec_nanos() == 0).then_some(secs)
    })
}

/// A duration in seconds, which may be none.
pub(super) fn secs_or_none() -> Parser<u32> {
    duration_that(format!("must be whole seconds, at most {}s, or 0", u32::MAX), |duration| {
        u32::try_from(duration.as_secs()).ok().filter(|_| duration.subsec_nanos() == 0)
    })
}

/// A duration of which `narrow` makes a value.
fn duration_that<T: 'static>(must: String, narrow: impl Fn(Duration) -> Option<T> + 'static) -> Parser<T> {
    let told = must.clone();
    Parser::with_complaints(must, move |raw| {
        narrow(duration().parse(raw)?).ok_or_else(|| format!("{told}, not {:?}", raw.trim()))
    })
}

/// Items separated by commas; spaces around them and empty ones do not count.
pub(super) fn list<T: 'static>(item: Parser<T>) -> Parser<Vec<T>> {
    Parser::with_complaints(item.must().to_owned(), move |raw| {
        let items = raw.split(',').map(str::trim).filter(|part| !part.is_empty());
        items.map(|part| item.parse(part)).collect::<Result<_, _>>()
    })
}

/// What tokens are signed with.
pub(super) fn secret() -> Parser<SecretString> {
    const HINT: &str = "write the output of `openssl rand -base64 48`";
    let must = format!("must have at least {MIN_SECRET_BYTES} bytes");
    let told = must.clone();
    Parser::with_complaints(format!("{must}: {HINT}"), move |raw| match raw.len() {
        MIN_SECRET_BYTES.. => Ok(SecretString::from(raw)),
        short => Err(format!("{told}, not {short}: {HINT}")),
    })
}
