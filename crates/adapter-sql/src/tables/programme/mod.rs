//! Lists of events, by the page, whatever their number.
//!
//! A page is found in what the programme's own indexes hold, and only its rows are fetched. How many
//! match is never counted one by one where it is known: counts by day, kept by triggers, add up to any
//! period. A search has to be counted, and is counted once for each version of the programme: while the
//! version stands, so does the total. A page far behind is walked to from the nearer end.
//!
//! Rows and total are always of one snapshot. A total from before counts only if the version that is
//! read together with the rows is the one it was counted at.
//!
//! The rounds of looking are here; `statement` reads a page, from a `source`, as a `text`; `counts` adds days up, and
//! `totals` remembers.

mod counts;
mod source;
mod statement;
mod text;
mod totals;

use domain::ports::StoreError;
use domain::{Event, EventFilter, Page, PageRequest, Timeline, Version};
use sea_orm::{FromQueryResult, QueryResult, TryGetable};

pub(crate) use totals::Totals;

use crate::access::error::failed;
use crate::access::operation::Reading;
use crate::access::timeline::COLUMN as TIMELINE;
use crate::tables::rows::{On, Row, event, is_id};

use counts::total;
use statement::{PREFIX, statement};
use text::Text;
use totals::Total;

/// From this many rows before a page on, it is worth a question to know which end is nearer.
const FAR: u64 = 5_000;

/// How often the programme may change while a page is looked for, until all is done in one statement.
const ATTEMPTS: usize = 3;

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
    let timeline = reading.engine.timeline();
    query.sql =
        format!("SELECT {total} AS total, version AS catalogue, {timeline} AS {TIMELINE} FROM catalogue WHERE id = 1");
    let rows = query.all(reading, filter.search.is_some()).await?;
    let row = rows.first().ok_or_else(no_catalogue)?;
    Ok(Total { events: number(row, "total")?, catalogue: catalogue(row, reading.sql.timeline_of(row)?)? })
}

struct Found {
    rows: Vec<Event>,
    /// The number of all that match; 0 if it was not asked for.
    total: u64,
    catalogue: Version,
}

async fn read(
    reading: &Reading,
    filter: &EventFilter,
    page: PageRequest,
    known: Option<Total>,
) -> Result<Found, StoreError> {
    let results = statement(reading.engine, filter, page, known).all(reading, filter.search.is_some()).await?;
    let first = results.first().ok_or_else(no_catalogue)?;
    let timeline = reading.sql.timeline_of(first)?;
    let (total, catalogue) = (number(first, "total")?, catalogue(first, timeline)?);
    let mut rows = Vec::with_capacity(results.len());
    for result in &results {
        // Past the last row there still is the total.
        if column::<Option<i32>>(result, "present")?.is_none() {
            continue;
        }
        let row = event::Model::from_query_result(result, PREFIX).map_err(failed)?;
        // A row that was numbered by hand, with what is no id, has no address that a list could give.
        if is_id(row.id) {
            rows.push(On { row, timeline }.try_into()?);
        }
    }
    Ok(Found { rows, total, catalogue })
}

/// A total. A period that ends before it begins has less than none.
fn number(row: &QueryResult, name: &str) -> Result<u64, StoreError> {
    Ok(u64::try_from(column::<i64>(row, name)?).unwrap_or(0))
}

/// The programme's version, read on this timeline.
fn catalogue(row: &QueryResult, timeline: Timeline) -> Result<Version, StoreError> {
    Row { table: "catalogue", id: 1 }.version(timeline, column(row, "catalogue")?)
}

fn column<T: TryGetable>(row: &QueryResult, name: &str) -> Result<T, StoreError> {
    row.try_get("", name).map_err(failed)
}

fn no_catalogue() -> StoreError {
    StoreError::fault("the catalogue has no row")
}
