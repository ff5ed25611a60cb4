//! Mail that is to be sent, who wants none, and how far other channels have read the history.
//!
//! A mail names the fact it tells of by its position in the history, where the event is as it was; a reminder names the
//! event alone. Names and addresses are looked up when it is sent: none lies here. A mail that was sent is deleted.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, instant, now) = (dialect.id(), dialect.instant(), dialect.instant_now());
    vec![
        "ALTER TABLE users ADD COLUMN notifications boolean NOT NULL DEFAULT TRUE".to_owned(),
        format!(
            "CREATE TABLE mails (
                id {id},
                kind text NOT NULL,
                user_id bigint NOT NULL,
                event_id bigint,
                position bigint,
                status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'failed')),
                attempts integer NOT NULL DEFAULT 0,
                next_attempt_at {instant},
                last_error text,
                created_at {now}
            )"
        ),
        "CREATE INDEX idx_mails_due ON mails (next_attempt_at, id) WHERE status = 'pending'".to_owned(),
        format!(
            "CREATE TABLE channels (
                name text PRIMARY KEY,
                position bigint NOT NULL DEFAULT 0,
                at {instant} NOT NULL
            )"
        ),
    ]
}

fn down(_: Dialect) -> Vec<String> {
    ["DROP TABLE channels", "DROP TABLE mails", "ALTER TABLE users DROP COLUMN notifications"].map(str::to_owned).into()
}
