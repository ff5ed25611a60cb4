//! The validated cache: reads answered from kept bodies, never from the past.
//!
//! This room owns the names of bodies, their lifetimes, their versions, the shared confirmation,
//! and the shared load. It must not know a database, a network, or a protocol: rows come through the
//! domain's ports, versions through [`domain::ports::Versions`], and bodies lie in [`Bodies`].
//!
//! | module | what it holds |
//! |---|---|
//! | `cache` | [`Cache`]: what the decorators share |
//! | `events`, `registrations` | [`CachedEvents`], [`CachedRegistrations`]: the ports, with a cache before them |
//! | `users` | [`SharedUsers`]: roles, looked up for all who ask at a time |
//! | `bodies` | [`Bodies`], the port, and [`Tiered`]: near before far |
//! | `key`, `snapshot`, `seal` | [`Key`], [`Snapshot`], [`Seal`]: what is kept, under which name, and how it is proved |
//! | `shared_reads`, `recent` | sharing a run, remembering a confirmation |
//!
//! # Why no reader sees an old state
//!
//! Let a reader arrive at `t`. Only two things are ever answered.
//!
//! 1. **Something loaded after `t`.** A load is shared only by those who came before it began, so it
//!    reads every write acknowledged before `t`. Nothing kept has a part in it.
//! 2. **A body whose every version was confirmed after `t`**: in one snapshot, taken by a query that
//!    began after the reader came, the versions in the body were the present ones. Equal versions are equal
//!    rows (below), so the body shows the state of that snapshot, and every write acknowledged before `t` is
//!    in it.
//!
//! Why equal versions are equal rows: a version is a row's count of its changes, raised by the transaction that
//! makes the change, with the database's timeline above it ([`domain::Version`]). On one timeline there is one
//! history, and in it a count is reached once. A primary that is lost takes its last commits with it, and the standby
//! that is promoted reaches the same counts with other rows; but on a new timeline, which the server says in the
//! statement that reads the counts. So nothing that was made from a lost commit is ever confirmed, and the price is
//! that after a promotion everything is loaded once more.
//!
//! The versions in a body are never newer than its rows: an event's version is read with its row, and
//! the label of a list is confirmed *before* the list is loaded. Should a write come between, the label
//! is too old, is never confirmed again, and the body is replaced: that costs a load, not the truth.
//! Where a body came from, how old it is, who wrote it in which order, does not enter the argument. All
//! that is asked of a store is that a body says what we wrote under that name, and the [`Seal`] proves
//! it: a Redis that is lost, flushed, frozen, restored from last week, cut off from half of the
//! instances, or full of rubbish yields misses, or bodies whose versions are not confirmed. A database
//! that does not confirm is an error to the reader, never a reason to guess. Nothing is ever deleted
//! from a cache for the sake of freshness, so no deletion can be late, lost or reordered.
//!
//! With [`CacheOptions::max_staleness`] above zero, a body confirmed on this instance less than that
//! ago is a third answer, and the age of what readers see is bounded by it. It is none any more once a confirmation
//! of a later timeline was heard.

mod bodies;
mod cache;
mod events;
#[cfg(test)]
mod freshness;
#[cfg(fuzzing)]
pub mod fuzzing;
mod key;
mod recent;
mod registrations;
mod seal;
mod shared_reads;
mod snapshot;
mod users;
#[cfg(test)]
mod world;

pub use bodies::{Bodies, Tiered};
pub use cache::{Cache, CacheOptions};
pub use events::CachedEvents;
pub use key::Key;
pub use registrations::CachedRegistrations;
pub use seal::Seal;
pub use snapshot::Snapshot;
pub use users::SharedUsers;
