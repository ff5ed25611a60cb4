//! Statements, each with a span for collectors of traces: its text with places for the values, and
//! never the values.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use metrics::histogram;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement,
    TransactionOptions, TransactionTrait,
};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::access::bond::Bond;
use crate::access::pool_wait::PoolWait;

/// Connections, or one that is in a transaction, whose statements are traced.
#[derive(Clone)]
pub(crate) struct Statements<C = DatabaseConnection> {
    connections: C,
    /// The line before them, and what they have in common; one that is in a transaction is not waited for.
    waits: Option<(Arc<PoolWait>, Arc<Bond>)>,
}

impl<C: ConnectionTrait> Statements<C> {
    /// Carries out a statement within its [`span`].
    pub(crate) async fn carry_out<T>(
        &self,
        span: Span,
        work: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T, DbErr> {
        let work = traced(span, work);
        match &self.waits {
            Some((line, bond)) => line.wait(bond, work).await,
            None => work.await,
        }
    }
}

impl Statements {
    /// Statements on connections of a pool.
    pub(crate) fn of(connections: DatabaseConnection, line: &Arc<PoolWait>, bond: &Arc<Bond>) -> Self {
        Self { connections, waits: Some((Arc::clone(line), Arc::clone(bond))) }
    }

    /// The pool itself.
    pub(crate) fn pool(&self) -> &DatabaseConnection {
        &self.connections
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self, options: TransactionOptions) -> Result<Statements<DatabaseTransaction>, DbErr> {
        let span = span(self.connections.get_database_backend(), "BEGIN");
        let connections = self.carry_out(span, self.connections.begin_with_options(options)).await?;
        Ok(Statements { connections, waits: None })
    }
}

impl Statements<DatabaseTransaction> {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let span = span(self.connections.get_database_backend(), "COMMIT");
        let begun = Instant::now();
        let committed = traced(span, self.connections.commit()).await;
        let outcome = if committed.is_ok() { "committed" } else { "failed" };
        histogram!("database_commit_duration_seconds", "outcome" => outcome).record(begun.elapsed());
        committed
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        let span = span(self.connections.get_database_backend(), "ROLLBACK");
        traced(span, self.connections.rollback()).await
    }
}

#[async_trait]
impl<C: ConnectionTrait + Send> ConnectionTrait for Statements<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.connections.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let span = span(statement.db_backend, &statement.sql);
        self.carry_out(span, self.connections.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        let span = span(self.connections.get_database_backend(), sql);
        self.carry_out(span, self.connections.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let span = span(statement.db_backend, &statement.sql);
        self.carry_out(span, self.connections.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let span = span(statement.db_backend, &statement.sql);
        self.carry_out(span, self.connections.query_all_raw(statement)).await
    }

    fn support_returning(&self) -> bool {
        self.connections.support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.connections.is_mock_connection()
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
async fn traced<T, E>(span: Span, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
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
    fn a_statement_is_named_by_its_verb_and_table() {
        for (sql, name) in [
            ("SELECT id, pg_current_xact_id()::text FROM events WHERE id = ANY($1) FOR UPDATE", "SELECT events"),
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
