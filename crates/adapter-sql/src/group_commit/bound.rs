//! Many rows bound as one value: one prepared statement, however many there are.

use chrono::SecondsFormat;
use sea_orm::Value;
use sea_orm::prelude::DateTimeUtc;
use serde_json::Value as Json;

use crate::tx::Engine;

/// What a column of bound rows holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Number,
    Text,
    Instant,
}

impl Kind {
    fn postgres(self) -> &'static str {
        match self {
            Self::Number => "bigint",
            Self::Text => "text",
            Self::Instant => "timestamptz",
        }
    }
}

/// The rows of [`list`], the statement's first value, as a table called `given`.
pub(super) fn table(engine: Engine, columns: &[(&str, Kind)]) -> String {
    match engine {
        Engine::Postgres => {
            let columns: Vec<_> = columns.iter().map(|(name, kind)| format!("{name} {}", kind.postgres())).collect();
            format!("json_to_recordset(CAST($1 AS json)) AS given({})", columns.join(", "))
        }
        Engine::Sqlite => {
            let columns: Vec<_> = columns.iter().map(|(name, _)| format!("value ->> '$.{name}' AS {name}")).collect();
            format!("(SELECT {} FROM json_each(?1)) AS given", columns.join(", "))
        }
    }
}

/// The rows, each an object.
pub(super) fn list(rows: impl Iterator<Item = Json>) -> Value {
    Json::Array(rows.collect()).to_string().into()
}

/// An instant as `SQLite` keeps it; Postgres reads it as well.
pub(super) fn instant(at: DateTimeUtc) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, false)
}
