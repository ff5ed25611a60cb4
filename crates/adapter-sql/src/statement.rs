//! Statements, each with a span for whoever collects traces: its text with places for the values, and
//! never the values.

use std::fmt;
use std::future::Future;

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions, TransactionTrait,
};
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// Connections, or one that is in a transaction, whose statements are traced.
#[derive(Clone)]
pub(crate) struct Statements<C = DatabaseConnection>(C);

impl<C> Statements<C> {
    pub(crate) fn of(connections: C) -> Self {
        Self(connections)
    }

    /// The connections themselves, whose statements are not.
    pub(crate) fn untraced(&self) -> &C {
        &self.0
    }
}

impl Statements {
    /// Begins a transaction.
    pub(crate) async fn begin(&self, options: TransactionOptions) -> Result<Statements<DatabaseTransaction>, DbErr> {
        let span = span(self.0.get_database_backend(), "BEGIN");
        traced(span, self.0.begin_with_options(options)).await.map(Statements)
    }
}

impl Statements<DatabaseTransaction> {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let span = span(self.0.get_database_backend(), "COMMIT");
        traced(span, self.0.commit()).await
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        let span = span(self.0.get_database_backend(), "ROLLBACK");
        traced(span, self.0.rollback()).await
    }
}

#[async_trait]
impl<C: ConnectionTrait + Send> ConnectionTrait for Statements<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.0.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let span = span(statement.db_backend, &statement.sql);
        traced(span, self.0.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let span = span(self.0.get_database_backend(), sql);
        traced(span, self.0.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let span = span(statement.db_backend, &statement.sql);
        traced(span, self.0.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let span = span(statement.db_backend, &statement.sql);
        traced(span, self.0.query_all_raw(statement)).await
    }

    fn support_returning(&self) -> bool {
        self.0.support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.0.is_mock_connection()
    }
}

/// The span of a statement, by the names of OpenTelemetry's semantic conventions for databases.
pub(crate) fn span(backend: DbBackend, sql: &str) -> Span {
    tracing::info_span!(
        target: "otel",
        "statement",
        otel.name = %Summary(sql),
        otel.kind = "client",
        otel.status_code = Empty,
        db.system.name = match backend {
            DbBackend::Sqlite => "sqlite",
            _ => "postgresql",
        },
        db.operation.name = operation(sql),
        db.query.text = sql,
    )
}

/// Carries out a statement within its span.
pub(crate) async fn traced<T, E>(span: Span, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let done = work.instrument(span.clone()).await;
    if done.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    done
}

fn operation(sql: &str) -> &str {
    sql.split_whitespace().next().unwrap_or_default()
}

/// What a statement does, and to which table first: `SELECT events`.
struct Summary<'a>(&'a str);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(operation(self.0))?;
        let mut words = self.0.split_whitespace();
        while let Some(word) = words.next() {
            if ["FROM", "INTO", "UPDATE", "JOIN"].contains(&word)
                && let Some(table) = words.clone().next().map(|table| table.trim_matches(['"', '(', ')', ',', ';']))
                && !table.is_empty()
                && table.chars().all(|c| c.is_ascii_lowercase() || c == '_')
                && table != "unnest"
            {
                return write!(f, " {table}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_called_by_what_it_does_and_where() {
        for (sql, name) in [
            ("SELECT *, pg_current_xact_id()::text FROM events WHERE id = ANY($1) FOR UPDATE", "SELECT events"),
            (r#"SELECT "users"."id" FROM "users" WHERE "users"."id" = $1"#, "SELECT users"),
            (r#"INSERT INTO "sessions" ("user_id") VALUES ($1)"#, "INSERT sessions"),
            ("UPDATE events SET version = given.version FROM (SELECT 1) AS given", "UPDATE events"),
            ("SELECT given.user_id FROM unnest($1::bigint[]) AS given JOIN users ON true", "SELECT users"),
            ("SELECT 1", "SELECT"),
            ("COMMIT", "COMMIT"),
            ("", ""),
        ] {
            assert_eq!(Summary(sql).to_string(), name, "{sql}");
        }
    }
}
