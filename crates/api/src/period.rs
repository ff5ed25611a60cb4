//! Periods in a query: each bound is a day or an instant.

use domain::{Invalid, Timestamp};
use utoipa::openapi::schema::{AnyOfBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};

use crate::field::{Door, Given, QueryDoor};
use crate::violation::Violation;

/// The lower bound of a period, in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeriodFrom(pub(crate) Timestamp);

impl Door for PeriodFrom {
    type Raw = String;
    const EXPECTED: &'static str = "a text";

    fn open(raw: String) -> Result<Self, Invalid> {
        Self::open_text(&raw)
    }
}

impl QueryDoor for PeriodFrom {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        Timestamp::parse_from(text).map(Self)
    }
}

/// The upper bound of a period, in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PeriodTo(pub(crate) Timestamp);

impl Door for PeriodTo {
    type Raw = String;
    const EXPECTED: &'static str = "a text";

    fn open(raw: String) -> Result<Self, Invalid> {
        Self::open_text(&raw)
    }
}

impl QueryDoor for PeriodTo {
    fn open_text(text: &str) -> Result<Self, Invalid> {
        Timestamp::parse_to(text).map(Self)
    }
}

pub(crate) fn day_or_instant() -> Schema {
    let text = |format: KnownFormat, longest: usize| {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(format)))
            .max_length(Some(longest))
    };
    AnyOfBuilder::new().item(text(KnownFormat::Date, 10)).item(text(KnownFormat::DateTime, 64)).into()
}

/// garde rule: a period ends where it begins, or later.
pub(crate) fn not_before<'a>(
    from: &'a Given<PeriodFrom>,
    name: &'a str,
) -> impl FnOnce(&Given<PeriodTo>, &()) -> garde::Result + 'a {
    move |to, ()| match (from, to) {
        (Given::Value(from), Given::Value(to)) if from.0 > to.0 => {
            Err(Violation::new("out_of_range", format!("must not be before {name}")).into())
        }
        _ => Ok(()),
    }
}
