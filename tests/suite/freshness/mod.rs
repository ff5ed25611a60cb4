//! Every read after an acknowledged write shows that write, on each instance and with any fault of
//! Redis.
//!
//! A [`World`](world::World) keeps the acknowledged writes, and computes from them the answer of each read.
//!
//! | module | what it holds |
//! |---|---|
//! | `world` | two instances, the writes that they acknowledged, and the answers that follow from them |
//! | `listings` | lists of events: query, filter and order |
//! | `writes` | every kind of write, and hundreds of them |
//! | `watchers` | readers that go from instance to instance while seats are sold |
//! | `outages` | a Redis that is killed, hangs, is flushed, restarts, or is reached by one instance only |
//! | `bodies` | the bodies in Redis: whose they are, and what wrong ones do |

mod bodies;
mod listings;
mod outages;
mod watchers;
mod world;
mod writes;
