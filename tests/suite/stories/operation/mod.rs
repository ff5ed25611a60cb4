//! Health, metrics and logs for operators, with and without faults.
//!
//! | module | what it holds |
//! |---|---|
//! | `health` | liveness and readiness |
//! | `metrics` | metrics |
//! | `logs` | access lines, warnings, and secrets that are not logged |
//! | `admin_port` | the port for operators |
//! | `outages` | a lost Redis and a lost database |

mod admin_port;
mod health;
mod logs;
mod metrics;
mod outages;

use sea_orm::ConnectionTrait;

use crate::harness::server::Site;
use crate::harness::store::connect_past;

/// Takes the site's Postgres database away: its connections end, and there are no new ones.
pub(super) async fn take_database_away(site: &Site) {
    administer(site, |name| {
        vec![
            format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"),
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        ]
    })
    .await;
}

/// Gives the database back.
pub(super) async fn give_database_back(site: &Site) {
    administer(site, |name| vec![format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")]).await;
}

async fn administer(site: &Site, statements: impl Fn(&str) -> Vec<String>) {
    let url = site.database_url();
    let (server, name) = url.rsplit_once('/').unwrap();
    let server = connect_past(&format!("{server}/postgres")).await;
    for statement in statements(name) {
        server.execute_unprepared(&statement).await.unwrap();
    }
    server.close().await.unwrap();
}
