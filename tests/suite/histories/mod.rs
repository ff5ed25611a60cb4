//! Bookings are committed in batches, and no client may be able to see that: the answers to many
//! users at the same time have to be possible for the same requests one after the other.
//!
//! Random small histories run on a real database, many of them in step: all orders of one round are
//! sent at the same instant, so orders of many histories gather in batches. Then each history is
//! checked by itself. Orders about different events that share no idempotency key do not depend on
//! each other, and rounds do not overlap. So for the few orders of a round that depend on each other
//! there must be *some* sequence in which the [model](world::World), which applies the domain's rule to one
//! order at a time, gives every answer that was given and ends at the very rows that are stored.
//!
//! A failure prints the seed, the round and what is stored. The seed brings back the same histories;
//! how their orders meet in batches is up to the machine.
//!
//! | module | what it holds |
//! |---|---|
//! | `orders` | the orders of users, their answers, and what a database is asked for them |
//! | `world` | the model: one order after the other |
//! | `rows` | the stored rows, read past the program |
//! | `search` | the search for a sequence of the orders that explains the answers |
//! | `company` | random histories that run in step |
//! | `doctored` | histories that did not happen, which the search has to find |

mod company;
mod doctored;
mod orders;
mod rows;
mod search;
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use adapter_sql::Sql;
use domain::ports::Clock;

use crate::harness::clock::MovableClock;
use crate::harness::dice::Dice;
use crate::harness::postgres::PostgresDatabase;
use crate::harness::store::{Home, connect_past};
use company::Company;
use rows::Rows;

/// Histories that run in step.
const COMPANY: usize = 50;

/// How often a company runs, on each database.
const COMPANIES: usize = 101;

/// Rounds of a history.
const ROUNDS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_on_sqlite_could_have_happened_one_after_the_other() {
    let clock = Arc::new(MovableClock::new());
    let home = Home::sqlite();
    let sql = home.open(clock.clone()).await;
    sql.migrate_up().await.unwrap();
    run(&home, &clock, &[sql]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_history_on_postgres_could_have_happened_one_after_the_other() {
    let clock = Arc::new(MovableClock::new());
    let home = Home::Postgres(PostgresDatabase::migrated().await);
    let instances = [home.open(clock.clone()).await, home.open(clock.clone()).await];
    run(&home, &clock, &instances).await;
}

/// Runs every company, by turns on the first instance and on all of them.
async fn run(home: &Home, clock: &MovableClock, instances: &[Sql]) {
    let mut dice = Dice::new();
    let past = connect_past(&home.url()).await;
    let mut seen = BTreeMap::new();
    for number in 0..COMPANIES {
        let used = if number % 2 == 0 { &instances[..1] } else { instances };
        let mut company = Company::gather(&past, &used[0], clock.now(), &mut dice).await;
        for round in 0..ROUNDS {
            clock.set(company.instants[round]);
            let told = company.round(round, used, &mut dice).await;
            let rows = Rows::read(&past, company.events()).await;
            rows.assert_seats_are_held();
            for (history, told) in company.histories.iter_mut().zip(told) {
                for one in &told {
                    *seen.entry(one.kind()).or_insert(0_u32) += 1;
                }
                if let Err(why) = history.follow(&told, clock.now(), &rows) {
                    panic!("company {number}, round {round}, {} instance(s): {why}", used.len());
                }
            }
        }
        clock.advance_secs(3600);
    }
    past.close().await.unwrap();
    eprintln!("{} histories, in which was told: {seen:?}", COMPANIES * COMPANY);
    for kind in KINDS {
        assert!(seen.contains_key(kind), "no order had the answer {kind:?}: {seen:?}");
    }
}

/// The answers that a run has to contain: every kind but that a key is in use.
const KINDS: [&str; 14] = [
    "already registered",
    "booked",
    "cancelled",
    "deleted",
    "key reused",
    "no event",
    "not registered",
    "replayed booking",
    "replayed cancellation",
    "replayed change",
    "resized",
    "seats below registrations",
    "sold out",
    "started",
];
