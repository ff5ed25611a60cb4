//! The programme's version, in a single row beside the database's own name. Triggers raise it, so
//! that no writer can forget: when an event is added or removed, when what a list shows or sorts by
//! changes, and when an event sells out or has seats again.

use crate::dialect::Dialect;
use crate::triggers::{listed_otherwise, raise_if_changed};

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let random = match dialect {
        Dialect::Postgres => "gen_random_uuid()::text",
        Dialect::Sqlite => "lower(hex(randomblob(16)))",
    };
    let mut statements = vec![
        "CREATE TABLE catalogue (
            id integer NOT NULL PRIMARY KEY CHECK (id = 1),
            version bigint NOT NULL,
            database_id text NOT NULL
        )"
        .to_owned(),
        format!("INSERT INTO catalogue (id, version, database_id) VALUES (1, 1, {random})"),
    ];
    statements.extend(match dialect {
        Dialect::Postgres => postgres(),
        Dialect::Sqlite => sqlite(),
    });
    statements
}

/// Once a statement, however many rows it touches.
fn postgres() -> Vec<String> {
    vec![
        "CREATE FUNCTION raise_catalogue() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE catalogue SET version = version + 1;
            RETURN NULL;
        END $$"
            .to_owned(),
        "CREATE FUNCTION raise_catalogue_if_any() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM touched) THEN
                UPDATE catalogue SET version = version + 1;
            END IF;
            RETURN NULL;
        END $$"
            .to_owned(),
        raise_if_changed(""),
        "CREATE TRIGGER events_catalogue_insert AFTER INSERT ON events REFERENCING NEW TABLE AS touched
        FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_if_any()"
            .to_owned(),
        "CREATE TRIGGER events_catalogue_delete AFTER DELETE ON events REFERENCING OLD TABLE AS touched
        FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_if_any()"
            .to_owned(),
        "CREATE TRIGGER events_catalogue_truncate AFTER TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue()"
            .to_owned(),
        "CREATE TRIGGER events_catalogue_update AFTER UPDATE ON events
        REFERENCING OLD TABLE AS formers NEW TABLE AS presents
        FOR EACH STATEMENT EXECUTE FUNCTION raise_catalogue_if_changed()"
            .to_owned(),
    ]
}

fn sqlite() -> Vec<String> {
    const RAISE: &str = "BEGIN UPDATE catalogue SET version = version + 1; END";
    let changed = listed_otherwise("OLD", "NEW", "IS NOT");
    vec![
        format!("CREATE TRIGGER events_catalogue_insert AFTER INSERT ON events {RAISE}"),
        format!("CREATE TRIGGER events_catalogue_delete AFTER DELETE ON events {RAISE}"),
        format!(
            "CREATE TRIGGER events_catalogue_update AFTER UPDATE ON events
            WHEN OLD.id IS NOT NEW.id OR {changed} {RAISE}"
        ),
    ]
}

fn down(dialect: Dialect) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let on = if dialect == Dialect::Postgres { " ON events" } else { "" };
    for name in ["insert", "delete", "update"] {
        statements.push(format!("DROP TRIGGER events_catalogue_{name}{on}"));
    }
    if dialect == Dialect::Postgres {
        statements.push("DROP TRIGGER events_catalogue_truncate ON events".to_owned());
        for name in ["raise_catalogue", "raise_catalogue_if_any", "raise_catalogue_if_changed"] {
            statements.push(format!("DROP FUNCTION {name}()"));
        }
    }
    statements.push("DROP TABLE catalogue".to_owned());
    statements
}
