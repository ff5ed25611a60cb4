//! The program raises a row's version with every change, folds titles, and writes instants in one
//! form. These triggers do so for every other writer, and leave alone what the program did itself.
//!
//! A statement that leaves `version` as it was is taken for hand-made. Its titles are folded by the
//! database's `lower()`, which is less than the program's folding: a title that was written by
//! hand is found by any case the database knows.

use crate::dialect::Dialect;
use crate::triggers::{INSTANTS, sqlite_guard_instant};

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Postgres => postgres(),
        Dialect::Sqlite => sqlite(),
    }
}

fn postgres() -> Vec<String> {
    [
        "CREATE FUNCTION guard_new_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.title_folded := lower(NEW.title);
            RETURN NEW;
        END $$",
        "CREATE FUNCTION guard_event() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.title IS DISTINCT FROM OLD.title AND NEW.title_folded IS NOT DISTINCT FROM OLD.title_folded THEN
                NEW.title_folded := lower(NEW.title);
            END IF;
            NEW.version := OLD.version + 1;
            RETURN NEW;
        END $$",
        "CREATE FUNCTION guard_registration() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            NEW.version := OLD.version + 1;
            RETURN NEW;
        END $$",
        "CREATE TRIGGER events_guard_insert BEFORE INSERT ON events
        FOR EACH ROW WHEN (NEW.title_folded = '') EXECUTE FUNCTION guard_new_event()",
        "CREATE TRIGGER events_guard_update BEFORE UPDATE ON events
        FOR EACH ROW WHEN (NEW.version <= OLD.version AND NEW.* IS DISTINCT FROM OLD.*)
        EXECUTE FUNCTION guard_event()",
        "CREATE TRIGGER registrations_guard_update BEFORE UPDATE ON registrations
        FOR EACH ROW WHEN (NEW.version <= OLD.version AND NEW.* IS DISTINCT FROM OLD.*)
        EXECUTE FUNCTION guard_registration()",
    ]
    .map(str::to_owned)
    .into()
}

/// `SQLite` has no way to change a row before it is written, so these write it again. A trigger does
/// not set itself off (`recursive_triggers` is off), but it does set off the others: what a rewrite
/// changes counts as a change.
fn sqlite() -> Vec<String> {
    let event_differs = differs(&[
        "id",
        "title",
        "description",
        "date",
        "venue",
        "total_seats",
        "available_seats",
        "created_at",
        "updated_at",
        "deleted_at",
        "version",
    ]);
    let registration_differs =
        differs(&["id", "user_id", "event_id", "status", "registration_date", "created_at", "version"]);
    let mut statements = vec![
        "CREATE TRIGGER events_guard_insert AFTER INSERT ON events WHEN NEW.title_folded = ''
        BEGIN UPDATE events SET title_folded = lower(NEW.title) WHERE id = NEW.id; END"
            .to_owned(),
        "CREATE TRIGGER events_guard_title AFTER UPDATE ON events
        WHEN NEW.version <= OLD.version AND NEW.title IS NOT OLD.title AND NEW.title_folded IS OLD.title_folded
        BEGIN UPDATE events SET title_folded = lower(NEW.title) WHERE id = NEW.id; END"
            .to_owned(),
        format!(
            "CREATE TRIGGER events_guard_version AFTER UPDATE ON events
            WHEN NEW.version <= OLD.version AND ({event_differs})
            BEGIN UPDATE events SET version = OLD.version + 1 WHERE id = NEW.id; END"
        ),
        format!(
            "CREATE TRIGGER registrations_guard_version AFTER UPDATE ON registrations
            WHEN NEW.version <= OLD.version AND ({registration_differs})
            BEGIN UPDATE registrations SET version = OLD.version + 1 WHERE id = NEW.id; END"
        ),
    ];
    for (table, column) in INSTANTS {
        for event in ["INSERT", "UPDATE"] {
            statements.push(sqlite_guard_instant(table, column, &event.to_lowercase(), event));
        }
    }
    statements
}

fn differs(columns: &[&str]) -> String {
    columns.iter().map(|column| format!("NEW.{column} IS NOT OLD.{column}")).collect::<Vec<_>>().join(" OR ")
}

fn down(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Postgres => [
            "DROP TRIGGER events_guard_insert ON events",
            "DROP TRIGGER events_guard_update ON events",
            "DROP TRIGGER registrations_guard_update ON registrations",
            "DROP FUNCTION guard_new_event()",
            "DROP FUNCTION guard_event()",
            "DROP FUNCTION guard_registration()",
        ]
        .map(str::to_owned)
        .into(),
        Dialect::Sqlite => [
            "events_guard_insert",
            "events_guard_title",
            "events_guard_version",
            "registrations_guard_version",
            "events_guard_instant_insert",
            "events_guard_instant_update",
            "registrations_guard_instant_insert",
            "registrations_guard_instant_update",
        ]
        .map(|name| format!("DROP TRIGGER {name}"))
        .into(),
    }
}
