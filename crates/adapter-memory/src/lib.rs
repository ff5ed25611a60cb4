//! The ports of a shared store, inside the process: what runs when there is no Redis, and what
//! stands before it when there is one.
//!
//! This room may hold anything that lives and dies with the process. It must not hold what has to
//! outlive it, and knows no network.

mod bodies;
mod seat_changes;

pub use bodies::MemoryBodies;
pub use seat_changes::MemorySeatChanges;
