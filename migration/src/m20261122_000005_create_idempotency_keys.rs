//! What was done under which idempotency key. A row without an outcome is seen by its own
//! transaction alone.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (bytes, now) = (dialect.bytes(), dialect.instant_now());
    vec![
        format!(
            "CREATE TABLE idempotency_keys (
                user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
                key text NOT NULL,
                fingerprint {bytes} NOT NULL,
                outcome text,
                created_at {now},
                PRIMARY KEY (user_id, key)
            )"
        ),
        "CREATE INDEX idx_idempotency_keys_created_at ON idempotency_keys (created_at)".to_owned(),
    ]
}

fn down(_: Dialect) -> Vec<String> {
    vec!["DROP TABLE idempotency_keys".to_owned()]
}
