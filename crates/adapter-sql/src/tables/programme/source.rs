//! Where the events of a list are looked for, and which of them are on it.

use domain::EventFilter;

use super::text::{Bound, Text};
use crate::access::engine::Engine;

/// Where events are looked for.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) table: &'static str,
    pub(super) id: &'static str,
    pub(super) standing: &'static str,
    pub(super) with_seats: &'static str,
}

pub(super) const PROGRAMME: Source =
    Source { table: "programme", id: "event_id", standing: "true", with_seats: "has_seats" };

/// The seats of an event, which every booking changes, are no part of the programme.
pub(super) const EVENTS: Source =
    Source { table: "events", id: "id", standing: "deleted_at IS NULL", with_seats: "available_seats > 0" };

/// Left to itself, `SQLite` may take an index without the title for as good as this one, and looks every
/// row up.
pub(super) const EVENTS_BY_DATE: Source = Source { table: "events INDEXED BY idx_events_listed_by_date", ..EVENTS };

/// Where titles are searched.
pub(super) fn searched(engine: Engine) -> Source {
    match engine {
        Engine::Postgres => PROGRAMME,
        Engine::Sqlite => EVENTS_BY_DATE,
    }
}

/// Which rows are on a list.
pub(super) fn conditions(text: &mut Text, filter: &EventFilter, source: Source) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pattern_characters_are_searched_literally() {
        assert_eq!(literally(r"100%_\o/"), r"100\%\_\\o/");
    }
}
