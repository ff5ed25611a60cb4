//! Fields of a request on their way through the domain's doors.
//!
//! A [`Given`] field never fails to deserialise: it remembers what was wrong with it, so that garde
//! can report all wrong fields of a request at once. No limit is written here: the doors know them.

use domain::{
    DeliveryStatus, Description, EmailAddress, EventId, EventOrder, EventTitle, FactPattern, FactType, Invalid,
    PageNumber, PageRequest, PageSize, Password, PersonName, RegistrationStatus, Role, SeatCount, StartsAt, Timestamp,
    TitleSearch, UserId, Venue, WebhookUrl,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::problem::Problem;
use crate::violation::{FieldError, Violation};

/// All the wrong fields that garde found, as one problem.
pub(crate) fn report(report: &garde::Report) -> Problem {
    let mut errors: Vec<_> = report
        .iter()
        .map(|(path, error)| {
            let (code, message) = error.message().split_once(": ").unwrap_or(("invalid", error.message()));
            FieldError { field: path.to_string(), code: code.to_owned(), message: message.to_owned() }
        })
        .collect();
    errors.sort_by(|a, b| a.field.cmp(&b.field));
    Problem::validation(errors)
}

/// A value with a door: what it is read from, and how.
pub(crate) trait Door: Sized {
    /// The JSON it is read from.
    type Raw: DeserializeOwned;
    /// What that JSON is called when it is something else.
    const EXPECTED: &'static str;

    fn open(raw: Self::Raw) -> Result<Self, Invalid>;
}

/// A value that can stand in a query.
pub(crate) trait QueryDoor: Sized {
    fn open_text(text: &str) -> Result<Self, Invalid>;
}

/// A field as it came.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Given<T> {
    /// It was not there.
    #[default]
    Missing,
    /// It was `null`.
    Null,
    /// It was no `T`.
    Wrong(Violation),
    /// It is a `T`.
    Value(T),
}

impl<T> Given<T> {
    /// The value, of a field that may be left out but not be null.
    pub(crate) fn optional(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Null | Self::Wrong(_) => None,
        }
    }

    /// The value, of a field that may be left out or be null.
    pub(crate) fn nullable(self) -> Option<Option<T>> {
        match self {
            Self::Value(value) => Some(Some(value)),
            Self::Null => Some(None),
            Self::Missing | Self::Wrong(_) => None,
        }
    }

    /// The value, of a field that must be there.
    pub(crate) fn required(self, field: &str) -> Result<T, Problem> {
        self.optional().ok_or_else(|| Problem::validation(vec![Violation::required().of(field)]))
    }

    /// Reads a query's parameter.
    pub(crate) fn from_query(text: &str) -> Self
    where
        T: QueryDoor,
    {
        T::open_text(text).map_or_else(|invalid| Self::Wrong(invalid.into()), Self::Value)
    }
}

impl<'de, T: Door> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get() == "null" {
            return Ok(Self::Null);
        }
        Ok(match serde_json::from_str::<T::Raw>(raw.get()) {
            Err(_) => Self::Wrong(Violation::wrong_type(T::EXPECTED)),
            Ok(value) => T::open(value).map_or_else(|invalid| Self::Wrong(invalid.into()), Self::Value),
        })
    }
}

/// The page that a query asks for.
pub(crate) fn page_request<const MAX: u32>(
    number: Given<PageNumber>,
    size: Given<PageSize<MAX>>,
    default_size: u32,
) -> PageRequest {
    PageRequest {
        number: number.optional().unwrap_or(PageNumber::FIRST).get(),
        size: size.optional().map_or(default_size, PageSize::get),
    }
}

/// garde rule: the field must be there and be what it says.
pub(crate) fn present<T, C>(field: &Given<T>, _context: &C) -> garde::Result {
    match field {
        Given::Missing => Err(Violation::required().into()),
        Given::Null => Err(Violation::null().into()),
        Given::Wrong(violation) => Err(violation.clone().into()),
        Given::Value(_) => Ok(()),
    }
}

/// garde rule: if the field is there, it must be what it says.
pub(crate) fn sound<T, C>(field: &Given<T>, context: &C) -> garde::Result {
    match field {
        Given::Missing => Ok(()),
        _ => present(field, context),
    }
}

/// garde rule: if the field is there, it must be what it says or null.
pub(crate) fn sound_or_null<T, C>(field: &Given<T>, context: &C) -> garde::Result {
    match field {
        Given::Null => Ok(()),
        _ => sound(field, context),
    }
}

/// garde rule: if the field is a time, it must be after `now`. Goes with [`present`] or [`sound`].
pub(crate) fn upcoming(field: &Given<Timestamp>, now: &Timestamp) -> garde::Result {
    match field {
        Given::Value(at) => StartsAt::new(*at, *now).map(|_| ()).map_err(|invalid| Violation::from(invalid).into()),
        Given::Missing | Given::Null | Given::Wrong(_) => Ok(()),
    }
}

/// A whole number of any size, however JSON writes it: 10, 10.0 and 1e1 are equal.
#[derive(Deserialize)]
#[serde(try_from = "serde_json::Number")]
pub(crate) struct WholeNumber(u64);

impl TryFrom<serde_json::Number> for WholeNumber {
    type Error = &'static str;

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and the ends are out of every range here"
    )]
    fn try_from(number: serde_json::Number) -> Result<Self, Self::Error> {
        let float = number.as_f64().unwrap_or(f64::INFINITY);
        match number.as_u64() {
            Some(whole) => Ok(Self(whole)),
            // Negative or too large: out of range rather than of the wrong type.
            None if float.is_infinite() || float.fract() == 0.0 => Ok(Self(float as u64)),
            None => Err("a fraction"),
        }
    }
}

macro_rules! text_doors {
    ($($value:ty => $open:expr;)*) => {$(
        impl Door for $value {
            type Raw = String;
            const EXPECTED: &'static str = "a text";

            fn open(raw: String) -> Result<Self, Invalid> {
                $open(&raw)
            }
        }
    )*};
}

text_doors! {
    PersonName => Self::parse;
    EmailAddress => Self::parse;
    Password => Self::parse;
    EventTitle => Self::parse;
    Venue => Self::parse;
    Description => Self::parse;
    Timestamp => Self::parse;
    Role => |raw: &str| Self::from_name(raw).ok_or(Invalid::Malformed { expected: "user or admin" });
    String => |raw: &str| Ok(raw.to_owned());
    WebhookUrl => Self::parse;
}

impl Door for SeatCount {
    type Raw = WholeNumber;
    const EXPECTED: &'static str = "a whole number";

    fn open(raw: WholeNumber) -> Result<Self, Invalid> {
        Self::new(raw.0)
    }
}

impl QueryDoor for PageNumber {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        whole(text, u64::from(Self::MAX)).and_then(Self::new)
    }
}

impl<const MAX: u32> QueryDoor for PageSize<MAX> {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        whole(text, u64::from(MAX)).and_then(Self::new)
    }
}

impl QueryDoor for Option<TitleSearch> {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        TitleSearch::parse(text)
    }
}

impl QueryDoor for EventOrder {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        Self::parse(text)
    }
}

impl QueryDoor for bool {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|_| Invalid::Malformed { expected: "true or false" })
    }
}

macro_rules! id_doors {
    ($($id:ty),+) => {$(
        impl QueryDoor for $id {
            fn open_text(text: &str) -> Result<Self, Invalid> {
                Self::parse(text).ok_or(Invalid::OutOfRange { min: 1, max: domain::id::MAX_ID })
            }
        }
    )+};
}

id_doors!(EventId, UserId);

/// Types of facts, in a query: names and patterns with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WantedTypes(pub(crate) Vec<FactType>);

impl QueryDoor for WantedTypes {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        let mut wanted = Vec::new();
        for pattern in text.split(',') {
            wanted.extend(FactPattern::parse(pattern.trim())?.types());
        }
        Ok(Self(wanted))
    }
}

impl Door for bool {
    type Raw = bool;
    const EXPECTED: &'static str = "true or false";

    fn open(raw: bool) -> Result<Self, Invalid> {
        Ok(raw)
    }
}

impl QueryDoor for DeliveryStatus {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        Self::from_name(text).ok_or(Invalid::Malformed { expected: "pending, delivered or failed" })
    }
}

impl QueryDoor for RegistrationStatus {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        Self::from_name(text).ok_or(Invalid::Malformed { expected: "confirmed or cancelled" })
    }
}

/// Plain digits. A number too long for the machine is out of range like any other.
fn whole(text: &str, max: u64) -> Result<u64, Invalid> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX)).ok_or(Invalid::OutOfRange { min: 1, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given<T: Door>(json: &str) -> Given<T> {
        serde_json::from_str(json).unwrap()
    }

    fn code<T: std::fmt::Debug>(field: Given<T>) -> &'static str {
        match field {
            Given::Wrong(violation) => violation.code,
            other => panic!("{other:?} is not wrong"),
        }
    }

    #[test]
    fn a_number_is_whole_however_it_is_written() {
        for json in ["10", "10.0", "1e1"] {
            assert_eq!(given::<SeatCount>(json), Given::Value(SeatCount::new(10).unwrap()), "{json}");
        }
    }

    #[test]
    fn a_wrong_number_says_whether_it_is_the_type_or_the_range() {
        for json in ["0", "-1", "1000001", "99999999999999999999", "-99999999999999999999"] {
            assert_eq!(code(given::<SeatCount>(json)), "out_of_range", "{json}");
        }
        for json in ["10.5", "\"10\"", "true", "[]", "{}", "1e400"] {
            assert_eq!(code(given::<SeatCount>(json)), "wrong_type", "{json}");
        }
    }

    #[test]
    fn a_text_is_a_text_of_whole_characters() {
        assert_eq!(code(given::<EventTitle>("12")), "wrong_type");
        assert_eq!(code(given::<EventTitle>("\"\\ud800\"")), "wrong_type");
        assert_eq!(code(given::<EventTitle>("\"a\\u0000b\"")), "control_character");
        assert_eq!(given::<EventTitle>("null"), Given::Null);
    }

    #[test]
    fn a_page_is_plain_digits() {
        for text in ["", "0", "-1", "+1", "1.0", "x", "1000001", "99999999999999999999999"] {
            assert!(matches!(Given::<PageNumber>::from_query(text), Given::Wrong(_)), "{text:?}");
        }
        assert!(matches!(Given::<PageNumber>::from_query("1000000"), Given::Value(_)));
    }
}
