//! Migrations of the tables, by one program or several at once, and undoing them.

use std::sync::Arc;

use adapter_sql::Sql;
use domain::Role;
use domain::ports::Users;
use domain::sample::{at, new_user};
use sea_orm::ConnectionTrait;

use crate::harness::all_at_once;
use crate::harness::clock::MovableClock;
use crate::harness::store::{Home, connect_past};

/// Runs each case on an empty database of each kind.
macro_rules! on_empty_databases {
    ($($case:ident),+ $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::$case(super::Home::sqlite()).await;
                }
            )+
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    super::$case(super::Home::empty_postgres().await).await;
                }
            )+
        }
    };
}

on_empty_databases!(
    of_many_who_start_on_an_empty_database_one_migrates_and_all_serve,
    every_change_can_be_undone_and_made_again,
    migrating_again_keeps_what_is_there,
    an_older_program_serves_beside_a_newer_one,
    every_database_has_a_name_of_its_own,
);

async fn of_many_who_start_on_an_empty_database_one_migrates_and_all_serve(home: Home) {
    let home = Arc::new(home);
    let clock = Arc::new(MovableClock::new());
    let instances = all_at_once((0..5).map(|_| {
        let (home, clock) = (home.clone(), clock.clone());
        async move {
            let sql = home.open(clock).await;
            sql.migrate_up().await.unwrap();
            sql
        }
    }))
    .await;
    for (number, sql) in instances.iter().enumerate() {
        assert!(all_applied(sql).await);
        let email = format!("user{number}@example.com");
        sql.add(new_user(&email, Role::User, at("2030-01-01T00:00:00Z"))).await.unwrap();
    }
    let names = [instances[0].database_id().await.unwrap(), instances[4].database_id().await.unwrap()];
    assert_eq!(names[0], names[1]);
}

async fn every_change_can_be_undone_and_made_again(home: Home) {
    let sql = home.open(Arc::new(MovableClock::new())).await;
    let before = sql.migration_status().await.unwrap();
    assert!(!before.is_empty() && before.iter().all(|(_, applied)| !applied), "{before:?}");
    for _ in 0..2 {
        sql.migrate_up().await.unwrap();
        assert!(all_applied(&sql).await);
        for left in (0..before.len()).rev() {
            sql.migrate_down().await.unwrap();
            let status = sql.migration_status().await.unwrap();
            assert_eq!(status.iter().filter(|(_, applied)| *applied).count(), left);
        }
        sql.migrate_down().await.expect("nothing is left to undo");
    }
    // One step back and forth, as an operator does it.
    sql.migrate_up().await.unwrap();
    sql.migrate_down().await.unwrap();
    sql.migrate_up().await.unwrap();
    sql.add(new_user("ada@example.com", Role::User, at("2030-01-01T00:00:00Z"))).await.unwrap();
}

async fn migrating_again_keeps_what_is_there(home: Home) {
    let sql = home.open(Arc::new(MovableClock::new())).await;
    sql.migrate_up().await.unwrap();
    let user = sql.add(new_user("ada@example.com", Role::User, at("2030-01-01T00:00:00Z"))).await.unwrap();
    let name = sql.database_id().await.unwrap();
    sql.migrate_up().await.unwrap();
    assert_eq!(sql.find(user.id).await.unwrap(), Some(user.clone()));
    sql.close().await;
    let again = home.open(Arc::new(MovableClock::new())).await;
    again.migrate_up().await.unwrap();
    assert_eq!(Users::find(&again, user.id).await.unwrap(), Some(user));
    assert_eq!(again.database_id().await.unwrap(), name);
}

/// An older program works with the tables of a newer one.
async fn an_older_program_serves_beside_a_newer_one(home: Home) {
    let clock = Arc::new(MovableClock::new());
    let newer = home.open(clock.clone()).await;
    newer.migrate_up().await.unwrap();
    let further =
        "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_of_a_newer_release', 0)";
    connect_past(&home.url()).await.execute_unprepared(further).await.unwrap();
    let older = home.open(clock).await;
    older.migrate_up().await.unwrap();
    assert!(all_applied(&older).await);
    older.add(new_user("ada@example.com", Role::User, at("2030-01-01T00:00:00Z"))).await.unwrap();
}

async fn every_database_has_a_name_of_its_own(home: Home) {
    let clock = Arc::new(MovableClock::new());
    let sql = home.open(clock.clone()).await;
    sql.migrate_up().await.unwrap();
    let elsewhere = Home::sqlite();
    let other = elsewhere.open(clock).await;
    other.migrate_up().await.unwrap();
    assert_ne!(sql.database_id().await.unwrap(), other.database_id().await.unwrap());
}

async fn all_applied(sql: &Sql) -> bool {
    sql.migration_status().await.unwrap().iter().all(|(_, applied)| *applied)
}
