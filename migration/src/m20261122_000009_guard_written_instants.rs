//! On `SQLite` an instant is looked at by its guard only when a statement writes it: to look at one with
//! every change took more than half the time of cancelling many registrations.

use crate::dialect::Dialect;
use crate::triggers::{INSTANTS, sqlite_guard_instant};

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    again(dialect, |column| format!("UPDATE OF {column}"))
}

fn down(dialect: Dialect) -> Vec<String> {
    again(dialect, |_| "UPDATE".to_owned())
}

fn again(dialect: Dialect, after: impl Fn(&str) -> String) -> Vec<String> {
    if dialect == Dialect::Postgres {
        return Vec::new();
    }
    INSTANTS
        .iter()
        .flat_map(|(table, column)| {
            let drop = format!("DROP TRIGGER {table}_guard_instant_update");
            [drop, sqlite_guard_instant(table, column, "update", &after(column))]
        })
        .collect()
}
