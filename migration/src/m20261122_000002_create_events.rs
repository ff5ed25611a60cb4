//! The programme. `title_folded` is what titles are searched and sorted by; the program folds it,
//! so that both databases agree in every script.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, instant, now, code_points) =
        (dialect.id(), dialect.instant(), dialect.instant_now(), dialect.code_points());
    let mut statements = vec![
        format!(
            "CREATE TABLE events (
                id {id},
                title text NOT NULL,
                description text,
                date {instant} NOT NULL,
                venue text NOT NULL,
                total_seats integer NOT NULL,
                available_seats integer NOT NULL,
                created_at {now},
                updated_at {now},
                deleted_at {instant},
                version bigint NOT NULL DEFAULT 1,
                title_folded {code_points} NOT NULL DEFAULT '',
                CONSTRAINT events_seats CHECK (available_seats BETWEEN 0 AND total_seats)
            )"
        ),
        "CREATE INDEX idx_events_date ON events (date)".to_owned(),
        "CREATE INDEX idx_events_available_seats ON events (available_seats)".to_owned(),
        "CREATE INDEX idx_events_listed_by_date ON events (date, id) WHERE deleted_at IS NULL".to_owned(),
        "CREATE INDEX idx_events_listed_by_title ON events (title_folded, id) WHERE deleted_at IS NULL".to_owned(),
    ];
    if dialect == Dialect::Postgres {
        statements.push("CREATE EXTENSION IF NOT EXISTS pg_trgm".to_owned());
        statements.push("CREATE INDEX idx_events_search ON events USING gin (title_folded gin_trgm_ops)".to_owned());
    }
    statements
}

/// The extension stays: others may have come to use it, and making it again is no error.
fn down(_: Dialect) -> Vec<String> {
    vec!["DROP TABLE events".to_owned()]
}
