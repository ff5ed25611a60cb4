//! A database for the unit tests of this crate.

use domain::sample::{NOW, clock};
use tempfile::TempDir;

use crate::{Sql, SqlOptions};

/// A `SQLite` database whose tables are empty, and the folder that its file is in.
pub(crate) async fn sqlite() -> (Sql, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/boxoffice.db", folder.path().display());
    let sql = Sql::connect(&SqlOptions::new(url, 2), clock(NOW)).await.unwrap();
    sql.migrate_up().await.unwrap();
    (sql, folder)
}
