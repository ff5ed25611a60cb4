//! What follows from the deadlines that an operator can set; `config/default.toml` tells what happens when one passes.
//!
//! An inner deadline has to be shorter than the one around it, or it would never be the one that passes: settings in
//! which it is not are refused. What follows is derived here and by [`SqlDeadlines`], and nowhere else.

use std::fmt;
use std::time::Duration;

use adapter_sql::SqlDeadlines;
use api::HttpDeadlines;

use crate::settings::deadlines::Deadlines;

/// What is left of a request's time when its store has been given up: to render the answer, and to send it.
const TO_ANSWER: Duration = Duration::from_millis(300);

/// By how much who shares a read waits longer than the read's statement may take.
const TO_SHARE: Duration = Duration::from_millis(100);

/// By how much a reader waits longer for a far body than Redis is given, so as to get an answer in time.
const TO_FETCH: Duration = Duration::from_millis(10);

/// A deadline that can never pass before the one around it: its setting, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contradiction {
    pub(crate) name: &'static str,
    pub(crate) problem: String,
}

impl Deadlines {
    /// What the server keeps to.
    pub(crate) fn http(&self) -> HttpDeadlines {
        HttpDeadlines { head: self.head, body: self.body, request: self.request, probe: self.probe }
    }

    /// What the database's adapter keeps to.
    pub(crate) fn sql(&self) -> SqlDeadlines {
        SqlDeadlines {
            order: self.request.saturating_sub(TO_ANSWER),
            queue: self.booking_queue,
            acquire: self.acquire,
            statement: self.statement,
            lock: self.lock,
            idle_in_transaction: self.idle_in_transaction,
        }
    }

    /// How long a reader waits for a read that is shared: longer than its statement may take.
    pub(crate) fn shared_read(&self) -> Duration {
        self.statement + TO_SHARE
    }

    /// How long a reader waits for a body in Redis: a fetch that began before they came, and their own.
    pub(crate) fn far_body(&self) -> Duration {
        self.redis + TO_FETCH
    }

    /// The deadlines that are not shorter than the one around them.
    pub(crate) fn contradictions(&self) -> Vec<Contradiction> {
        let inside = |inner: Named, outer: Named| {
            let problem = format!("must be shorter than {outer}, not {}", Shown(inner.1));
            (inner.1 >= outer.1).then_some(Contradiction { name: inner.0, problem })
        };
        let request = Named("REQUEST_TIMEOUT", self.request);
        let statement = Named("DATABASE_STATEMENT_TIMEOUT", self.statement);
        let queue = Named("BOOKING_QUEUE_TIMEOUT", self.booking_queue);
        let booking = self.booking_queue + self.statement + TO_ANSWER;
        let too_long = (booking > self.request).then(|| Contradiction {
            name: queue.0,
            problem: format!(
                "must leave time for {statement} and the answer's {} within {request}, not {}",
                Shown(TO_ANSWER),
                Shown(queue.1)
            ),
        });
        [
            inside(Named("DATABASE_ACQUIRE_TIMEOUT", self.acquire), request),
            inside(Named("DATABASE_LOCK_TIMEOUT", self.lock), statement),
            inside(Named("PASSWORD_QUEUE_TIMEOUT", self.password_queue), request),
            too_long,
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// A deadline with its setting's name.
#[derive(Clone, Copy)]
struct Named(&'static str, Duration);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0, Shown(self.1))
    }
}

/// A duration as it is written in settings.
struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}
