//! What instances of the program share through Redis, as far as they can do without it.
//!
//! | module | what it holds |
//! |---|---|
//! | `server` | [`Redis`]: a pool of connections, a budget of time, and a breaker |
//! | `bodies` | [`RedisBodies`]: cached bodies, sealed |
//! | `seat_changes` | [`RedisSeatChanges`]: changes of seats, told to every instance |
//! | `breaker` | when to leave a failing server alone |
//! | `connections` | how connections are made, and when they are thrown away |
//!
//! Nothing here is ever relied on: a Redis that is down, hangs, was flushed or is full of rubbish
//! costs a reader at most [`Redis::BUDGET`], a few times, and nothing after that. This room must not
//! hold anything that is not written down elsewhere.
//!
//! Every command names a single key, so a cluster behind a proxy will do.

mod bodies;
mod breaker;
mod connections;
mod seat_changes;
mod server;

pub use bodies::RedisBodies;
pub use seat_changes::RedisSeatChanges;
pub use server::{InvalidUrl, Redis, RedisState};
