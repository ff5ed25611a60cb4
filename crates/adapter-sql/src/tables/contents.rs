//! Whether there is anything in the database yet.

use domain::ports::StoreError;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, Statement};

use crate::Sql;
use crate::access::error::failed;
use crate::access::operation::Reading;

/// What a first start has to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Whether an event is on the programme.
    pub events: bool,
    /// Whether there is an admin.
    pub admins: bool,
}

/// A row for each that is there.
const PRESENT: &str = "SELECT 'events' AS what WHERE EXISTS (SELECT 1 FROM events WHERE deleted_at IS NULL) \
    UNION ALL SELECT 'admins' WHERE EXISTS (SELECT 1 FROM users WHERE role = 'admin')";

impl Sql {
    /// What is there at present.
    pub async fn contents(&self) -> Result<Contents, StoreError> {
        self.read("contents", contents).await
    }
}

async fn contents(Reading { db, engine, .. }: Reading) -> Result<Contents, StoreError> {
    let rows = db.query_all_raw(Statement::from_string(engine.backend(), PRESENT)).await.map_err(failed)?;
    let what = |row: &QueryResult| row.try_get::<String>("", "what");
    let present = rows.iter().map(what).collect::<Result<Vec<_>, DbErr>>().map_err(failed)?;
    let is_there = |what: &str| present.iter().any(|present| present == what);
    Ok(Contents { events: is_there("events"), admins: is_there("admins") })
}
