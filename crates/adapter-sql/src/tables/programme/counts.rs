//! How many events match, from the counts by day that triggers keep.

use chrono::{TimeDelta, Timelike};
use domain::{EventFilter, Timestamp};
use sea_orm::prelude::DateTimeUtc;

use super::source::{conditions, searched};
use super::text::{Bound, Text};
use crate::access::engine::Engine;

/// The days of 1970-01-01, counted from 0001-01-01.
const DAYS_TO_1970: i64 = 719_162;

const SECS_A_DAY: i64 = 86_400;

/// The scales of `programme_counts` within the one of all days.
const COARSE: u32 = 10;
const MIDDLE: u32 = 5;
const FINE: u32 = 0;
const ALL_DAYS: u32 = 22;

/// How many match, as an expression.
pub(super) fn total(engine: Engine, text: &mut Text, filter: &EventFilter) -> String {
    if filter.search.is_some() {
        let source = searched(engine);
        let conditions = conditions(text, filter, source);
        return format!("(SELECT COUNT(*) FROM {} WHERE {conditions})", source.table);
    }
    let counted = if filter.available_only { "with_seats" } else { "standing" };
    let until = match filter.to {
        Some(to) => earlier(text, counted, Boundary::after(to), "<="),
        None => sum(counted, &format!("scale = {ALL_DAYS}")),
    };
    let Some(from) = filter.from else { return format!("({until})") };
    let before = earlier(text, counted, Boundary::at(from), "<");
    format!("({until} - ({before}))")
}

/// How many are before an instant that is a whole number of days, or a few hours behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boundary {
    /// The number of its day, counted from 0001-01-01.
    day: i64,
    /// From the beginning of the day, unless the instant is that.
    rest: Option<(DateTimeUtc, DateTimeUtc)>,
}

impl Boundary {
    /// The instant itself.
    fn at(instant: Timestamp) -> Self {
        let at = instant.as_datetime();
        let since_midnight = TimeDelta::seconds(i64::from(at.num_seconds_from_midnight()))
            + TimeDelta::nanoseconds(i64::from(at.nanosecond()));
        let midnight = at - since_midnight;
        let day = midnight.timestamp().div_euclid(SECS_A_DAY) + DAYS_TO_1970;
        Self { day, rest: (midnight != at).then_some((midnight, at)) }
    }

    /// Right behind the instant: the next day, if it is the last of its day.
    fn after(instant: Timestamp) -> Self {
        let at = Self::at(instant);
        let last = instant.as_datetime() + TimeDelta::microseconds(1);
        if last.num_seconds_from_midnight() == 0 && last.nanosecond() == 0 {
            return Self { day: at.day + 1, rest: None };
        }
        let whole = instant.as_datetime();
        Self { day: at.day, rest: at.rest.or(Some((whole, whole))) }
    }
}

fn earlier(text: &mut Text, counted: &str, Boundary { day, rest }: Boundary, is_before: &str) -> String {
    let spans = [(COARSE, None), (MIDDLE, Some(COARSE)), (FINE, Some(MIDDLE))].map(|(scale, within)| {
        let end = text.bind(Bound::Number(day >> scale));
        let begin = within.map_or_else(String::new, |coarser| {
            let begin = text.bind(Bound::Number((day >> coarser) << (coarser - scale)));
            format!(" AND span >= {begin}")
        });
        sum(counted, &format!("scale = {scale}{begin} AND span < {end}"))
    });
    let whole_days = spans.join(" + ");
    let Some((midnight, instant)) = rest else { return whole_days };
    let (midnight, instant) = (text.bind(Bound::Instant(midnight)), text.bind(Bound::Instant(instant)));
    let with_seats = if counted == "with_seats" { " AND has_seats" } else { "" };
    format!(
        "{whole_days} + (SELECT COUNT(*) FROM programme WHERE date >= {midnight} AND date {is_before} {instant}{with_seats})"
    )
}

fn sum(counted: &str, which: &str) -> String {
    format!("(SELECT CAST(COALESCE(SUM({counted}), 0) AS bigint) FROM programme_counts WHERE {which})")
}

#[cfg(test)]
mod tests {
    use domain::sample::at;

    use super::*;

    #[test]
    fn days_are_counted_from_the_first_of_the_calendar() {
        let day = |raw| Boundary::at(at(raw)).day;
        assert_eq!(day("0001-01-01T00:00:00Z"), 0);
        assert_eq!(day("1969-12-31T23:59:59.999999Z"), DAYS_TO_1970 - 1);
        assert_eq!(day("1970-01-01T00:00:00Z"), DAYS_TO_1970);
    }

    #[test]
    fn only_a_part_of_a_day_is_counted_one_by_one() {
        assert_eq!(Boundary::at(at("2030-05-02T00:00:00Z")).rest, None);
        assert_eq!(Boundary::after(at("2030-05-01T23:59:59.999999Z")), Boundary::at(at("2030-05-02T00:00:00Z")));
        let noon = at("2030-05-02T12:00:00Z");
        let rest = Some((at("2030-05-02T00:00:00Z").as_datetime(), noon.as_datetime()));
        assert_eq!((Boundary::at(noon).rest, Boundary::after(noon).rest), (rest, rest));
        let midnight = at("2030-05-02T00:00:00Z");
        assert_eq!(Boundary::after(midnight).rest, Some((midnight.as_datetime(), midnight.as_datetime())));
    }
}
