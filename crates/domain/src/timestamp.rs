//! Instants as clients see them: UTC, to the microsecond.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Timelike, Utc};

use crate::Invalid;

const FORM: &str = "an RFC 3339 time such as 2030-05-01T19:30:00Z";
const DAY_OR_INSTANT: &str = "a day such as 2030-05-01 or an RFC 3339 time such as 2030-05-01T19:30:00Z \
     (write + as %2B in a query)";

/// 0001-01-01T00:00:00Z, in microseconds since 1970.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;

/// 9999-12-31T23:59:59.999999Z, in microseconds since 1970.
const LAST_MICROS: i64 = 253_402_300_799_999_999;

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

    /// The instant that a store holds. One outside the calendar becomes the first or the last instant in it.
    pub fn stored(instant: DateTime<Utc>) -> Self {
        let micros = instant.timestamp_micros().clamp(FIRST_MICROS, LAST_MICROS);
        Self(DateTime::from_timestamp_micros(micros).unwrap_or(instant))
    }

    /// Reads an RFC 3339 time of any offset. What is finer than a microsecond is cut off; a leap second is refused,
    /// because no clock or database here can hold one.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let written = date_time(raw).and_then(Self::in_calendar);
        written.ok_or(Invalid::Malformed { expected: FORM })
    }

    /// Reads the lower, included bound of a period. A bare day means its first microsecond, and an instant between
    /// two microseconds means the later one.
    pub fn parse_from(raw: &str) -> Result<Self, Invalid> {
        let bound = match day(raw) {
            Some(day) => Self::in_calendar(day.and_time(chrono::NaiveTime::MIN).and_utc()),
            None => date_time(raw).and_then(Self::rounded_up),
        };
        bound.ok_or(Invalid::Malformed { expected: DAY_OR_INSTANT })
    }

    /// Reads the upper, included bound of a period. A bare day means its last microsecond, and an instant between
    /// two microseconds means the earlier one.
    pub fn parse_to(raw: &str) -> Result<Self, Invalid> {
        let bound = match day(raw) {
            Some(day) => day.and_hms_micro_opt(23, 59, 59, 999_999).map(|last| last.and_utc()),
            None => date_time(raw),
        };
        bound.and_then(Self::in_calendar).ok_or(Invalid::Malformed { expected: DAY_OR_INSTANT })
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

    fn rounded_up(instant: DateTime<Utc>) -> Option<Self> {
        let cut = Self::new(instant).0;
        Self::in_calendar(if cut < instant { cut + TimeDelta::microseconds(1) } else { cut })
    }

    /// RFC 3339 has four digits for the year, and so has everything that sorts these as text.
    fn in_calendar(instant: DateTime<Utc>) -> Option<Self> {
        use chrono::Datelike;
        let instant = Self::new(instant);
        (1..=9999).contains(&instant.0.year()).then_some(instant)
    }
}

/// Reads `YYYY-MM-DD` and nothing else: chrono takes signs, spaces and other widths as well.
fn day(raw: &str) -> Option<NaiveDate> {
    if has_form(raw, "0000-00-00") { NaiveDate::parse_from_str(raw, "%Y-%m-%d").ok() } else { None }
}

/// Reads a `date-time` of RFC 3339, 5.6, and nothing else: chrono takes a space for the `T`, other minus signs and leap
/// seconds as well.
fn date_time(raw: &str) -> Option<DateTime<Utc>> {
    let (to_the_second, rest) = raw.split_at_checked("0000-00-00T00:00:00".len())?;
    let (fraction, offset) = rest.split_at_checked(rest.find(|c| !matches!(c, '.' | '0'..='9'))?)?;
    let fraction_ok = fraction.is_empty()
        || fraction
            .strip_prefix('.')
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let offset_ok = ["Z", "+00:00", "-00:00"].iter().any(|form| has_form(offset, form));
    if !(has_form(to_the_second, "0000-00-00T00:00:00") && fraction_ok && offset_ok) {
        return None;
    }
    let instant = DateTime::parse_from_rfc3339(raw).ok()?;
    // chrono counts the nanoseconds of a leap second from the second before it.
    (instant.nanosecond() < 1_000_000_000).then(|| instant.with_timezone(&Utc))
}

/// Whether a text has this form, in which a zero stands for any digit, and a letter for either case of it.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            _ => byte.eq_ignore_ascii_case(&form),
        })
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
    fn a_leap_second_is_no_instant_of_ours() {
        for raw in ["2030-06-30T23:59:60Z", "2030-06-30T23:59:60.5Z", "2030-05-01T10:00:60Z", "9999-12-31T23:59:60Z"] {
            assert!(Timestamp::parse(raw).is_err(), "{raw}");
            assert!(Timestamp::parse_from(raw).is_err(), "{raw}");
            assert!(Timestamp::parse_to(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn either_case_and_any_offset_are_taken() {
        for raw in ["2030-05-01t10:00:00z", "2030-05-01T10:00:00-00:00", "2030-05-01T12:30:00+02:30"] {
            assert_eq!(text(Timestamp::parse(raw)), "2030-05-01T10:00:00Z", "{raw}");
        }
    }

    #[test]
    fn a_stored_instant_outside_the_calendar_is_the_nearest_one_in_it() {
        let stored = |raw: &str| Timestamp::stored(raw.parse().expect("a time")).to_string();
        assert_eq!(stored("+20000-01-01T00:00:00Z"), "9999-12-31T23:59:59.999999Z");
        assert_eq!(stored("-0044-03-15T00:00:00Z"), "0001-01-01T00:00:00Z");
        assert_eq!(stored("2030-05-01T19:30:00.1234567Z"), "2030-05-01T19:30:00.123456Z");
    }

    #[test]
    fn a_bare_day_covers_the_whole_of_it() {
        assert_eq!(text(Timestamp::parse_from("2030-05-01")), "2030-05-01T00:00:00Z");
        assert_eq!(text(Timestamp::parse_to("2030-05-01")), "2030-05-01T23:59:59.999999Z");
        assert_eq!(text(Timestamp::parse_to("2030-05-01T10:00:00Z")), "2030-05-01T10:00:00Z");
        assert_eq!(text(Timestamp::parse_from("0001-01-01")), "0001-01-01T00:00:00Z");
        assert_eq!(text(Timestamp::parse_to("0001-01-01")), "0001-01-01T23:59:59.999999Z");
        assert_eq!(text(Timestamp::parse_from("9999-12-31")), "9999-12-31T00:00:00Z");
        assert_eq!(text(Timestamp::parse_to("9999-12-31")), "9999-12-31T23:59:59.999999Z");
    }

    #[test]
    fn a_bound_between_two_microseconds_is_rounded_into_the_period() {
        let raw = "2030-05-01T10:00:00.0000005Z";
        assert_eq!(text(Timestamp::parse_from(raw)), "2030-05-01T10:00:00.000001Z");
        assert_eq!(text(Timestamp::parse_to(raw)), "2030-05-01T10:00:00Z");
        assert_eq!(text(Timestamp::parse_from("2030-05-01T10:00:00.0000010Z")), "2030-05-01T10:00:00.000001Z");
    }

    #[test]
    fn text_that_is_no_time_is_refused() {
        for raw in [
            "",
            "tomorrow",
            "2030-13-01",
            "2030-02-30",
            "2030-05-01T25:00:00Z",
            "2030-05-01 10:00",
            "2030-05-01 10:00:00Z",
            "2030-05-01T10:00Z",
            "2030-05-01T10:00:00",
            "2030-05-01T10:00:00.Z",
            "2030-05-01T10:00:00.1.2Z",
            "2030-05-01T10:00:00,5Z",
            "2030-05-01T10:00:00+0200",
            "2030-05-01T10:00:00+02",
            "2030-05-01T10:00:00+24:00",
            "2030-05-01T10:00:00\u{2212}02:00",
            " 2030-05-01T10:00:00Z",
            "2030-05-01T10:00:00Z ",
            "+12030-01-01T00:00:00Z",
            "0000-12-31T23:59:59Z",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "+203-05-01",
            "2030-05- 1",
            "2030-5-01",
            "20300501",
            "0000-12-31",
            "2030-05-01 ",
            "２030-05-01",
        ] {
            assert!(Timestamp::parse(raw).is_err(), "{raw:?}");
            assert!(Timestamp::parse_from(raw).is_err(), "{raw:?}");
            assert!(Timestamp::parse_to(raw).is_err(), "{raw:?}");
        }
    }
}
