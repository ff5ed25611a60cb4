//! A statement while it is written, and how it is run.

use std::sync::Arc;

use domain::ports::StoreError;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sqlx;
use sea_orm::{ConnectionTrait, DbErr, QueryResult, RuntimeErr, Statement, Value};

use crate::access::engine::Engine;
use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::statement::span as statement_span;

/// A statement being written. `LIMIT` stands in its text, so that a plan is made for so few rows.
#[derive(Debug, Default)]
pub(super) struct Text {
    pub(super) sql: String,
    values: Vec<Bound>,
}

#[derive(Debug, Clone)]
pub(super) enum Bound {
    Number(i64),
    Text(String),
    Instant(DateTimeUtc),
}

impl Text {
    /// Adds a value and answers its place in the text.
    pub(super) fn bind(&mut self, value: Bound) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Runs it. If it is to be planned `afresh`, the plan is made for these values and not for any: how
    /// a search is best carried out depends on how many titles it finds.
    pub(super) async fn all(self, reading: &Reading, afresh: bool) -> Result<Vec<QueryResult>, StoreError> {
        if afresh && reading.engine == Engine::Postgres {
            let span = statement_span(reading.engine.backend(), &self.sql);
            let mut query = sqlx::query(sqlx::AssertSqlSafe(self.sql)).persistent(false);
            for value in self.values {
                query = match value {
                    Bound::Number(number) => query.bind(number),
                    Bound::Text(text) => query.bind(text),
                    Bound::Instant(instant) => query.bind(instant),
                };
            }
            let pool = reading.db.pool().get_postgres_connection_pool();
            let rows = async {
                let rows = query.fetch_all(pool).await;
                rows.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))))
            };
            let rows = reading.db.carry_out(span, rows).await.map_err(failed)?;
            return Ok(rows.into_iter().map(QueryResult::from).collect());
        }
        let values = self.values.into_iter().map(|value| match value {
            Bound::Number(number) => Value::from(number),
            Bound::Text(text) => Value::from(text),
            Bound::Instant(instant) => Value::from(instant),
        });
        let statement = Statement::from_sql_and_values(reading.engine.backend(), self.sql, values);
        reading.db.query_all_raw(statement).await.map_err(failed)
    }
}
