//! Lists of events, by the page, whatever their number.
//!
//! A page is found in what the programme's own indexes hold, and only its rows are fetched. How many
//! match is never counted one by one where it is known: counts by day, kept by triggers, add up to any
//! period. A search has to be counted, and is counted once for each version of the programme: while the
//! version stands, so does the total. A page far behind is walked to from the nearer end.
//!
//! Rows and total are always of one snapshot. A total from before counts only if the version that is
//! read together with the rows is the one it was counted at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{TimeDelta, Timelike};
use domain::ports::StoreError;
use domain::{Event, EventFilter, EventOrder, EventSort, Page, PageRequest, Timestamp};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sqlx;
use sea_orm::{
    ConnectionTrait, DbErr, FromQueryResult, IdenStatic, Iterable, QueryResult, RuntimeErr, Statement, TryGetable,
    Value,
};

use crate::entity::event;
use crate::error::failed;
use crate::statement::span as statement_span;
use crate::tx::Engine;
use crate::work::Reading;

/// From this many rows before a page on, it is worth a question to know which end is nearer.
const FAR: u64 = 5_000;

/// So many rows are sorted rather than looked for along an index.
const FEW: u64 = 5_000;

/// How often the programme may change while a page is looked for, until all is done in one statement.
const ATTEMPTS: usize = 3;

/// How many totals are remembered.
const REMEMBERED: usize = 1_000;

/// The days of 1970-01-01, counted from 0001-01-01.
const DAYS_TO_1970: i64 = 719_162;

const SECS_A_DAY: i64 = 86_400;

/// The scales of `programme_counts` within the one of all days.
const COARSE: u32 = 10;
const MIDDLE: u32 = 5;
const FINE: u32 = 0;
const ALL_DAYS: u32 = 22;

/// A number of events, and the programme's version at which they were so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Total {
    events: u64,
    catalogue: i64,
}

/// What was counted, by filter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Totals(Arc<Mutex<HashMap<EventFilter, Total>>>);

impl Totals {
    fn recall(&self, filter: &EventFilter) -> Option<Total> {
        self.all().get(&whatever_order(filter)).copied()
    }

    fn remember(&self, filter: &EventFilter, total: Total) {
        let mut all = self.all();
        if all.len() >= REMEMBERED {
            all.retain(|_, known| known.catalogue >= total.catalogue);
        }
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(whatever_order(filter), total);
    }

    fn all(&self) -> MutexGuard<'_, HashMap<EventFilter, Total>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whatever_order(filter: &EventFilter) -> EventFilter {
    EventFilter { order: EventOrder::default(), ..filter.clone() }
}

/// One page of the events that match, and how many they are.
pub(crate) async fn list(
    reading: Reading,
    totals: Totals,
    filter: EventFilter,
    page: PageRequest,
) -> Result<Page<Event>, StoreError> {
    if filter.search.is_some() || page.offset() >= FAR {
        let mut recalled = totals.recall(&filter);
        for _ in 0..ATTEMPTS {
            let known = if let Some(known) = recalled.take() {
                known
            } else {
                let known = count(&reading, &filter).await?;
                totals.remember(&filter, known);
                if known.events <= page.offset() {
                    return Ok(Page { rows: Vec::new(), total: known.events });
                }
                known
            };
            let found = read(&reading, &filter, page, Some(known)).await?;
            if found.catalogue == known.catalogue {
                return Ok(Page { rows: found.rows, total: known.events });
            }
        }
    }
    let found = read(&reading, &filter, page, None).await?;
    Ok(Page { rows: found.rows, total: found.total })
}

async fn count(reading: &Reading, filter: &EventFilter) -> Result<Total, StoreError> {
    let mut query = Text::default();
    let total = total(reading.engine, &mut query, filter);
    query.sql = format!("SELECT {total} AS total, version AS catalogue FROM catalogue WHERE id = 1");
    let rows = query.all(reading, filter.search.is_some()).await?;
    let row = rows.first().ok_or_else(no_catalogue)?;
    Ok(Total { events: number(row, "total")?, catalogue: column(row, "catalogue")? })
}

struct Found {
    rows: Vec<Event>,
    /// The number of all that match; 0 if it was not asked for.
    total: u64,
    catalogue: i64,
}

async fn read(
    reading: &Reading,
    filter: &EventFilter,
    page: PageRequest,
    known: Option<Total>,
) -> Result<Found, StoreError> {
    let results = statement(reading.engine, filter, page, known).all(reading, filter.search.is_some()).await?;
    let first = results.first().ok_or_else(no_catalogue)?;
    let (total, catalogue) = (number(first, "total")?, column(first, "catalogue")?);
    let mut rows = Vec::with_capacity(results.len());
    for result in &results {
        // Past the last row there still is the total.
        if column::<Option<i32>>(result, "present")?.is_some() {
            rows.push(event::Model::from_query_result(result, PREFIX).map_err(failed)?.try_into()?);
        }
    }
    Ok(Found { rows, total, catalogue })
}

const PREFIX: &str = "e_";

/// A statement being written. `LIMIT` stands in its text, so that a plan is made for so few rows.
#[derive(Debug, Default)]
struct Text {
    sql: String,
    values: Vec<Bound>,
}

#[derive(Debug, Clone)]
enum Bound {
    Number(i64),
    Text(String),
    Instant(DateTimeUtc),
}

impl Text {
    /// Adds a value and answers its place in the text.
    fn bind(&mut self, value: Bound) -> String {
        self.values.push(value);
        format!("${}", self.values.len())
    }

    /// Runs it. If it is to be planned `afresh`, the plan is made for these values and not for any: how
    /// a search is best carried out depends on how many titles it finds.
    async fn all(self, reading: &Reading, afresh: bool) -> Result<Vec<QueryResult>, StoreError> {
        if afresh && reading.engine == Engine::Postgres {
            let span = statement_span(reading.engine.backend(), &self.sql);
            let mut query = sqlx::query(sqlx::AssertSqlSafe(self.sql)).persistent(false);
            for value in self.values {
                query = match value {
                    Bound::Number(number) => query.bind(number),
                    Bound::Text(text) => query.bind(text),
                    Bound::Instant(instant) => query.bind(instant),
                };
            }
            let pool = reading.db.pool().get_postgres_connection_pool();
            let rows = async {
                let rows = query.fetch_all(pool).await;
                rows.map_err(|error| DbErr::Query(RuntimeErr::SqlxError(Arc::new(error))))
            };
            let rows = reading.db.carry_out(span, rows).await.map_err(failed)?;
            return Ok(rows.into_iter().map(QueryResult::from).collect());
        }
        let values = self.values.into_iter().map(|value| match value {
            Bound::Number(number) => Value::from(number),
            Bound::Text(text) => Value::from(text),
            Bound::Instant(instant) => Value::from(instant),
        });
        let statement = Statement::from_sql_and_values(reading.engine.backend(), self.sql, values);
        reading.db.query_all_raw(statement).await.map_err(failed)
    }
}

/// The page, each row with the programme's version, and the total unless it is known.
fn statement(engine: Engine, filter: &EventFilter, page: PageRequest, known: Option<Total>) -> Text {
    let mut text = Text::default();
    let total = match known {
        Some(_) => "CAST(0 AS bigint)".to_owned(),
        None => total(engine, &mut text, filter),
    };
    let (first, rows, reversed) = match known {
        Some(Total { events, .. }) => {
            let first = page.offset().min(events);
            let rows = u64::from(page.size).min(events - first);
            let behind = events - first - rows;
            if behind < first { (behind, rows, true) } else { (first, rows, false) }
        }
        None => (page.offset(), u64::from(page.size), false),
    };
    let sorted = filter.search.is_some() && known.is_some_and(|known| known.events <= FEW);
    let order = Order::new(filter.order);
    let ids = if sorted {
        sorted_ids(engine, &mut text, filter, &order, reversed)
    } else {
        walked_ids(engine, &mut text, filter, &order, reversed)
    };
    let offset = match i64::try_from(first) {
        Ok(0) => String::new(),
        first => format!("OFFSET {}", text.bind(Bound::Number(first.unwrap_or(i64::MAX)))),
    };
    let columns: Vec<_> = event::Column::iter()
        .map(|column| format!("events.{name} AS {PREFIX}{name}", name = column.as_str()))
        .collect();
    let (columns, key, direction) = (columns.join(", "), order.key, order.direction(false));
    text.sql = format!(
        "SELECT counted.total, counted.catalogue, page.* \
         FROM (SELECT {total} AS total, version AS catalogue FROM catalogue WHERE id = 1) AS counted \
         LEFT JOIN (SELECT 1 AS present, {columns} FROM ({ids} LIMIT {rows} {offset}) AS found \
             JOIN events ON events.id = found.event_id) AS page ON true \
         ORDER BY page.{PREFIX}{key} {direction}, page.{PREFIX}id"
    );
    text
}

/// The ids of those that match in the wanted order, or in its reverse: all of them first, so that no
/// index is walked in the hope of coming by one of them soon.
fn sorted_ids(engine: Engine, text: &mut Text, filter: &EventFilter, order: &Order, reversed: bool) -> String {
    let source = searched(engine);
    let conditions = conditions(text, filter, source);
    let (key, direction, ties) = (order.key, order.direction(reversed), ties(reversed));
    let Source { table, id, .. } = source;
    format!(
        "WITH matching AS MATERIALIZED (SELECT {id} AS event_id FROM {table} WHERE {conditions}) \
         SELECT matching.event_id FROM matching JOIN events ON events.id = matching.event_id \
         ORDER BY events.{key} {direction}, events.id {ties}"
    )
}

/// The ids of those that match in the wanted order, or in its reverse, along an index that has it.
fn walked_ids(engine: Engine, text: &mut Text, filter: &EventFilter, order: &Order, reversed: bool) -> String {
    let source = match (order.key, engine) {
        ("available_seats", _) => EVENTS,
        ("date", _) => searched(engine),
        _ => PROGRAMME,
    };
    let conditions = conditions(text, filter, source);
    let (key, direction, ties) = (order.key, order.direction(reversed), ties(reversed));
    let Source { table, id, .. } = source;
    format!("SELECT {id} AS event_id FROM {table} WHERE {conditions} ORDER BY {key} {direction}, {id} {ties}")
}

fn ties(reversed: bool) -> &'static str {
    if reversed { "DESC" } else { "ASC" }
}

/// Where events are looked for.
#[derive(Clone, Copy)]
struct Source {
    table: &'static str,
    id: &'static str,
    standing: &'static str,
    with_seats: &'static str,
}

const PROGRAMME: Source = Source { table: "programme", id: "event_id", standing: "true", with_seats: "has_seats" };

/// The seats of an event, which every booking changes, are no part of the programme.
const EVENTS: Source =
    Source { table: "events", id: "id", standing: "deleted_at IS NULL", with_seats: "available_seats > 0" };

/// Left to itself, `SQLite` may take an index without the title for as good as this one, and looks every
/// row up.
const EVENTS_BY_DATE: Source = Source { table: "events INDEXED BY idx_events_listed_by_date", ..EVENTS };

/// Where titles are searched.
fn searched(engine: Engine) -> Source {
    match engine {
        Engine::Postgres => PROGRAMME,
        Engine::Sqlite => EVENTS_BY_DATE,
    }
}

/// Which rows are on a list.
fn conditions(text: &mut Text, filter: &EventFilter, source: Source) -> String {
    let mut all = vec![source.standing.to_owned()];
    if let Some(search) = &filter.search {
        let pattern = text.bind(Bound::Text(format!("%{}%", literally(search.folded()))));
        all.push(format!(r"title_folded LIKE {pattern} ESCAPE '\'"));
    }
    if let Some(from) = filter.from {
        all.push(format!("date >= {}", text.bind(Bound::Instant(from.as_datetime()))));
    }
    if let Some(to) = filter.to {
        all.push(format!("date <= {}", text.bind(Bound::Instant(to.as_datetime()))));
    }
    if filter.available_only {
        all.push(source.with_seats.to_owned());
    }
    all.join(" AND ")
}

/// What a list is sorted by.
struct Order {
    key: &'static str,
    descending: bool,
}

impl Order {
    fn new(order: EventOrder) -> Self {
        let key = match order.by {
            EventSort::Date => "date",
            EventSort::Title => "title_folded",
            EventSort::AvailableSeats => "available_seats",
        };
        Self { key, descending: order.descending }
    }

    fn direction(&self, reversed: bool) -> &'static str {
        if self.descending == reversed { "ASC" } else { "DESC" }
    }
}

/// How many match, as an expression.
fn total(engine: Engine, text: &mut Text, filter: &EventFilter) -> String {
    if filter.search.is_some() {
        let source = searched(engine);
        let conditions = conditions(text, filter, source);
        return format!("(SELECT COUNT(*) FROM {} WHERE {conditions})", source.table);
    }
    let counted = if filter.available_only { "with_seats" } else { "standing" };
    let until = match filter.to {
        Some(to) => earlier(text, counted, Boundary::after(to), "<="),
        None => sum(counted, &format!("scale = {ALL_DAYS}")),
    };
    let Some(from) = filter.from else { return format!("({until})") };
    let before = earlier(text, counted, Boundary::at(from), "<");
    format!("({until} - ({before}))")
}

/// How many are before an instant that is a whole number of days, or a few hours behind one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Boundary {
    /// The number of its day, counted from 0001-01-01.
    day: i64,
    /// From the beginning of the day, unless the instant is that.
    rest: Option<(DateTimeUtc, DateTimeUtc)>,
}

impl Boundary {
    /// The instant itself.
    fn at(instant: Timestamp) -> Self {
        let at = instant.as_datetime();
        let since_midnight = TimeDelta::seconds(i64::from(at.num_seconds_from_midnight()))
            + TimeDelta::nanoseconds(i64::from(at.nanosecond()));
        let midnight = at - since_midnight;
        let day = midnight.timestamp().div_euclid(SECS_A_DAY) + DAYS_TO_1970;
        Self { day, rest: (midnight != at).then_some((midnight, at)) }
    }

    /// Right behind the instant: the next day, if it is the last of its day.
    fn after(instant: Timestamp) -> Self {
        let at = Self::at(instant);
        let last = instant.as_datetime() + TimeDelta::microseconds(1);
        if last.num_seconds_from_midnight() == 0 && last.nanosecond() == 0 {
            return Self { day: at.day + 1, rest: None };
        }
        let whole = instant.as_datetime();
        Self { day: at.day, rest: at.rest.or(Some((whole, whole))) }
    }
}

fn earlier(text: &mut Text, counted: &str, Boundary { day, rest }: Boundary, is_before: &str) -> String {
    let spans = [(COARSE, None), (MIDDLE, Some(COARSE)), (FINE, Some(MIDDLE))].map(|(scale, within)| {
        let end = text.bind(Bound::Number(day >> scale));
        let begin = within.map_or_else(String::new, |coarser| {
            let begin = text.bind(Bound::Number((day >> coarser) << (coarser - scale)));
            format!(" AND span >= {begin}")
        });
        sum(counted, &format!("scale = {scale}{begin} AND span < {end}"))
    });
    let whole_days = spans.join(" + ");
    let Some((midnight, instant)) = rest else { return whole_days };
    let (midnight, instant) = (text.bind(Bound::Instant(midnight)), text.bind(Bound::Instant(instant)));
    let with_seats = if counted == "with_seats" { " AND has_seats" } else { "" };
    format!(
        "{whole_days} + (SELECT COUNT(*) FROM programme WHERE date >= {midnight} AND date {is_before} {instant}{with_seats})"
    )
}

fn sum(counted: &str, which: &str) -> String {
    format!("(SELECT CAST(COALESCE(SUM({counted}), 0) AS bigint) FROM programme_counts WHERE {which})")
}

/// A text as a part of a `LIKE` pattern that stands for itself.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '\\' | '%' | '_') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// A total. A period that ends before it begins has less than none.
fn number(row: &QueryResult, name: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(column::<i64>(row, name)?).unwrap_or(0))
}

fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    row.try_get("", name).map_err(failed)
}

fn no_catalogue() -> StoreError {
    StoreError::fault("the catalogue has no row")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(raw: &str) -> Timestamp {
        Timestamp::parse(raw).unwrap()
    }

    #[test]
    fn what_a_pattern_would_mean_is_searched_as_it_is() {
        assert_eq!(literally(r"100%_\o/"), r"100\%\_\\o/");
    }

    #[test]
    fn days_are_counted_from_the_first_of_the_calendar() {
        let day = |raw| Boundary::at(at(raw)).day;
        assert_eq!(day("0001-01-01T00:00:00Z"), 0);
        assert_eq!(day("1969-12-31T23:59:59.999999Z"), DAYS_TO_1970 - 1);
        assert_eq!(day("1970-01-01T00:00:00Z"), DAYS_TO_1970);
    }

    #[test]
    fn only_a_part_of_a_day_is_counted_one_by_one() {
        assert_eq!(Boundary::at(at("2030-05-02T00:00:00Z")).rest, None);
        assert_eq!(Boundary::after(at("2030-05-01T23:59:59.999999Z")), Boundary::at(at("2030-05-02T00:00:00Z")));
        let noon = at("2030-05-02T12:00:00Z");
        let rest = Some((at("2030-05-02T00:00:00Z").as_datetime(), noon.as_datetime()));
        assert_eq!((Boundary::at(noon).rest, Boundary::after(noon).rest), (rest, rest));
        let midnight = at("2030-05-02T00:00:00Z");
        assert_eq!(Boundary::after(midnight).rest, Some((midnight.as_datetime(), midnight.as_datetime())));
    }

    #[test]
    fn a_page_behind_the_middle_is_walked_to_from_the_end() {
        let page = PageRequest { number: 100, size: 10 };
        let text = |events| {
            statement(Engine::Postgres, &EventFilter::default(), page, Some(Total { events, catalogue: 1 })).sql
        };
        assert!(text(10_000).contains("ORDER BY date ASC, event_id ASC LIMIT 10"), "{}", text(10_000));
        assert!(text(1_005).contains("ORDER BY date DESC, event_id DESC LIMIT 10 OFFSET"), "{}", text(1_005));
        assert!(text(995).contains("ORDER BY date DESC, event_id DESC LIMIT 5 )"), "{}", text(995));
    }

    #[test]
    fn totals_of_an_older_programme_make_room() {
        let totals = Totals::default();
        let day = at("2030-05-02T00:00:00Z");
        let filter = |number: u32| EventFilter { from: Some(day.plus_secs(number)), ..EventFilter::default() };
        for number in 0..1_000 {
            totals.remember(&filter(number), Total { events: 1, catalogue: i64::from(number % 2) });
        }
        totals.remember(&filter(5_000), Total { events: 1, catalogue: 1 });
        assert_eq!((totals.recall(&filter(0)), totals.all().len()), (None, 501));
        let descending = EventOrder { descending: true, ..EventOrder::default() };
        assert!(totals.recall(&EventFilter { order: descending, ..filter(1) }).is_some());
    }
}
