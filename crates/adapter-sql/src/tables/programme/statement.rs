//! The statement that reads a page.

use domain::{EventFilter, EventOrder, EventSort, PageRequest};
use sea_orm::{IdenStatic, Iterable};

use super::counts::total;
use super::source::{EVENTS, PROGRAMME, Source, conditions, searched};
use super::text::{Bound, Text};
use super::totals::Total;
use crate::access::engine::Engine;
use crate::access::timeline::COLUMN as TIMELINE;
use crate::tables::rows::event;

/// So many rows are sorted rather than looked for along an index.
const FEW: u64 = 5_000;

/// What the names of an event's columns begin with.
pub(super) const PREFIX: &str = "e_";

/// The page, each row with the programme's version, and the total unless it is known.
pub(super) fn statement(engine: Engine, filter: &EventFilter, page: PageRequest, known: Option<Total>) -> Text {
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
    let timeline = engine.timeline();
    text.sql = format!(
        "SELECT counted.total, counted.catalogue, counted.{TIMELINE}, page.* \
         FROM (SELECT {total} AS total, version AS catalogue, {timeline} AS {TIMELINE} \
             FROM catalogue WHERE id = 1) AS counted \
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

#[cfg(test)]
mod tests {
    use domain::Version;

    use super::*;

    #[test]
    fn a_page_behind_the_middle_is_walked_to_from_the_end() {
        let page = PageRequest { number: 100, size: 10 };
        let text = |events| {
            statement(
                Engine::Postgres,
                &EventFilter::default(),
                page,
                Some(Total { events, catalogue: Version::FIRST }),
            )
            .sql
        };
        assert!(text(10_000).contains("ORDER BY date ASC, event_id ASC LIMIT 10"), "{}", text(10_000));
        assert!(text(1_005).contains("ORDER BY date DESC, event_id DESC LIMIT 10 OFFSET"), "{}", text(1_005));
        assert!(text(995).contains("ORDER BY date DESC, event_id DESC LIMIT 5 )"), "{}", text(995));
    }
}
