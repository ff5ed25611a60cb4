//! The tables, one file a change, for Postgres and `SQLite`.
//!
//! Every change can be undone and runs inside a transaction that its caller opened. This room
//! holds DDL and the triggers that keep the tables true when a person at the SQL prompt writes to
//! them; it must not hold queries of the program, nor any rule of the domain but those that the
//! database can enforce by itself.
//!
//! | module | what it makes |
//! |---|---|
//! | `m…_000001_create_users` | accounts |
//! | `m…_000002_create_events` | the programme |
//! | `m…_000003_create_registrations` | who booked what |
//! | `m…_000004_create_sessions` | log-in sessions and their refresh tokens |
//! | `m…_000005_create_idempotency_keys` | what was done under which key |
//! | `m…_000006_create_catalogue` | the programme's version, raised by triggers |
//! | `m…_000007_guard_hand_made_changes` | row versions, folded titles and one form of time, for every writer |
//! | `m…_000008_create_programme` | what lists are read from, and counts of it, kept by triggers |
//! | `m…_000009_guard_written_instants` | fewer looks at instants that a statement did not write |
//! | `m…_000010_refuse_invalid_values` | triggers that refuse what the API would refuse, and a view of what is there of it |
//! | `m…_000011_share_registration_numbers` | the right of every role to number registrations |
//! | `m…_000012_create_facts` | what happened, as it is written down and as it is read |
//! | `m…_000013_create_webhooks` | receivers of facts, and what is sent to each |
//!
//! `dialect` has what the databases spell differently, `rules` what values of the columns may be, `triggers` what several
//! changes make. No change imports another.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationTrait, async_trait};

pub use sea_orm_migration::{MigratorTrait, SchemaManager};

mod dialect;
mod m20261122_000001_create_users;
mod m20261122_000002_create_events;
mod m20261122_000003_create_registrations;
mod m20261122_000004_create_sessions;
mod m20261122_000005_create_idempotency_keys;
mod m20261122_000006_create_catalogue;
mod m20261122_000007_guard_hand_made_changes;
mod m20261122_000008_create_programme;
mod m20261122_000009_guard_written_instants;
mod m20261130_000010_refuse_invalid_values;
mod m20261130_000011_share_registration_numbers;
mod m20261130_000012_create_facts;
mod m20261130_000013_create_webhooks;
mod m20261130_000014_create_mails;
mod rules;
mod triggers;

pub use m20261130_000010_refuse_invalid_values::EMAIL_TAKEN;

/// All changes, oldest first.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_create_users::Migration),
            Box::new(m20261122_000002_create_events::Migration),
            Box::new(m20261122_000003_create_registrations::Migration),
            Box::new(m20261122_000004_create_sessions::Migration),
            Box::new(m20261122_000005_create_idempotency_keys::Migration),
            Box::new(m20261122_000006_create_catalogue::Migration),
            Box::new(m20261122_000007_guard_hand_made_changes::Migration),
            Box::new(m20261122_000008_create_programme::Migration),
            Box::new(m20261122_000009_guard_written_instants::Migration),
            Box::new(m20261130_000010_refuse_invalid_values::Migration),
            Box::new(m20261130_000011_share_registration_numbers::Migration),
            Box::new(m20261130_000012_create_facts::Migration),
            Box::new(m20261130_000013_create_webhooks::Migration),
            Box::new(m20261130_000014_create_mails::Migration),
        ]
    }
}

/// Runs the statements in order, each on its own.
async fn run<S: AsRef<str>>(manager: &SchemaManager<'_>, statements: &[S]) -> Result<(), DbErr> {
    let db = manager.get_connection();
    for statement in statements {
        db.execute_unprepared(statement.as_ref()).await?;
    }
    Ok(())
}

/// A migration whose steps are lists of statements, made for one dialect each.
macro_rules! migration {
    () => {
        /// The change.
        #[derive(sea_orm_migration::prelude::DeriveMigrationName)]
        pub(crate) struct Migration;

        #[sea_orm_migration::async_trait::async_trait]
        impl sea_orm_migration::MigrationTrait for Migration {
            async fn up(&self, manager: &sea_orm_migration::SchemaManager) -> Result<(), sea_orm_migration::DbErr> {
                crate::run(manager, &up(crate::dialect::Dialect::of(manager))).await
            }

            async fn down(&self, manager: &sea_orm_migration::SchemaManager) -> Result<(), sea_orm_migration::DbErr> {
                crate::run(manager, &down(crate::dialect::Dialect::of(manager))).await
            }
        }
    };
}
pub(crate) use migration;
