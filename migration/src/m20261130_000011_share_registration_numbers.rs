//! A registration gets its number before it is inserted, from the sequence of the table. A role that may insert needs no
//! right to the sequence of an identity column, and may have none: so every role may use this one.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Postgres => vec!["GRANT USAGE ON SEQUENCE registrations_id_seq TO PUBLIC".to_owned()],
        Dialect::Sqlite => Vec::new(),
    }
}

fn down(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Postgres => vec!["REVOKE USAGE ON SEQUENCE registrations_id_seq FROM PUBLIC".to_owned()],
        Dialect::Sqlite => Vec::new(),
    }
}
