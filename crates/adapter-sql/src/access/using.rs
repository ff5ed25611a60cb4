//! The pool that an operation uses.

use std::sync::{Arc, Mutex, PoisonError};

use domain::ports::StoreError;

use crate::Sql;
use crate::access::pools::Pool;

/// The pool that an operation uses: another one once the first was retired.
pub(crate) struct Using {
    pool: Mutex<Arc<Pool>>,
    /// Whose pools these are; in tests, there may be no other.
    sql: Option<Sql>,
}

impl Using {
    /// The present pool of `sql`, or the one that comes after it.
    pub(crate) fn present(sql: &Sql) -> Arc<Self> {
        Arc::new(Self { pool: Mutex::new(sql.0.pools.present()), sql: Some(sql.clone()) })
    }

    /// One pool for ever.
    #[cfg(test)]
    pub(crate) fn only(pool: Arc<Pool>) -> Arc<Self> {
        Arc::new(Self { pool: Mutex::new(pool), sql: None })
    }

    pub(crate) fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The pool to be used by what begins now.
    pub(crate) fn renewed(&self) -> Arc<Pool> {
        let Some(sql) = &self.sql else { return self.pool() };
        let present = sql.0.pools.present();
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&present);
        present
    }

    /// Has the [watcher](crate::access::watch) look at the servers at once.
    pub(crate) fn alarm(&self) {
        if let Some(sql) = &self.sql {
            sql.0.pools.outlook().alarm();
        }
    }
}

/// The error of work on a server that was replaced meanwhile.
pub(crate) fn superseded() -> StoreError {
    StoreError::unavailable("another server became the one that writes")
}
