//! Which database it is, and what the two spell differently.

use sea_orm::sea_query::ArrayType;
use sea_orm::{DbBackend, Value};

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Postgres,
    Sqlite,
}

impl Engine {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    pub(crate) fn backend(self) -> DbBackend {
        match self {
            Self::Postgres => DbBackend::Postgres,
            Self::Sqlite => DbBackend::Sqlite,
        }
    }

    /// An e-mail address of a column in lower case, as `idx_users_email_lower` has it.
    pub(crate) fn lower_case(self, column: &str) -> String {
        match self {
            Self::Postgres => format!(r#"lower({column} COLLATE "C")"#),
            Self::Sqlite => format!("lower({column})"),
        }
    }

    /// A condition that a column is one of some numbers: one bound value and so one prepared
    /// statement, however many there are. The place is that of its [`Engine::numbers`] among the values
    /// of the statement, and they are bound in order: sea-query knows no `$N` on `SQLite`.
    pub(crate) fn is_one_of(self, column: &str, place: usize) -> String {
        match self {
            Self::Postgres => format!("{column} = ANY(${place})"),
            Self::Sqlite => format!("{column} IN (SELECT value FROM json_each(?))"),
        }
    }

    /// Many numbers as one bound value.
    pub(crate) fn numbers(self, numbers: impl Iterator<Item = i64>) -> Value {
        match self {
            Self::Postgres => {
                Value::Array(ArrayType::BigInt, Some(Box::new(numbers.map(|n| Value::BigInt(Some(n))).collect())))
            }
            Self::Sqlite => {
                let list: Vec<_> = numbers.map(|n| n.to_string()).collect();
                Value::String(Some(format!("[{}]", list.join(","))))
            }
        }
    }

    /// The type that an instant is cast to.
    pub(crate) fn instant(self) -> &'static str {
        match self {
            Self::Postgres => "timestamptz",
            Self::Sqlite => "text",
        }
    }

    /// An instant of a column, as JSON has it.
    pub(crate) fn json_instant(self, column: &str) -> String {
        match self {
            Self::Postgres => format!(r#"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#),
            Self::Sqlite => column.to_owned(),
        }
    }

    /// The texts of a group, joined by commas in an order.
    pub(crate) fn joined(self, text: &str, order: &str) -> String {
        match self {
            Self::Postgres => format!("string_agg({text}, ',' ORDER BY {order})"),
            // The rows come in their order from the subquery; an order of its own needs 3.44.
            Self::Sqlite => format!("group_concat({text}, ',')"),
        }
    }
}
