//! What a list of events is asked for.

use crate::{Invalid, Timestamp, text};

/// A part of a title, compared without regard to case: up to 100 characters, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TitleSearch(String);

impl TitleSearch {
    /// The greatest number of characters.
    pub const MAX_CHARS: usize = 100;

    /// Reads a search; an empty one is no filter.
    pub fn parse(raw: &str) -> Result<Option<Self>, Invalid> {
        let wanted = raw.trim();
        if wanted.chars().any(char::is_control) {
            return Err(Invalid::ControlCharacter);
        }
        if wanted.chars().count() > Self::MAX_CHARS {
            return Err(Invalid::TooLong { max: Self::MAX_CHARS });
        }
        Ok((!wanted.is_empty()).then(|| Self(text::fold(wanted))))
    }

    /// The text to look for in [folded](text::fold) titles, every character an ordinary one.
    pub fn folded(&self) -> &str {
        &self.0
    }
}

/// What a list of events is sorted by, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum EventSort {
    /// When the event starts.
    #[default]
    Date,
    /// The folded title, by code point.
    Title,
    /// How many seats are free.
    AvailableSeats,
}

/// The order of a list of events; equal ones follow each other by id, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EventOrder {
    /// What is compared.
    pub by: EventSort,
    /// Greatest first.
    pub descending: bool,
}

impl EventOrder {
    /// Reads `date`, `title` or `available_seats`, with `-` before it for the greatest first.
    pub fn parse(raw: &str) -> Result<Self, Invalid> {
        let (descending, name) = raw.strip_prefix('-').map_or((false, raw), |name| (true, name));
        let by = match name {
            "date" => EventSort::Date,
            "title" => EventSort::Title,
            "available_seats" => EventSort::AvailableSeats,
            _ => {
                return Err(Invalid::Malformed {
                    expected: "date, title or available_seats, with - before it to reverse",
                });
            }
        };
        Ok(Self { by, descending })
    }
}

/// Which events, in which order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct EventFilter {
    /// A part of the title.
    pub search: Option<TitleSearch>,
    /// Events that start then or later.
    pub from: Option<Timestamp>,
    /// Events that start then or earlier.
    pub to: Option<Timestamp>,
    /// Only events with a free seat.
    pub available_only: bool,
    /// The order.
    pub order: EventOrder,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_search_is_no_filter() {
        assert_eq!(TitleSearch::parse("  "), Ok(None));
        assert_eq!(TitleSearch::parse("École").map(|search| search.map(|s| s.0)), Ok(Some("école".to_owned())));
        assert_eq!(TitleSearch::parse("a\0"), Err(Invalid::ControlCharacter));
    }

    #[test]
    fn a_minus_reverses_the_order() {
        assert_eq!(EventOrder::parse("-title"), Ok(EventOrder { by: EventSort::Title, descending: true }));
        for raw in ["", "-", "--date", "id", "Date", "date,title"] {
            assert!(EventOrder::parse(raw).is_err(), "{raw:?}");
        }
    }
}
