//! The contract of every adapter and decorator, port by port. A case is a plain function over a
//! [`Store`](crate::harness::store::Store); the list at the top of each file runs it on all of them.

/// Runs each case on one kind of store, as a test of its own.
macro_rules! on_store {
    ($kind:ident: $($case:ident),+ $(,)?) => {
        mod $kind {
            use std::sync::Arc;

            use crate::harness::store::Store;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::$case(Arc::new(Store::$kind().await)).await;
                }
            )+
        }
    };
}

/// Runs each case on both databases.
macro_rules! on_both_databases {
    ($($case:ident),+ $(,)?) => {
        on_store!(sqlite: $($case),+);
        on_store!(postgres: $($case),+);
    };
}

/// Runs each case on both databases, bare and behind a cache.
macro_rules! on_every_store {
    ($($case:ident),+ $(,)?) => {
        on_both_databases!($($case),+);
        on_store!(sqlite_cached: $($case),+);
        on_store!(postgres_cached: $($case),+);
    };
}

mod audit;
mod bodies;
mod bookings;
mod channels;
mod desk;
mod events;
mod history;
mod idempotency;
pub mod invalid_values;
mod listing;
mod migrations;
mod programme;
mod registrations;
mod seat_changes;
mod sessions;
mod users;
mod versions;
