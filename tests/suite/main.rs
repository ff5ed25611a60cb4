//! The tests of the workspace as a whole, in one binary. `tests/run` starts what they need.
//!
//! | module | what it holds |
//! |---|---|
//! | `architecture` | the allowed dependencies of crates and files |
//! | `conformance` | the contract of every adapter and decorator, port by port |
//! | `stories` | requests of users over HTTP, against running servers |
//! | `browser` | the pages in a real browser |
//! | `broker` | facts published to RabbitMQ, and what is said when it cannot be done |
//! | `freshness` | every read after an acknowledged write shows it, on each instance and with any fault of Redis |
//! | `races` | requests at the same instant, on two instances |
//! | `histories` | that a batch of bookings has the same answers as bookings one after the other |
//! | `faults` | answers to clients while everything around the program fails, and a check that they are true |
//! | `first_hour` | the output of a first start, mistakes and commands; the README's commands, recipes and steps |
//! | `starting` | how instances start, what stops a start, and how they end |
//! | `traces` | the spans that a collector of traces gets, and their cost |
//! | `harness` | databases, servers and a clock, one of each for every test |

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is a failure with its place in the code")]

mod architecture;
mod broker;
mod browser;
mod conformance;
mod faults;
mod first_hour;
mod freshness;
mod harness;
mod histories;
mod races;
mod starting;
mod stories;
mod traces;
