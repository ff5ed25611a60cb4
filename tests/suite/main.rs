//! The tests of the workspace as a whole, in one binary. `tests/run` starts what they need.
//!
//! | module | what it holds |
//! |---|---|
//! | `architecture` | what may depend on what |
//! | `conformance` | what every adapter and decorator has to do, port by port |
//! | `harness` | databases, servers and a clock, one of each for every test |

#![expect(clippy::unwrap_used, reason = "in a test, what is missing is a failure with its place in the code")]

mod architecture;
mod conformance;
mod harness;
