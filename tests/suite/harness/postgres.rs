//! Postgres databases, each for one test.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use adapter_sql::{Sql, SqlOptions};
use sea_orm::ConnectionTrait;
use tokio::runtime;
use tokio::sync::OnceCell;

use super::clock::MovableClock;
use super::provided;
use super::store::connect_past;

/// A database of the server that `tests/run` started. It is dropped with this value.
#[derive(Debug)]
pub struct PostgresDatabase {
    name: String,
}

impl PostgresDatabase {
    /// A database without any table.
    pub async fn empty() -> Self {
        Self::create("template0").await
    }

    /// A database with every migration applied, copied from one that was migrated once.
    pub async fn migrated() -> Self {
        let copy = Self::create(template().await).await;
        // A copy has its original's name; caches would take one for the other.
        execute(&copy.url(), &["UPDATE catalogue SET database_id = gen_random_uuid()"]).await;
        copy
    }

    /// How to connect to it.
    pub fn url(&self) -> String {
        url_of(&self.name)
    }

    async fn create(template: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        administer(&[&format!("CREATE DATABASE {name} TEMPLATE {template}")]).await;
        Self { name }
    }
}

impl Drop for PostgresDatabase {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        // The test's own runtime cannot be waited for from here.
        let dropped = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(administer(&[&drop]));
        })
        .join();
        assert!(thread::panicking() || dropped.is_ok(), "the database {} was not dropped", self.name);
    }
}

/// The migrated database the others are copies of. It stays until the server goes.
async fn template() -> &'static str {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("template_{}", process::id());
            administer(&[&format!("CREATE DATABASE {name} TEMPLATE template0")]).await;
            let options = SqlOptions { url: url_of(&name), pool_size: 1 };
            let sql = Sql::connect(&options, Arc::new(MovableClock::new())).await.unwrap();
            sql.migrate_up().await.unwrap();
            drop(sql);
            // A database somebody is connected to cannot be copied.
            administer(&[
                &format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
                &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
            ])
            .await;
            name
        })
        .await
}

/// Runs statements that concern databases as a whole.
async fn administer(statements: &[&str]) {
    execute(&provided("BOXOFFICE_TEST_POSTGRES_URL"), statements).await;
}

async fn execute(url: &str, statements: &[&str]) {
    let database = connect_past(url).await;
    for statement in statements {
        database.execute_unprepared(statement).await.unwrap();
    }
    database.close().await.unwrap();
}

fn url_of(database: &str) -> String {
    let server = provided("BOXOFFICE_TEST_POSTGRES_URL");
    let (server, _) = server.rsplit_once('/').expect("a database in BOXOFFICE_TEST_POSTGRES_URL");
    format!("{server}/{database}")
}
