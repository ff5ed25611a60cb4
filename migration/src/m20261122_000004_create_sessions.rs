//! Log-in sessions, and the refresh tokens that were handed out in each: only their digests.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, instant, now, bytes) = (dialect.id(), dialect.instant(), dialect.instant_now(), dialect.bytes());
    vec![
        format!(
            "CREATE TABLE sessions (
                id {id},
                user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE,
                expires_at {instant} NOT NULL,
                revoked_at {instant},
                created_at {now}
            )"
        ),
        "CREATE INDEX idx_sessions_user_id ON sessions (user_id)".to_owned(),
        "CREATE INDEX idx_sessions_expires_at ON sessions (expires_at)".to_owned(),
        format!(
            "CREATE TABLE refresh_tokens (
                digest {bytes} NOT NULL PRIMARY KEY,
                session_id bigint NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
                spent_at {instant}
            )"
        ),
        "CREATE INDEX idx_refresh_tokens_session_id ON refresh_tokens (session_id)".to_owned(),
    ]
}

fn down(_: Dialect) -> Vec<String> {
    vec!["DROP TABLE refresh_tokens".to_owned(), "DROP TABLE sessions".to_owned()]
}
