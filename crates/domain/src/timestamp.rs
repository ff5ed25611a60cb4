//! Instants as everybody sees them: UTC, to the microsecond.

use std::fmt;

use chrono::{DateTime, Days, NaiveDate, SecondsFormat, TimeDelta, Utc};

use crate::Invalid;

const FORM: &str = "an RFC 3339 time such as 2030-05-01T19:30:00Z";
const DAY_OR_INSTANT: &str = "a day such as 2030-05-01 or an RFC 3339 time such as 2030-05-01T19:30:00Z \
     (write + as %2B in a query)";

/// An instant in UTC, whole microseconds, from year 1 to year 9999.
///
/// Microseconds are what Postgres keeps; cutting every instant to them at the door makes an answer
/// to a write equal to every later read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// 1970-01-01T00:00:00Z, before anything that happens here.
    pub const EPOCH: Self = Self(DateTime::UNIX_EPOCH);

    /// The instant, cut to whole microseconds. A leap second is the second after it, as databases
    /// and clocks have it.
    pub fn new(instant: DateTime<Utc>) -> Self {
        Self(DateTime::from_timestamp_micros(instant.timestamp_micros()).unwrap_or(instant))
    }

    /// Reads an RFC 3339 time of any offset.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let instant = DateTime::parse_from_rfc3339(raw.trim()).map_err(|_| Invalid::Malformed { expected: FORM })?;
        Self::in_calendar(instant.with_timezone(&Utc)).ok_or(Invalid::Malformed { expected: FORM })
    }

    /// Reads the lower bound of a period: a bare day means its first microsecond.
    pub fn parse_from(raw: &str) -> Result<Self, Invalid> {
        Self::parse_bound(raw, Self::first_of)
    }

    /// Reads the upper, included bound of a period: a bare day means its last microsecond.
    pub fn parse_to(raw: &str) -> Result<Self, Invalid> {
        Self::parse_bound(raw, |day| {
            let next = Self::first_of(day.checked_add_days(Days::new(1))?)?;
            Some(Self(next.0 - TimeDelta::microseconds(1)))
        })
    }

    /// The instant as chrono's type, for adapters.
    pub fn as_datetime(self) -> DateTime<Utc> {
        self.0
    }

    /// The instant this many seconds later.
    #[must_use]
    pub fn plus_secs(self, secs: u32) -> Self {
        Self(self.0 + TimeDelta::seconds(i64::from(secs)))
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub fn unix_secs(self) -> i64 {
        self.0.timestamp()
    }

    fn parse_bound(raw: &str, of_day: impl Fn(NaiveDate) -> Option<Self>) -> Result<Self, Invalid> {
        let raw = raw.trim();
        let bare_day = raw.len() == "2030-05-01".len();
        let parsed = if bare_day {
            NaiveDate::parse_from_str(raw, "%Y-%m-%d").ok().and_then(of_day)
        } else {
            Self::parse(raw).ok()
        };
        parsed.ok_or(Invalid::Malformed { expected: DAY_OR_INSTANT })
    }

    fn first_of(day: NaiveDate) -> Option<Self> {
        Self::in_calendar(day.and_hms_opt(0, 0, 0)?.and_utc())
    }

    /// RFC 3339 has four digits for the year, and so has everything that sorts these as text.
    fn in_calendar(instant: DateTime<Utc>) -> Option<Self> {
        use chrono::Datelike;
        let instant = Self::new(instant);
        (1..=9999).contains(&instant.0.year()).then_some(instant)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with `Z`; fractions of a second only when there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(parsed: Result<Timestamp, Invalid>) -> String {
        parsed.map_or_else(|invalid| format!("refused: {invalid}"), |at| at.to_string())
    }

    #[test]
    fn an_instant_is_kept_in_utc_to_the_microsecond() {
        assert_eq!(text(Timestamp::parse("2030-05-01T21:30:00.1234567+02:00")), "2030-05-01T19:30:00.123456Z");
        assert_eq!(text(Timestamp::parse("2030-05-01T19:30:00Z")), "2030-05-01T19:30:00Z");
        assert_eq!(text(Timestamp::parse("1969-12-31T23:59:59.9999999Z")), "1969-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_leap_second_is_the_second_after_it() {
        assert_eq!(text(Timestamp::parse("2030-06-30T23:59:60.5Z")), "2030-07-01T00:00:00.500Z");
        assert!(Timestamp::parse("9999-12-31T23:59:60Z").is_err(), "it is outside the calendar");
    }

    #[test]
    fn a_bare_day_covers_the_whole_of_it() {
        assert_eq!(text(Timestamp::parse_from("2030-05-01")), "2030-05-01T00:00:00Z");
        assert_eq!(text(Timestamp::parse_to("2030-05-01")), "2030-05-01T23:59:59.999999Z");
        assert_eq!(text(Timestamp::parse_to("2030-05-01T10:00:00Z")), "2030-05-01T10:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for raw in [
            "",
            "tomorrow",
            "2030-13-01",
            "2030-02-30",
            "2030-05-01T25:00:00Z",
            "2030-05-01 10:00",
            "+12030-01-01T00:00:00Z",
        ] {
            assert!(Timestamp::parse(raw).is_err(), "{raw:?}");
            assert!(Timestamp::parse_from(raw).is_err(), "{raw:?}");
        }
        assert!(Timestamp::parse_to("9999-12-31").is_err(), "its end is outside the calendar");
    }
}
