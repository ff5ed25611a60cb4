//! Statements as text with their values, and columns by name.

use domain::ports::StoreError;
use sea_orm::{ConnectionTrait, QueryResult, Statement, TryGetable, Value};

use super::engine::Engine;
use super::error::failed;
use super::transaction::Tx;

/// The rows of a statement.
pub(crate) async fn query(
    tx: &Tx,
    engine: Engine,
    sql: &str,
    values: Vec<Value>,
) -> Result<Vec<QueryResult>, StoreError> {
    tx.query_all_raw(Statement::from_sql_and_values(engine.backend(), sql, values)).await.map_err(failed)
}

/// Answers how many rows were written.
pub(crate) async fn execute(tx: &Tx, engine: Engine, sql: &str, values: Vec<Value>) -> Result<u64, StoreError> {
    let statement = Statement::from_sql_and_values(engine.backend(), sql, values);
    tx.execute_raw(statement).await.map(|done| done.rows_affected()).map_err(failed)
}

/// The value of a column.
pub(crate) fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    row.try_get("", name).map_err(failed)
}
