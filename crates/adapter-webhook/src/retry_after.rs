//! How long a receiver asks to be left alone.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::{HeaderMap, RETRY_AFTER};

/// The longest wait that is heeded: 24 h.
const LONGEST: Duration = Duration::from_hours(24);

/// Reads `Retry-After` (RFC 9110, 10.2.3): seconds, or a date, which is compared with `now_secs`, seconds since 1970. A
/// date that is over is no wait. A value that is neither counts as none.
pub(crate) fn retry_after(headers: &HeaderMap, now_secs: i64) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds are longer than a day.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let then = httpdate::parse_http_date(value).ok()?;
        let now = UNIX_EPOCH + Duration::from_secs(now_secs.try_into().ok()?);
        then.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read_and_a_day_is_the_most() {
        // 1994-11-06T08:49:07Z, half a minute before the dates of RFC 9110.
        const NOW_SECS: i64 = 784_111_747;
        for (value, secs) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("86401", Some(86_400)),
            ("99999999999999999999999", Some(86_400)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", Some(30)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Mon, 06 Nov 2045 08:49:37 GMT", Some(86_400)),
            ("", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            assert_eq!(retry_after(&headers, NOW_SECS), secs.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), NOW_SECS), None);
    }
}
