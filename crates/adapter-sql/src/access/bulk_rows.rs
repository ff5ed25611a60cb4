//! Many rows given to a statement: one prepared statement, however many there are.

use chrono::SecondsFormat;
use sea_orm::Value;
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::ArrayType;
use serde_json::{Value as Json, json};

use crate::access::engine::Engine;

/// Rows, column by column, that a statement sees as a table called `given`. Every column has as many
/// values as there are rows.
#[derive(Debug)]
pub(crate) struct BulkRows {
    engine: Engine,
    columns: Vec<(&'static str, Column)>,
}

#[derive(Debug)]
enum Column {
    Numbers(Vec<i64>),
    Texts(Vec<String>),
    Instants(Vec<DateTimeUtc>),
}

impl BulkRows {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, columns: Vec::new() }
    }

    pub(crate) fn numbers(self, name: &'static str, values: impl Iterator<Item = i64>) -> Self {
        self.with(name, Column::Numbers(values.collect()))
    }

    pub(crate) fn texts<T: Into<String>>(self, name: &'static str, values: impl Iterator<Item = T>) -> Self {
        self.with(name, Column::Texts(values.map(Into::into).collect()))
    }

    pub(crate) fn instants(self, name: &'static str, values: impl Iterator<Item = DateTimeUtc>) -> Self {
        self.with(name, Column::Instants(values.collect()))
    }

    fn with(mut self, name: &'static str, column: Column) -> Self {
        self.columns.push((name, column));
        self
    }

    /// The table, for a statement that has no other values than these.
    pub(crate) fn table(&self) -> String {
        let columns = self.columns.iter().enumerate();
        match self.engine {
            Engine::Postgres => {
                let arrays: Vec<_> =
                    columns.map(|(at, (_, column))| format!("CAST(${} AS {}[])", at + 1, column.kind())).collect();
                let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
                format!("unnest({}) AS given({})", arrays.join(", "), names.join(", "))
            }
            Engine::Sqlite => {
                let columns: Vec<_> = columns.map(|(at, (name, _))| format!("value ->> {at} AS {name}")).collect();
                format!("(SELECT {} FROM json_each(?1)) AS given", columns.join(", "))
            }
        }
    }

    /// What the statement's values are bound to: an array a column, or everything as one JSON text.
    pub(crate) fn values(self) -> Vec<Value> {
        match self.engine {
            Engine::Postgres => self.columns.into_iter().map(|(_, column)| column.array()).collect(),
            Engine::Sqlite => {
                let rows = self.columns.first().map_or(0, |(_, column)| column.len());
                let row = |row| self.columns.iter().map(|(_, column)| column.json(row)).collect();
                vec![Json::Array((0..rows).map(|at| Json::Array(row(at))).collect()).to_string().into()]
            }
        }
    }
}

impl Column {
    fn kind(&self) -> &'static str {
        match self {
            Self::Numbers(_) => "bigint",
            Self::Texts(_) => "text",
            Self::Instants(_) => "timestamptz",
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Instants(values) => values.len(),
        }
    }

    fn array(self) -> Value {
        let (kind, values): (_, Vec<Value>) = match self {
            Self::Numbers(values) => (ArrayType::BigInt, values.into_iter().map(Value::from).collect()),
            Self::Texts(values) => (ArrayType::String, values.into_iter().map(Value::from).collect()),
            Self::Instants(values) => (ArrayType::ChronoDateTimeUtc, values.into_iter().map(Value::from).collect()),
        };
        Value::Array(kind, Some(Box::new(values)))
    }

    fn json(&self, row: usize) -> Json {
        match self {
            Self::Numbers(values) => json!(values.get(row)),
            Self::Texts(values) => json!(values.get(row)),
            // As `SQLite` keeps instants.
            Self::Instants(values) => {
                json!(values.get(row).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, false)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(engine: Engine) -> BulkRows {
        let noon = DateTimeUtc::from_timestamp(1_893_499_200, 0);
        BulkRows::new(engine)
            .numbers("id", [7, 8].into_iter())
            .texts("status", ["a", "b\"'"].into_iter())
            .instants("at", std::iter::repeat_n(noon.unwrap(), 2))
    }

    #[test]
    fn postgres_gets_an_array_a_column() {
        let rows = rows(Engine::Postgres);
        assert_eq!(
            rows.table(),
            "unnest(CAST($1 AS bigint[]), CAST($2 AS text[]), CAST($3 AS timestamptz[])) AS given(id, status, at)"
        );
        assert_eq!(rows.values().len(), 3);
    }

    #[test]
    fn sqlite_gets_one_json_text() {
        let rows = rows(Engine::Sqlite);
        assert_eq!(
            rows.table(),
            "(SELECT value ->> 0 AS id, value ->> 1 AS status, value ->> 2 AS at FROM json_each(?1)) AS given"
        );
        let json = r#"[[7,"a","2030-01-01T12:00:00+00:00"],[8,"b\"'","2030-01-01T12:00:00+00:00"]]"#;
        assert_eq!(rows.values(), [Value::from(json)]);
    }
}
