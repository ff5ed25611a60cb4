//! Whatever stands behind the `?` of `/api/events`.

#![no_main]

libfuzzer_sys::fuzz_target!(|query: &str| api::fuzzing::list_query(query));
