//! What a driver's error means to the caller of a port.

use domain::ports::{
    AddUserError, CreateEventError, CreateWebhookError, OrderDeliveryError, RotateError, StoreError, UpdateUserError,
};
use domain::{KeyConflict, SeatCommandError};
use sea_orm::sqlx::Error as SqlxError;
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr, SqlErr};

/// What came of a statement that failed before anything was committed.
pub(crate) fn failed(error: DbErr) -> StoreError {
    match kind(&error) {
        Kind::Lost | Kind::Busy => StoreError::unavailable(error),
        Kind::Other => StoreError::fault(error),
    }
}

/// What came of a `COMMIT` that failed. A lost connection leaves open whether the server got it.
pub(crate) fn commit_failed(error: DbErr) -> StoreError {
    match kind(&error) {
        Kind::Lost => StoreError::OutcomeUnknown(domain::ports::Cause::new(error)),
        Kind::Busy => StoreError::unavailable(error),
        Kind::Other => StoreError::fault(error),
    }
}

/// Whether a database that is well had a caller wait too long for a lock, or work too long.
pub(crate) fn took_too_long(error: &StoreError) -> bool {
    let StoreError::Unavailable(why) = error else { return false };
    why.cause().downcast_ref().is_some_and(is_lock_timeout)
}

/// A failure that will hardly come again, of a transaction that did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transient {
    /// The connection died that the work had.
    Lost,
    /// Postgres ended the transaction for the sake of another one.
    Yielded,
    /// The session cannot write: its server became a standby, or its database read-only.
    ReadOnly,
    /// No connection was had before the pool was retired.
    Retired,
    /// Another server became the one that writes.
    Superseded,
}

impl Transient {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Yielded => "yielded",
            Self::ReadOnly => "read_only",
            Self::Retired => "retired",
            Self::Superseded => "superseded",
        }
    }
}

/// Whether what failed is worth another try. That no connection could be had is not: the pool has tried.
pub(crate) fn transient(error: &StoreError) -> Option<Transient> {
    let StoreError::Unavailable(why) = error else { return None };
    let error = why.cause().downcast_ref::<DbErr>()?;
    if matches!(error, DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed)) {
        return Some(Transient::Retired);
    }
    let (DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause))) = error else {
        return None;
    };
    match code(error) {
        // serialization_failure, deadlock_detected
        Some(code) if code == "40001" || code == "40P01" => Some(Transient::Yielded),
        // read_only_sql_transaction
        Some(code) if code == "25006" => Some(Transient::ReadOnly),
        // `SQLite`'s codes are shorter: its file does not come back by itself.
        Some(code) => (code.len() == 5 && kind_of_code(&code) == Kind::Lost).then_some(Transient::Lost),
        None => match **cause {
            SqlxError::Io(_) | SqlxError::BeginFailed => Some(Transient::Lost),
            SqlxError::PoolClosed => Some(Transient::Retired),
            _ => None,
        },
    }
}

/// Whether a statement that may have to wait for a lock, and does nothing else for long, ran out of
/// time.
pub(crate) fn is_lock_timeout(error: &DbErr) -> bool {
    code(error).is_some_and(|code| code == "55P03" || code == "57014")
}

/// Whether a row would be the second of its key.
pub(crate) fn is_duplicate(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) || is_email_taken_in_another_case(error)
}

/// A trigger of `SQLite` cannot choose its code: `SQLITE_CONSTRAINT_TRIGGER`.
fn is_email_taken_in_another_case(error: &DbErr) -> bool {
    code(error).is_some_and(|code| code == "1811") && error.to_string().contains(migration::EMAIL_TAKEN)
}

/// Whether a row refers to one that does not exist.
pub(crate) fn is_orphan(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_)))
}

/// Why a failed statement failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The connection is gone, or was never there.
    Lost,
    /// The database is there and says: not now.
    Busy,
    /// Neither.
    Other,
}

fn kind(error: &DbErr) -> Kind {
    // Whatever a server says to those it does not let in: the database is closed, gone, or wants
    // another password. None of that is the statement's fault.
    if matches!(error, DbErr::Conn(_)) {
        return Kind::Lost;
    }
    if let Some(code) = code(error) {
        return kind_of_code(&code);
    }
    match error {
        DbErr::ConnectionAcquire(_) => Kind::Busy,
        DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error)) => match &**error {
            SqlxError::Io(_) | SqlxError::Tls(_) | SqlxError::WorkerCrashed | SqlxError::BeginFailed => Kind::Lost,
            SqlxError::PoolTimedOut | SqlxError::PoolClosed => Kind::Busy,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

/// The SQLSTATE of Postgres, five characters; or `SQLite`'s extended result code in decimal.
fn code(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(error)) | DbErr::Query(RuntimeErr::SqlxError(error))) = error else {
        return None;
    };
    error.as_database_error()?.code().map(std::borrow::Cow::into_owned)
}

fn kind_of_code(code: &str) -> Kind {
    if let Ok(sqlite) = code.parse::<i32>()
        && code.len() != 5
    {
        // The lowest byte is the primary code (https://www.sqlite.org/rescode.html).
        return match sqlite & 0xff {
            10 => Kind::Lost,         // IOERR
            5 | 6 | 13 => Kind::Busy, // BUSY, LOCKED, FULL
            _ => Kind::Other,
        };
    }
    match code {
        // The server, or this connection, is being stopped.
        "57P01" | "57P02" | "57P04" | "57P05" | "25P03" => Kind::Lost,
        // Locked, cancelled by a timeout, serialization, deadlock, starting up; a standby, asked to write or for its
        // timeline.
        "55P03" | "57014" | "57P03" | "40001" | "40P01" | "25006" | "55000" => Kind::Busy,
        _ if code.starts_with("08") => Kind::Lost,
        // Out of connections, memory or disk.
        _ if code.starts_with("53") => Kind::Busy,
        _ => Kind::Other,
    }
}

/// An error of which one variant is the store's.
pub(crate) trait Failure: From<StoreError> + Send + 'static {
    /// The store's part in it, if it has one.
    fn of_store(&self) -> Option<&StoreError>;
}

impl Failure for StoreError {
    fn of_store(&self) -> Option<&StoreError> {
        Some(self)
    }
}

/// What stands in the way of a command, whatever it wants.
#[derive(Debug, Clone)]
pub(crate) enum Obstacle {
    AuthorGone,
    Key(KeyConflict),
    Store(StoreError),
}

impl From<StoreError> for Obstacle {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

macro_rules! failures {
    ($($error:ident),*) => {$(
        impl Failure for $error {
            fn of_store(&self) -> Option<&StoreError> {
                match self {
                    Self::Store(error) => Some(error),
                    _ => None,
                }
            }
        }
    )*};
}

macro_rules! obstacles {
    ($($error:ident),*) => {$(
        impl From<Obstacle> for $error {
            fn from(error: Obstacle) -> Self {
                match error {
                    Obstacle::AuthorGone => Self::AuthorGone,
                    Obstacle::Key(conflict) => Self::Key(conflict),
                    Obstacle::Store(error) => Self::Store(error),
                }
            }
        }
    )*};
}

failures!(AddUserError, CreateEventError, CreateWebhookError, OrderDeliveryError, RotateError, UpdateUserError);
obstacles!(CreateEventError, CreateWebhookError, UpdateUserError);

impl<R> From<Obstacle> for SeatCommandError<R> {
    fn from(error: Obstacle) -> Self {
        match error {
            Obstacle::AuthorGone => Self::AuthorGone,
            Obstacle::Key(conflict) => Self::Key(conflict),
            Obstacle::Store(error) => Self::Store(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    fn lost() -> DbErr {
        let error = SqlxError::Io(io::Error::from(io::ErrorKind::UnexpectedEof));
        DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
    }

    #[test]
    fn a_lost_connection_did_nothing_unless_it_was_lost_while_committing() {
        assert!(matches!(failed(lost()), StoreError::Unavailable(_)));
        assert!(matches!(commit_failed(lost()), StoreError::OutcomeUnknown(_)));
    }

    #[test]
    fn only_transient_errors_are_worth_another_try() {
        assert_eq!(transient(&failed(lost())), Some(Transient::Lost));
        assert_eq!(transient(&commit_failed(lost())), None, "it may have been done");
        let refused =
            DbErr::Conn(RuntimeErr::SqlxError(Arc::new(SqlxError::Io(io::ErrorKind::ConnectionRefused.into()))));
        assert_eq!(transient(&failed(refused)), None);
        assert_eq!(transient(&failed(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout))), None);
        let closed = DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed);
        assert_eq!(transient(&failed(closed)), Some(Transient::Retired));
        assert_eq!(transient(&StoreError::unavailable("no answer in time")), None);
        assert_eq!(transient(&failed(DbErr::Custom("?".to_owned()))), None);
    }

    #[test]
    fn waiting_in_vain_for_a_connection_did_nothing() {
        let full = DbErr::ConnectionAcquire(ConnAcquireErr::Timeout);
        assert!(matches!(failed(full.clone()), StoreError::Unavailable(_)));
        assert!(matches!(commit_failed(full), StoreError::Unavailable(_)));
    }

    #[test]
    fn a_refused_connection_did_nothing() {
        let closed = DbErr::Conn(RuntimeErr::Internal("the database is not accepting connections".to_owned()));
        assert!(matches!(failed(closed), StoreError::Unavailable(_)));
    }

    #[test]
    fn an_unexpected_error_is_a_fault() {
        assert!(matches!(failed(DbErr::Custom("?".to_owned())), StoreError::Fault(_)));
    }

    #[test]
    fn codes_of_both_engines_are_told_apart() {
        for code in ["55P03", "57014", "40001", "40P01", "53300", "57P03", "5", "517", "261", "6", "13"] {
            assert_eq!(kind_of_code(code), Kind::Busy, "{code}");
        }
        for code in ["57P01", "57P04", "08006", "08P01", "522", "25P03"] {
            assert_eq!(kind_of_code(code), Kind::Lost, "{code}");
        }
        for code in ["23505", "42P01", "22001", "2067", "787", "275", "1"] {
            assert_eq!(kind_of_code(code), Kind::Other, "{code}");
        }
    }
}
