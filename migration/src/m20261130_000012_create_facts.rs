//! What happened: facts as transactions write them, one row a transaction, and the history that is read, one row a fact.
//!
//! `facts` is a queue: its rows are turned into `history` in the order of their ids, and deleted, by one process at a time.
//! A position in the history is given out by that process alone, so positions are committed in their order, and a reader
//! who goes on from one misses nothing. `history_state` remembers the last position, and up to which one rows were dropped.
//!
//! On Postgres the history is partitioned by month. Roles with no right to make tables add and drop months by functions of
//! the tables' owner; dropping needs the right to delete rows.

use crate::dialect::Dialect;

crate::migration!();

fn up(dialect: Dialect) -> Vec<String> {
    let (id, instant, now) = (dialect.id(), dialect.instant(), dialect.instant_now());
    let (key, partitioned) = match dialect {
        Dialect::Postgres => ("PRIMARY KEY (position, at)", " PARTITION BY RANGE (at)"),
        Dialect::Sqlite => ("PRIMARY KEY (position)", ""),
    };
    let mut statements = vec![
        format!(
            "CREATE TABLE facts (
                id {id},
                batch text NOT NULL,
                first integer NOT NULL,
                at {instant} NOT NULL,
                what text NOT NULL
            )"
        ),
        format!(
            "CREATE TABLE history (
                position bigint NOT NULL,
                at {instant} NOT NULL,
                fact_id text NOT NULL,
                type text NOT NULL,
                event_id bigint,
                user_id bigint,
                by_id bigint,
                body text NOT NULL,
                {key}
            ){partitioned}"
        ),
        "CREATE INDEX idx_history_event ON history (event_id, position) WHERE event_id IS NOT NULL".to_owned(),
        "CREATE INDEX idx_history_user ON history (user_id, position) WHERE user_id IS NOT NULL".to_owned(),
        // Most of what people do is about themselves, and found by the index above.
        "CREATE INDEX idx_history_by ON history (by_id, position)
            WHERE by_id IS NOT NULL AND (user_id IS NULL OR user_id <> by_id)"
            .to_owned(),
        // Among millions of bookings, the few other changes.
        "CREATE INDEX idx_history_rare ON history (position) WHERE type NOT LIKE 'registration.%'".to_owned(),
        format!(
            "CREATE TABLE history_state (
                id integer PRIMARY KEY CHECK (id = 1),
                position bigint NOT NULL,
                dropped bigint NOT NULL,
                begun_at {now}
            )"
        ),
        "INSERT INTO history_state (id, position, dropped) VALUES (1, 0, 0)".to_owned(),
    ];
    if dialect == Dialect::Postgres {
        statements.extend(MONTHS.map(str::to_owned));
    }
    statements
}

const MONTHS: [&str; 4] = [
    // For instants of no month that was added.
    "CREATE TABLE history_other PARTITION OF history DEFAULT",
    "CREATE FUNCTION add_history_month(month timestamp) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE
        first timestamp := date_trunc('month', month);
        name text := 'history_' || to_char(first, 'YYYYMM');
    BEGIN
        IF to_regclass(quote_ident(name)) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF history FOR VALUES FROM (%L) TO (%L)', name,
                first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
        END IF;
    END $$",
    // Answers the greatest position among the rows of the months that end by then.
    "CREATE FUNCTION drop_history_months(until timestamp) RETURNS bigint
        LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE
        month record;
        dropped bigint := 0;
        greatest_position bigint;
    BEGIN
        IF NOT has_table_privilege(session_user, 'history', 'DELETE') THEN
            RAISE EXCEPTION 'no right to delete rows of history' USING ERRCODE = 'insufficient_privilege';
        END IF;
        FOR month IN
            SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
            WHERE inhparent = 'history'::regclass AND relname ~ '^history_[0-9]{6}$'
                AND to_date(right(relname, 6), 'YYYYMM') + interval '1 month' <= until
        LOOP
            EXECUTE format('SELECT coalesce(max(position), 0) FROM %I', month.relname) INTO greatest_position;
            EXECUTE format('DROP TABLE %I', month.relname);
            dropped := greatest(dropped, greatest_position);
        END LOOP;
        RETURN dropped;
    END $$",
    "GRANT USAGE ON SEQUENCE facts_id_seq TO PUBLIC",
];

fn down(dialect: Dialect) -> Vec<String> {
    let mut statements = match dialect {
        Dialect::Postgres => {
            vec!["DROP FUNCTION drop_history_months(timestamp)", "DROP FUNCTION add_history_month(timestamp)"]
        }
        Dialect::Sqlite => Vec::new(),
    };
    statements.extend(["DROP TABLE history_state", "DROP TABLE history", "DROP TABLE facts"]);
    statements.into_iter().map(str::to_owned).collect()
}
