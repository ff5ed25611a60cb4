//! Receivers of facts over HTTP, what is sent to each, and which process sends.
//!
//! A delivery names its fact by its position in the history, where the body is; only what is not in the history, such as a
//! test, has a body of its own. A row of `leases` says which process does a job, and until when.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, instant, now) = (dialect.id(), dialect.instant(), dialect.instant_now());
    vec![
        format!(
            "CREATE TABLE webhooks (
                id {id},
                url text NOT NULL,
                types text NOT NULL,
                description text,
                enabled boolean NOT NULL DEFAULT TRUE,
                secret text NOT NULL,
                previous_secret text,
                previous_until {instant},
                failing_since {instant},
                created_at {now},
                updated_at {now}
            )"
        ),
        format!(
            "CREATE TABLE deliveries (
                id {id},
                webhook_id bigint NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
                fact_id text NOT NULL,
                type text NOT NULL,
                event_id bigint,
                position bigint,
                body text,
                status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'delivered', 'failed')),
                attempts integer NOT NULL DEFAULT 0,
                next_attempt_at {instant},
                last_status integer,
                last_error text,
                delivered_at {instant},
                created_at {now}
            )"
        ),
        "CREATE INDEX idx_deliveries_due ON deliveries (webhook_id, next_attempt_at, id) WHERE status = 'pending'"
            .to_owned(),
        "CREATE INDEX idx_deliveries_log ON deliveries (webhook_id, id)".to_owned(),
        format!(
            "CREATE TABLE leases (
                name text PRIMARY KEY,
                holder text NOT NULL,
                until {instant} NOT NULL
            )"
        ),
    ]
}

fn down(_: Dialect) -> Vec<String> {
    ["leases", "deliveries", "webhooks"].map(|table| format!("DROP TABLE {table}")).into()
}
