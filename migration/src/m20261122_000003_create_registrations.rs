//! Who booked what: one row per user and event for ever.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, now) = (dialect.id(), dialect.instant_now());
    vec![
        format!(
            "CREATE TABLE registrations (
                id {id},
                user_id bigint NOT NULL REFERENCES users (id),
                event_id bigint NOT NULL REFERENCES events (id),
                status text NOT NULL DEFAULT 'confirmed' CHECK (status IN ('confirmed', 'cancelled')),
                registration_date {now},
                created_at {now},
                version bigint NOT NULL DEFAULT 1
            )"
        ),
        "CREATE INDEX idx_registrations_user_id ON registrations (user_id)".to_owned(),
        // In the order they are listed: newest first.
        "CREATE INDEX idx_registrations_event_id ON registrations (event_id, registration_date DESC, id DESC)"
            .to_owned(),
        "CREATE UNIQUE INDEX idx_registrations_unique ON registrations (user_id, event_id)".to_owned(),
    ]
}

fn down(_: Dialect) -> Vec<String> {
    vec!["DROP TABLE registrations".to_owned()]
}
