//! Rows as the tables have them, and their conversions from and to the domain's types.
//!
//! A row that was written by hand may hold a text or an instant that the domain would never write. It is read as it is,
//! so that it can be shown, mended and deleted; `boxoffice check` names it. What has no meaning at all, such as an id of
//! 0 or a status that there is not, is a fault that names the table, the row and the column.

pub(crate) mod catalogue;
pub(crate) mod event;
pub(crate) mod idempotency_key;
pub(crate) mod refresh_token;
pub(crate) mod registration;
pub(crate) mod session;
mod text;
pub(crate) mod user;

use std::fmt;

use domain::id::MAX_ID;
use domain::ports::StoreError;
use domain::{EventId, RegistrationId, Timeline, UserId, Version};
use sea_orm::{EntityTrait, IdenStatic, Iterable};

pub(crate) use text::Text;

/// A row with the timeline it was read on.
#[derive(Debug, Clone)]
pub(crate) struct On<R> {
    pub(crate) row: R,
    pub(crate) timeline: Timeline,
}

/// Where a value stands that is none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) table: &'static str,
    pub(crate) id: i64,
}

impl Row {
    /// The fault of a value in one column of this row.
    pub(crate) fn fault(self, column: &str, why: impl fmt::Display) -> StoreError {
        StoreError::fault(format!("{} {}: {column}: {why}", self.table, self.id))
    }

    /// A version as a column holds it. One below 0 counts as 0: every change raises it.
    pub(crate) fn version(self, timeline: Timeline, stored: i64) -> Result<Version, StoreError> {
        let version = Version::on(timeline, u64::try_from(stored).unwrap_or(0));
        version.ok_or_else(|| self.fault("version", format_args!("{stored} on timeline {timeline} is no version")))
    }

    pub(crate) fn user_id(self, column: &str, stored: i64) -> Result<UserId, StoreError> {
        number(stored).and_then(UserId::new).ok_or_else(|| self.fault(column, "not an id"))
    }

    pub(crate) fn event_id(self, column: &str, stored: i64) -> Result<EventId, StoreError> {
        number(stored).and_then(EventId::new).ok_or_else(|| self.fault(column, "not an id"))
    }

    pub(crate) fn registration_id(self, column: &str, stored: i64) -> Result<RegistrationId, StoreError> {
        number(stored).and_then(RegistrationId::new).ok_or_else(|| self.fault(column, "not an id"))
    }
}

/// Whether an id is one that the domain can name.
pub(crate) fn is_id(stored: i64) -> bool {
    number(stored).is_some_and(|number| (1..=MAX_ID).contains(&number))
}

fn number(stored: i64) -> Option<u64> {
    u64::try_from(stored).ok()
}

/// The columns that this release knows, of a table by this name in a statement. Never `*`: a newer release may add
/// columns while statements are prepared, and what was prepared before would have more to answer than it said.
pub(crate) fn columns<E: EntityTrait>(table: &str) -> String {
    let columns: Vec<_> = E::Column::iter().map(|column| format!("{table}.{}", column.as_str())).collect();
    columns.join(", ")
}

/// The same under names that begin with a prefix, where another table's columns have the same names.
pub(crate) fn prefixed_columns<E: EntityTrait>(table: &str, prefix: &str) -> String {
    let column = |column: E::Column| format!("{table}.{0} AS {prefix}{0}", column.as_str());
    E::Column::iter().map(column).collect::<Vec<_>>().join(", ")
}

/// An id or a version as a column holds it. Ids are below 2^53, and no row is changed 2^63 times.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
