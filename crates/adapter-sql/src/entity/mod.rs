//! Rows as the tables have them, and their conversions from and to the domain's types.
//!
//! A row that somebody wrote by hand may hold what the domain would never write. It is a fault that
//! names the table, the row and the column.

pub(crate) mod catalogue;
pub(crate) mod event;
pub(crate) mod idempotency_key;
pub(crate) mod refresh_token;
pub(crate) mod registration;
pub(crate) mod session;
pub(crate) mod user;

use std::fmt;

use chrono::Datelike;
use domain::ports::StoreError;
use domain::{EventId, RegistrationId, Timestamp, UserId, Version};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::{EntityTrait, IdenStatic, Iterable};

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

    pub(crate) fn instant(self, column: &str, stored: DateTimeUtc) -> Result<Timestamp, StoreError> {
        if (1..=9999).contains(&stored.year()) {
            Ok(Timestamp::new(stored))
        } else {
            Err(self.fault(column, "outside the calendar"))
        }
    }

    pub(crate) fn version(self, stored: i64) -> Result<Version, StoreError> {
        u64::try_from(stored).map(Version::new).map_err(|_| self.fault("version", "negative"))
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

fn number(stored: i64) -> Option<u64> {
    u64::try_from(stored).ok()
}

/// The columns that this release knows, of a table by this name in a statement. Never `*`: a newer release may add
/// columns while statements are prepared, and what was prepared before would have more to answer than it said.
pub(crate) fn columns<E: EntityTrait>(table: &str) -> String {
    let columns: Vec<_> = E::Column::iter().map(|column| format!("{table}.{}", column.as_str())).collect();
    columns.join(", ")
}

/// An id or a version as a column holds it. Ids are below 2^53, and no row is changed 2^63 times.
pub(crate) fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
