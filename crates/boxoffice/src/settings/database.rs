//! The settings of the database.

use super::declare::settings;
use super::parser::Parser;
use super::values::{switch, whole};
use crate::url::DatabaseUrl;

settings! {
    /// Where everything is kept.
    pub struct Database {
        /// The address of the database.
        /// ```text
        ///   sqlite://data/boxoffice.db              embedded, for one instance; the file is created at need
        ///   postgres://user:password@host/database  for any number of instances
        ///   postgres://user:password@host1:5432,host2:5432/database
        ///                                           a primary and its standbys: the one that writes is found, and
        ///                                           found again after a failover
        /// ```
        /// Write / ? # @ , of a password as %2F %3F %23 %40 %2C. The database has to be UTF8. A pooler that shares
        /// sessions (PgBouncer with `pool_mode = transaction`) is refused.
        /// An in-memory SQLite is refused: an acknowledged booking has to outlive the process.
        DATABASE_URL => url: DatabaseUrl = Parser::with_complaints(DatabaseUrl::MUST, DatabaseUrl::parse)
            .default_to("sqlite://data/boxoffice.db")
            .example("postgres://boxoffice:secret@localhost/boxoffice")
            .or_in_file();

        /// Connections to the database, for each instance. A server that grants fewer is worked with.
        DATABASE_POOL_SIZE => pool_size: u32 = whole(1..=u16::MAX.into()).default_to("10");

        /// Whether pending migrations are run at start. With `false`, a database that is behind stops the start:
        /// run `boxoffice migrate` first.
        DATABASE_MIGRATE => migrate: bool = switch().default_to("true");
    }
}
