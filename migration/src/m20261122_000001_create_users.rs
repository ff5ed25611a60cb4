//! Accounts. The e-mail address is kept in lower case, so that the index makes it unique.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, created_at) = (dialect.id(), dialect.instant_now());
    vec![
        format!(
            "CREATE TABLE users (
                id {id},
                name text NOT NULL,
                email text NOT NULL,
                password text NOT NULL,
                role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
                created_at {created_at}
            )"
        ),
        "CREATE UNIQUE INDEX idx_users_email ON users (email)".to_owned(),
    ]
}

fn down(_: Dialect) -> Vec<String> {
    vec!["DROP TABLE users".to_owned()]
}
