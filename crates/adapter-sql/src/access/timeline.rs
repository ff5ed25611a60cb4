//! The timeline of the server that answers.
//!
//! It is read in the same statement as the versions it belongs to, for another connection may be to another server.
//! A standby has none of its own: there the statement fails, and nothing it shows is taken for the present.

use domain::Timeline;
use domain::ports::StoreError;
use sea_orm::QueryResult;

use crate::Sql;
use crate::access::engine::Engine;
use crate::access::error::failed;

/// The name of the column.
pub(crate) const COLUMN: &str = "timeline";

impl Engine {
    /// The number of the server's timeline, as an expression that is evaluated once a statement. The functions are
    /// open to every role, and know the new timeline at once after a promotion; what the last checkpoint says is late.
    pub(crate) fn timeline(self) -> &'static str {
        match self {
            Self::Postgres => {
                "(SELECT CAST(CAST('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) AS bit(32)) \
                 AS bigint))"
            }
            Self::Sqlite => "1",
        }
    }
}

impl Sql {
    /// Takes note of the timeline that something was read on, and refuses one that is over: a primary that was
    /// replaced may go on answering.
    pub(crate) fn admit(&self, timeline: Timeline) -> Result<Timeline, StoreError> {
        if self.0.pools.saw(timeline) {
            return Ok(timeline);
        }
        let present = self.0.pools.greatest_timeline().unwrap_or_default();
        Err(StoreError::unavailable(format!("the answer is of timeline {timeline}, and {present} has begun")))
    }

    /// The timeline that a row was read on, if it is admitted.
    pub(crate) fn timeline_of(&self, row: &QueryResult) -> Result<Timeline, StoreError> {
        self.admit(parse(row.try_get("", COLUMN).map_err(failed)?)?)
    }
}

/// A timeline by its number.
pub(crate) fn parse(number: i64) -> Result<Timeline, StoreError> {
    let timeline = u32::try_from(number).ok().and_then(Timeline::new);
    timeline.ok_or_else(|| StoreError::fault(format!("{number} is not a timeline")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::Timestamp;
    use domain::ports::Clock;

    use super::*;
    use crate::SqlOptions;

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH
        }
    }

    #[tokio::test]
    async fn an_answer_of_an_earlier_timeline_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/boxoffice.db", folder.path().display());
        let sql = Sql::connect(&SqlOptions::new(url, 2), Arc::new(Stopped)).await.unwrap();
        let second = Timeline::new(2).unwrap();
        for admitted in [Timeline::FIRST, Timeline::FIRST, second, second] {
            assert_eq!(sql.admit(admitted).unwrap(), admitted);
        }
        assert!(matches!(sql.admit(Timeline::FIRST), Err(StoreError::Unavailable(_))));
        assert!(sql.admit(second).is_ok());
    }
}
