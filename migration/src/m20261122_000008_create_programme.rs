//! What lists of events are read from, whatever their number: the events that stand, as far as a list
//! searches, filters and sorts by it, and how many there are. Triggers keep both, for every writer.
//!
//! `programme` changes only when the catalogue's version does. On Postgres it is a table of its own:
//! a row of `events` that is written anew gets an entry in every index of the table, so a booking would
//! pay for the search. `SQLite` touches only indexes whose columns change, and a view will do.
//!
//! `programme_counts` has the number of events in each day of UTC, and in spans of 32 days, of 1,024
//! days, and of all days, so that a handful of rows add up to any period: `span` is the number of the
//! day, counted from 0001-01-01, shifted right by `scale`. A booking touches none of them, unless it
//! takes the last seat. Postgres locks them behind the catalogue's row, so no two wait in a circle.
//!
//! `programme_counted` is what the counts have to be. To set them right after the triggers were
//! bypassed: `DELETE FROM programme_counts; INSERT INTO programme_counts SELECT * FROM programme_counted`.

use crate::dialect::Dialect;
use crate::triggers::raise_if_changed;

crate::migration!();

/// The scales of spans of days.
const SCALES: &str = "(VALUES (0), (5), (10), (22)) AS scales";

/// What is listed of a row of `events`.
const LISTED: &str = "id AS event_id, date, title_folded, available_seats > 0 AS has_seats";

const FILL_COUNTS: &str = "INSERT INTO programme_counts (scale, span, standing, with_seats)
    SELECT scale, span, standing, with_seats FROM programme_counted";

fn up(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Postgres => postgres(),
        Dialect::Sqlite => sqlite(),
    }
}

fn postgres() -> Vec<String> {
    let mut statements = vec![
        // Nobody writes between the filling and the triggers.
        "LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE".to_owned(),
        "CREATE TABLE programme (
            event_id bigint NOT NULL,
            date timestamp with time zone NOT NULL,
            title_folded text COLLATE \"C\" NOT NULL,
            has_seats boolean NOT NULL
        )"
        .to_owned(),
        "CREATE TABLE programme_counts (
            scale integer NOT NULL,
            span integer NOT NULL,
            standing bigint NOT NULL,
            with_seats bigint NOT NULL,
            PRIMARY KEY (scale, span)
        ) WITH (fillfactor = 50)"
            .to_owned(),
        // A hand-made row may start at infinity, which is no day.
        "CREATE FUNCTION programme_day(at timestamp with time zone) RETURNS integer
        LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
            SELECT CASE WHEN isfinite(at) THEN (at AT TIME ZONE 'UTC')::date - DATE '0001-01-01'
                WHEN at > DATE '0001-01-01' THEN 1000000000 ELSE -1000000000 END
        $$"
        .to_owned(),
        format!("CREATE VIEW programme_expected AS SELECT {LISTED} FROM events WHERE deleted_at IS NULL"),
        format!(
            "CREATE VIEW programme_counted AS
            SELECT scale, day >> scale AS span, CAST(sum(standing) AS bigint) AS standing,
                CAST(sum(with_seats) AS bigint) AS with_seats
            FROM (
                SELECT programme_day(date) AS day, count(*) AS standing,
                    count(*) FILTER (WHERE available_seats > 0) AS with_seats
                FROM events WHERE deleted_at IS NULL GROUP BY 1
            ) AS days CROSS JOIN {SCALES} (scale)
            GROUP BY 1, 2"
        ),
        "INSERT INTO programme SELECT * FROM programme_expected ORDER BY event_id".to_owned(),
        FILL_COUNTS.to_owned(),
        "DROP INDEX idx_events_search, idx_events_listed_by_date, idx_events_listed_by_title".to_owned(),
        "ALTER TABLE programme ADD PRIMARY KEY (event_id)".to_owned(),
    ];
    // The title stands in the index by date, so that a search walks it without the table.
    statements.extend(
        [
            "idx_programme_date ON programme (date, event_id) INCLUDE (title_folded)",
            "idx_programme_title ON programme (title_folded, event_id)",
            "idx_programme_title_desc ON programme (title_folded DESC, event_id)",
            "idx_programme_date_with_seats ON programme (date, event_id) WHERE has_seats",
            "idx_programme_title_with_seats ON programme (title_folded, event_id) WHERE has_seats",
            // Every search reads the list of pending entries to its end, so that is kept short; without one, it
            // takes twice as long to add many events.
            "idx_events_search ON programme USING gin (title_folded gin_trgm_ops) WITH (gin_pending_list_limit = 1024)",
            "idx_events_listed_by_seats ON events (available_seats, id) WHERE deleted_at IS NULL",
            "idx_events_listed_by_seats_desc ON events (available_seats DESC, id) WHERE deleted_at IS NULL",
        ]
        .map(|index| format!("CREATE INDEX {index}")),
    );
    statements.push("ANALYZE programme, programme_counts".to_owned());
    statements.extend(postgres_triggers());
    statements
}

/// They run after those of the catalogue: triggers of one kind run in the order of their names.
fn postgres_triggers() -> Vec<String> {
    let count_added = count("SELECT *, 1 AS sign FROM touched");
    let count_removed = count("SELECT *, -1 AS sign FROM touched");
    let count_changed = count("SELECT *, -1 AS sign FROM formers UNION ALL SELECT *, 1 FROM presents");
    let list = |rows: &str| {
        format!(
            "INSERT INTO programme AS listed SELECT {LISTED} FROM {rows}
            ON CONFLICT (event_id) DO UPDATE SET date = excluded.date, title_folded = excluded.title_folded,
                has_seats = excluded.has_seats;"
        )
    };
    let list_added = list("touched WHERE deleted_at IS NULL");
    let list_changed = list(
        "presents AS present WHERE deleted_at IS NULL AND NOT EXISTS (
            SELECT FROM formers AS former WHERE former.id = present.id AND former.deleted_at IS NULL
                AND former.date = present.date AND former.title_folded = present.title_folded
                AND (former.available_seats > 0) = (present.available_seats > 0)
        )",
    );
    vec![
        format!(
            "CREATE FUNCTION list_added_events() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                {list_added}
                {count_added}
                RETURN NULL;
            END $$"
        ),
        format!(
            "CREATE FUNCTION unlist_removed_events() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                DELETE FROM programme USING touched WHERE event_id = touched.id;
                {count_removed}
                RETURN NULL;
            END $$"
        ),
        "CREATE FUNCTION unlist_all_events() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            TRUNCATE programme, programme_counts;
            RETURN NULL;
        END $$"
            .to_owned(),
        raise_if_changed(&format!(
            "DELETE FROM programme USING formers AS former WHERE event_id = former.id AND former.deleted_at IS NULL
                AND NOT EXISTS (SELECT FROM presents WHERE id = former.id AND deleted_at IS NULL);
            {list_changed}
            {count_changed}"
        )),
        "CREATE TRIGGER events_programme_insert AFTER INSERT ON events REFERENCING NEW TABLE AS touched
        FOR EACH STATEMENT EXECUTE FUNCTION list_added_events()"
            .to_owned(),
        "CREATE TRIGGER events_programme_delete AFTER DELETE ON events REFERENCING OLD TABLE AS touched
        FOR EACH STATEMENT EXECUTE FUNCTION unlist_removed_events()"
            .to_owned(),
        "CREATE TRIGGER events_programme_truncate AFTER TRUNCATE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION unlist_all_events()"
            .to_owned(),
    ]
}

/// Adds rows of `events` to the counts, each as often as its `sign` says.
fn count(rows: &str) -> String {
    format!(
        "INSERT INTO programme_counts AS counted (scale, span, standing, with_seats)
        SELECT scale, day >> scale, sum(standing), sum(with_seats)
        FROM (
            SELECT programme_day(date) AS day, sum(sign) AS standing,
                coalesce(sum(sign) FILTER (WHERE available_seats > 0), 0) AS with_seats
            FROM ({rows}) AS changed WHERE deleted_at IS NULL GROUP BY 1
        ) AS days CROSS JOIN {SCALES} (scale)
        GROUP BY 1, 2 HAVING sum(standing) <> 0 OR sum(with_seats) <> 0
        ON CONFLICT (scale, span) DO UPDATE SET standing = counted.standing + excluded.standing,
            with_seats = counted.with_seats + excluded.with_seats;"
    )
}

fn sqlite() -> Vec<String> {
    let day = |date: &str| format!("((unixepoch({date}) + 62135596800) / 86400)");
    let count = |row: &str, sign: &str| {
        format!(
            "INSERT INTO programme_counts (scale, span, standing, with_seats)
            SELECT column1, {} >> column1, {sign}1, {sign}({row}.available_seats > 0) FROM {SCALES}
            WHERE {row}.deleted_at IS NULL
            ON CONFLICT (scale, span) DO UPDATE SET standing = standing + excluded.standing,
                with_seats = with_seats + excluded.with_seats;",
            day(&format!("{row}.date"))
        )
    };
    let (add, remove) = (count("NEW", "+"), count("OLD", "-"));
    vec![
        format!("CREATE VIEW programme AS SELECT {LISTED} FROM events WHERE deleted_at IS NULL"),
        "CREATE TABLE programme_counts (
            scale integer NOT NULL,
            span integer NOT NULL,
            standing integer NOT NULL,
            with_seats integer NOT NULL,
            PRIMARY KEY (scale, span)
        ) WITHOUT ROWID"
            .to_owned(),
        format!(
            "CREATE VIEW programme_counted AS
            SELECT column1 AS scale, day >> column1 AS span, sum(standing) AS standing, sum(with_seats) AS with_seats
            FROM (
                SELECT {} AS day, count(*) AS standing, sum(available_seats > 0) AS with_seats
                FROM events WHERE deleted_at IS NULL GROUP BY 1
            ) AS days CROSS JOIN {SCALES}
            GROUP BY 1, 2",
            day("date")
        ),
        FILL_COUNTS.to_owned(),
        // With the title, so that a search by date walks it without the table.
        "DROP INDEX idx_events_listed_by_date".to_owned(),
        "CREATE INDEX idx_events_listed_by_date ON events (date, id, title_folded) WHERE deleted_at IS NULL".to_owned(),
        "CREATE INDEX idx_events_listed_by_seats ON events (available_seats, id) WHERE deleted_at IS NULL".to_owned(),
        "CREATE INDEX idx_events_listed_by_seats_desc ON events (available_seats DESC, id) WHERE deleted_at IS NULL"
            .to_owned(),
        format!("CREATE TRIGGER events_programme_insert AFTER INSERT ON events BEGIN {add} END"),
        format!("CREATE TRIGGER events_programme_delete AFTER DELETE ON events BEGIN {remove} END"),
        format!(
            "CREATE TRIGGER events_programme_update AFTER UPDATE ON events
            WHEN (OLD.deleted_at IS NULL) IS NOT (NEW.deleted_at IS NULL) OR OLD.date IS NOT NEW.date
                OR (OLD.available_seats > 0) IS NOT (NEW.available_seats > 0)
            BEGIN {remove} {add} END"
        ),
    ]
}

fn down(dialect: Dialect) -> Vec<String> {
    match dialect {
        Dialect::Postgres => vec![
            raise_if_changed(""),
            "DROP TRIGGER events_programme_insert ON events".to_owned(),
            "DROP TRIGGER events_programme_delete ON events".to_owned(),
            "DROP TRIGGER events_programme_truncate ON events".to_owned(),
            "DROP FUNCTION list_added_events(), unlist_removed_events(), unlist_all_events()".to_owned(),
            "DROP INDEX idx_events_listed_by_seats, idx_events_listed_by_seats_desc".to_owned(),
            "DROP VIEW programme_expected, programme_counted".to_owned(),
            "DROP TABLE programme, programme_counts".to_owned(),
            "DROP FUNCTION programme_day(timestamp with time zone)".to_owned(),
            "CREATE INDEX idx_events_listed_by_date ON events (date, id) WHERE deleted_at IS NULL".to_owned(),
            "CREATE INDEX idx_events_listed_by_title ON events (title_folded, id) WHERE deleted_at IS NULL".to_owned(),
            "CREATE INDEX idx_events_search ON events USING gin (title_folded gin_trgm_ops)".to_owned(),
        ],
        Dialect::Sqlite => [
            "DROP TRIGGER events_programme_insert",
            "DROP TRIGGER events_programme_delete",
            "DROP TRIGGER events_programme_update",
            "DROP INDEX idx_events_listed_by_date",
            "CREATE INDEX idx_events_listed_by_date ON events (date, id) WHERE deleted_at IS NULL",
            "DROP INDEX idx_events_listed_by_seats",
            "DROP INDEX idx_events_listed_by_seats_desc",
            "DROP VIEW programme_counted",
            "DROP TABLE programme_counts",
            "DROP VIEW programme",
        ]
        .map(str::to_owned)
        .into(),
    }
}
