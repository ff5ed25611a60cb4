//! A body out of Redis, as somebody could write it who has the secret.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| caching::fuzzing::snapshot(bytes));
