//! What the API would refuse is refused by the tables as well, by triggers that look at the columns that a statement
//! writes, and at no others: a booking sets none of them off, and a row that has an invalid value from before can be
//! booked, changed elsewhere and deleted.
//!
//! What was there before is mended if it has one meaning only:
//!
//! - An e-mail address gets lower case, and loses the white space around it. Of accounts whose addresses differ in
//!   nothing else, only one can have it: that which has it already, or else the oldest. The others keep theirs.
//! - An instant outside the years 0001 to 9999, which no answer can show, becomes the first or the last in them.
//! - A registration whose id is none gets a new one: no other row has it.
//! - On `SQLite`, bytes become a text, and numbers whole. An instant is written in the one form, as
//!   `guard_hand_made_changes` has it; what is no instant at all becomes that of the migration.
//!
//! All else stays as it is, is shown as it is, and is in the view `invalid_values`, which `boxoffice check` tells.
//!
//! On Postgres, instants have constraints instead of triggers: nothing may get past them, for a driver cannot read every
//! instant that the database can keep. They are `NOT VALID`, so that no table is locked for as long as it is read.

use crate::dialect::{Dialect, sqlite_instant, sqlite_is_instant};
use crate::rules::{FIRST_INSTANT, GREATEST_ID, LAST_INSTANT, RULES, Rule, lower, sqlite_outside_calendar, trimmed};

crate::migration!();

/// What `SQLite` says of an address that is taken in another case.
pub const EMAIL_TAKEN: &str = "users.email is taken in another case";

/// The columns that `guard_hand_made_changes` writes in the one form.
const GUARDED_BEFORE: [(&str, &str); 2] = [("events", "date"), ("registrations", "registration_date")];

fn up(dialect: Dialect) -> Vec<String> {
    let mut statements =
        vec![format!("CREATE INDEX idx_users_email_lower ON users ({})", index_key(dialect)), mend_emails(dialect)];
    match dialect {
        Dialect::Postgres => statements.extend(postgres()),
        Dialect::Sqlite => statements.extend(sqlite()),
    }
    statements.push(invalid_values(dialect));
    statements
}

fn index_key(dialect: Dialect) -> String {
    lower(dialect, "email")
}

fn mend_emails(dialect: Dialect) -> String {
    let mended = lower(dialect, &trimmed(dialect, "email"));
    format!(
        "UPDATE users SET email = mended.email FROM (
            SELECT id, {mended} AS email, row_number() OVER (
                PARTITION BY {mended} ORDER BY CASE WHEN email = {mended} THEN 0 ELSE 1 END, id
            ) AS place FROM users
        ) AS mended WHERE mended.id = users.id AND place = 1 AND users.email <> mended.email"
    )
}

fn postgres() -> Vec<String> {
    let mut statements = Vec::new();
    for (table, column, _) in instants() {
        statements.push(format!(
            "UPDATE {table} SET {column} = LEAST(GREATEST({column}, '{FIRST_INSTANT}'), '{LAST_INSTANT}')
            WHERE {column} < '{FIRST_INSTANT}' OR {column} > '{LAST_INSTANT}'"
        ));
    }
    statements.push(format!("UPDATE registrations SET id = DEFAULT WHERE id NOT BETWEEN 1 AND {GREATEST_ID}"));
    statements.push(
        "CREATE FUNCTION refuse_value() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '%.% %', TG_TABLE_NAME, TG_ARGV[0], TG_ARGV[1] USING ERRCODE = 'check_violation',
                SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = TG_ARGV[0], CONSTRAINT = TG_NAME;
        END $$"
            .to_owned(),
    );
    statements.push(format!(
        "CREATE FUNCTION refuse_taken_email() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF EXISTS (SELECT FROM users WHERE {} = {} AND email <> NEW.email AND id <> NEW.id) THEN
                RAISE EXCEPTION '{EMAIL_TAKEN}' USING ERRCODE = 'unique_violation',
                    SCHEMA = TG_TABLE_SCHEMA, TABLE = TG_TABLE_NAME, COLUMN = 'email', CONSTRAINT = TG_NAME;
            END IF;
            RETURN NEW;
        END $$",
        index_key(Dialect::Postgres),
        lower(Dialect::Postgres, "NEW.email")
    ));
    for (table, column, rule) in guarded(Dialect::Postgres) {
        let Some(fault) = rule.fault(Dialect::Postgres, &format!("NEW.{column}")) else { continue };
        let refuse = format!("EXECUTE FUNCTION refuse_value('{column}', '{}')", rule.demand());
        statements.push(format!(
            "CREATE TRIGGER {table}_{column}_insert BEFORE INSERT ON {table}
            FOR EACH ROW WHEN (({fault}) IS NOT NULL) {refuse}"
        ));
        statements.push(format!(
            "CREATE TRIGGER {table}_{column}_update BEFORE UPDATE OF {column} ON {table}
            FOR EACH ROW WHEN (NEW.{column} IS DISTINCT FROM OLD.{column} AND ({fault}) IS NOT NULL) {refuse}"
        ));
    }
    for (name, event, changed) in
        [("insert", "INSERT", ""), ("update", "UPDATE OF email", " WHEN (NEW.email IS DISTINCT FROM OLD.email)")]
    {
        statements.push(format!(
            "CREATE TRIGGER users_email_taken_{name} BEFORE {event} ON users
            FOR EACH ROW{changed} EXECUTE FUNCTION refuse_taken_email()"
        ));
    }
    for table in tables() {
        let columns = instants().filter(|(of, ..)| *of == table);
        let bounds: Vec<_> =
            columns.map(|(_, column, _)| format!("{column} BETWEEN '{FIRST_INSTANT}' AND '{LAST_INSTANT}'")).collect();
        statements.push(format!(
            "ALTER TABLE {table} ADD CONSTRAINT {table}_instants CHECK ({}) NOT VALID",
            bounds.join(" AND ")
        ));
    }
    statements
}

fn sqlite() -> Vec<String> {
    let mut statements = Vec::new();
    for (table, column, rule) in RULES {
        match rule {
            Rule::Line(_) | Rule::Lines(_) | Rule::Email | Rule::Text => statements
                .push(format!("UPDATE {table} SET {column} = CAST({column} AS text) WHERE typeof({column}) = 'blob'")),
            Rule::Instant => statements.push(sqlite_mend_instant(table, column)),
            Rule::Number(..) | Rule::Whole => {}
        }
    }
    statements.push(format!(
        "UPDATE registrations SET id = mended.id FROM (
            SELECT id AS former, row_number() OVER (ORDER BY id) +
                (SELECT coalesce(max(id), 0) FROM registrations WHERE id BETWEEN 1 AND {GREATEST_ID}) AS id
            FROM registrations WHERE id NOT BETWEEN 1 AND {GREATEST_ID}
        ) AS mended WHERE registrations.id = mended.former"
    ));
    statements.push(
        "UPDATE events SET total_seats = max(CAST(total_seats AS integer), 0),
            available_seats = max(min(CAST(available_seats AS integer), CAST(total_seats AS integer)), 0)
        WHERE typeof(total_seats) <> 'integer' OR typeof(available_seats) <> 'integer'"
            .to_owned(),
    );
    for (table, column, rule) in guarded(Dialect::Sqlite) {
        let Some(fault) = rule.fault(Dialect::Sqlite, &format!("NEW.{column}")) else { continue };
        let refuse = format!("BEGIN SELECT RAISE(ABORT, '{table}.{column} {}'); END", rule.demand());
        // Before it is inserted, a row that is to be numbered has no number yet.
        let time = if column == "id" { "AFTER" } else { "BEFORE" };
        statements.push(format!(
            "CREATE TRIGGER {table}_{column}_insert {time} INSERT ON {table}
            WHEN ({fault}) IS NOT NULL {refuse}"
        ));
        statements.push(format!(
            "CREATE TRIGGER {table}_{column}_update BEFORE UPDATE OF {column} ON {table}
            WHEN NEW.{column} IS NOT OLD.{column} AND ({fault}) IS NOT NULL {refuse}"
        ));
    }
    let taken = format!(
        "EXISTS (SELECT 1 FROM users WHERE {} = {} AND email <> NEW.email AND id <> NEW.id)",
        index_key(Dialect::Sqlite),
        lower(Dialect::Sqlite, "NEW.email")
    );
    for (name, event, changed) in
        [("insert", "INSERT", ""), ("update", "UPDATE OF email", "NEW.email IS NOT OLD.email AND ")]
    {
        statements.push(format!(
            "CREATE TRIGGER users_email_taken_{name} BEFORE {event} ON users WHEN {changed}{taken}
            BEGIN SELECT RAISE(ABORT, '{EMAIL_TAKEN}'); END"
        ));
    }
    for (table, column) in newly_in_one_form() {
        let value = format!("NEW.{column}");
        let (one_form, is_one_form) = (sqlite_instant(&value), sqlite_is_instant(&value));
        for (name, event) in [("insert", "INSERT".to_owned()), ("update", format!("UPDATE OF {column}"))] {
            statements.push(format!(
                "CREATE TRIGGER {table}_{column}_one_form_{name} AFTER {event} ON {table} WHEN NOT {is_one_form}
                BEGIN UPDATE {table} SET {column} = {one_form} WHERE id = NEW.id; END"
            ));
        }
    }
    statements
}

fn sqlite_mend_instant(table: &str, column: &str) -> String {
    let outside = sqlite_outside_calendar(column);
    format!(
        "UPDATE {table} SET {column} = CASE WHEN NOT {outside} THEN {one_form}
            WHEN strftime('%Y', {column}) < '0001' THEN '{FIRST_INSTANT}' ELSE {now} END
        WHERE {column} IS NOT NULL AND ({outside} OR NOT {is_one_form})",
        one_form = sqlite_instant(column),
        now = sqlite_instant("'now'"),
        is_one_form = sqlite_is_instant(column),
    )
}

/// All that a table would refuse to be written now.
fn invalid_values(dialect: Dialect) -> String {
    let mut parts: Vec<_> = RULES
        .iter()
        .filter_map(|(table, column, rule)| {
            let fault = rule.fault(dialect, column)?;
            Some(format!(
                "SELECT '{table}' AS table_name, id, '{column}' AS column_name, {fault} AS fault FROM {table}"
            ))
        })
        .collect();
    if dialect == Dialect::Sqlite {
        // A tool that `SQLite` comes with leaves foreign keys unchecked.
        for (column, table, noun) in [("user_id", "users", "user"), ("event_id", "events", "event")] {
            parts.push(format!(
                "SELECT 'registrations', id, '{column}',
                    CASE WHEN {column} NOT IN (SELECT id FROM {table}) THEN 'is the id of no {noun}' END
                FROM registrations"
            ));
        }
    }
    format!(
        "CREATE VIEW invalid_values AS SELECT * FROM ({}) AS everything WHERE fault IS NOT NULL",
        parts.join(" UNION ALL ")
    )
}

/// The columns with triggers.
fn guarded(dialect: Dialect) -> impl Iterator<Item = (&'static str, &'static str, Rule)> {
    RULES.into_iter().filter(move |(_, column, rule)| {
        rule.fault(dialect, column).is_some() && (dialect == Dialect::Sqlite || *rule != Rule::Instant)
    })
}

fn instants() -> impl Iterator<Item = (&'static str, &'static str, Rule)> {
    RULES.into_iter().filter(|(_, _, rule)| *rule == Rule::Instant)
}

fn newly_in_one_form() -> impl Iterator<Item = (&'static str, &'static str)> {
    instants().map(|(table, column, _)| (table, column)).filter(|it| !GUARDED_BEFORE.contains(it))
}

fn tables() -> Vec<&'static str> {
    let mut tables: Vec<_> = RULES.iter().map(|(table, ..)| *table).collect();
    tables.dedup();
    tables
}

/// What was mended stays mended.
fn down(dialect: Dialect) -> Vec<String> {
    let mut statements = vec!["DROP VIEW invalid_values".to_owned()];
    let mut triggers: Vec<_> =
        guarded(dialect).map(|(table, column, _)| (table, format!("{table}_{column}"))).collect();
    triggers.push(("users", "users_email_taken".to_owned()));
    if dialect == Dialect::Sqlite {
        triggers.extend(newly_in_one_form().map(|(table, column)| (table, format!("{table}_{column}_one_form"))));
    }
    for (table, trigger) in triggers {
        let on = if dialect == Dialect::Postgres { format!(" ON {table}") } else { String::new() };
        statements.extend(["insert", "update"].map(|name| format!("DROP TRIGGER {trigger}_{name}{on}")));
    }
    if dialect == Dialect::Postgres {
        statements.push("DROP FUNCTION refuse_value(), refuse_taken_email()".to_owned());
        statements.extend(tables().iter().map(|table| format!("ALTER TABLE {table} DROP CONSTRAINT {table}_instants")));
    }
    statements.push("DROP INDEX idx_users_email_lower".to_owned());
    statements
}
