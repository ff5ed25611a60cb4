//! The deadlines that an operator can set. What follows from several of them is derived in `crate::deadlines`.

use std::time::Duration;

use super::declare::settings;
use super::values::duration_within_ms;

settings! {
    /// How long each hop of a request may take, in order from the client to the disk. Nothing waits without an end.
    /// The longest that can be set keep these promises: every request is answered within 10 s, no request waits for a
    /// row or for a queue longer than 5 s, none for Redis longer than 100 ms, readiness is told within 2 s, and the
    /// program is gone within 30 s. A deadline that is not shorter than the one around it stops the start.
    ///
    /// What is fixed, at its place in the order:
    /// ```text
    ///   idle connection      75 s       between two requests; then it is closed
    ///   answer to be taken   60 s       left unacknowledged by the client (Linux); then the connection is closed
    ///   live stream          15 s / 45 s  a sign of life is sent / a silent WebSocket is closed
    ///   connection trusted   100 ms     a connection to Postgres that was idle for longer is asked whether it lives
    ///   silence of Postgres  5 s        with a request overdue: every connection is replaced
    ///   outcome of a commit  3 s        Postgres is asked what became of a COMMIT whose answer was lost
    ///   Redis left alone     1 s        after three calls in a row that failed; then it is tried by one
    ///   opening a SQLite     10 s       while another process does the same
    ///   migrations           none       a change of a big table takes its time; an instance that waits for another's
    ///                                   is not listening yet. 1 min for another process's on SQLite
    ///   requests in flight   25 s       after SHUTDOWN_GRACE, and 27 s after SIGTERM; then they are cut off
    ///   closing the database 1 s        at the end
    /// ```
    /// What is derived:
    /// ```text
    ///   booking              REQUEST_TIMEOUT - 300ms: what became of it is told, or that this is unknown
    ///   its transaction      REQUEST_TIMEOUT - 800ms: done, or kept from being committed, or unknown;
    ///                        DATABASE_LOCK_TIMEOUT + 400ms at a row that another transaction holds, and on SQLite
    ///   any other work       REQUEST_TIMEOUT - 800ms: the same
    ///   shared read          DATABASE_STATEMENT_TIMEOUT + 100ms
    ///   body in Redis        REDIS_TIMEOUT + 10ms: then it is built from the database
    /// ```
    pub struct Deadlines {
        /// A request's head has to arrive within this time; then 408, and the connection is closed.
        HEAD_TIMEOUT => head: Duration = duration_within_ms(1_000..=60_000).default_to("10s");

        /// So does its body, after the head; then 400 `malformed_request`.
        BODY_TIMEOUT => body: Duration = duration_within_ms(1_000..=60_000).default_to("10s");

        /// A request that has arrived is answered within this time; then 503: `unavailable` to a read,
        /// `outcome_unknown` to anything else. Every deadline below is shorter, and does not come on top.
        REQUEST_TIMEOUT => request: Duration = duration_within_ms(2_000..=9_800).default_to("9800ms");

        /// A password waits for a core no longer than this; then 503 `unavailable`.
        PASSWORD_QUEUE_TIMEOUT => password_queue: Duration = duration_within_ms(100..=4_500).default_to("4s");

        /// A booking or a cancellation waits in its event's queue no longer than this; then it leaves the queue:
        /// 503 `unavailable`, and it never acts. A list waits as long for one of the connections that lists may have:
        /// all that read but two. Together with `DATABASE_STATEMENT_TIMEOUT` and 300ms it has to fit into
        /// `REQUEST_TIMEOUT`.
        BOOKING_QUEUE_TIMEOUT => booking_queue: Duration = duration_within_ms(100..=4_500).default_to("4500ms");

        /// A connection of the pool is free, or a new one made (name looked up, connected, encrypted, logged in),
        /// within this time; then 503 `unavailable`.
        DATABASE_ACQUIRE_TIMEOUT => acquire: Duration = duration_within_ms(100..=5_000).default_to("5s");

        /// Postgres ends a statement after this time; then 503 `unavailable`.
        DATABASE_STATEMENT_TIMEOUT => statement: Duration = duration_within_ms(100..=4_800).default_to("4800ms");

        /// A row (on SQLite: the database) that another transaction has locked is waited for no longer than this;
        /// then 503 `unavailable`.
        DATABASE_LOCK_TIMEOUT => lock: Duration = duration_within_ms(50..=4_500).default_to("4s");

        /// Postgres ends a transaction whose next statement does not come within this time, with its connection: a
        /// frozen instance holds no row for longer.
        DATABASE_IDLE_IN_TRANSACTION_TIMEOUT => idle_in_transaction: Duration =
            duration_within_ms(1_000..=60_000).default_to("10s");

        /// All that is asked of Redis for one purpose, connecting included, is answered within this time; then the
        /// request goes on without.
        REDIS_TIMEOUT => redis: Duration = duration_within_ms(1..=80).default_to("80ms");

        /// A dependency has to answer /health/ready within this time; then it is down.
        PROBE_TIMEOUT => probe: Duration = duration_within_ms(100..=1_500).default_to("1s");

        /// How long to go on accepting connections after SIGTERM, while readiness says 503 already: as long as the
        /// load balancer takes to notice, and no longer, so that the program is gone within 30 s. In its last 250 ms,
        /// clients that ask for a connection get no answer yet, and are refused when they repeat it after 1 s.
        SHUTDOWN_GRACE => shutdown_grace: Duration = duration_within_ms(0..=20_000).default_to("0s");
    }
}
