//! The tests of the workspace as a whole, in one binary. `tests/run` starts what they need.
//!
//! | module | what it holds |
//! |---|---|
//! | `architecture` | what may depend on what |
//! | `conformance` | what every adapter and decorator has to do, port by port |
//! | `stories` | what people do, over HTTP, against running servers |
//! | `browser` | the pages, used by people in a real browser |
//! | `freshness` | what was acknowledged is what everybody sees next, whatever becomes of Redis |
//! | `races` | what happens at the same instant, on two instances |
//! | `histories` | that nobody can tell a batch of bookings from one after the other |
//! | `faults` | what clients are told while everything around the program fails, and that it is true |
//! | `starting` | how instances start, what stops a start, and how they end |
//! | `traces` | what a collector of traces is told, and what it costs |
//! | `harness` | databases, servers and a clock, one of each for every test |

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is a failure with its place in the code")]

mod architecture;
mod browser;
mod conformance;
mod faults;
mod freshness;
mod harness;
mod histories;
mod races;
mod starting;
mod stories;
mod traces;
