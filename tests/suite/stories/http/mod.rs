//! The rules for all requests and answers: bodies, errors, headers, `HEAD`, and conditions.
//!
//! | module | what it holds |
//! |---|---|
//! | `bodies` | bodies of requests: content types, codings, sizes and fields |
//! | `routes` | addresses and methods |
//! | `headers` | headers of every request and answer |
//! | `conditions` | entity tags and conditional requests |

mod bodies;
mod conditions;
mod headers;
mod routes;
