//! Triggers that several changes make: what one release made, a later one makes again in another form. Nothing here may be
//! changed, for a new database runs every change.

use crate::dialect::{sqlite_instant, sqlite_is_instant};

/// What an `UPDATE` has to change in `{old}` and `{new}` for the programme to be another one.
pub(crate) fn listed_otherwise(old: &str, new: &str, differs: &str) -> String {
    let columns = ["title", "title_folded", "description", "date", "venue", "total_seats", "deleted_at"];
    let mut parts: Vec<_> = columns.map(|column| format!("{old}.{column} {differs} {new}.{column}")).into();
    parts.push(format!("({old}.available_seats = 0) {differs} ({new}.available_seats = 0)"));
    parts.join(" OR ")
}

/// The function of the trigger on updates, which knows the rows as `formers` and `presents`. What it
/// does `also`, it does after it has locked the programme's row, and only if that is another one.
pub(crate) fn raise_if_changed(also: &str) -> String {
    let changed = listed_otherwise("former", "present", "IS DISTINCT FROM");
    format!(
        "CREATE OR REPLACE FUNCTION raise_catalogue_if_changed() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (
                SELECT FROM formers AS former FULL JOIN presents AS present USING (id) WHERE {changed}
            ) THEN
                UPDATE catalogue SET version = version + 1;
                {also}
            END IF;
            RETURN NULL;
        END $$"
    )
}

/// Columns that the program compares as text on `SQLite`.
pub(crate) const INSTANTS: [(&str, &str); 2] = [("events", "date"), ("registrations", "registration_date")];

/// The trigger that writes an instant again in the one form, `after` a change.
pub(crate) fn sqlite_guard_instant(table: &str, column: &str, name: &str, after: &str) -> String {
    let value = format!("NEW.{column}");
    let (one_form, is_one_form) = (sqlite_instant(&value), sqlite_is_instant(&value));
    format!(
        "CREATE TRIGGER {table}_guard_instant_{name} AFTER {after} ON {table} WHEN NOT {is_one_form}
        BEGIN UPDATE {table} SET {column} = {one_form} WHERE id = NEW.id; END"
    )
}
