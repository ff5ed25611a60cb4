//! What bodies are kept under, and for how long.

use std::fmt::{self, Write};
use std::time::Duration;

use data_encoding::HEXLOWER;
use domain::{EventFilter, EventId, EventOrder, EventSort, PageRequest, TitleSearch, UserId};
use sha2::{Digest, Sha256};

use crate::Snapshot;

/// The name of a body.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// `events:detail:{id}`: an event.
    Event(EventId),
    /// `events:list:{page}:{limit}:{filters}`: a page of the events that match.
    EventPage {
        /// Which events, in which order.
        filter: EventFilter,
        /// Which of their pages.
        page: PageRequest,
    },
    /// `user:registrations:{userId}`: the newest of a user's registrations.
    Registrations(UserId),
}

impl Key {
    /// How long a body is kept at most. That bounds what a cache holds, not what readers see: a
    /// body is answered only after its versions were confirmed, however young it is.
    pub fn lifetime(&self) -> Duration {
        const MINUTE: u64 = 60;
        Duration::from_secs(match self {
            Self::EventPage { .. } => 5 * MINUTE,
            Self::Event(_) => 10 * MINUTE,
            Self::Registrations(_) => 15 * MINUTE,
        })
    }

    /// Whether this is a name of such a body.
    pub(crate) fn fits(&self, body: &Snapshot) -> bool {
        match (self, body) {
            (Self::Event(id), Snapshot::Event(event)) => event.id == *id,
            (Self::EventPage { .. }, Snapshot::EventPage { .. }) => true,
            (Self::Registrations(user), Snapshot::Registrations { page, .. }) => {
                page.rows.iter().all(|booking| booking.registration.user_id == *user)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Key {
    /// The key as a shared store knows it: ASCII, at most 400 bytes, different for different keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => write!(f, "events:detail:{id}"),
            Self::EventPage { filter, page } => {
                write!(f, "events:list:{}:{}:{}", page.number, page.size, Filters(filter))
            }
            Self::Registrations(user) => write!(f, "user:registrations:{user}"),
        }
    }
}

/// A filter as `name=value` pairs in a fixed order, joined by `&`; what filters nothing is left out.
struct Filters<'a>(&'a EventFilter);

impl fmt::Display for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventFilter { search, from, to, available_only, order } = self.0;
        let EventOrder { by, descending } = order;
        let by = match by {
            EventSort::Date => "date",
            EventSort::Title => "title",
            EventSort::AvailableSeats => "available_seats",
        };
        write!(f, "sort={}{by}", if *descending { "-" } else { "" })?;
        if *available_only {
            f.write_str("&available_only")?;
        }
        if let Some(from) = from {
            write!(f, "&from={from}")?;
        }
        if let Some(to) = to {
            write!(f, "&to={to}")?;
        }
        search.as_ref().map_or(Ok(()), |search| write_search(f, search))
    }
}

/// A search is what a client wrote: only letters, digits and `-_.~` stand for themselves, so that no
/// text can be read as another filter. A long one is replaced by its digest, under another name.
fn write_search(f: &mut fmt::Formatter<'_>, search: &TitleSearch) -> fmt::Result {
    const MAX_LEN: usize = 128;
    let mut encoded = String::with_capacity(MAX_LEN);
    for byte in search.folded().bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}")?;
        }
    }
    if encoded.len() <= MAX_LEN {
        return write!(f, "&search={encoded}");
    }
    f.write_str("&search_sha256=")?;
    f.write_str(&HEXLOWER.encode(&Sha256::digest(search.folded())))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use domain::Timestamp;
    use domain::sample::{event_id, user_id};
    use proptest::prelude::*;

    use super::*;

    fn page() -> PageRequest {
        PageRequest { number: 2, size: 10 }
    }

    fn list(filter: EventFilter) -> String {
        Key::EventPage { filter, page: page() }.to_string()
    }

    fn searching(raw: &str) -> EventFilter {
        EventFilter { search: TitleSearch::parse(raw).unwrap(), ..EventFilter::default() }
    }

    #[test]
    fn keys_read_as_operators_know_them() {
        assert_eq!(Key::Event(event_id(17)).to_string(), "events:detail:17");
        assert_eq!(Key::Registrations(user_id(9)).to_string(), "user:registrations:9");
        assert_eq!(list(EventFilter::default()), "events:list:2:10:sort=date");
        let filter = EventFilter {
            search: TitleSearch::parse("Jazz & Été").unwrap(),
            from: Timestamp::parse("2030-05-01T00:00:00Z").ok(),
            to: Timestamp::parse("2030-05-01T23:59:59.999999Z").ok(),
            available_only: true,
            order: EventOrder::parse("-title").unwrap(),
        };
        assert_eq!(
            list(filter),
            "events:list:2:10:sort=-title&available_only&from=2030-05-01T00:00:00Z\
             &to=2030-05-01T23:59:59.999999Z&search=jazz%20%26%20%C3%A9t%C3%A9"
        );
    }

    #[test]
    fn lifetimes_are_five_ten_and_fifteen_minutes() {
        let keys = [
            Key::EventPage { filter: EventFilter::default(), page: page() },
            Key::Event(event_id(1)),
            Key::Registrations(user_id(1)),
        ];
        assert_eq!(keys.map(|key| key.lifetime().as_secs()), [300, 600, 900]);
    }

    #[test]
    fn every_filter_has_a_key_of_its_own() {
        let bound = Timestamp::parse("2030-05-01T00:00:00Z").ok();
        let mut keys = HashSet::new();
        for search in ["", "a", "a&available_only", "a%26available_only", "&sort=title", ":", "x*?[y]\r"] {
            for (from, to) in [(None, None), (bound, None), (None, bound), (bound, bound)] {
                for available_only in [false, true] {
                    for order in ["date", "-date", "title", "-title", "available_seats", "-available_seats"] {
                        let order = EventOrder::parse(order).unwrap();
                        let search = TitleSearch::parse(search).unwrap();
                        let filter = EventFilter { search, from, to, available_only, order };
                        assert!(keys.insert(list(filter.clone())), "{filter:?}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_search_forges_the_key_of_another_filter(one in "\\PC{0,100}", other in "\\PC{0,100}") {
            let (Ok(one), Ok(other)) = (TitleSearch::parse(&one), TitleSearch::parse(&other)) else { return Ok(()) };
            let key = |search: &Option<TitleSearch>| list(EventFilter { search: search.clone(), ..EventFilter::default() });
            prop_assert_eq!(one == other, key(&one) == key(&other));
            prop_assert!(key(&one).len() <= 400 && key(&one).is_ascii());
            let plain = list(EventFilter { available_only: true, ..EventFilter::default() });
            prop_assert_ne!(key(&one), plain);
        }
    }

    #[test]
    fn a_long_search_has_a_short_key() {
        let key = list(searching(&"é".repeat(100)));
        assert!(key.len() < 200, "{key}");
        assert_ne!(key, list(searching(&"è".repeat(100))));
    }
}
