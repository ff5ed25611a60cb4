//! What deadlines have to agree on.

use std::time::Duration;

use super::{complaint, load};

#[test]
fn the_longest_deadlines_keep_every_promise() {
    let deadlines = load(&[]).unwrap().deadlines;
    assert!(deadlines.request < Duration::from_secs(10));
    assert!(deadlines.booking_queue.max(deadlines.statement).max(deadlines.lock) < Duration::from_secs(5));
    assert!(deadlines.far_body() < Duration::from_millis(100));
    assert!(deadlines.probe < Duration::from_secs(2));
    for (name, value) in [
        ("HEAD_TIMEOUT", "2m"),
        ("BODY_TIMEOUT", "0s"),
        ("REQUEST_TIMEOUT", "10s"),
        ("BOOKING_QUEUE_TIMEOUT", "5s"),
        ("PASSWORD_QUEUE_TIMEOUT", "5s"),
        ("DATABASE_ACQUIRE_TIMEOUT", "6s"),
        ("DATABASE_STATEMENT_TIMEOUT", "5s"),
        ("DATABASE_LOCK_TIMEOUT", "4600ms"),
        ("DATABASE_IDLE_IN_TRANSACTION_TIMEOUT", "0s"),
        ("REDIS_TIMEOUT", "100ms"),
        ("PROBE_TIMEOUT", "2s"),
    ] {
        assert!(complaint(&[(name, value)]).starts_with(&format!("{name}: must be from ")), "{name}={value}");
    }
    assert_eq!(complaint(&[("REDIS_TIMEOUT", "100ms")]), r#"REDIS_TIMEOUT: must be from 1ms to 80ms, not "100ms""#);
}

#[test]
fn deadlines_derived_from_the_defaults_are_those_of_each_adapter() {
    let deadlines = load(&[]).unwrap().deadlines;
    assert_eq!(deadlines.sql(), adapter_sql::SqlDeadlines::default());
    assert_eq!(deadlines.shared_read(), caching::CacheOptions::default().patience);
    assert_eq!(deadlines.redis, adapter_redis::Redis::BUDGET);
}

#[test]
fn a_deadline_is_shorter_than_the_one_around_it() {
    for (settings, told) in [
        (
            &[("DATABASE_LOCK_TIMEOUT", "2s"), ("DATABASE_STATEMENT_TIMEOUT", "2s")][..],
            "DATABASE_LOCK_TIMEOUT: must be shorter than DATABASE_STATEMENT_TIMEOUT (2s), not 2s",
        ),
        (
            &[("REQUEST_TIMEOUT", "9s")],
            "BOOKING_QUEUE_TIMEOUT: must leave time for DATABASE_STATEMENT_TIMEOUT (4s 800ms) and the answer's 300ms \
             within REQUEST_TIMEOUT (9s), not 4s 500ms",
        ),
        (
            &[
                ("REQUEST_TIMEOUT", "4s"),
                ("PASSWORD_QUEUE_TIMEOUT", "3s"),
                ("BOOKING_QUEUE_TIMEOUT", "1s"),
                ("DATABASE_STATEMENT_TIMEOUT", "2s"),
                ("DATABASE_LOCK_TIMEOUT", "1s"),
            ],
            "DATABASE_ACQUIRE_TIMEOUT: must be shorter than REQUEST_TIMEOUT (4s), not 5s",
        ),
    ] {
        assert_eq!(complaint(settings), told);
    }
    let both = load(&[("REQUEST_TIMEOUT", "4s"), ("DATABASE_STATEMENT_TIMEOUT", "1s")]).unwrap_err();
    assert!(both.len() == 4 && both.iter().any(|line| line.starts_with("PASSWORD_QUEUE_TIMEOUT: ")), "{both:?}");
}
